//! `usage`: what a builder image says about itself.

use std::path::Path;

use crate::progress::Progress;
use crate::s2i::scripts::USAGE;
use crate::store::Store;

use super::super::BuildError;
use super::base_image::{self, BaseImage};
use super::build_root::BuildRoot;
use super::error::S2iBuildError;
use super::run::{self, Job};
use super::scripts::{self, Places};
use super::{S2iRequest, download};

/// Most bytes that are shown.
const MAX: u64 = 1024 * 1024;

/// Runs the `usage` script of the request's builder; returns its output.
///
/// To be called in a process that may mount and chown (`sandbox::enter`).
pub fn usage(
    store: &Store,
    request: &S2iRequest,
    progress: &dyn Progress,
) -> Result<Vec<u8>, BuildError> {
    let _in_use = store.lock_shared()?;
    let reference = request
        .common
        .builder
        .as_deref()
        .ok_or(S2iBuildError::NoBuilder)?;
    let image = base_image::fetch(store, reference, request.pull.builder, progress)?;
    let on = BaseImage::new(store, reference, image)?;
    let places = Places::new(request, None, &on);
    if let Some((url, word)) = places.given {
        download::must_have_some(request, url, word)?;
    }
    let script = places.require(USAGE)?;
    places.say_without_label([&script], progress);
    let place = BuildRoot::new(store, &on, "usage")?;
    let user = on.user(on.image.config.user(), "USER")?;
    let destination = "/tmp";
    place.scripts(
        Path::new(destination),
        &[(USAGE.to_owned(), script.clone())].into(),
        &user,
    )?;
    let path = script.path(destination, USAGE);
    let cwd = on.working_dir();
    place.directory(&cwd, &user)?;
    let (said, outcome) = Job {
        name: USAGE,
        image: reference,
        command: scripts::command(&path, &script, &on.merged())?,
        cwd,
        user: &user,
        env: run::variables(request, &on.image.config.env(), &user, &[], 0),
        lowers: &on.lowers,
        upper: place.upper.clone(),
        mounts: run::mounts(request)?,
    }
    .read(request, progress, |mut stdout| {
        use std::io::Read;
        let mut said = Vec::new();
        let _ = Read::by_ref(&mut stdout).take(MAX).read_to_end(&mut said);
        // The rest is read and thrown away, so that the script can end.
        let _ = std::io::copy(&mut stdout, &mut std::io::sink());
        said
    })?;
    outcome?;
    Ok(said)
}
