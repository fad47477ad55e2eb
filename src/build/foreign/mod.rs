//! Builds with any S2I builder image, by the protocol's letter and without a daemon: the image's own
//! scripts decide, and their work is opaque.
//!
//! [`build`] reads as the story: the builder and its labels, the scripts, the artifacts of the
//! previous image, assemble, what it changed, the runtime image if there is one, commit, ship.
//!
//! What is the same as in builds with our own builders is taken from the modules around this one.

mod again;
mod as_dockerfile;
mod bytecode;
mod callback;
mod commit;
mod copy;
mod download;
mod error;
mod image;
mod incremental;
mod inject;
mod layers;
mod onbuild;
mod origin;
mod owners;
mod place;
mod request;
mod run;
mod runtime;
mod scripts;
mod usage;

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::oci::{Descriptor, Digest, sha256_hex};
use crate::progress::Progress;
use crate::rootfs::{User, exists_beneath};
use crate::s2i::labels::DEFAULT_DESTINATION;
use crate::s2i::scripts::{ASSEMBLE, MAX_SCRIPT, RUN, Scripts};
use crate::s2i::{environment, metadata};
use crate::store::Store;

use super::commit::rfc3339;
use super::inputs::{FILES, Inputs, explain};
use super::judge;
use super::leaks::Leaks;
use super::record::Record;
use super::request::{CacheReport, CacheState, Explanation, Report};
use super::{BuildError, DEFAULT_SOURCE_TIME, Timings, base, in_two_phases, ship};
use commit::{Changes, Outcome};
use image::Ground;
use inject::Injections;
use owners::Owners;
use place::Place;
use run::Job;
use scripts::Places;

pub(super) use again::make_again;
pub use again::{Given, Options, untold};
pub use as_dockerfile::{Written, as_dockerfile};
pub use callback::notify;
pub use error::ForeignError;
pub use image::fetch as fetch_image;
pub(super) use image::is_foreign;
pub use origin::Exclusion;
pub use request::{Built, PullPolicies, PullPolicy, Request, Source};
pub use usage::usage;

/// Raised when the same question has another answer.
const FORMAT: u32 = 2;

/// All that is known before anything runs.
struct Plan<'a> {
    request: &'a Request,
    source: &'a Source,
    builder: &'a Ground,
    runtime: Option<&'a Ground>,
    /// `.s2i/environment`, then what the request says; all of it is committed.
    env: Vec<(String, String)>,
    /// Absolute, as the label or the user says.
    destination: PathBuf,
    scripts: Scripts,
    /// The builder has `ONBUILD` triggers and no scripts of S2I.
    triggers_alone: bool,
    /// Those for the runtime image.
    runtime_scripts: Scripts,
    injections: Injections,
    /// Reference time of files, and what `SOURCE_DATE_EPOCH` says.
    time: i64,
}

/// Whether the image by this name, which is pulled when it is not in the store, is an S2I builder that
/// [`build`] is for, and not one of ours.
pub fn is_builder(
    store: &Store,
    reference: &str,
    policy: PullPolicy,
    progress: &dyn Progress,
) -> Result<bool, BuildError> {
    Ok(is_foreign(&image::fetch(
        store, reference, policy, progress,
    )?))
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
    let mut timings = Timings::new();
    let _in_use = store.lock_shared()?;
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
        .ok_or(ForeignError::NoBuilder)?;
    let pinned = request.common.pinned.as_ref();
    progress.step(&format!("---> Using S2I builder {reference}"));
    let image = image::fetch_exactly(
        store,
        reference,
        pinned.map(|pinned| &pinned.builder),
        request.pull.builder,
        progress,
    )?;
    if image::is_ours(&image) && request.scripts_url.is_none() {
        return ours(store, request, source, digest, timings, progress);
    }
    let builder = Ground::new(store, reference, image)?;
    let runtime = match &request.common.runtime_image {
        Some(reference) => {
            progress.step(&format!("---> Using runtime image {reference}"));
            let image = image::fetch_exactly(
                store,
                reference,
                pinned.and_then(|pinned| pinned.runtime.as_ref()),
                request.pull.runtime,
                progress,
            )?;
            Some(Ground::new(store, reference, image)?)
        }
        None => None,
    };
    for warning in Leaks::too_short(&request.common) {
        progress.warning(&warning);
    }
    for ground in [Some(&builder), runtime.as_ref()].into_iter().flatten() {
        judge::foreign_builder(
            store,
            &ground.reference,
            &ground.image,
            &request.common,
            progress,
        )?;
    }
    let plan = plan(request, source, &builder, runtime.as_ref())?;
    timings.step("base");

    let (outcome, explanation) = outcome(store, &plan, digest, progress)?;
    let hit = explanation.hit;
    timings.step("application");

    let ground = runtime.as_ref().unwrap_or(&builder);
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
            runtime.as_ref().map(Ground::named),
        )
    };
    let committed = commit::commit(
        store,
        &commit::Parts {
            ground,
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
        &ground.reference,
        ground.image.manifest.layers().len(),
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
            base: ground.named(),
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
        return Err(ForeignError::NeedsName.into());
    }
    let unfit = [
        ("--inject", !request.injections.is_empty()),
        ("--runtime-artifact", !request.runtime_artifacts.is_empty()),
        ("--volume", !request.volumes.is_empty()),
    ];
    if let Some((option, _)) = unfit.into_iter().find(|(_, given)| *given) {
        return Err(ForeignError::NotWithOurs { option }.into());
    }
    let user = crate::builder::APP_UID.to_string();
    image::check(request.allowed_uids.as_ref(), &user, "USER of the image")?;
    let common = &request.common;
    let (descriptor, report) =
        in_two_phases(store, common, &source.tree, digest, timings, progress)?;
    Ok(Built { report, descriptor })
}

