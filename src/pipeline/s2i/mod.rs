//! Builds with any S2I builder image, by the protocol's letter and without a daemon: the image's own
//! scripts decide, and their work is opaque.
//!
//! [`build`] reads as the story: the builder and its labels, the scripts, the artifacts of the
//! previous image, assemble, what it changed, the runtime image if there is one, commit, ship.
//!
//! What is the same as in builds with our own builders is taken from the modules around this one.

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
mod incremental;
mod inject;
mod layers;
mod onbuild;
mod origin;
mod outcome;
mod owners;
mod package_cache;
mod plan;
mod remake;
mod request;
mod run;
mod runtime;
mod scripts;
mod usage;

use serde_json::json;

use crate::oci::{Descriptor, Digest};
use crate::progress::Progress;
use crate::store::Store;

use super::commit::rfc3339;
use super::judge;
use super::leaks::Leaks;
use super::record::Record;
use super::request::{CacheReport, CacheState, Report};
use super::{BuildError, Timings, base, in_two_phases, settle, ship};
use base_image::BaseImage;

pub use as_dockerfile::{Written, as_dockerfile};
pub use base_image::fetch as fetch_image;
pub use callback::notify;
pub use error::S2iBuildError;
pub use origin::Exclusion;
pub(super) use remake::remake;
pub use remake::{Given, Options, not_recorded};
pub use request::{Built, PullPolicies, PullPolicy, Request, Source};
pub use usage::usage;

/// Whether the image by this name, which is pulled when it is not in the store, is an S2I builder that
/// [`build`] is for, and not one of ours: it says where its scripts are, has triggers, or has an
/// `assemble` where images have theirs that say nothing.
pub fn is_builder(
    store: &Store,
    reference: &str,
    policy: PullPolicy,
    progress: &dyn Progress,
) -> Result<bool, BuildError> {
    let image = base_image::fetch(store, reference, policy, progress)?;
    if base_image::is_s2i_builder(&image) {
        return Ok(true);
    }
    Ok(!base_image::is_ours(&image) && BaseImage::new(store, reference, image)?.has_assemble())
}

/// Builds an image with the scripts of an S2I builder, gives it its name in the store, ships it.
///
/// To be called in a process that may mount and chown (`sandbox::enter`).
pub fn build(
    store: &Store,
    request: &Request,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let _in_use = store.lock_shared()?;
    settle::beside(store, || build_and_ship(store, request, source, progress))
}

fn build_and_ship(
    store: &Store,
    request: &Request,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let mut timings = Timings::new();
    let digest = source.tree.digest_with(store)?;
    timings.step("source");
    let Built {
        mut report,
        descriptor,
    } = base::mending(store, progress, || {
        made(store, request, source, &digest, timings.clone(), progress)
    })?;
    let mut timings = Timings::new();
    if request.tag {
        name(store, request, &descriptor, progress)?;
    } else {
        store.keep_nameless(&descriptor)?;
    }
    report.pushed = ship::ship(store, &descriptor, &request.common, progress)?;
    timings.step("ship");
    report.timings_ms.extend(timings.steps);
    Ok(Built { report, descriptor })
}

/// An image that was judged, and has no name yet.
fn made(
    store: &Store,
    request: &Request,
    source: &Source,
    digest: &Digest,
    mut timings: Timings,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
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
        return ours(store, request, source, digest, timings, progress);
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
        judge::foreign_builder(store, &on.reference, &on.image, &request.common, progress)?;
    }
    say_what_is_not_passed(request, progress);
    let plan = plan::plan(request, source, &builder, runtime.as_ref(), progress)?;
    timings.step("base");

    let (outcome, explanation) = outcome::outcome(store, &plan, digest, progress)?;
    let hit = explanation.hit;
    timings.step("application");

    let on = runtime.as_ref().unwrap_or(&builder);
    let time = request
        .common
        .source_date_epoch
        .or_else(|| source.tree.commit.as_ref().map(|commit| commit.time));
    let created = rfc3339(time.unwrap_or(crate::builder::FIXED_TIME));
    let record = Record {
        s2i: Some(Options::new(request, source, &outcome)),
        ..Record::new(
            &request.common,
            digest,
            source.tree.commit.as_ref(),
            builder.named(),
            runtime.as_ref().map(BaseImage::named),
        )
    };
    let committed = commit::commit(
        store,
        &commit::Parts {
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
    let verdict = judge::image(
        store,
        &store.image_at(&committed.descriptor)?,
        &on.reference,
        on.image.manifest.layers().len(),
        &request.common,
        progress,
    )?;
    timings.step("commit");
    let state = if hit {
        CacheState::Hit
    } else {
        CacheState::Miss
    };
    Ok(Built {
        report: Report {
            lock: None,
            name: request.common.name.as_given().to_owned(),
            digest: committed.descriptor.digest().to_string(),
            config_digest: committed.config.digest().to_string(),
            media_type: committed.descriptor.media_type().to_string(),
            user: committed.user,
            base: on.named(),
            builder: builder.named(),
            layers: committed.layers,
            cache: CacheReport {
                dependencies: state,
                application: state,
            },
            audit: verdict,
            plan: json!({ "start": { "command": outcome.changes.cmd } }),
            explain: vec![explanation],
            timings_ms: timings.steps,
            pushed: Vec::new(),
        },
        descriptor: committed.descriptor,
    })
}

/// Says which of the host's variables about package indexes and proxies the scripts do not see, so that
/// a build which needs one does not fail without a word.
fn say_what_is_not_passed(request: &Request, progress: &dyn Progress) {
    let common = &request.common;
    let names: Vec<&str> = super::environment::PASSED_ON
        .iter()
        .copied()
        .filter(|name| {
            let name = name.to_ascii_uppercase();
            (name.contains("INDEX") && !name.ends_with("STRATEGY"))
                || name.ends_with("S_PROXY")
                || name.ends_with("P_PROXY")
        })
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

/// Gives the image its name, and says what becomes of the one that had it.
fn name(
    store: &Store,
    request: &Request,
    descriptor: &Descriptor,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let name = request.common.name.as_given();
    let previous = store.resolve(name)?;
    store.tag(name, descriptor)?;
    if request.remove_previous
        && let Some(previous) = previous
        && previous.digest() != descriptor.digest()
    {
        // Its layers may be other images' too: what nobody needs goes when `prune` looks.
        progress.step(&format!(
            "---> The previous image {} has no name any more: `warpdrive prune` frees it",
            previous.digest()
        ));
    }
    Ok(())
}

/// A builder of warpdrive's own is built on in two phases, whoever asks.
fn ours(
    store: &Store,
    request: &Request,
    source: &Source,
    digest: &Digest,
    timings: Timings,
    progress: &dyn Progress,
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
    let common = &request.common;
    let (descriptor, report) = std::thread::scope(|scope| {
        in_two_phases(
            scope,
            store,
            common,
            &source.tree,
            digest,
            timings,
            progress,
        )
    })?;
    Ok(Built { report, descriptor })
}
