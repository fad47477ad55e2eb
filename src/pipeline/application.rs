//! Phase 2 of assemble: the source, the application's own build, static files, byte-code; and the
//! one layer that contains the result. A hit in the cache runs nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Scope, ScopedJoinHandle};

use crate::app::contract::{PLAN_FILE, Phase};
use crate::builder::layer::parent_directory;
use crate::builder::{APP_GID, APP_UID};
use crate::layer::{self, Mtime, Scan};
use crate::oci::sha256_hex;
use crate::progress::Progress;
use crate::rootfs::read_beneath;
use crate::sandbox::{Exit, IdMode, Upper};
use crate::store::{Scratch, Store};

use super::application_result::Application;
use super::assemble::{self, Stage};
use super::base::Base;
use super::context::Context;
use super::deferred;
use super::dependencies::{self, Phase1};
use super::environment::{self, WheelCache};
use super::error::BuildError;
use super::inputs::{self, FILES, Inputs};
use super::leaks::Leaks;
use super::loads::{self, Loaded};
use super::materials::Materials;
use super::network::Code;
use super::overlay::overlay_owned;
use super::report::Explanation;
use super::runtime_image::BuilderOnly;
use super::sandbox_inputs::{self, SandboxInputs};
use super::titled_layer::{LayerWriter, TitledLayer};
use super::tools;
use super::tree::{APP_ROOT, exists_below, make_app_root, normalize};
use super::wheel_cache::{CacheScope, wheel_cache};
use super::without_sandbox;

const MAX_PLAN: u64 = 1024 * 1024;

/// The result of phase 2 and where it came from.
pub(super) struct Phase2<'scope> {
    /// Of all that decided it.
    pub(super) key: String,
    pub(super) explanation: Explanation,
    pub(super) result: Application,
    /// The application is loaded meanwhile ([`super::smoke`]), and the result of phase 2 is
    /// remembered afterwards.
    unfinished: Option<Unfinished<'scope>>,
}

struct Unfinished<'scope> {
    gate: Option<Gate<'scope>>,
    /// Under which the result is to be remembered.
    key: String,
}

/// A load of the application, and the files that it can depend on.
struct Gate<'scope> {
    thread: ScopedJoinHandle<'scope, Result<Option<Loaded>, BuildError>>,
    files: Option<loads::Files>,
    /// Of `files`.
    _scratch: Arc<Scratch>,
}

impl Phase2<'_> {
    pub(super) fn is_loading(&self) -> bool {
        let unfinished = self.unfinished.as_ref();
        unfinished.is_some_and(|unfinished| unfinished.gate.is_some())
    }

    /// Waits until the application was loaded: without this, an image gets no name.
    ///
    /// # Errors
    /// If it could not be loaded.
    pub(super) fn finish(&mut self, store: &Store) -> Result<(), BuildError> {
        let Some(Unfinished { gate, key }) = self.unfinished.take() else {
            return Ok(());
        };
        if let Some(gate) = gate {
            let loaded = gate
                .thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            if let Err(BuildError::BuilderOnly { problem, .. }) = &loaded {
                let problem = problem.clone();
                store.remember(&builder_only(&key), &BuilderOnly { problem })?;
            }
            if let (Some(loaded), Some(files)) = (loaded?, gate.files) {
                files.remember(store, &loaded)?;
            }
        }
        Ok(store.remember(&key, &self.result)?)
    }
}

/// Of this finding; its number is raised with a change of what decides it.
const FORMAT_OF_BUILDER_ONLY: &str = "builder only 1";

/// Cache key of a finding: this application cannot be loaded on its runtime image.
fn builder_only(key: &str) -> String {
    sha256_hex(format!("{FORMAT_OF_BUILDER_ONLY} {key}").as_bytes())
}

/// Why the application cannot be loaded on `runtime` although it can on its builder, if an earlier build
/// found this.
pub(super) fn known_to_need_its_builder(
    materials: &Materials<'_>,
    phase1: &Phase1,
    smoke: bool,
) -> Result<Option<String>, BuildError> {
    let Context { store, request, .. } = materials.context;
    if !smoke || request.no_cache {
        return Ok(None);
    }
    let key = builder_only(&inputs(materials, phase1, smoke)?.key()?);
    let known = store.cached::<BuilderOnly>(&key)?;
    Ok(known.map(|known| known.problem))
}