/// Finds scripts, users and destination, and refuses what must not be before anything runs.
fn plan<'a>(
    request: &'a Request,
    source: &'a Source,
    builder: &'a Ground,
    runtime: Option<&'a Ground>,
) -> Result<Plan<'a>, BuildError> {
    let allowed = request.allowed_uids.as_ref();
    builder.check_user(allowed)?;
    if let Some(runtime) = runtime {
        runtime.check_user(allowed)?;
    }
    let mut env = Vec::new();
    for file in environment::IN_SOURCE {
        if let Some(bytes) = source.tree.read(Path::new(file), environment::MAX)? {
            env = environment::parse(file, &bytes).map_err(ForeignError::S2i)?;
            break;
        }
    }
    env.extend(request.common.env.iter().cloned());
    let destination = match &request.destination {
        Some(path) => crate::s2i::mappings::absolute(path).map_err(|problem| {
            ForeignError::S2i(crate::s2i::S2iError::Option {
                option: "--destination",
                value: path.clone(),
                problem,
            })
        })?,
        None => builder
            .labels
            .destination
            .clone()
            .unwrap_or_else(|| DEFAULT_DESTINATION.to_owned()),
    };
    let places = Places {
        given: request.scripts_url.as_ref(),
        source: Some(&source.tree),
        image: builder
            .labels
            .scripts_url
            .as_ref()
            .or(request.image_scripts_url.as_ref()),
        files: builder.merged(),
    };
    if let Some(url) = &request.scripts_url {
        download::must_have_some(url)?;
    }
    let mut scripts = Scripts::new();
    let triggers = !crate::s2i::onbuild::triggers(&builder.image.config).is_empty();
    let triggers_alone = triggers && !onbuild::has_scripts(&places)?;
    if triggers_alone {
        // The triggers are all there is.
        for name in [ASSEMBLE, RUN] {
            if let Some(script) = places.find(name)? {
                scripts.insert(name.to_owned(), script);
            }
        }
    } else {
        scripts.insert(ASSEMBLE.to_owned(), places.require(ASSEMBLE)?);
        if runtime.is_none() {
            scripts.insert(RUN.to_owned(), places.require(RUN)?);
        }
    }
    let runtime_scripts = match runtime {
        Some(runtime) => runtime::scripts(request, source, builder, runtime)?,
        None => Scripts::new(),
    };
    let commit_time = source.tree.commit.as_ref().map(|commit| commit.time);
    Ok(Plan {
        injections: Injections::read(&request.injections, &builder.working_dir())?,
        request,
        source,
        builder,
        runtime,
        env,
        destination: destination.into(),
        scripts,
        triggers_alone,
        runtime_scripts,
        time: request
            .common
            .source_date_epoch
            .or(commit_time)
            .unwrap_or(DEFAULT_SOURCE_TIME),
    })
}

