//! A build with warpdrive's own builders, or any image with a Python: steps 2 to 6, in order.
//!
//! [`build_in`] is the story: the preparation (`prepared`), the dependencies and the application on the
//! builder, the image that the application runs on ([`runs_on`]), the finished image and its audit
//! ([`image`]). The image has no name yet. All this runs a second time if the application cannot be loaded on
//! the slim twin of its builder ([`attempt`]).

use std::thread::Scope;

use crate::app;
use crate::builder;
use crate::oci::Digest;

use super::application_result::Application;
use super::base::Base;
use super::context::Context;
use super::dependencies::Phase1;
use super::draft::rfc3339;
use super::error::BuildError;
use super::finish::{Made, finish};
use super::installed::Dependencies;
use super::last_build::LastBuild;
use super::materials::Materials;
use super::network::Code;
use super::plan::Reading;
use super::prepared::{Prepared, Way};
use super::record::BuildRecord;
use super::report::{Built, CacheReport, CacheState, Explanation, SandboxReport};
use super::request::{Handover, SandboxUse};
use super::runtime_image::{Choice, RunsOn};
use super::timings::Timings;
use super::titled_layer::LayerWriter;
use super::{application, assets, commit, dependencies, fragments, handover, lock, share};

/// The steps after the source. `reading` and `digest` belong to the same source.
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

/// The same without running anything and without the base image's files, if a cache has the last build
/// and it is enough; otherwise `None`.
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
    // Only an image that is pushed to the cache's registry can be built without the files.
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
                "---> {twin} cannot load the application ({problem}); its builder can: the image is built again, to \
                 run on the builder"
            ));
            let because = format!("the application cannot be loaded on {twin}: {problem}");
            let no_twin = Some(because.as_str());
            steps(Way { no_twin, ..way }, again)?
        }
        other => other?,
    };
    built.ok_or(BuildError::OnlyDependencies)
}

/// The source's git branch; empty if it is not known.
pub(super) fn branch<'a>(reading: &'a Reading<'_>) -> &'a str {
    let commit = reading.tree().commit.as_ref();
    commit
        .and_then(|commit| commit.reference.as_deref())
        .unwrap_or_default()
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
    let prepared = Prepared::of(context, reading, way, &mut timings)?;
    let detected = &prepared.detected;
    let materials = prepared.materials(context, reading, digest, way);

    progress.step("---> Installing application source");
    progress.step("---> Building application from source");
    let phase1 = dependencies::phase(&prepared.of_dependencies(context, materials))?;
    timings.step("dependencies");
    let writer = LayerWriter::new(store, request);
    if let Handover::Give(directory) = &request.handover {
        let written = phase1.written(context, &writer)?;
        handover::give(store, directory, &phase1.key, &written)?;
        give_wheels(context, &written)?;
        return Ok(None);
    }
    let front_end = assets::phase(
        context,
        &reading.files,
        reading.tree(),
        detected,
        &prepared.base,
    )?;
    let materials = match &front_end {
        Some(built) => Materials {
            tree: &built.tree,
            source: &built.digest,
            ..materials
        },
        None => materials,
    };
    timings.step("assets");

    let smoke = !way.without_sandbox && request.smoke && detected.project.settings.is_on("smoke");
    let runs_on = runs_on(context, &prepared, &materials, way, &phase1, smoke)?;
    let chosen = runs_on.as_ref().and_then(|chosen| chosen.image.as_ref());
    let materials = Materials {
        runtime: chosen.unwrap_or(materials.runtime),
        on_builder: runs_on.as_ref().and_then(|chosen| chosen.instead.as_ref()),
        ..materials
    };
    timings.step("libraries");

    let code = if detected.runs_own_code(&reading.files) {
        Code::Foreign
    } else {
        Code::Offline
    };
    // The dependencies' layers are compressed while the application is built on them.
    let (dependencies, phase2) = rayon::join(
        || phase1.written(context, &writer),
        || application::phase(scope, progress, &materials, &phase1, smoke, code),
    );
    let (dependencies, mut phase2) = (dependencies?, phase2?);
    give_wheels(context, &dependencies)?;
    timings.step("application");
    progress.doing("Putting the image together");

    let results = Results {
        runtime: materials.runtime,
        is_another: request.runtime_image.is_some() || chosen.is_some(),
        dependencies: &dependencies,
        dependencies_explained: &phase1.explanation,
        application: &phase2.result,
        application_explained: &phase2.explanation,
    };
    let mut built = image(context, reading, digest, &prepared, &results, timings)?;
    built.report.sandbox = Some(SandboxReport {
        used: !way.without_sandbox,
        because: prepared.reasons.all(),
    });
    built.report.runtime = runs_on.map(|chosen| chosen.report(&prepared.base));
    let mut timings = Timings::new();
    if phase2.is_loading() {
        progress.doing("Loading the application");
    }
    phase2.finish(store)?;
    timings.step("smoke");
    share::share(
        context,
        way.last,
        (way.builder, branch(reading)),
        &share::Results {
            base: &prepared.base,
            dependencies: (&phase1.key, &dependencies),
            parts: &phase1.parts,
            application: (&phase2.key, &phase2.result),
        },
    )?;
    timings.step("cache");
    built.report.timings_ms.extend(timings.steps);
    Ok(Some(built))
}

