//! Phase 1 of assemble: installs the application's dependencies, from the dependency files only,
//! and makes layers from them that other applications share. A hit in the cache runs nothing.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::app::contract::{self, Phase};
use crate::builder::layer::parent_directory;
use crate::builder::{APP_GID, APP_UID, FIXED_TIME};
use crate::layer::{self, Entry, Kind, Mtime};
use crate::progress::largest_unit;
use crate::rootfs;
use crate::sandbox::{Exit, IdMode};
use crate::source::Tree;
use crate::store::{Scratch, Store};

use super::assemble::{self, Stage};
use super::base::Base;
use super::context::Context;
use super::deferred::{self, Deferred};
use super::environment::{self, WheelCache};
use super::error::BuildError;
use super::fetch::{self, Fetched};
use super::fragments::{self, Fragment};
use super::handover;
use super::inputs::{self, FILES, Inputs};
use super::installed::{Dependencies, distributions, site_packages};
use super::locked::{self, Locked};
use super::materials::Materials;
use super::network::Code;
use super::overlay::{overlay, overlay_owned};
use super::part::Part;
use super::report::Explanation;
use super::request::Handover;
use super::sandbox_inputs::{self, SandboxInputs};
use super::sdists;
use super::split;
use super::timings::now;
use super::titled_layer::{LayerWriter, TitledLayer};
use super::tools::{self, Tools};
use super::tree::{exists_below, make_app_root, normalize, without_implied_directories};
use super::wheel_cache::{CacheScope, wheel_cache};

/// Where uv finds files besides its indexes.
const FIND_LINKS: &str = "UV_FIND_LINKS";
/// Most trees of distributions in one overlay; the kernel takes 500 lower directories, and the base
/// image and the application need some.
const MAX_FRAGMENTS: usize = 350;

/// The result of phase 1 and where it came from.
pub(super) struct Phase1 {
    /// Of all that decided it.
    pub(super) key: String,
    pub(super) explanation: Explanation,
    /// Without its layers if they are not written yet, see [`Phase1::written`]: phase 2 does not need
    /// them.
    pub(super) result: Dependencies,
    unwritten: Option<Unwritten>,
    /// Facts about each distribution for the next build, so that it does not have to fetch them;
    /// may be empty.
    pub(super) parts: Vec<Part>,
    /// Nothing that an earlier build wrote is used.
    no_cache: bool,
}

struct Unwritten {
    fragments: Vec<Fragment>,
    /// Under which the whole result is to be remembered.
    key: String,
}

impl Phase1 {
    fn complete(key: String, explanation: Explanation, result: Dependencies) -> Self {
        Self {
            key,
            explanation,
            result,
            unwritten: None,
            parts: Vec::new(),
            no_cache: false,
        }
    }

    /// The result with its layers, which are written now if they are missing.
    pub(super) fn written(
        &self,
        context: Context<'_>,
        writer: &LayerWriter<'_>,
    ) -> Result<Dependencies, BuildError> {
        let Some(Unwritten { fragments, key }) = &self.unwritten else {
            return Ok(self.result.clone());
        };
        let result = self.result.clone().with(fragments::layers(
            context,
            fragments,
            writer,
            self.no_cache,
        )?);
        context.store.remember(key, &result)?;
        Ok(result)
    }
}

/// The format of what phase 1 keeps; a change of the content raises it.
const FORMAT: u32 = 13;

