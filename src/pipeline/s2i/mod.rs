//! Builds with any S2I builder image, by the protocol's letter and without a daemon: the image's own
//! scripts decide what they do, and warpdrive does not interpret it.
//!
//! [`unnamed`] reads as the story, steps 2 to 6: the builder and its labels, the scripts, the artifacts of
//! the previous image, assemble, what it changed, the runtime image if there is one, commit, audit.
//!
//! Parts that are the same with warpdrive's own builders come from the modules around this one.

mod as_dockerfile;
mod assembled;
mod base_image;
mod build_root;
mod bytecode;
mod callback;
mod commit;
mod copy;
mod download;
mod error;
mod finished;
mod incremental;
mod inject;
mod layers;
mod onbuild;
mod options;
mod origin;
mod outcome;
mod owners;
mod package_cache;
mod plan;
mod planned;
mod remake;
mod request;
mod run;
mod runtime;
mod scripts;
mod usage;

use std::path::Path;

use serde_json::json;

use crate::oci::Digest;
use crate::progress::Progress;
use crate::s2i::scripts::{ASSEMBLE, IN_SOURCE};
use crate::source::Tree;
use crate::store::Store;

use super::context::Context;
use super::deliver::{Naming, deliver};
use super::draft::rfc3339;
use super::error::BuildError;
use super::finish::{Made, finish};
use super::last_build::LastBuild;
use super::leaks::Leaks;
use super::plan::Reading;
use super::record::BuildRecord;
use super::report::{Built, CacheReport, CacheState};
use super::sandbox_inputs::{NPM_REGISTRY, PASSED_ON};
use super::timings::Timings;
use super::{audit_gate, two_phases};
use base_image::BaseImage;

pub use as_dockerfile::{Written, as_dockerfile};
pub use base_image::fetch as fetch_image;
pub use callback::notify;
pub use error::S2iBuildError;
pub use options::Options;
pub use origin::Exclusion;
pub(super) use remake::remake;
pub use remake::{Given, not_recorded};
pub use request::{PullPolicies, PullPolicy, S2iRequest, Source};
pub use usage::usage;

/// Whether the image with this name (pulled if it is not in the store) is an S2I builder for
/// [`build`], and not one of warpdrive's own. It is one if its label names its scripts, if it has
/// triggers, if it has an `assemble` at the default path, or if the source has one.
pub fn is_builder(
    store: &Store,
    reference: &str,
    tree: &Tree,
    policy: PullPolicy,
    progress: &dyn Progress,
) -> Result<bool, BuildError> {
    let image = base_image::fetch(store, reference, policy, progress)?;
    if base_image::is_s2i_builder(&image) {
        return Ok(true);
    }
    if base_image::is_ours(&image) {
        return Ok(false);
    }
    let in_source = IN_SOURCE
        .iter()
        .any(|place| tree.get(&Path::new(place).join(ASSEMBLE)).is_some());
    Ok(in_source || BaseImage::new(store, reference, image)?.has_assemble())
}

/// Builds an image with the scripts of an S2I builder, gives it its name in the store, ships it.
///
/// To be called in a process that may mount and chown (`sandbox::enter`).
pub fn build(
    store: &Store,
    request: &S2iRequest,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let context = Context {
        store,
        request: &request.common,
        progress,
    };
    let naming = if request.tag {
        Naming::Named {
            previous_loses: request.remove_previous,
        }
    } else {
        Naming::Nameless
    };
    let read = || {
        let mut timings = Timings::new();
        let digest = source.tree.digest_with(store)?;
        timings.step("source");
        Ok((digest, timings))
    };
    deliver(context, naming, read, |(digest, timings)| {
        unnamed(context, request, source, digest, timings.clone())
    })
}

