//! A build with a builder of ours, or any image with a Python: steps 2 to 6, in order.
//!
//! [`build_in`] is the story: the plan, the base, the dependencies and the application on it, the image, the
//! audit. The image that it gives has no name yet. It runs a second time where the application cannot be loaded
//! on the slim twin of its builder ([`attempt`]).

use std::thread::Scope;

use crate::app;
use crate::builder;
use crate::oci::Digest;
use crate::sandbox;

use super::base::{self, Base};
use super::context::Context;
use super::draft::rfc3339;
use super::error::BuildError;
use super::finish::{Made, finish};
use super::installed::Dependencies;
use super::last_build::LastBuild;
use super::materials::Materials;
use super::network::Code;
use super::plan::{Planned, Reading};
use super::record::Record;
use super::report::{Built, CacheReport, CacheState, SandboxReport};
use super::request::{Handover, SandboxUse};
use super::runtime_image::Choice;
use super::timings::{DEFAULT_SOURCE_TIME, Timings};
use super::titled_layer::LayerWriter;
use super::{
    application, apt, assets, audit_gate, commit, dependencies, fragments, git_version, handover,
    leaks, lock, locked, pitfalls, share, without_sandbox,
};

/// The steps after the source. `reading` is of the source that `digest` is of.
pub(super) fn build(
    context: Context<'_>,
    reading: &Reading<'_>,
    digest: &Digest,
    timings: Timings,
    last: &LastBuild,
) -> Result<Built, BuildError> {
    let never = context.request.sandbox == SandboxUse::Never;
    attempt(context, reading, digest, timings, last, never)
}

/// The same without running anything and without the base image's files, where a cache has the last build
/// and that is enough; `None` where it is not.
pub(super) fn without_the_base(
    context: Context<'_>,
    reading: &Reading<'_>,
    digest: &Digest,
    timings: Timings,
    last: &LastBuild,
) -> Result<Option<Built>, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    // Only what is pushed beside the cache can do without the files.
    let is_worth_a_try = request.push
        && request.place.base_file().is_none()
        && request.outputs.is_empty()
        && last.is_in(request.name.registry())
        && match reading.named_builder(store)? {
            Some(builder) => store.image(&builder)?.is_none(),
            None => false,
        };
    let may = match request.sandbox {
        SandboxUse::Always => false,
        SandboxUse::Auto => is_worth_a_try,
        SandboxUse::Never => true,
    };
    if !may {
        return Ok(None);
    }
    match attempt(context, reading, digest, timings, last, true) {
        Err(error) if request.sandbox == SandboxUse::Never => Err(error),
        Err(BuildError::NeedsSandbox { because }) => {
            let because = because.join("; ");
            progress.step(&format!("---> A sandbox is needed: {because}"));
            Ok(None)
        }
        Err(error) if error.lost_blob().is_some() => {
            tracing::debug!(%error, "the files of the base are needed after all");
            Ok(None)
        }
        done => done.map(Some),
    }
}

fn attempt(
    context: Context<'_>,
    reading: &Reading<'_>,
    digest: &Digest,
    timings: Timings,
    last: &LastBuild,
    without_sandbox: bool,
) -> Result<Built, BuildError> {
    let context = context.with(&reading.request);
    let builder = reading.named_builder(context.store)?;
    let way = Way {
        builder: builder.as_deref(),
        last,
        without_sandbox,
        no_twin: None,
    };
    let again = timings.clone();
    let steps = |way: Way<'_>, timings| {
        std::thread::scope(|scope| build_in(scope, context, reading, digest, timings, way))
    };
    let built = match steps(way, timings) {
        Err(BuildError::BuilderOnly { twin, problem }) => {
            context.progress.step(&format!(
                "---> The application cannot be loaded on {twin} ({problem}), and can on its builder: \
                 the image is made again, to run on that"
            ));
            let because = format!("the application cannot be loaded on {twin}: {problem}");
            let no_twin = Some(because.as_str());
            steps(Way { no_twin, ..way }, again)?
        }
        other => other?,
    };
    built.ok_or(BuildError::OnlyDependencies)
}

/// The source's git branch; empty where it is not known.
pub(super) fn branch<'a>(reading: &'a Reading<'_>) -> &'a str {
    let commit = reading.tree().commit.as_ref();
    commit
        .and_then(|commit| commit.reference.as_deref())
        .unwrap_or_default()
}

/// What one attempt at a build goes by, besides the request.
#[derive(Clone, Copy)]
struct Way<'a> {
    /// As it is named.
    builder: Option<&'a str>,
    last: &'a LastBuild,
    without_sandbox: bool,
    /// Why the application does not run on the slim twin of the builder, where that is known.
    no_twin: Option<&'a str>,
}