/// Everything that decides the result of phase 1.
fn inputs(materials: &Materials<'_>, source: &Tree) -> Result<Inputs, BuildError> {
    let Materials {
        context: Context { request, .. },
        detected,
        base,
        ..
    } = *materials;
    let mut inputs = Inputs::default();
    inputs.add("the format of the cache", &FORMAT)?;
    inputs.add(FILES, &source.digest(None)?.to_string())?;
    inputs.name_files(source);
    inputs.add("the builder image", &base.identity())?;
    inputs.add("the builder's Python", &base.python)?;
    inputs.add("the installer's version", &tools::versions())?;
    inputs.add("the compression", &request.compression.to_string())?;
    inputs.add_variables("the build variable", &request.build_env)?;
    inputs.add("the server", &detected.phase_one_environment())?;
    inputs.add_indexes(request, sandbox_inputs::indexes())?;
    // What is behind a login is not for an application that has none. Another login of the same application
    // changes nothing, and the key is the same on another machine.
    let scope = CacheScope::of(request, &detected.project.requirements.lines);
    if let Some(application) = scope.application() {
        inputs.add("the application that may ask the index", application)?;
    }
    if let Some(listed) = materials.listed() {
        inputs.add("what is locked", listed)?;
    }
    if let Some(pinned) = &request.pinned {
        inputs.add("the versions of the record", &pinned.constraints)?;
    }
    inputs.add_secrets(request)?;
    inputs.add_bounds(&request.budget)?;
    Ok(inputs)
}

/// Runs phase 1, or finds its result.
pub(super) fn phase(materials: &Materials<'_>) -> Result<Phase1, BuildError> {
    let Materials {
        context,
        tree,
        detected,
        ..
    } = *materials;
    let Context {
        store,
        request,
        progress,
    } = context;
    let source = if detected.needs_all_source.is_some() {
        tree.clone()
    } else {
        tree.subset(&detected.dependency_files)
    };
    let inputs = inputs(materials, &source)?;
    let key = inputs.key()?;
    let explain = |hit| inputs::explain(context, "dependencies", &inputs, hit);
    if let Handover::Take(directory) = &request.handover {
        progress.step(" -----> Dependencies as the step before has made them");
        let result = handover::take(store, directory, &key)?;
        return Ok(Phase1::complete(key, explain(true)?, result));
    }
    let scoped = request.cache.scoped(&key);
    let known = || match store.cached::<Dependencies>(&key) {
        Ok(None) if scoped != key => store.cached(&scoped),
        found => found,
    };
    if !request.no_cache
        && !request.upgrade
        && let Some(result) = known()?
    {
        progress.step(&format!(
            " -----> Dependencies unchanged, {} distributions resolved {}",
            result.resolved.len(),
            age(result.resolved_at)
        ));
        let parts = fragments::parts(materials, &result)?;
        return Ok(Phase1 {
            parts,
            ..Phase1::complete(key, explain(true)?, result)
        });
    }
    if !request.upgrade
        && let Some(result) = materials.last.dependencies(&key)
    {
        progress.step(&format!(
            " -----> Dependencies unchanged, {} distributions from the cache in the registry",
            result.resolved.len()
        ));
        // They are searched for secrets.
        if materials.without_sandbox.is_none() || !request.secrets.is_empty() {
            let layers = result.layers.iter();
            let layers = layers.map(|titled| &titled.layer.descriptor);
            // Not remembered: another application would find it under this key, and it is trusted only for
            // this one.
            materials.last.fetch(context, layers)?;
        }
        return Ok(Phase1 {
            parts: materials.last.parts().to_vec(),
            ..Phase1::complete(key, explain(true)?, result)
        });
    }
    if let Some(reasons) = materials.without_sandbox {
        // The application's layer is made on top of these.
        reasons.refuse_to_make()?;
        let (result, parts) = fragments::without_the_base(materials, &source)?;
        return Ok(Phase1 {
            parts,
            ..Phase1::complete(key, explain(false)?, result)
        });
    }
    let tools = tools::ensure(store, &request.place, progress)?;
    let writer = LayerWriter::new(store, request);
    match fragments::phase(materials, &source, &tools)? {
        fragments::Gathered::Installed(result, fragments) => {
            let mut phase = Phase1 {
                key,
                explanation: explain(false)?,
                result,
                parts: fragments.iter().filter_map(fragments::part_of).collect(),
                unwritten: Some(Unwritten {
                    fragments,
                    key: scoped,
                }),
                no_cache: request.no_cache,
            };
            // An overlay cannot stack this many: phase 2 runs on the layers.
            if phase.result.trees.len() > MAX_FRAGMENTS {
                phase.result = phase.written(context, &writer)?;
                phase.unwritten = None;
            }
            return Ok(phase);
        }
        fragments::Gathered::NotPlain(reason) => {
            tracing::debug!(reason, "the dependencies are installed in one tree");
        }
    }
    let scratch = store.scratch("dependencies")?;
    let upper = install(materials, &source, &tools, &scratch)?;
    let mut result = into_layers(store, materials.base, &upper, &writer)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos());
    let tree = format!("dependencies-{key}-{now}-{}", std::process::id());
    store.keep_unpacked(IdMode::current().map_name(), &tree, upper)?;
    result.tree = Some(tree);
    store.remember(&key, &result)?;
    Ok(Phase1::complete(key, explain(false)?, result))
}