/// Steps 2 to 6: an image that has passed the audit, and has no name yet. The context's request is
/// `request.common`.
pub(super) fn unnamed(
    context: Context<'_>,
    request: &S2iRequest,
    source: &Source,
    digest: &Digest,
    mut timings: Timings,
) -> Result<Built, BuildError> {
    let Context {
        store, progress, ..
    } = context;
    let reference = request
        .common
        .builder
        .as_deref()
        .ok_or(S2iBuildError::NoBuilder)?;
    let pinned = request.common.pinned.as_ref();
    progress.step(&format!("---> Using S2I builder {reference}"));
    let image = base_image::fetch_exactly(
        store,
        reference,
        pinned.map(|pinned| &pinned.builder),
        request.pull.builder,
        progress,
    )?;
    if base_image::is_ours(&image) && request.scripts_url.is_none() {
        return ours(context, request, source, digest, timings);
    }
    let builder = BaseImage::new(store, reference, image)?;
    let runtime = match &request.common.runtime_image {
        Some(reference) => {
            progress.step(&format!("---> Using runtime image {reference}"));
            let image = base_image::fetch_exactly(
                store,
                reference,
                pinned.and_then(|pinned| pinned.runtime.as_ref()),
                request.pull.runtime,
                progress,
            )?;
            Some(BaseImage::new(store, reference, image)?)
        }
        None => None,
    };
    for warning in Leaks::too_short(&request.common) {
        progress.warning(&warning);
    }
    crate::sandbox::check_limits(&request.common.limits)?;
    for on in [Some(&builder), runtime.as_ref()].into_iter().flatten() {
        audit_gate::s2i_builder(context, &on.reference, &on.image)?;
    }
    say_what_is_not_passed(request, progress);
    let plan = planned::plan(context, request, source, &builder, runtime.as_ref())?;
    timings.step("base");

    let (outcome, explanation) = outcome::outcome(&plan, digest)?;
    let hit = explanation.hit;
    timings.step("application");

    let on = runtime.as_ref().unwrap_or(&builder);
    let time = request
        .common
        .source_date_epoch
        .or_else(|| source.tree.commit.as_ref().map(|commit| commit.time));
    let created = rfc3339(time.unwrap_or(crate::builder::FIXED_TIME));
    let record = BuildRecord {
        s2i: Some(remake::options(request, source, &outcome)),
        ..BuildRecord::new(
            &request.common,
            digest,
            source.tree.commit.as_ref(),
            builder.named(),
            runtime.as_ref().map(BaseImage::named),
        )
    };
    let committed = commit::commit_s2i(
        context,
        &commit::S2iParts {
            on,
            builder: reference,
            result: &outcome,
            hit,
            request,
            source,
            record: &record,
            created: &created,
        },
    )?;
    let state = CacheState::of(hit);
    finish(
        context,
        committed,
        Made {
            base: on.named(),
            base_layers: on.image.manifest.layers().len(),
            builder: builder.named(),
            cache: CacheReport {
                dependencies: state,
                application: state,
            },
            plan: json!({ "start": { "command": outcome.changes.cmd } }),
            explain: vec![explanation],
            lock: None,
        },
        timings,
    )
}

/// Prints which of the host's variables about package indexes and proxies the scripts do not see, so
/// that a build that needs one does not fail without a hint.
fn say_what_is_not_passed(request: &S2iRequest, progress: &dyn Progress) {
    let common = &request.common;
    let names: Vec<&str> = PASSED_ON
        .iter()
        .copied()
        .filter(|name| {
            let name = name.to_ascii_uppercase();
            (name.contains("INDEX") && !name.ends_with("STRATEGY"))
                || name.ends_with("S_PROXY")
                || name.ends_with("P_PROXY")
        })
        .chain(NPM_REGISTRY.iter().copied())
        .filter(|name| common.host_env.contains_key(*name))
        .filter(|name| {
            let mut said = common.env.iter().chain(&common.build_env);
            !said.any(|(said, _)| said == name)
        })
        .collect();
    if let Some(first) = names.first() {
        progress.step(&format!(
            "---> Not given to the builder's scripts: {} of this environment (`--build-env {first}` \
             gives it)",
            names.join(", ")
        ));
    }
}

/// Builds with warpdrive's own builders always have two phases, with this command too.
fn ours(
    context: Context<'_>,
    request: &S2iRequest,
    source: &Source,
    digest: &Digest,
    timings: Timings,
) -> Result<Built, BuildError> {
    if !request.tag {
        return Err(S2iBuildError::NeedsName.into());
    }
    let unfit = [
        ("--inject", !request.injections.is_empty()),
        ("--runtime-artifact", !request.runtime_artifacts.is_empty()),
        ("--volume", !request.volumes.is_empty()),
    ];
    if let Some((option, _)) = unfit.into_iter().find(|(_, given)| *given) {
        return Err(S2iBuildError::NotWithOurs { option }.into());
    }
    let user = crate::builder::APP_UID.to_string();
    base_image::check(request.allowed_uids.as_ref(), &user, "USER of the image")?;
    let reading = Reading::new(context.request, &source.tree)?;
    two_phases::build(context, &reading, digest, timings, &LastBuild::unknown())
}