/// The steps up to the dependencies.
pub(super) fn dependencies_alone(
    context: Context<'_>,
    reading: &Reading<'_>,
    digest: &Digest,
    timings: Timings,
) -> Result<(), BuildError> {
    let context = context.with(&reading.request);
    let last = LastBuild::unknown();
    let way = Way {
        builder: None,
        last: &last,
        without_sandbox: false,
        no_twin: None,
    };
    std::thread::scope(|scope| build_in(scope, context, reading, digest, timings, way)).map(drop)
}

/// Runs steps 2 to 6. Threads of `scope` load the application while its image is committed and audited. `None`
/// if only the dependencies were asked for.
fn build_in<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: Context<'env>,
    reading: &'env Reading<'_>,
    digest: &Digest,
    mut timings: Timings,
    way: Way<'env>,
) -> Result<Option<Built>, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let tree = reading.tree();
    // First: a limit that cannot be kept is an error, also where the cache has it all.
    sandbox::check_limits(&request.limits)?;
    let planned = reading.plan()?;
    timings.step("plan");

    let packages = apt::named(&reading.files, reading.settings()?)?;
    let base = base_of(context, way, &planned)?;
    if way.without_sandbox && packages.to_build.is_some() {
        return Err(needs("packages of Debian are installed"));
    }
    if let Some(named) = &packages.to_build {
        let place = &named.place;
        let instead = "push a builder that has them: `warpdrive builder push`";
        request
            .place
            .refuse(&format!("the Debian packages of {place}"), instead)?;
    }
    let plain = base.clone();
    let base = apt::with(context, base, packages.to_build.as_ref())?;
    let locked = match &planned.lock {
        Some(lock) => Some(locked::read(store, lock, &base, request)?),
        None => None,
    };
    let listed = locked.as_ref().map(locked::Locked::listed);
    let detected = reading.detect(listed, Some(base.python.minor()))?;
    for note in &detected.notes {
        progress.step(&format!("---> {note}"));
    }
    let reasons = without_sandbox::reasons(request, &reading.files, &detected, &base.python);
    if way.without_sandbox && !reasons.always.is_empty() {
        return Err(BuildError::NeedsSandbox {
            because: reasons.all(),
        });
    }
    let of_tree = pitfalls::warnings(tree);
    let of_openshift = pitfalls::of_openshift(&request.env);
    let warnings = detected.warnings.iter().chain(&of_tree);
    for warning in warnings.chain(&of_openshift) {
        progress.warning(warning);
    }
    for warning in leaks::Leaks::too_short(request) {
        progress.warning(&warning);
    }
    timings.step("base");

    let (base, named) = hardened(context, base, packages.to_run.as_ref())?;
    audit_gate::builder(context, &base)?;
    if let Some(runtime) = &named {
        audit_gate::builder(context, runtime)?;
    }
    let versioned = git_version::given(context, &reading.files, &detected.project, tree)?;
    let with_version = context.with(versioned.as_ref().unwrap_or(request));
    let time = request
        .source_date_epoch
        .or_else(|| tree.commit.as_ref().map(|commit| commit.time));
    let materials = Materials {
        context: with_version,
        tree,
        source: digest,
        detected: &detected,
        base: &base,
        runtime: named.as_ref().unwrap_or(&base),
        on_builder: None,
        locked: locked.as_ref(),
        last: way.last,
        without_sandbox: way.without_sandbox.then_some(&reasons),
        time: time.unwrap_or(DEFAULT_SOURCE_TIME),
    };
    let first = Materials {
        // The version is of the project, which this phase may not see.
        context: if detected.needs_all_source.is_some() {
            with_version
        } else {
            context
        },
        ..materials
    };
    progress.step("---> Installing application source");
    progress.step("---> Building application from source");
    let phase1 = dependencies::phase(&first)?;
    timings.step("dependencies");
    if let Handover::Give(directory) = &request.handover {
        let written = phase1.written(context, &LayerWriter::new(store, request))?;
        handover::give(store, directory, &phase1.key, &written)?;
        give_wheels(context, &written)?;
        return Ok(None);
    }
    let built = assets::phase(context, &reading.files, tree, &detected, &base)?;
    // The record of the image is about the source as it came.
    let (whole, whole_digest) = match &built {
        Some(built) => (&built.tree, &built.digest),
        None => (tree, digest),
    };
    let with_assets = Materials {
        tree: whole,
        source: whole_digest,
        ..materials
    };
    timings.step("assets");

    let smoke = !way.without_sandbox && request.smoke && detected.project.settings.is_on("smoke");
    // The files of the images are not here, or are those that this process stands on.
    let runs_on = if way.without_sandbox || request.place.base_file().is_some() {
        None
    } else {
        let choice = Choice {
            context,
            built_on: &base,
            plain: &plain,
            named: named.clone(),
            packages: &packages,
            no_twin: way.no_twin,
        };
        let chosen = choice.make(&phase1, |twin| {
            let on_twin = Materials {
                runtime: twin,
                ..with_assets
            };
            application::known_to_need_its_builder(&on_twin, &phase1, smoke)
        })?;
        Some(chosen)
    };
    let chosen = runs_on.as_ref().and_then(|chosen| chosen.image.as_ref());
    let runtime = chosen.unwrap_or(materials.runtime);
    let instead = runs_on.as_ref().and_then(|chosen| chosen.instead.as_ref());
    let with_assets = Materials {
        runtime,
        on_builder: instead,
        ..with_assets
    };
    timings.step("libraries");

    let code = if detected.runs_own_code(&reading.files) {
        Code::Foreign
    } else {
        Code::Offline
    };
    let writer = LayerWriter::new(store, request);
    // The dependencies are compressed while the application is built on them.
    let (dependencies, phase2) = rayon::join(
        || phase1.written(context, &writer),
        || application::phase(scope, progress, &with_assets, &phase1, smoke, code),
    );
    let (dependencies, mut phase2) = (dependencies?, phase2?);
    give_wheels(context, &dependencies)?;
    timings.step("application");
    progress.doing("Putting the image together");

    let committed = commit::commit(
        context,
        &commit::Parts {
            base: runtime,
            builder: &base.reference,
            dependencies: &dependencies,
            dependencies_hit: phase1.explanation.hit,
            application: &phase2.result,
            application_hit: phase2.explanation.hit,
        },
        &commit::Facts {
            request,
            commit: tree.commit.as_ref(),
            project: &app::metadata::read(&reading.files),
            record: &Record {
                resolved: dependencies.resolved.clone(),
                wheels: lock::files(&dependencies),
                ..Record::new(
                    request,
                    digest,
                    tree.commit.as_ref(),
                    base.named(),
                    (request.runtime_image.is_some() || chosen.is_some()).then(|| runtime.named()),
                )
            },
            created: rfc3339(time.unwrap_or(crate::builder::FIXED_TIME)),
        },
    )?;
    let mut built = finish(
        context,
        committed,
        Made {
            base: runtime.named(),
            base_layers: runtime.image.manifest.layers().len(),
            builder: base.named(),
            cache: CacheReport {
                dependencies: CacheState::of(phase1.explanation.hit),
                application: CacheState::of(phase2.explanation.hit),
            },
            explain: vec![phase1.explanation, phase2.explanation.clone()],
            plan: phase2.result.plan.clone(),
            lock: lock::text(
                &dependencies,
                &base.python.minor,
                detected.project.list_digest(),
            ),
        },
        timings,
    )?;
    built.report.sandbox = Some(SandboxReport {
        used: !way.without_sandbox,
        because: reasons.all(),
    });
    built.report.runtime = runs_on.map(|chosen| chosen.report(&base));
    built.report.because.clone_from(&detected.because);
    let mut timings = Timings::new();
    if smoke {
        progress.doing("Loading the application");
    }
    phase2.finish(store)?;
    timings.step("smoke");
    share::share(
        context,
        way.last,
        (way.builder, branch(reading)),
        &share::Results {
            base: &base,
            dependencies: (&phase1.key, &dependencies),
            parts: &phase1.parts,
            application: (&phase2.key, &phase2.result),
        },
    )?;
    timings.step("cache");
    built.report.timings_ms.extend(timings.steps);
    Ok(Some(built))
}