/// The format of what phase 2 keeps; a change of the content raises it.
const FORMAT: u32 = 9;

/// Everything that decides the result of phase 2. `smoke`: the build loads what a start would load.
fn inputs(materials: &Materials<'_>, phase1: &Phase1, smoke: bool) -> Result<Inputs, BuildError> {
    let Materials {
        tree, source, time, ..
    } = *materials;
    let mut inputs = surroundings(materials, phase1, smoke)?;
    inputs.add(FILES, &source.to_string())?;
    inputs.name_files(tree);
    inputs.add("the time of the source", &time)?;
    Ok(inputs)
}

/// Everything but the source.
fn surroundings(
    materials: &Materials<'_>,
    phase1: &Phase1,
    smoke: bool,
) -> Result<Inputs, BuildError> {
    let Materials {
        context: Context { request, .. },
        base,
        runtime,
        ..
    } = *materials;
    let mut inputs = Inputs::default();
    inputs.add("the format of the cache", &FORMAT)?;
    inputs.add("the builder image", &base.identity())?;
    if smoke && runtime.identity() != base.identity() {
        inputs.add("the runtime image", &runtime.identity())?;
    }
    inputs.add("what the dependency phase gave", &phase1.result.digest()?)?;
    inputs.add("the installer's version", &tools::versions())?;
    inputs.add("the compression", &request.compression.to_string())?;
    inputs.add_variables("the variable", &request.env)?;
    inputs.add_variables("the build variable", &request.build_env)?;
    if let Some(listed) = materials.listed() {
        inputs.add("what is locked", listed)?;
    }
    if materials.without_sandbox.is_some() && !request.byte_code {
        inputs.add("no byte-code", &true)?;
    }
    inputs.add_secrets(request)?;
    inputs.add_indexes(request, sandbox_inputs::indexes())?;
    inputs.add_bounds(&request.budget)?;
    Ok(inputs)
}

/// Runs phase 2, or finds its result; the application is loaded in a thread of `scope`.
pub(super) fn phase<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    progress: &'env dyn Progress,
    materials: &Materials<'_>,
    phase1: &Phase1,
    smoke: bool,
    code: Code,
) -> Result<Phase2<'scope>, BuildError> {
    let inputs = inputs(materials, phase1, smoke)?;
    let key = inputs.key()?;
    let explain = |hit| inputs::explain(materials.context, "application", &inputs, hit);
    if let Some(result) = found(materials, &key, smoke, progress)? {
        return Ok(Phase2 {
            key,
            explanation: explain(true)?,
            result,
            unfinished: None,
        });
    }
    let (result, gate) = match materials.without_sandbox {
        Some(reasons) => {
            reasons.refuse_to_make()?;
            (assemble_without_sandbox(materials, phase1)?, None)
        }
        None => assemble_in_sandbox(scope, progress, materials, phase1, smoke, code)?,
    };
    Ok(Phase2 {
        key: key.clone(),
        explanation: explain(false)?,
        result,
        unfinished: Some(Unfinished { gate, key }),
    })
}

/// The result of an earlier build, from the store or from the cache in the registry.
fn found(
    materials: &Materials<'_>,
    key: &str,
    smoke: bool,
    progress: &dyn Progress,
) -> Result<Option<Application>, BuildError> {
    let context = materials.context;
    let Context { store, request, .. } = context;
    if !request.no_cache
        && let Some(result) = store.cached::<Application>(key)?
        && (result.smoked || !smoke)
    {
        progress.step(" -----> Application unchanged");
        return Ok(Some(result));
    }
    if let Some(result) = materials.last.application(key)
        && (result.smoked || !smoke)
    {
        progress.step(" -----> Application unchanged, from the cache in the registry");
        if materials.without_sandbox.is_none() || !Leaks::new(request).is_empty() {
            let layer = &result.layer.layer.descriptor;
            materials.last.fetch(context, std::iter::once(layer))?;
        }
        return Ok(Some(result));
    }
    Ok(None)
}

