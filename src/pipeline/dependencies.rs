//! Phase 1 of assemble: installs what the application depends on, from the dependency files only,
//! and turns it into layers that other applications share. A hit in the cache runs nothing.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::app::Detected;
use crate::builder::layer::{StoredLayer, parent_directory};
use crate::builder::{APP_GID, APP_UID, FIXED_TIME};
use crate::layer::{self, Entry, Kind, Mtime, Witness};
use crate::oci::{Descriptor, descriptor, sha256_hex, to_canonical_json};
use crate::progress::Progress;
use crate::rootfs::{self, read_beneath};
use crate::sandbox::{Exit, IdMode, Upper};
use crate::source::Tree;
use crate::store::{self, Scratch, Store};

use super::assemble::{self, Phase, Stage};
use super::base::Base;
use super::carried::{self, Carried};
use super::environment::{self, WheelCache};
use super::error::BuildError;
use super::fetch;
use super::fragments::{self, Fragment};
use super::inputs::{self, Explanation, FILES, Inputs};
use super::leaks::Leaks;
use super::lock::LockedWheel;
use super::locked::{self, Locked};
use super::request::Request;
use super::secrets::without_credentials;
use super::split::{self, Distribution};
use super::tools::{self, Tools};
use super::tree::{
    APP_ROOT, exists_below, make_app_root, make_directory, normalize, without_implied_directories,
};

/// Phase 1 says with this status that something has no wheel: "run me again where code may run".
const NEEDS_SDISTS: i32 = 75;
/// Most trees of distributions in one overlay; the kernel takes 500 lower directories, and the base
/// image and the application need some.
const MAX_FRAGMENTS: usize = 350;
/// Largest RECORD that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024 * 1024;

/// A layer of ours and what it holds, in a few words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TitledLayer {
    pub(super) layer: StoredLayer,
    pub(super) title: String,
    /// It was there before this build.
    #[serde(skip)]
    pub(super) cached: bool,
}

/// What phase 1 gave, as the build cache keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dependencies {
    pub(super) layers: Vec<TitledLayer>,
    pub(super) carried: Vec<Carried>,
    /// Normalized names and versions.
    pub(super) resolved: Vec<(String, String)>,
    /// Seconds since 1970.
    pub(super) resolved_at: u64,
    /// What the store must keep for this record.
    pub(super) blobs: Vec<Descriptor>,
    /// The trees of the distributions, where each was installed by itself ([`super::fragments`]).
    #[serde(default)]
    pub(super) unpacked: Vec<String>,
    /// Names the tree of all that was installed in one go. No other build finds it by what is in its
    /// layers: a tree can be more than these say.
    #[serde(default)]
    pub(super) tree: Option<String>,
    /// Which wheels they are, where the resolver said so.
    #[serde(default)]
    pub(super) wheels: Vec<LockedWheel>,
}

/// The result of phase 1 and where it came from.
pub(super) struct Phase1 {
    pub(super) explanation: Explanation,
    /// Without its layers where they have still to be written, see [`Phase1::written`]: phase 2 has no
    /// need of them.
    pub(super) result: Dependencies,
    unwritten: Option<Unwritten>,
}

struct Unwritten {
    fragments: Vec<Fragment>,
    /// Under which the whole result is to be remembered.
    key: String,
}

impl Phase1 {
    fn complete(explanation: Explanation, result: Dependencies) -> Self {
        Self {
            explanation,
            result,
            unwritten: None,
        }
    }

    /// The result with its layers, which are written now if they are not.
    pub(super) fn written(
        &self,
        store: &Store,
        request: &Request,
    ) -> Result<Dependencies, BuildError> {
        let Some(Unwritten { fragments, key }) = &self.unwritten else {
            return Ok(self.result.clone());
        };
        let result = self
            .result
            .clone()
            .with(fragments::layers(store, fragments, request)?);
        store.remember("dependencies", key, &result)?;
        Ok(result)
    }
}