/// Step 3: the base, as the project and the caller want it.
fn base_of(context: Context<'_>, way: Way<'_>, planned: &Planned) -> Result<Base, BuildError> {
    let store = context.store;
    if way.without_sandbox {
        let Some(builder) = way.builder else {
            return Err(needs(
                "no builder image is named, by which the last build could be found",
            ));
        };
        match store.image(builder)? {
            // It is here, and was asked for its Python before.
            Some(image) if builder::python::known(store, &image)?.is_some() => {}
            _ => {
                let base = way.last.base(context, builder)?;
                return base.ok_or_else(|| {
                    needs("no cache knows the base image as it is now, and its files are not here")
                });
            }
        }
    }
    base::take(context, way.builder, planned.python.as_ref())
}

fn give_wheels(context: Context<'_>, dependencies: &Dependencies) -> Result<(), BuildError> {
    match &context.request.wheels {
        Some(directory) => fragments::give_wheels(context, &dependencies.wheels, directory),
        None => Ok(()),
    }
}

fn needs(what: &str) -> BuildError {
    BuildError::NeedsSandbox {
        because: vec![what.to_owned()],
    }
}

/// The base, and the image that the application runs on where that is another: with the layer of
/// `--harden` on the one that it runs on.
fn hardened(
    context: Context<'_>,
    mut base: Base,
    packages: Option<&apt::Named>,
) -> Result<(Base, Option<Base>), BuildError> {
    let mut runtime = match &context.request.runtime_image {
        Some(reference) => {
            let runtime = base::runtime(context, reference, &base)?;
            Some(apt::with(context, runtime, packages)?)
        }
        None => None,
    };
    if context.request.harden {
        let below = runtime.as_mut().unwrap_or(&mut base);
        below.harden(context.store, &context.request.budget)?;
    }
    Ok((base, runtime))
}