/// The directory that takes the files of phase 2, with the source in it.
struct Staged {
    scratch: Scratch,
    upper: Upper,
}

fn stage(materials: &Materials<'_>) -> Result<Staged, BuildError> {
    let scratch = materials.context.store.scratch("application")?;
    let upper = Upper {
        upper: scratch.path().join("upper"),
        work: scratch.path().join("work"),
    };
    let chown = IdMode::current().chown_allowed() && materials.without_sandbox.is_none();
    let chown = chown.then_some((APP_UID, APP_GID));
    let src = make_app_root(&upper.upper, chown.is_some())?;
    std::fs::create_dir(&upper.work).map_err(|error| BuildError::Write {
        path: upper.work.clone(),
        source: error,
    })?;
    materials.tree.stage(&src, chown)?;
    Ok(Staged { scratch, upper })
}

fn assemble_without_sandbox(
    materials: &Materials<'_>,
    phase1: &Phase1,
) -> Result<Application, BuildError> {
    let Staged {
        scratch: _scratch,
        upper,
    } = stage(materials)?;
    let plan = without_sandbox::assemble(materials, &phase1.result, &upper.upper)?;
    let scan = layer::scan(&upper.upper, &[])?;
    Ok(Application {
        layer: layer_of(materials, phase1, scan, &[])?,
        plan,
        smoked: false,
    })
}

fn assemble_in_sandbox<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    progress: &'env dyn Progress,
    materials: &Materials<'_>,
    phase1: &Phase1,
    smoke: bool,
    code: Code,
) -> Result<(Application, Option<Gate<'scope>>), BuildError> {
    let Context { store, request, .. } = materials.context;
    let told = SandboxInputs::of_application(request, materials.listed());
    let staged = stage(materials)?;
    let below = lowers(store, phase1, &materials.base.lowers(store)?)?;
    run_assemble(materials, &staged, &told, &below, code, progress)?;
    let upper = &staged.upper.upper;
    let plan = read_beneath(upper, &Path::new(APP_ROOT).join(PLAN_FILE), MAX_PLAN)
        .ok()
        .flatten()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(BuildError::NoPlan)?;
    let scan = layer::scan(upper, &[])?;
    let files = if smoke {
        let surroundings = surroundings(materials, phase1, smoke)?;
        loads::Files::of(surroundings, upper, &scan.entries)?
    } else {
        None
    };
    let as_before = match &files {
        Some(files) if !request.no_cache => files.load_as_before(store)?,
        _ => false,
    };
    if as_before {
        progress.step(
            " -----> Application loads as before: no line changed that runs when it is loaded",
        );
    }
    let Staged { scratch, upper } = staged;
    // The directory stays until the layer is written and the application is loaded.
    let scratch = Arc::new(scratch);
    let gate = if smoke && !as_before {
        progress.step(" -----> Loading the application");
        let load = Load::new(materials, phase1, &upper.upper, told, Arc::clone(&scratch))?;
        // The rest of the build goes on while the application is loaded.
        Some(Gate {
            thread: scope.spawn(move || load.run(progress)),
            files,
            _scratch: Arc::clone(&scratch),
        })
    } else {
        None
    };
    let application = Application {
        layer: layer_of(materials, phase1, scan, &below)?,
        plan,
        smoked: smoke,
    };
    Ok((application, gate))
}

/// The lower directories of the dependencies, and `image` below them.
fn lowers(store: &Store, phase1: &Phase1, image: &[PathBuf]) -> Result<Vec<PathBuf>, BuildError> {
    let mut lowers = dependencies::lowers(store, phase1)?;
    lowers.extend_from_slice(image);
    Ok(lowers)
}

