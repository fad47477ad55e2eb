//! Copies files into a root under construction, from the merged tree of another root or from a
//! plain directory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::rootfs::{Merged, Seen, User};

use super::build_root::{BuildRoot, give};
use super::error::S2iBuildError;

/// Deepest tree that is copied.
const MAX_DEPTH: usize = 200;

/// Owner and modes of copies.
pub(super) struct Look<'a> {
    pub(super) owner: &'a User,
    /// The mode of files and directories. The default is 0755 for directories and executable files,
    /// and 0644 for other files.
    pub(super) mode: Option<u32>,
}

impl Look<'_> {
    fn of(&self, executable: bool) -> u32 {
        self.mode.unwrap_or(if executable { 0o755 } else { 0o644 })
    }
}

/// Copies what is at `from` to `to` (inside of `place`), links as links. Directories are merged with
/// existing ones; of a directory, its content is copied.
pub(super) fn copy(
    tree: &Merged<'_>,
    from: &Path,
    place: &BuildRoot,
    to: &Path,
    look: &Look<'_>,
) -> Result<(), S2iBuildError> {
    deep(tree, from, place, to, look, 0)
}

fn deep(
    tree: &Merged<'_>,
    from: &Path,
    place: &BuildRoot,
    to: &Path,
    look: &Look<'_>,
    depth: usize,
) -> Result<(), S2iBuildError> {
    let failed = |error| S2iBuildError::io("copy", from, error);
    if depth > MAX_DEPTH {
        return Err(failed(io::Error::other("it is nested too deep")));
    }
    match tree.at(from).map_err(failed)? {
        Seen::Directory(..) => {
            place.directory(to, look.owner)?;
            for name in tree.names(from).map_err(failed)? {
                deep(
                    tree,
                    &from.join(&name),
                    place,
                    &to.join(&name),
                    look,
                    depth + 1,
                )?;
            }
            Ok(())
        }
        Seen::File(source, metadata) => {
            let target = free(place, to, look)?;
            let mode = look.of(metadata.mode() & 0o100 != 0);
            file(&source, &target, mode).map_err(failed)?;
            give(&target, look.owner)?;
            fs::set_permissions(&target, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .map_err(failed)
        }
        Seen::Link(link, _) => {
            let target = free(place, to, look)?;
            symlink(link, &target).map_err(failed)?;
            give(&target, look.owner)
        }
        // Sockets, pipes and devices do not belong in a layer.
        Seen::Other | Seen::Nothing => Ok(()),
    }
}

/// The path on disk for a new file; the name is free.
fn free(place: &BuildRoot, to: &Path, look: &Look<'_>) -> Result<PathBuf, S2iBuildError> {
    let name = to.file_name().unwrap_or_default();
    let parent = place.directory(to.parent().unwrap_or(Path::new("/")), look.owner)?;
    let target = parent.join(name);
    match fs::symlink_metadata(&target) {
        Err(_) => Ok(target),
        Ok(metadata) if metadata.is_dir() => Err(S2iBuildError::io(
            "replace",
            to,
            io::Error::other("it is a directory, and a file was to be there"),
        )),
        Ok(_) => {
            fs::remove_file(&target).map_err(|error| S2iBuildError::io("replace", to, error))?;
            Ok(target)
        }
    }
}

fn file(source: &Path, target: &Path, mode: u32) -> io::Result<()> {
    let mut from = File::open(source)?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode & 0o600)
        .open(target)?;
    io::copy(&mut from, &mut to)?;
    Ok(())
}
