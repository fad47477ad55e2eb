//! Directories for a sandbox to write to.

use std::path::Path;

use crate::builder::{APP_GID, APP_UID};
use crate::sandbox::{IdMode, Upper};
use crate::store::Scratch;

use super::error::BuildError;
use super::tree::make_directory;

/// An empty upper directory and its work directory.
pub(super) fn overlay(scratch: &Scratch, name: &str) -> Result<Upper, BuildError> {
    let place = scratch.path().join(name);
    let upper = Upper {
        upper: place.join("upper"),
        work: place.join("work"),
    };
    make_directory(&upper.upper)?;
    make_directory(&upper.work)?;
    Ok(upper)
}

/// The same, writable for the command's user.
pub(super) fn overlay_owned(
    scratch: &Scratch,
    name: &str,
    mode: IdMode,
) -> Result<Upper, BuildError> {
    let upper = overlay(scratch, name)?;
    give_to_app(&upper.upper, mode)?;
    Ok(upper)
}

/// Gives a directory to the command's user.
pub(super) fn give_to_app(path: &Path, mode: IdMode) -> Result<(), BuildError> {
    if mode.chown_allowed() {
        std::os::unix::fs::chown(path, Some(APP_UID), Some(APP_GID)).map_err(|source| {
            BuildError::Write {
                path: path.to_owned(),
                source,
            }
        })?;
    }
    Ok(())
}
