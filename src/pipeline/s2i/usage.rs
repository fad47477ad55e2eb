//! `usage`: what a builder image says of itself.

use std::path::Path;

use crate::progress::Progress;
use crate::s2i::scripts::USAGE;
use crate::store::Store;

use super::super::BuildError;
use super::error::S2iBuildError;
use super::image::{self, Ground};
use super::place::Place;
use super::run::{self, Job};
use super::scripts::{self, Places};
use super::{Request, download};

/// Most that is shown.
const MAX: u64 = 1024 * 1024;

/// Runs the `usage` script of the request's builder; gives what it prints.
///
/// To be called in a process that may mount and chown (`sandbox::enter`).
pub fn usage(
    store: &Store,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Vec<u8>, BuildError> {
    let _in_use = store.lock_shared()?;
    let reference = request
        .common
        .builder
        .as_deref()
        .ok_or(S2iBuildError::NoBuilder)?;
    let image = image::fetch(store, reference, request.pull.builder, progress)?;
    let ground = Ground::new(store, reference, image)?;
    if let Some(url) = &request.scripts_url {
        download::must_have_some(url)?;
    }
    let script = Places {
        given: request.scripts_url.as_ref(),
        source: None,
        image: ground
            .labels
            .scripts_url
            .as_ref()
            .or(request.image_scripts_url.as_ref()),
        files: ground.merged(),
    }
    .require(USAGE)?;
    let place = Place::new(store, &ground, "usage")?;
    let user = ground.user(ground.image.config.user(), "USER")?;
    let destination = "/tmp";
    place.scripts(
        Path::new(destination),
        &[(USAGE.to_owned(), script.clone())].into(),
        &user,
    )?;
    let path = script.path(destination, USAGE);
    let cwd = ground.working_dir();
    place.directory(&cwd, &user)?;
    let (said, outcome) = Job {
        name: USAGE,
        image: reference,
        command: scripts::command(&path, &script, &ground.merged())?,
        cwd,
        user: &user,
        env: run::variables(request, &ground.image.config.env(), &user, &[], 0),
        lowers: &ground.lowers,
        upper: place.upper.clone(),
        mounts: run::mounts(request)?,
    }
    .read(request, progress, |mut stdout| {
        use std::io::Read;
        let mut said = Vec::new();
        let _ = Read::by_ref(&mut stdout).take(MAX).read_to_end(&mut said);
        // The rest is read and not kept, so that the script can end.
        let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        said
    })?;
    outcome?;
    Ok(said)
}