/// Everything that decides what phase 1 gives.
fn inputs(
    source: &Tree,
    detected: &Detected,
    base: &Base,
    request: &Request,
) -> Result<Inputs, BuildError> {
    let mut inputs = Inputs::default();
    inputs.add("the format of the cache", &12)?;
    inputs.add(FILES, &source.digest(None)?.to_string())?;
    inputs.name_files(source);
    inputs.add("the builder image", &base.identity())?;
    inputs.add("the builder's Python", &base.python)?;
    inputs.add("the installer's version", &tools::versions())?;
    inputs.add("the compression", &request.compression.to_string())?;
    inputs.add_variables("the build variable", &request.build_env)?;
    inputs.add("the server", &detected.phase_one_environment())?;
    for name in environment::PASSED_ON
        .iter()
        .filter(|name| name.contains("INDEX"))
    {
        if let Some(value) = request.host_env.get(*name) {
            let value = without_credentials(value);
            inputs.add(&format!("the variable {name}"), &value)?;
        }
    }
    if let Some(listed) = &request.listed {
        inputs.add("what is locked", listed)?;
    }
    if let Some(pinned) = &request.pinned {
        inputs.add("the versions of the record", &pinned.constraints)?;
    }
    let secrets: Vec<&String> = request.secrets.iter().map(|secret| &secret.id).collect();
    inputs.add("the list of secrets", &secrets)?;
    Ok(inputs)
}

/// Runs phase 1, or finds its result.
pub(super) fn phase(
    store: &Store,
    tree: &Tree,
    detected: &Detected,
    base: &Base,
    locked: Option<&Locked>,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Phase1, BuildError> {
    let source = if detected.needs_all_source.is_some() {
        tree.clone()
    } else {
        tree.subset(&detected.dependency_files)
    };
    let inputs = inputs(&source, detected, base, request)?;
    let key = inputs.key()?;
    let explain = |hit| inputs::explain(store, "dependencies", &inputs, hit, request);
    if !request.no_cache
        && !request.upgrade
        && let Some(result) = store.cached::<Dependencies>("dependencies", &key)?
        && result
            .blobs
            .iter()
            .all(|blob| store.has_blob(blob.digest()))
    {
        progress.step(&format!(
            " -----> Dependencies unchanged, {} distributions resolved {}",
            result.resolved.len(),
            age(result.resolved_at)
        ));
        return Ok(Phase1::complete(explain(true)?, result));
    }
    let tools = tools::ensure(store, progress)?;
    match fragments::phase(
        store, &source, detected, base, locked, request, &tools, progress,
    )? {
        Ok((result, fragments)) => {
            let mut phase = Phase1 {
                explanation: explain(false)?,
                result,
                unwritten: Some(Unwritten { fragments, key }),
            };
            // So many cannot be stacked: phase 2 runs on the layers.
            if phase.result.unpacked.len() > MAX_FRAGMENTS {
                phase.result = phase.written(store, request)?;
                phase.unwritten = None;
            }
            return Ok(phase);
        }
        Err(reason) => tracing::debug!(reason, "the dependencies are installed in one tree"),
    }
    let scratch = store.scratch("dependencies")?;
    let upper = install(
        store, &source, detected, base, locked, request, &tools, &scratch, progress,
    )?;
    let mut result = into_layers(store, base, &upper, request)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos());
    let tree = format!("dependencies-{key}-{now}-{}", std::process::id());
    store.keep_unpacked(IdMode::current().map_name(), &tree, upper)?;
    result.tree = Some(tree);
    store.remember("dependencies", &key, &result)?;
    Ok(Phase1::complete(explain(false)?, result))
}

impl Dependencies {
    /// The same with these layers.
    fn with(mut self, layers: Vec<TitledLayer>) -> Self {
        self.blobs = layers
            .iter()
            .map(|titled| titled.layer.descriptor.clone())
            .collect();
        self.layers = layers;
        self
    }

    /// Of all that phase 2 sees of phase 1.
    pub(super) fn digest(&self) -> Result<String, BuildError> {
        /// Keys are made of it.
        #[derive(Serialize)]
        struct Document<'d> {
            trees: &'d [String],
            layers: Vec<&'d str>,
            carried: &'d [Carried],
        }
        let mut document = Document {
            trees: &self.unpacked,
            layers: Vec::new(),
            carried: &self.carried,
        };
        // The layers of trees may not be written yet, and follow from these.
        if self.unpacked.is_empty() {
            let layers = self.layers.iter();
            document.layers = layers.map(|titled| titled.layer.diff_id.as_str()).collect();
        }
        Ok(sha256_hex(&to_canonical_json(&document)?))
    }
}