/// Fills the wheel cache, then runs assemble: first with wheels only, then with built sdists.
/// Returns the upper directory with the installed files.
fn install(
    materials: &Materials<'_>,
    source: &Tree,
    tools: &Tools,
    scratch: &Scratch,
) -> Result<PathBuf, BuildError> {
    let Materials {
        context,
        detected,
        base,
        locked,
        ..
    } = *materials;
    let Context {
        store,
        request,
        progress,
    } = context;
    let inputs = SandboxInputs::of_application(request, materials.listed());
    let mode = IdMode::current();
    let chown = mode.chown_allowed().then_some((APP_UID, APP_GID));
    let staged = scratch.path().join("source");
    let src = make_app_root(&staged, chown.is_some())?;
    source.stage(&src, chown)?;
    let mut fetched = Fetched::default();
    let files = match locked {
        Some(locked) => {
            let place = Locked::place(scratch)?;
            locked.fetch_all(store, request, &place, progress)?;
            Some(place)
        }
        None => None,
    };
    if !detected.project.is_complete() {
        fetched = fetch::fetch(materials, source, tools, scratch.path())?;
    }
    let scope = CacheScope::of(request, &detected.project.requirements.lines);
    let shared = wheel_cache(store, base, mode, &scope)?;
    let mut lowers = vec![staged];
    lowers.extend(base.lowers(store)?);
    // With a hook, or a build of the app's own metadata, foreign code runs from the beginning.
    let mut with_sdists = detected.needs_all_source.is_some() || fetched.sdists.is_some();
    loop {
        let name = if with_sdists {
            "with-sdists"
        } else {
            "wheels-only"
        };
        let upper = overlay(scratch, name)?;
        // The app's own shell code (`.warpdrive/environment`) runs before the first wheel is installed.
        let cache = WheelCache::Private {
            shared: shared.clone(),
            upper: overlay_owned(scratch, "cache", mode)?,
        };
        let mut env = environment::variables(
            &inputs,
            Phase::Dependencies,
            &base.environment(),
            &base.search_path(),
            FIXED_TIME,
        )?;
        env.extend(detected.phase_one_environment());
        if with_sdists {
            env.push((contract::BUILD_SDISTS.into(), "1".into()));
        }
        if request.upgrade {
            env.push((contract::UPGRADE.into(), "1".into()));
        }
        if fetched.sdists.is_some() {
            let known = env.iter().find(|(name, _)| name == FIND_LINKS);
            let known = known.map_or_else(String::new, |(_, places)| format!("{places},"));
            env.push((FIND_LINKS.into(), format!("{known}{}", sdists::inside())));
        }
        if fetched.complete {
            // The index may ask for a login that the sandbox does not have, or run on this machine,
            // whose services cannot be reached.
            env.push((contract::FETCHED.into(), "1".into()));
        }
        let outcome = assemble::run(
            Stage::assemble(
                lowers.clone(),
                upper.clone(),
                environment::mounts(&inputs, tools, cache)?
                    .into_iter()
                    .chain(files.clone().map(locked::mount))
                    .chain(fetched.sdists.clone())
                    .collect(),
                env,
                Code::Foreign,
            ),
            &inputs,
            progress,
        )?;
        match outcome.exit {
            Exit::Code(0) => return Ok(upper.upper),
            Exit::Code(contract::NEEDS_SDISTS) if !with_sdists => with_sdists = true,
            _ => {
                return Err(assemble::failure(
                    Phase::Dependencies,
                    outcome,
                    &inputs,
                    &lowers,
                ));
            }
        }
    }
}

