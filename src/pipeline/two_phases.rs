//! A build with a builder of ours, or any image with a Python: steps 2 to 6, in order.
//!
//! [`build`] is the story: the plan, the base, the dependencies and the application on it, the image, the
//! audit. The image that it gives has no name yet.

use std::thread::Scope;

use crate::app;
use crate::oci::Digest;
use crate::sandbox;

use super::base::{self, Base};
use super::context::Context;
use super::dependencies::Phase1;
use super::draft::rfc3339;
use super::error::BuildError;
use super::finish::{Made, finish};
use super::materials::Materials;
use super::network::Code;
use super::plan::{Planned, Reading};
use super::record::Record;
use super::report::{Built, CacheReport, CacheState};
use super::timings::{DEFAULT_SOURCE_TIME, Timings};
use super::titled_layer::LayerWriter;
use super::{
    application, apt, assets, audit_gate, commit, dependencies, git_version, leaks, libraries,
    lock, locked, pitfalls,
};

/// The steps after the source. `reading` is of the source that `digest` is of.
pub(super) fn build(
    context: Context<'_>,
    reading: &Reading<'_>,
    digest: &Digest,
    timings: Timings,
) -> Result<Built, BuildError> {
    std::thread::scope(|scope| build_in(scope, context, reading, digest, timings))
}

/// The same; threads of `scope` load the application while its image is committed and audited.
fn build_in<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    context: Context<'env>,
    reading: &'env Reading<'_>,
    digest: &Digest,
    mut timings: Timings,
) -> Result<Built, BuildError> {
    let context = context.with(&reading.request);
    let Context {
        store,
        request,
        progress,
    } = context;
    let tree = reading.tree();
    // What is found in the cache needs no limit, and is not to be had without the one asked for.
    sandbox::check_limits(&request.limits)?;
    let planned = reading.plan()?;
    timings.step("plan");

    let packages = apt::named(&reading.files)?;
    let base = base_of(context, reading, &planned)?;
    let plain = base.reference.clone();
    let base = apt::with(context, base, packages.as_ref())?;
    let locked = match &planned.lock {
        Some(lock) => Some(locked::read(store, lock, &base, request)?),
        None => None,
    };
    let listed = locked.as_ref().map(locked::Locked::listed);
    let detected = reading.detect(listed, Some(base.python.minor()))?;
    for note in &detected.notes {
        progress.step(&format!("---> {note}"));
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

    let (base, runtime) = hardened(context, base, packages.as_ref())?;
    audit_gate::builder(context, &base)?;
    if let Some(runtime) = &runtime {
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
        runtime: runtime.as_ref().unwrap_or(&base),
        locked: locked.as_ref(),
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
    let plain = request.runtime_image.as_ref().unwrap_or(&plain);
    let added = with_libraries(
        context,
        &phase1,
        materials.runtime,
        plain,
        packages.as_ref(),
    )?;
    let runtime = added.as_ref().unwrap_or(materials.runtime);
    let materials = Materials {
        runtime,
        ..materials
    };
    timings.step("libraries");

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

    let smoke = request.smoke && detected.project.settings.is_on("smoke");
    let code = if detected.runs_own_code(&reading.files) {
        Code::Foreign
    } else {
        Code::Offline
    };
    let writer = LayerWriter::new(store, request);
    // The dependencies are compressed while the application is built on them.
    let (dependencies, phase2) = rayon::join(
        || phase1.written(store, &writer),
        || application::phase(scope, progress, &with_assets, &phase1, smoke, code),
    );
    let (dependencies, mut phase2) = (dependencies?, phase2?);
    timings.step("application");

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
                    (request.runtime_image.is_some() || added.is_some()).then(|| runtime.named()),
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
    let mut timings = Timings::new();
    phase2.finish(store)?;
    timings.step("smoke");
    built.report.timings_ms.extend(timings.steps);
    Ok(built)
}

/// Step 3: the base, as the project and the caller want it.
fn base_of(
    context: Context<'_>,
    reading: &Reading<'_>,
    planned: &Planned,
) -> Result<Base, BuildError> {
    let named = reading.named_builder(context.store)?;
    base::take(context, named.as_deref(), planned.python.as_ref())
}

/// Holds what was installed against the shared libraries of the image that it will run in, and says what
/// that lacks. With `--auto-apt`: that image with the packages that have it, made of `plain`.
fn with_libraries(
    context: Context<'_>,
    phase1: &Phase1,
    runtime: &Base,
    plain: &str,
    packages: Option<&apt::Named>,
) -> Result<Option<Base>, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let missing = libraries::missing(store, phase1, runtime)?;
    let found = missing.packages();
    if !request.auto_apt || found.is_empty() || request.pinned.is_some() {
        missing.tell(&runtime.reference, progress);
        return Ok(None);
    }
    let named = apt::Named::and(packages, found);
    let below = base::prepare(store, plain.to_owned(), None, progress)?;
    let mut added = apt::with(context, below, Some(&named))?;
    if request.harden {
        added.harden(store, &request.budget)?;
    }
    libraries::missing(store, phase1, &added)?.tell(&added.reference, progress);
    Ok(Some(added))
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