/// Fills the wheel cache, then runs assemble: at first with wheels only, then with sdists built.
/// Gives the upper directory that holds what was installed.
#[expect(
    clippy::too_many_arguments,
    reason = "a step of the pipeline: it names all that it depends on"
)]
fn install(
    store: &Store,
    source: &Tree,
    detected: &Detected,
    base: &Base,
    locked: Option<&Locked>,
    request: &Request,
    tools: &Tools,
    scratch: &Scratch,
    progress: &dyn Progress,
) -> Result<PathBuf, BuildError> {
    let mode = IdMode::current();
    let chown = mode.chown_allowed().then_some((APP_UID, APP_GID));
    let staged = scratch.path().join("source");
    let src = make_app_root(&staged, chown.is_some())?;
    source.stage(&src, chown)?;
    let mut fetched = false;
    let files = match locked {
        Some(locked) => {
            let place = Locked::place(scratch)?;
            locked.fetch_all(store, request, &place, progress)?;
            Some(place)
        }
        None => None,
    };
    if !detected.project.is_complete() {
        fetched = fetch::fetch(store, source, detected, base, request, tools, progress)?;
    }
    let shared = wheel_cache(store, base, mode)?;
    let mut lowers = vec![staged];
    lowers.extend(base.lowers(store)?);
    // With a hook, or the build of the app's own metadata, foreign code runs from the start.
    let mut sdists = detected.needs_all_source.is_some();
    loop {
        let name = if sdists { "with-sdists" } else { "wheels-only" };
        let upper = overlay(scratch, name)?;
        // The app's own words are run before the first wheel is there (`.warpdrive/environment`).
        let cache = WheelCache::Private {
            shared: shared.clone(),
            upper: overlay_owned(scratch, "cache", mode)?,
        };
        let mut env = environment::variables(
            request,
            Phase::Dependencies,
            &base.environment(),
            &base.search_path(),
            FIXED_TIME,
        );
        env.extend(detected.phase_one_environment());
        if sdists {
            env.push(("WARPDRIVE_BUILD_SDISTS".into(), "1".into()));
        }
        if request.upgrade {
            env.push(("WARPDRIVE_UPGRADE".into(), "1".into()));
        }
        if fetched {
            // The index may ask for a login that is not here, or lie on this machine, whose services are
            // out of reach.
            env.push(("WARPDRIVE_FETCHED".into(), "1".into()));
        }
        let outcome = assemble::run(
            Stage::assemble(
                lowers.clone(),
                upper.clone(),
                environment::mounts(request, tools, cache)
                    .into_iter()
                    .chain(files.clone().map(locked::mount))
                    .collect(),
                env,
            ),
            request,
            progress,
        )?;
        match outcome.exit {
            Exit::Code(0) => return Ok(upper.upper),
            Exit::Code(NEEDS_SDISTS) if !sdists => sdists = true,
            _ => return Err(assemble::failure(Phase::Dependencies, outcome, request)),
        }
    }
}

/// An empty upper directory and its work directory.
pub(super) fn overlay(scratch: &Scratch, name: &str) -> Result<Upper, BuildError> {
    let place = scratch.path().join(name);
    let upper = Upper {
        upper: place.join("upper"),
        work: place.join("work"),
    };
    make_directory(&upper.upper)?;
    make_directory(&upper.work)?;
    Ok(upper)
}

/// The same, writable for the command's user.
pub(super) fn overlay_owned(
    scratch: &Scratch,
    name: &str,
    mode: IdMode,
) -> Result<Upper, BuildError> {
    let upper = overlay(scratch, name)?;
    give_to_app(&upper.upper, mode)?;
    Ok(upper)
}

fn give_to_app(path: &Path, mode: IdMode) -> Result<(), BuildError> {
    if mode.chown_allowed() {
        std::os::unix::fs::chown(path, Some(APP_UID), Some(APP_GID)).map_err(|source| {
            BuildError::Write {
                path: path.to_owned(),
                source,
            }
        })?;
    }
    Ok(())
}

/// The wheel cache of this id map and base image, shared by all builds of this store on that image:
/// its Python runs while the cache is filled, and is the business of no other image's builds.
pub(super) fn wheel_cache(store: &Store, base: &Base, mode: IdMode) -> Result<PathBuf, BuildError> {
    let image = base.image.manifest.config().digest().digest();
    let path = store.root().join("cache").join(format!(
        // What an earlier release kept is not trusted any more.
        "wheels-2-{}-{}",
        mode.map_name(),
        image.get(..32).unwrap_or(image)
    ));
    // Both every time: a build may have been killed between them.
    make_directory(&path)?;
    give_to_app(&path, mode)?;
    store::spread(&path);
    Ok(path)
}

