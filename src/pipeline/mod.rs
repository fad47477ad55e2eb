//! The pipeline: seven steps, one direction, each step's output the next one's input.
//!
//! 1. **collect** the source (`collect`);
//! 2. **plan**: what the project says about itself (`plan`);
//! 3. **base**: the image to build on (`base`);
//! 4. **assemble**: dependencies, then the application, in sandboxes (`dependencies`, `application`);
//! 5. **layers** of what that gave (`split`, `titled_layer`; `fragments` where a wheel is shared);
//! 6. **commit**: a configuration and a manifest (`commit`, `draft`), audited (`finish`);
//! 7. **ship**: a name, and copies elsewhere (`deliver`, `ship`).
//!
//! [`image`] is the beginning and the end. Steps 2 to 6 are `two_phases` for warpdrive's own builders, and
//! [`s2i`] for an image with its own scripts; both give an image without a name, and `deliver` is around
//! both. The modules below do the work of the steps (`source`, `app`, `builder`, `sandbox`, `layer`,
//! `store`, `transport`, `registry`).

mod allowed_builders;
mod application;
mod application_result;
mod apt;
mod archive_words;
mod assemble;
mod assets;
mod audit_gate;
mod base;
mod collect;
mod commit;
mod context;
mod deferred;
mod deliver;
mod dependencies;
mod difference;
mod draft;
mod elsewhere;
mod environment;
mod error;
mod fetch;
mod files;
mod finish;
mod fragments;
mod git_version;
mod handover;
mod harden;
mod image_use;
mod index_logins;
mod inputs;
mod installed;
mod lacking;
mod last_build;
mod leaks;
mod libraries;
mod loads;
pub mod local;
mod lock;
mod locked;
mod locked_wheel;
mod materials;
mod mend;
mod network;
mod notes;
mod overlay;
mod package_indexes;
mod parallel;
mod part;
mod path_bytes;
mod pitfalls;
mod place;
mod plain_lists;
mod plan;
mod pod_image;
mod prepared;
mod record;
mod remote_image;
mod report;
mod request;
mod runtime_image;
pub mod s2i;
mod sandbox_inputs;
mod sandbox_reasons;
mod sdists;
mod secrets;
mod settle;
mod share;
mod ship;
mod smoke;
mod split;
mod tally;
mod timings;
mod titled_layer;
mod tools;
mod transfers;
mod tree;
mod trusted;
mod two_phases;
mod unsearched;
mod verify;
mod wheel_cache;
mod without_sandbox;

use crate::app::Detected;
use crate::builder;
use crate::progress::Progress;
use crate::source::{CollectOptions, Tree};
use crate::store::Store;

use collect::Collected;
use context::Context;
use deliver::{Naming, deliver};
use last_build::LastBuild;
use plan::Reading;

pub use crate::app::contract::PLAN_LABEL;
pub use difference::Difference;
pub use elsewhere::{OnBase, check_on_base};
pub use error::BuildError;
#[cfg(feature = "fuzzing")]
pub use fragments::places_of_wheel;
pub use handover::check_dependencies;
pub use index_logins::INDEX_LOGINS;
pub use lacking::Lacking;
pub use notes::{BuildNotes, PhaseNote};
pub use place::{FenceMode, Here, Place};
pub use pod_image::pod_image;
pub use record::{BuildRecord, LABEL_BUILD};
pub use remote_image::remote_image;
pub use report::{
    Built, CacheReport, CacheState, Explanation, LayerKind, LayerReport, NameAndDigest, Report,
    RuntimeReport, SandboxReport, Verdict,
};
pub use request::{AuditGate, Handover, Pinned, Pull, Request, SandboxUse, Secret};
pub use runtime_image::BUILDER;
pub use sandbox_inputs::{NPM_REGISTRY, PASSED_ON, is_index_login};
pub use share::share_wheels;
pub use tools::pinned_uv;
pub use transfers::Transfers;
pub use unsearched::Unsearched;
pub use verify::{Verification, verify};

/// Builds an image, gives it its name in the store, and ships it.
pub fn image(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Report, BuildError> {
    let context = Context {
        store,
        request,
        progress,
    };
    let naming = Naming::Named {
        previous_loses: false,
    };
    let built = deliver(
        context,
        naming,
        || Collected::take(context),
        |source| unnamed(context, source),
    )?;
    Ok(built.report)
}

/// Only the dependency phase, in place: its result goes where the request says.
///
/// # Errors
/// As for an image.
pub fn dependencies(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let context = Context {
        store,
        request,
        progress,
    };
    let _in_use = store.lock_shared()?;
    let source = Collected::take(context)?;
    let reading = Reading::new(request, &source.tree)?;
    two_phases::dependencies_alone(context, &reading, &source.digest, source.timings.clone())
}

/// Steps 2 to 6, with the named kind of builder.
fn unnamed(context: Context<'_>, source: &Collected) -> Result<Built, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let Collected {
        tree,
        digest,
        timings,
    } = source;
    let reading = Reading::new(request, tree)?.with_runtime(store)?;
    let builder = reading.named_builder(store)?;
    let last = LastBuild::find(
        context.with(&reading.request),
        builder.as_deref(),
        two_phases::branch(&reading),
    )?;
    let built = two_phases::without_the_base(context, &reading, digest, timings.clone(), &last)?;
    if let Some(built) = built {
        return Ok(built);
    }
    if let Some(builder) = builder
        && request.place.base_file().is_none()
        && {
            base::refresh(context, &builder)?;
            s2i::is_builder(
                store,
                &builder,
                tree,
                s2i::PullPolicy::IfNotPresent,
                progress,
            )?
        }
    {
        let source = s2i::Source::of_request(tree.clone(), &request.source);
        let request = s2i::S2iRequest::of_image(request, builder);
        let context = context.with(&request.common);
        return s2i::unnamed(context, &request, &source, digest, timings.clone());
    }
    two_phases::build(context, &reading, digest, timings.clone(), &last)
}

/// What `--dry-run` shows: everything that is known before anything is fetched or run.
pub struct Preview {
    pub tree: Tree,
    pub detected: Detected,
    /// The image that the application will run on, if it is known.
    pub runtime: Option<String>,
}

/// Steps 1 and 2 alone.
pub fn preview(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Preview, BuildError> {
    let options = CollectOptions::default();
    let tree = collect::collect(store, &request.source, &options, progress)?;
    let reading = Reading::new(request, &tree)?.with_runtime(store)?;
    let (planned, mut detected) = reading.plan_and_detect()?;
    let notes = assets::notes(&files::TreeFiles::new(&tree), &detected);
    detected.notes.extend(notes);
    let runtime = expected_runtime(store, &reading, &planned)?;
    drop(reading);
    Ok(Preview {
        tree,
        detected,
        runtime,
    })
}

/// The image that the application will run on. With another builder, only a named image.
fn expected_runtime(
    store: &Store,
    reading: &Reading<'_>,
    planned: &plan::Planned,
) -> Result<Option<String>, BuildError> {
    let builder = reading.named_builder(store)?;
    let chosen = builder::choose::choose(store, builder.as_deref(), planned.python.as_ref());
    // A missing builder is an error of the build, which explains more.
    let Ok(chosen) = chosen else {
        return Ok(None);
    };
    runtime_image::expected(store, &reading.request, &chosen.reference).map(Some)
}