/// Everything that decides what the scripts give. `restored`: artifacts of an earlier build have part
/// in it.
fn inputs(plan: &Plan<'_>, source: &Digest, restored: bool) -> Inputs {
    let request = plan.request;
    let mut inputs = Inputs::default();
    inputs.add("the format of the cache", &FORMAT);
    inputs.add(FILES, &source.to_string());
    inputs.name_files(&plan.source.tree);
    inputs.add("the time of the source", &plan.time);
    inputs.add("the builder image", &plan.builder.identity());
    if let Some(runtime) = plan.runtime {
        inputs.add("the runtime image", &runtime.identity());
    }
    for (scripts, place) in [
        (&plan.scripts, ""),
        (&plan.runtime_scripts, " of the runtime image"),
    ] {
        for (name, script) in scripts {
            let what = match script {
                crate::s2i::Where::Image(path) => path.clone(),
                crate::s2i::Where::External(content) => sha256_hex(content),
            };
            inputs.add(&format!("the script {name}{place}"), &what);
        }
    }
    inputs.add("the destination", &plan.destination);
    inputs.add("--assemble-user", &request.assemble_user);
    inputs.add("--assemble-runtime-user", &request.assemble_runtime_user);
    inputs.add("--runtime-artifact", &request.runtime_artifacts);
    inputs.add_variables("the variable", &plan.env);
    inputs.add_variables("the build variable", &request.common.build_env);
    let secrets: Vec<_> = request.common.secrets.iter().map(|s| &s.id).collect();
    inputs.add("the list of secrets", &secrets);
    inputs.add("what is injected", &plan.injections.digest);
    inputs.add("--split", &request.split);
    inputs.add("the compression", &request.common.compression.to_string());
    inputs.add("--cap-drop", &request.cap_drop);
    inputs.add("--add-host", &request.add_hosts);
    let volumes = request.volumes.iter().map(|v| (&v.source, &v.destination));
    inputs.add("--volume", &volumes.collect::<Vec<_>>());
    if restored {
        inputs.add("what an earlier image has saved", &true);
    }
    inputs
}

/// Runs the scripts, or finds what they gave; says why.
fn outcome(
    store: &Store,
    plan: &Plan<'_>,
    source: &Digest,
    progress: &dyn Progress,
) -> Result<(Outcome, Explanation), BuildError> {
    const PHASE: &str = "assemble";
    let request = plan.request;
    let common = &request.common;
    let fresh = inputs(plan, source, false);
    let restored = inputs(plan, source, true);
    if !common.no_cache && !common.upgrade {
        let wanted: &[&Inputs] = if request.incremental {
            &[&fresh, &restored]
        } else {
            &[&fresh]
        };
        for inputs in wanted {
            if let Some(outcome) = store.cached::<Outcome>("foreign", &inputs.key())? {
                progress.step("---> Source, scripts and builder unchanged: nothing to run");
                return Ok((outcome, explain(store, PHASE, inputs, true, common)?));
            }
        }
    }
    let artifacts = if request.incremental {
        incremental::restore(
            store,
            request,
            plan.source,
            &plan.destination,
            plan.time,
            progress,
        )?
    } else {
        None
    };
    let inputs = if artifacts.is_some() { restored } else { fresh };
    let outcome = Outcome {
        restored: artifacts.is_some(),
        ..assembled(store, plan, artifacts, progress)?
    };
    let explanation = explain(store, PHASE, &inputs, false, common)?;
    // What is made for a comparison is not what the next build gets.
    if common.pinned.is_none() {
        store.remember("foreign", &inputs.key(), &outcome)?;
    }
    Ok((outcome, explanation))
}

/// Runs the builder's scripts, and those of the runtime image on what they gave.
fn assembled(
    store: &Store,
    plan: &Plan<'_>,
    artifacts: Option<incremental::Artifacts>,
    progress: &dyn Progress,
) -> Result<Outcome, BuildError> {
    let (request, builder) = (plan.request, plan.builder);
    let place = Place::new(store, builder, "assemble")?;
    let mut changes = Changes::default();
    let finished = onbuild::carry_out(plan, &place, &mut changes, progress)?;
    // After the variables of triggers, which these replace.
    changes.env.extend(plan.env.iter().cloned());
    if !finished {
        let user_name = request
            .assemble_user
            .as_deref()
            .or(builder.labels.assemble_user.as_deref())
            .or(changes.user.as_deref())
            .unwrap_or(builder.image.config.user());
        image::check(
            request.allowed_uids.as_ref(),
            user_name,
            "the user of assemble",
        )?;
        let user = builder.user(user_name, "the user of assemble")?;
        upload(plan, &place, &user)?;
        if let Some(artifacts) = artifacts {
            artifacts.put(&place, &plan.destination, &user)?;
        }
        assemble(plan, &place, &user, &changes, progress)?;
    }
    let labels = metadata_labels(&place)?;
    if let Some(runtime) = plan.runtime {
        return runtime::assembled(store, plan, runtime, &place, labels, progress);
    }
    if !finished {
        changes.cmd = plan
            .scripts
            .get(RUN)
            .map(|run| vec![run.path(&plan.destination.to_string_lossy(), RUN)]);
    }
    finish(store, plan, builder, &place, labels, changes, progress)
}