/// The overlay lower directories of a finished phase 1, the uppermost first.
pub(super) fn lowers(store: &Store, phase: &Phase1) -> Result<Vec<PathBuf>, BuildError> {
    let mode = IdMode::current();
    let kept = phase.result.tree.as_ref();
    if let Some(kept) = kept.and_then(|tree| store.find_unpacked(mode.map_name(), tree)) {
        return Ok(vec![kept]);
    }
    let fragments = &phase.result.unpacked;
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
        // There are no layers to be had in their place.
        return Err(BuildError::TreesGone);
    }
    let mut lowers = Vec::new();
    // What the layers lack because the application's layer brings it.
    if !phase.result.carried.is_empty() {
        let key = format!("carried-{}", phase.result.digest()?);
        lowers.push(store.tree(mode.map_name(), &key, |directory| {
            carried::lay_out(&phase.result.carried, directory, mode)
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

/// Where distributions are installed, relative to the image's root.
pub(super) fn site_packages(base: &Base) -> PathBuf {
    Path::new(APP_ROOT).join(format!("lib/python{}/site-packages", base.python.minor))
}

fn into_layers(
    store: &Store,
    base: &Base,
    upper: &Path,
    request: &Request,
) -> Result<Dependencies, BuildError> {
    let site = site_packages(base);
    let distributions = distributions(upper, &site)?;
    let mut scan = layer::scan(upper, &[])?;
    let below = base.lowers(store)?;
    layer::retain_opaque(&mut scan.entries, |path| exists_below(&below, path));
    let entries: Vec<Entry> = normalize(scan.entries, Mtime::Fixed(FIXED_TIME))
        .into_iter()
        // The staged dependency files are below; whatever happened to them is the application's.
        .filter(|entry| {
            !(entry.path.starts_with("opt/app-root/src") && matches!(entry.kind, Kind::Whiteout))
        })
        .collect();
    let split = split::split(without_implied_directories(entries), &distributions, &site);
    let mut layers = Vec::new();
    for share in split.shares {
        let entries = layer::with_parents(share.entries, parent_directory);
        layers.push(TitledLayer {
            layer: store_layer(store, &entries, request, layer::threads())?,
            title: share.title,
            cached: false,
        });
    }
    let mut carried = Vec::new();
    for entry in split.for_application {
        carried.extend(Carried::take(entry, upper)?);
    }
    let resolved = distributions
        .into_iter()
        .map(|distribution| (distribution.name, distribution.version))
        .collect();
    let result = Dependencies {
        layers: Vec::new(),
        blobs: Vec::new(),
        carried,
        resolved,
        resolved_at: now(),
        unpacked: Vec::new(),
        tree: None,
        wheels: Vec::new(),
    };
    Ok(result.with(layers))
}

/// Writes entries as a layer into the store, on so many threads, unless one of the build's secrets is
/// in them.
pub(super) fn store_layer(
    store: &Store,
    entries: &[Entry],
    request: &Request,
    threads: usize,
) -> Result<StoredLayer, BuildError> {
    store_searched_layer(store, entries, request, threads, &Leaks::new(request))
}

/// The same with a search of the caller's own.
pub(super) fn store_searched_layer(
    store: &Store,
    entries: &[Entry],
    request: &Request,
    threads: usize,
    leaks: &Leaks,
) -> Result<StoredLayer, BuildError> {
    let mut blob = store.blob_writer()?;
    let mut search = leaks.search();
    let witness = search.as_mut().map(|search| search as &mut dyn Witness);
    let written = layer::write_with(
        entries,
        request.compression,
        threads,
        &mut blob,
        witness,
        Some(&request.budget),
    )?;
    if let Some(search) = search {
        search.verdict()?;
    }
    blob.commit(Some(&written.digest))?;
    Ok(StoredLayer {
        descriptor: descriptor(written.media_type, written.digest, written.size),
        diff_id: written.diff_id.to_string(),
    })
}

/// The installed distributions, by name.
pub(super) fn distributions(upper: &Path, site: &Path) -> Result<Vec<Distribution>, BuildError> {
    let failed = |source| BuildError::Read {
        path: upper.join(site),
        source,
    };
    let mut found = Vec::new();
    for item in rootfs::names_beneath(upper, site).map_err(failed)? {
        let Some((name, version)) = item.to_str().and_then(split::parse_dist_info) else {
            continue;
        };
        let record = site.join(&item).join("RECORD");
        if let Some(bytes) = read_beneath(upper, &record, MAX_RECORD).map_err(failed)? {
            found.push(Distribution {
                name,
                version,
                files: split::parse_record(&String::from_utf8_lossy(&bytes), site),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// "3 days ago", in the largest unit that fits.
fn age(then: u64) -> String {
    let seconds = now().saturating_sub(then);
    for (unit, length) in [("day", 86_400), ("hour", 3600), ("minute", 60)] {
        let count = seconds / length;
        if count > 0 {
            return format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
        }
    }
    "just now".into()
}