/// The image that the application runs on, from the candidates; `None` if the images' files are not here,
/// or are this process's own root file system.
fn runs_on(
    context: Context<'_>,
    prepared: &Prepared,
    materials: &Materials<'_>,
    way: Way<'_>,
    phase1: &Phase1,
    smoke: bool,
) -> Result<Option<RunsOn>, BuildError> {
    if way.without_sandbox || context.request.place.base_file().is_some() {
        return Ok(None);
    }
    let choice = Choice {
        context,
        built_on: &prepared.base,
        plain: &prepared.plain,
        named: prepared.named.clone(),
        packages: &prepared.packages,
        no_twin: way.no_twin,
    };
    let chosen = choice.make(phase1, |twin| {
        let on_twin = Materials {
            runtime: twin,
            ..*materials
        };
        application::known_to_need_its_builder(&on_twin, phase1, smoke)
    })?;
    Ok(Some(chosen))
}

/// The results of the phases, and the image to run on.
struct Results<'a> {
    runtime: &'a Base,
    /// It is not the builder.
    is_another: bool,
    dependencies: &'a Dependencies,
    dependencies_explained: &'a Explanation,
    application: &'a Application,
    application_explained: &'a Explanation,
}

/// Step 6: makes the image from the results of the phases, audited, without a name.
fn image(
    context: Context<'_>,
    reading: &Reading<'_>,
    digest: &Digest,
    prepared: &Prepared,
    results: &Results<'_>,
    timings: Timings,
) -> Result<Built, BuildError> {
    let request = context.request;
    let (base, detected) = (&prepared.base, &prepared.detected);
    let commit = reading.tree().commit.as_ref();
    let &Results {
        runtime,
        is_another,
        dependencies,
        dependencies_explained,
        application,
        application_explained,
    } = results;
    let committed = commit::commit_application(
        context,
        &commit::ApplicationParts {
            base: runtime,
            builder: &base.reference,
            dependencies,
            dependencies_hit: dependencies_explained.hit,
            application,
            application_hit: application_explained.hit,
        },
        &commit::Facts {
            request,
            commit,
            project: &app::metadata::read(&reading.files),
            // About the original source, without the built front end.
            record: &BuildRecord {
                resolved: dependencies.resolved.clone(),
                wheels: lock::files(dependencies),
                ..BuildRecord::new(
                    request,
                    digest,
                    commit,
                    base.named(),
                    is_another.then(|| runtime.named()),
                )
            },
            created: rfc3339(prepared.time.unwrap_or(builder::FIXED_TIME)),
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
                dependencies: CacheState::of(dependencies_explained.hit),
                application: CacheState::of(application_explained.hit),
            },
            explain: vec![
                dependencies_explained.clone(),
                application_explained.clone(),
            ],
            plan: application.plan.clone(),
            lock: lock::text(
                dependencies,
                &base.python.minor,
                detected.project.list_digest(),
            ),
        },
        timings,
    )?;
    built.report.because.clone_from(&detected.because);
    Ok(built)
}

fn give_wheels(context: Context<'_>, dependencies: &Dependencies) -> Result<(), BuildError> {
    match &context.request.wheels {
        Some(directory) => fragments::give_wheels(context, &dependencies.wheels, directory),
        None => Ok(()),
    }
}
