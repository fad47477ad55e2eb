//! Restores the output of the previous image's `save-artifacts` for the next build. If anything
//! fails, the build starts clean and says why: there is never an empty or half-restored
//! directory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::layer::remove_tree;
use crate::s2i::Where;
use crate::s2i::artifacts;
use crate::s2i::scripts::SAVE_ARTIFACTS;
use crate::store::Image;

use super::super::context::Context;
use super::super::error::BuildError;
use super::base_image::{self, BaseImage};
use super::build_root::BuildRoot;
use super::error::S2iBuildError;
use super::plan::Plan;
use super::request::PullPolicy;
use super::run::{self, Job};
use super::scripts::{self, Places};

/// Artifacts that were restored: a directory on disk, to be moved into the new root.
pub(super) struct Artifacts {
    pub(super) directory: PathBuf,
    /// Holds the directory.
    _place: BuildRoot,
}

/// The previous image, if there is one.
fn previous(plan: &Plan<'_>) -> Result<Option<(String, Image)>, BuildError> {
    let request = plan.request;
    let Context {
        store, progress, ..
    } = plan.context;
    let name = request
        .previous
        .clone()
        .unwrap_or_else(|| request.common.name.as_given().to_owned());
    if request.pull.previous != PullPolicy::Always
        && let Some(image) = store.image(&name)?
    {
        return Ok(Some((name, image)));
    }
    // A name without a registry is a name in this store.
    let elsewhere = name
        .parse::<crate::oci::Reference>()
        .is_ok_and(|reference| reference.has_host());
    if request.pull.previous == PullPolicy::Never || !elsewhere {
        return Ok(None);
    }
    Ok(Some((
        name.clone(),
        base_image::fetch(store, &name, PullPolicy::Always, progress)?,
    )))
}

/// The result of `save-artifacts`.
enum Saved {
    Artifacts(Artifacts),
    /// Why there are no artifacts.
    Nothing(String),
}

/// Restores artifacts; `None` if there are none, after printing the reason.
pub(super) fn restore(plan: &Plan<'_>) -> Result<Option<Artifacts>, BuildError> {
    let clean = |reason: String| {
        let text = format!("a clean build: {reason}");
        plan.context.progress.warning(&text);
        Ok(None)
    };
    let (name, image) = match previous(plan) {
        Ok(Some(found)) => found,
        Ok(None) => return clean("there is no previous image".into()),
        Err(BuildError::Interrupted) => return Err(BuildError::Interrupted),
        Err(error) => return clean(format!("the previous image could not be fetched: {error}")),
    };
    match saved(plan, &name, image) {
        Ok(Saved::Artifacts(artifacts)) => Ok(Some(artifacts)),
        Ok(Saved::Nothing(reason)) => clean(reason),
        Err(BuildError::Interrupted) => Err(BuildError::Interrupted),
        Err(error) => clean(error.to_string()),
    }
}

/// Runs `save-artifacts`.
fn saved(plan: &Plan<'_>, name: &str, image: Image) -> Result<Saved, BuildError> {
    let Plan {
        context,
        request,
        source,
        ..
    } = *plan;
    let Context {
        store, progress, ..
    } = context;
    let destination = plan.destination.as_path();
    let on = BaseImage::new(store, name, image)?;
    // A previous image cannot cause a download.
    let places = Places::new(request, Some(&source.tree), &on).without_the_web();
    let Some(script) = places.find(SAVE_ARTIFACTS)? else {
        return Ok(Saved::Nothing(format!(
            "`{name}` has no {SAVE_ARTIFACTS} script"
        )));
    };
    let user = request
        .assemble_user
        .as_deref()
        .unwrap_or(on.image.config.user());
    base_image::check(
        request.allowed_uids.as_ref(),
        user,
        &format!("the user of {SAVE_ARTIFACTS} in `{name}`"),
    )?;
    let user = on.user(user, "the user of save-artifacts")?;
    let place = BuildRoot::new(store, &on, "artifacts")?;
    let path = script.path(&destination.to_string_lossy(), SAVE_ARTIFACTS);
    let command = scripts::command(&path, &script, &on.merged())?;
    if let Where::External { .. } = &script {
        let only = [(SAVE_ARTIFACTS.to_owned(), script.clone())].into();
        place.scripts(destination, &only, &user)?;
    }
    let cwd = on.working_dir();
    place.directory(&cwd, &user)?;
    let directory = place.aside("artifacts")?;
    scripts::announce(SAVE_ARTIFACTS, &script, user.uid, progress);
    let job = Job {
        name: SAVE_ARTIFACTS,
        image: name,
        command,
        cwd,
        user: &user,
        env: run::variables(request, &on.image.config.env(), &user, &[], plan.time),
        lowers: &on.lowers,
        upper: place.upper.clone(),
        mounts: run::mounts(request)?,
    };
    let (unpacked, ended) =
        job.read(request, progress, |tar| artifacts::unpack(tar, &directory))?;
    let failed = match (ended, unpacked) {
        (Err(BuildError::Interrupted), _) => return Err(BuildError::Interrupted),
        (Ok(()), Ok(0)) => format!("{SAVE_ARTIFACTS} of `{name}` saved nothing"),
        (Ok(()), Ok(_)) => {
            return Ok(Saved::Artifacts(Artifacts {
                directory,
                _place: place,
            }));
        }
        // The closed pipe may have stopped the script: the archive's error comes first.
        (_, Err(error)) => {
            format!(
                "what {SAVE_ARTIFACTS} of `{name}` printed is not an archive that can be used: {error}"
            )
        }
        (Err(error), _) => error.to_string(),
    };
    remove_tree(&directory)?;
    Ok(Saved::Nothing(failed))
}

impl Artifacts {
    /// Moves them to `DESTINATION/artifacts` of the new root.
    pub(super) fn put(
        &self,
        place: &BuildRoot,
        destination: &Path,
        owner: &crate::rootfs::User,
    ) -> Result<(), S2iBuildError> {
        let parent = place.directory(destination, owner)?;
        let target = parent.join("artifacts");
        super::build_root::give_all(&self.directory, owner)?;
        fs::rename(&self.directory, &target)
            .map_err(|error| S2iBuildError::io("move the artifacts to", target, error))
    }
}