/// The labels that a script has written for the image.
fn metadata_labels(place: &Place) -> Result<Vec<(String, String)>, ForeignError> {
    let path = Path::new("/").join(metadata::PATH);
    match place.merged().read(&path, metadata::MAX) {
        Ok(Some(bytes)) => Ok(metadata::parse(&bytes)?),
        Ok(None) => Ok(Vec::new()),
        Err(error) => Err(ForeignError::io("read", path, error)),
    }
}

/// Turns what was changed above an image into an outcome.
fn finish(
    store: &Store,
    plan: &Plan<'_>,
    ground: &Ground,
    place: &Place,
    labels: Vec<(String, String)>,
    changes: Changes,
    progress: &dyn Progress,
) -> Result<Outcome, BuildError> {
    let layers = layers::make(
        store,
        &place.upper.upper,
        &layers::Plan {
            below: ground.merged(),
            owners: &Owners::of(store, ground)?,
            time: plan.time,
            split: plan.request.split,
            request: &plan.request.common,
        },
        progress,
    )?;
    Ok(Outcome {
        blobs: layers
            .iter()
            .map(|made| made.titled.layer.descriptor.clone())
            .collect(),
        layers,
        labels,
        changes,
        restored: false,
    })
}

/// Puts source and scripts where assemble looks for them.
fn upload(plan: &Plan<'_>, place: &Place, user: &User) -> Result<(), BuildError> {
    let parent = place.directory(&plan.destination, user)?;
    let src = Place::child(&parent, "src", user, 0o775)?;
    let owner = crate::sandbox::IdMode::current()
        .chown_allowed()
        .then_some((user.uid, user.gid));
    plan.source.tree.stage(&src, owner)?;
    // Those that are used lie beside the source, not in it.
    for (name, script) in &plan.scripts {
        let crate::s2i::Where::External(content) = script else {
            continue;
        };
        for directory in crate::s2i::scripts::IN_SOURCE {
            let path = Path::new(directory).join(name);
            let same = plan.source.tree.read(&path, MAX_SCRIPT)?.as_ref() == Some(content);
            // The way there is no link.
            if same && exists_beneath(&src, &path) {
                let path = src.join(path);
                std::fs::remove_file(&path)
                    .map_err(|error| ForeignError::io("move", &path, error))?;
            }
        }
    }
    place.scripts(&plan.destination, &plan.scripts, user)?;
    Ok(())
}

/// Runs assemble.
fn assemble(
    plan: &Plan<'_>,
    place: &Place,
    user: &User,
    changes: &Changes,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let Some(script) = plan.scripts.get(ASSEMBLE) else {
        return Ok(());
    };
    let path = script.path(&plan.destination.to_string_lossy(), ASSEMBLE);
    let command = scripts::command(&path, script, &plan.builder.merged())?;
    let cwd = match &changes.working_dir {
        Some(path) => PathBuf::from(path),
        None => plan.builder.working_dir(),
    };
    place.directory(&cwd, user)?;
    let mut mounts = run::mounts(plan.request)?;
    mounts.extend(plan.injections.mounts(place)?);
    scripts::announce(ASSEMBLE, script, user.uid, progress);
    let image_env: Vec<(String, String)> = plan
        .builder
        .image
        .config
        .env()
        .into_iter()
        .chain(changes.env.iter().cloned())
        .collect();
    Job {
        name: ASSEMBLE,
        image: &plan.builder.reference,
        command,
        cwd,
        user,
        env: run::variables(plan.request, &image_env, user, &plan.env, plan.time),
        lowers: &plan.builder.lowers,
        upper: place.upper.clone(),
        mounts,
    }
    .run(plan.request, progress)
}