/// Runs assemble with the staged directory over `below`.
fn run_assemble(
    materials: &Materials<'_>,
    staged: &Staged,
    told: &SandboxInputs,
    below: &[PathBuf],
    code: Code,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let Materials {
        context: Context { store, request, .. },
        base,
        time,
        ..
    } = *materials;
    let mode = IdMode::current();
    let tools = tools::ensure(store, &request.place, progress)?;
    let cache_scope = CacheScope::of(request, &materials.detected.project.requirements.lines);
    let cache = WheelCache::Private {
        shared: wheel_cache(store, base, mode, &cache_scope)?,
        upper: overlay_owned(&staged.scratch, "cache", mode)?,
    };
    let outcome = assemble::run(
        Stage::assemble(
            below.to_vec(),
            staged.upper.clone(),
            environment::mounts(told, &tools, cache)?,
            environment::variables(
                told,
                Phase::Application,
                &base.environment(),
                &base.search_path(),
                time,
            )?,
            code,
        ),
        told,
        progress,
    )?;
    if outcome.exit == Exit::Code(0) {
        Ok(())
    } else {
        Err(assemble::failure(Phase::Application, outcome, told, below))
    }
}

/// A load of the application on the image that it runs on.
struct Load {
    told: SandboxInputs,
    /// For directories that the application writes to.
    scratch: Arc<Scratch>,
    /// The reference of the image.
    reference: String,
    image: LoadedImage,
    /// On its builder: tried if the image was chosen automatically, and the load on it fails.
    on_builder: Option<LoadedImage>,
}

/// The application and its dependencies on an image.
struct LoadedImage {
    lowers: Vec<PathBuf>,
    /// Those of the image alone.
    base: Vec<PathBuf>,
    env: Vec<(String, String)>,
}

impl Load {
    fn new(
        materials: &Materials<'_>,
        phase1: &Phase1,
        application: &Path,
        told: SandboxInputs,
        scratch: Arc<Scratch>,
    ) -> Result<Self, BuildError> {
        let store = materials.context.store;
        let on = |image: &Base| -> Result<LoadedImage, BuildError> {
            let base = image.lowers(store)?;
            let mut all = vec![application.to_owned()];
            all.extend(lowers(store, phase1, &base)?);
            Ok(LoadedImage {
                lowers: all,
                base,
                env: environment::of_a_container(&told, &image.environment(), &image.search_path()),
            })
        };
        let image = on(materials.runtime)?;
        let on_builder = materials.on_builder.map(on).transpose()?;
        Ok(Self {
            image,
            on_builder,
            reference: materials.runtime.reference.clone(),
            told,
            scratch,
        })
    }

    fn run(self, progress: &dyn Progress) -> Result<Option<Loaded>, BuildError> {
        let redact = |text: &str| self.told.redactor.clean(text);
        let load = |image: LoadedImage, name: &str| {
            super::smoke::gate(
                super::smoke::Image {
                    lowers: image.lowers,
                    base: &image.base,
                    env: image.env,
                },
                self.told.limits.clone(),
                &self.told.place,
                || overlay_owned(&self.scratch, name, IdMode::current()),
                &redact,
                progress,
            )
        };
        match (load(self.image, "loaded"), self.on_builder) {
            (Err(BuildError::Smoke(advice)), Some(builder)) => {
                match load(builder, "loaded-on-builder") {
                    Ok(_) => Err(BuildError::BuilderOnly {
                        twin: self.reference,
                        problem: advice.title,
                    }),
                    Err(_) => Err(BuildError::Smoke(advice)),
                }
            }
            (loaded, _) => loaded,
        }
    }
}

/// Makes the layer from the files of phase 2, over these lower directories.
fn layer_of(
    materials: &Materials<'_>,
    phase1: &Phase1,
    mut scan: Scan,
    below: &[PathBuf],
) -> Result<TitledLayer, BuildError> {
    let Materials { context, time, .. } = *materials;
    let Context {
        store,
        request,
        progress,
    } = context;
    layer::retain_opaque(&mut scan.entries, |path| exists_below(below, path));
    for path in &scan.skipped {
        progress.warning(&format!(
            "{} is neither a file, a directory nor a link, and is left out",
            path.display()
        ));
    }
    let reference = Mtime::OfContent { reference: time };
    let mut entries = normalize(scan.entries, reference);
    deferred::add(&mut entries, &phase1.result.deferred, reference);
    let entries = layer::with_parents(entries, parent_directory);
    Ok(TitledLayer {
        layer: LayerWriter::new(store, request).write(&entries, layer::threads())?,
        title: "source, static files, start plan".into(),
        cached: false,
    })
}
