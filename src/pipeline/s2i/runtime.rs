//! The runtime image: the files that it gets from the assembled builder, and its own `assemble-runtime`.

use std::path::{Path, PathBuf};

use crate::rootfs::Seen;
use crate::s2i::labels::DEFAULT_DESTINATION;
use crate::s2i::scripts::{ASSEMBLE_RUNTIME, RUN, Scripts};
use crate::s2i::{Artifact, ScriptsUrl, Where};

use super::super::context::Context;
use super::super::error::BuildError;
use super::base_image::{self, BaseImage};
use super::build_root::BuildRoot;
use super::commit::{Changes, S2iResult};
use super::copy::{Look, copy};
use super::error::S2iBuildError;
use super::finished::{finish, metadata_labels};
use super::plan::Plan;
use super::request::{S2iRequest, Source};
use super::run::{self, Job};
use super::scripts::{self, Places};

/// Where the runtime image wants scripts.
fn destination(request: &S2iRequest, runtime: &BaseImage) -> PathBuf {
    request
        .destination
        .clone()
        .or_else(|| runtime.labels.destination.clone())
        .unwrap_or_else(|| DEFAULT_DESTINATION.to_owned())
        .into()
}

/// The artifacts for the runtime image.
fn artifacts<'a>(
    request: &'a S2iRequest,
    builder: &'a BaseImage,
    runtime: &'a BaseImage,
) -> Result<&'a [Artifact], S2iBuildError> {
    [
        &request.runtime_artifacts,
        &runtime.labels.assemble_input_files,
        &builder.labels.assemble_input_files,
    ]
    .into_iter()
    .find(|list| !list.is_empty())
    .map(Vec::as_slice)
    .ok_or_else(|| S2iBuildError::NoArtifacts {
        image: runtime.reference.clone(),
    })
}

/// Finds the scripts for the runtime image; refuses a build whose image could not be started.
pub(super) fn scripts(
    request: &S2iRequest,
    source: &Source,
    builder: &BaseImage,
    runtime: &BaseImage,
) -> Result<Scripts, BuildError> {
    artifacts(request, builder, runtime)?;
    let places = Places::new(request, Some(&source.tree), runtime);
    let mut found = Scripts::new();
    if let Some(script) = places.find(ASSEMBLE_RUNTIME)? {
        found.insert(ASSEMBLE_RUNTIME.to_owned(), script);
    }
    // A runtime image may have the builder's scripts at the builder's place, and no label.
    let as_builder = match &builder.labels.scripts_url {
        Some(ScriptsUrl::Image(directory)) => {
            let path = format!("{directory}/{RUN}");
            matches!(
                runtime.merged().followed(Path::new(&path)),
                Ok(Seen::File(..))
            )
            .then_some(Where::Image(path))
        }
        _ => None,
    };
    if let Some(script) = places.find(RUN)?.or(as_builder) {
        found.insert(RUN.to_owned(), script);
    } else {
        let config = &runtime.image.config;
        if config.words("Cmd").is_empty() && config.words("Entrypoint").is_empty() {
            places.require(RUN)?;
        }
    }
    Ok(found)
}

/// The user of `assemble-runtime`, which `--allowed-uids` must allow.
pub(super) fn check_user<'a>(
    request: &'a S2iRequest,
    runtime: &'a BaseImage,
) -> Result<&'a str, S2iBuildError> {
    let user = request
        .assemble_runtime_user
        .as_deref()
        .or(runtime.labels.assemble_runtime_user.as_deref())
        .unwrap_or(runtime.image.config.user());
    base_image::check(
        request.allowed_uids.as_ref(),
        user,
        "the user of assemble-runtime",
    )?;
    Ok(user)
}

/// Copies the artifacts, runs `assemble-runtime`, and returns the resulting changes to the runtime image.
pub(super) fn assembled(
    plan: &Plan<'_>,
    runtime: &BaseImage,
    built: &BuildRoot,
    mut labels: Vec<(String, String)>,
) -> Result<S2iResult, BuildError> {
    let request = plan.request;
    let Context {
        store, progress, ..
    } = plan.context;
    let place = BuildRoot::new(store, runtime, "runtime")?;
    let user_name = check_user(request, runtime)?;
    let user = runtime.user(user_name, "the user of assemble-runtime")?;
    let cwd = runtime.working_dir();
    place.directory(&cwd, &user)?;
    for artifact in artifacts(request, plan.builder, runtime)? {
        take(
            artifact,
            plan.builder,
            built,
            &place,
            &cwd,
            &Look {
                owner: &user,
                mode: None,
            },
        )?;
    }
    let destination = destination(request, runtime);
    place.scripts(&destination, &plan.runtime_scripts, &user)?;
    if let Some(script) = plan.runtime_scripts.get(ASSEMBLE_RUNTIME) {
        let path = script.path(&destination.to_string_lossy(), ASSEMBLE_RUNTIME);
        let command = scripts::command(&path, script, &runtime.merged())?;
        scripts::announce(ASSEMBLE_RUNTIME, script, user.uid, progress);
        let image_env = runtime.image.config.env();
        Job {
            name: ASSEMBLE_RUNTIME,
            image: &runtime.reference,
            command,
            cwd,
            user: &user,
            env: run::variables(request, &image_env, &user, &plan.env, plan.time),
            lowers: &runtime.lowers,
            upper: place.upper.clone(),
            mounts: run::mounts(request)?,
        }
        .run(request, progress)?;
    }
    labels.extend(metadata_labels(&place)?);
    let changes = Changes {
        cmd: plan
            .runtime_scripts
            .get(RUN)
            .map(|run| vec![run.path(&destination.to_string_lossy(), RUN)]),
        env: plan.env.clone(),
        ..Changes::default()
    };
    finish(plan, runtime, &place, labels, changes)
}

/// Copies one artifact below the runtime image's working directory.
fn take(
    artifact: &Artifact,
    builder: &BaseImage,
    built: &BuildRoot,
    place: &BuildRoot,
    cwd: &Path,
    look: &Look<'_>,
) -> Result<(), S2iBuildError> {
    let tree = built.merged();
    let (source, contents) = match artifact.source.strip_suffix("/.") {
        Some(source) => (Path::new(source), true),
        None => (Path::new(artifact.source.as_str()), false),
    };
    let missing = || S2iBuildError::ArtifactMissing {
        path: artifact.source.clone(),
        image: builder.reference.clone(),
    };
    let failed = |error: std::io::Error| S2iBuildError::Artifact {
        path: artifact.source.clone(),
        problem: error.to_string(),
    };
    // The user names a file: a link of this name is followed, within the builder.
    let real = tree.resolve(source).map_err(failed)?;
    let directory = match tree.at(&real).map_err(failed)? {
        Seen::Nothing => return Err(missing()),
        Seen::Other | Seen::Link(..) => {
            return Err(failed(std::io::Error::other(
                "it is neither a file nor a directory",
            )));
        }
        Seen::Directory(..) => true,
        Seen::File(..) => false,
    };
    if contents && !directory {
        return Err(missing());
    }
    let target = cwd.join(&artifact.destination);
    let target = match source.file_name() {
        Some(name) if !contents => target.join(name),
        _ => target,
    };
    copy(&tree, &real, place, &target, look)
}