/// The overlay lower directories of a finished phase 1, the uppermost first.
pub(super) fn lowers(store: &Store, phase: &Phase1) -> Result<Vec<PathBuf>, BuildError> {
    let mode = IdMode::current();
    let kept = phase.result.tree.as_ref();
    if let Some(kept) = kept.and_then(|tree| store.find_unpacked(mode.map_name(), tree)) {
        return Ok(vec![kept]);
    }
    let fragments = &phase.result.trees;
    if !fragments.is_empty() && fragments.len() <= MAX_FRAGMENTS {
        let trees: Option<Vec<PathBuf>> = fragments
            .iter()
            .map(|key| store.find_unpacked(mode.map_name(), key))
            .collect();
        if let Some(trees) = trees {
            return Ok(trees);
        }
    }
    if phase.unwritten.is_some() {
        // No layers can replace them.
        return Err(BuildError::TreesGone);
    }
    let mut lowers = Vec::new();
    // The files that are in the application's layer instead of these layers.
    if !phase.result.deferred.is_empty() {
        let key = format!("deferred-{}", phase.result.digest()?);
        lowers.push(store.tree(mode.map_name(), &key, |directory| {
            deferred::lay_out(&phase.result.deferred, directory, mode)
        })?);
    }
    for titled in phase.result.layers.iter().rev() {
        lowers.push(rootfs::unpacked_layer(
            store,
            &titled.layer.descriptor,
            &titled.layer.diff_id(),
            mode.into(),
        )?);
    }
    Ok(lowers)
}

fn into_layers(
    store: &Store,
    base: &Base,
    upper: &Path,
    writer: &LayerWriter<'_>,
) -> Result<Dependencies, BuildError> {
    let site = site_packages(base);
    let distributions = distributions(upper, &site)?;
    let mut scan = layer::scan(upper, &[])?;
    let below = base.lowers(store)?;
    layer::retain_opaque(&mut scan.entries, |path| exists_below(&below, path));
    let entries: Vec<Entry> = normalize(scan.entries, Mtime::Fixed(FIXED_TIME))
        .into_iter()
        // The staged dependency files are below; changes to them belong to the application.
        .filter(|entry| {
            !(entry.path.starts_with(contract::SOURCE_IN_TREE)
                && matches!(entry.kind, Kind::Whiteout))
        })
        .collect();
    let split = split::split(without_implied_directories(entries), &distributions, &site);
    let mut layers = Vec::new();
    for share in split.shares {
        let entries = layer::with_parents(share.entries, parent_directory);
        layers.push(TitledLayer {
            layer: writer.write(&entries, layer::threads())?,
            title: share.title,
            cached: false,
        });
    }
    let mut deferred = Vec::new();
    for entry in split.for_application {
        deferred.extend(Deferred::take(entry, upper)?);
    }
    let resolved = distributions
        .into_iter()
        .map(|distribution| (distribution.name, distribution.version))
        .collect();
    let result = Dependencies {
        layers: Vec::new(),
        deferred,
        resolved,
        resolved_at: now(),
        trees: Vec::new(),
        tree: None,
        wheels: Vec::new(),
    };
    Ok(result.with(layers))
}

/// "3 days ago", in the largest unit that fits.
fn age(then: u64) -> String {
    match largest_unit(now().saturating_sub(then)) {
        (_, "second") => "just now".into(),
        (1, unit) => format!("1 {unit} ago"),
        (count, unit) => format!("{count} {unit}s ago"),
    }
}
