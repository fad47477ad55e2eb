//! A root file system under construction: an upper directory above an image's layers.
//!
//! Uploaded files go into the upper directory itself. So `rm -rf /tmp/src` leaves no whiteout, `mv
//! /tmp/src/. .` is a rename, and the remaining files are in the layer, as if a tar had been
//! unpacked in the container; but this needs no program of the image.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::layer::remove_tree;
use crate::rootfs::{Merged, Seen, User};
use crate::s2i::Where;
use crate::s2i::scripts::Scripts;
use crate::sandbox::{IdMode, Upper};
use crate::store::{Scratch, Store};

use super::super::BuildError;
use super::super::overlay::overlay;
use super::base_image::BaseImage;
use super::error::S2iBuildError;

pub(super) struct BuildRoot {
    pub(super) upper: Upper,
    /// The upper directory above the image's layers, the uppermost first.
    pub(super) layers: Vec<PathBuf>,
    image: String,
    scratch: Scratch,
}

impl BuildRoot {
    pub(super) fn new(store: &Store, on: &BaseImage, name: &str) -> Result<Self, BuildError> {
        let scratch = store.scratch(name)?;
        let upper = overlay(&scratch, "root")?;
        let mut layers = vec![upper.upper.clone()];
        layers.extend(on.lowers.iter().cloned());
        let place = Self {
            upper,
            layers,
            image: on.reference.clone(),
            scratch,
        };
        // Overlayfs shows the root as its uppermost layer has it.
        Self::look_like(&place.upper.upper, on.merged().at(Path::new("/")))?;
        Ok(place)
    }

    pub(super) fn merged(&self) -> Merged<'_> {
        Merged(&self.layers)
    }

    /// A directory for what is not part of the root.
    pub(super) fn aside(&self, name: &str) -> Result<PathBuf, S2iBuildError> {
        let path = self.scratch.path().join(name);
        make(&path, 0o755)?;
        Ok(path)
    }

    /// The directory `path` (inside), made if it is missing; returns its path in the upper
    /// directory. New directories belong to `owner`.
    pub(super) fn directory(&self, path: &Path, owner: &User) -> Result<PathBuf, S2iBuildError> {
        self.directory_for_now(path, owner, &mut MadeForNow::default())
    }

    /// The same; also returns the directories that were missing.
    pub(super) fn directory_for_now(
        &self,
        path: &Path,
        owner: &User,
        made: &mut MadeForNow,
    ) -> Result<PathBuf, S2iBuildError> {
        let wrong = || S2iBuildError::NotADirectory {
            image: self.image.clone(),
            path: path.to_owned(),
        };
        let merged = self.merged();
        let real = merged
            .resolve(path)
            .map_err(|error| S2iBuildError::io("look up", path, error))?;
        let mut inside = PathBuf::from("/");
        let mut on_disk = self.upper.upper.clone();
        for part in real.components() {
            let Component::Normal(name) = part else {
                continue;
            };
            inside.push(name);
            on_disk.push(name);
            let seen = merged
                .at(&inside)
                .map_err(|error| S2iBuildError::io("look up", &inside, error))?;
            match seen {
                // Here already.
                Seen::Directory(at, _) if at == on_disk => {}
                Seen::Directory(..) => {
                    make(&on_disk, 0o700)?;
                    Self::look_like(&on_disk, Ok(seen))?;
                }
                Seen::Nothing => {
                    make(&on_disk, 0o755)?;
                    give(&on_disk, owner)?;
                    made.0.push(on_disk.clone());
                }
                _ => return Err(wrong()),
            }
        }
        Ok(on_disk)
    }

    /// A new empty directory below an existing one of the upper directory, replacing what a trigger
    /// has put there. The image's own entry is merged if it is a directory, and hidden otherwise.
    pub(super) fn child(
        parent: &Path,
        name: &str,
        owner: &User,
        mode: u32,
    ) -> Result<PathBuf, S2iBuildError> {
        let path = parent.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            remove_tree(&path)
                .map_err(|error| S2iBuildError::io("replace", &path, io::Error::other(error)))?;
        }
        make(&path, mode)?;
        give(&path, owner)?;
        Ok(path)
    }

    /// Puts the scripts that are not in the image at `DESTINATION/scripts`.
    pub(super) fn scripts(
        &self,
        destination: &Path,
        scripts: &Scripts,
        owner: &User,
    ) -> Result<(), S2iBuildError> {
        let external: Vec<(&String, &Vec<u8>)> = scripts
            .iter()
            .filter_map(|(name, script)| match script {
                Where::External { content, .. } => Some((name, content)),
                Where::Image(_) => None,
            })
            .collect();
        if external.is_empty() {
            return Ok(());
        }
        let parent = self.directory(destination, owner)?;
        let directory = Self::child(&parent, "scripts", owner, 0o755)?;
        for (name, content) in external {
            write(&directory.join(name), content, 0o755, owner)?;
        }
        Ok(())
    }

    /// Gives a directory in the upper directory the owner and mode of the image's directory.
    fn look_like(path: &Path, seen: io::Result<Seen>) -> Result<(), S2iBuildError> {
        let failed = |error| S2iBuildError::io("prepare", path, error);
        let Seen::Directory(_, metadata) = seen.map_err(failed)? else {
            return Ok(());
        };
        if IdMode::current().chown_allowed() {
            std::os::unix::fs::chown(path, Some(metadata.uid()), Some(metadata.gid()))
                .map_err(failed)?;
        }
        let mode = fs::Permissions::from_mode(metadata.mode() & 0o7777);
        fs::set_permissions(path, mode).map_err(failed)
    }
}

/// Directories that exist only while a script runs, parents first.
#[derive(Debug, Default)]
pub(super) struct MadeForNow(Vec<PathBuf>);

impl MadeForNow {
    /// Removes the directories that the script left empty.
    pub(super) fn remove_empty(&self) {
        for path in self.0.iter().rev() {
            // A directory with content belongs to the script, and stays.
            let _ = fs::remove_dir(path);
        }
    }
}

/// Makes a directory with exactly this mode.
pub(super) fn make(path: &Path, mode: u32) -> Result<(), S2iBuildError> {
    let failed = |error| S2iBuildError::io("make the directory", path, error);
    DirBuilder::new().mode(mode).create(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Changes the owner, if this process may; a link is not followed.
pub(super) fn give(path: &Path, owner: &User) -> Result<(), S2iBuildError> {
    if IdMode::current().chown_allowed() {
        std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid))
            .map_err(|error| S2iBuildError::io("give away", path, error))?;
    }
    Ok(())
}

/// Changes the owner of a tree that no other process writes to.
pub(super) fn give_all(path: &Path, owner: &User) -> Result<(), S2iBuildError> {
    let failed = |error| S2iBuildError::io("give away", path, error);
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        give(&path, owner)?;
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        if metadata.is_dir() {
            for child in fs::read_dir(&path).map_err(failed)? {
                pending.push(child.map_err(failed)?.path());
            }
        } else if metadata.is_file() && metadata.mode() & 0o7000 != 0 {
            let mode = fs::Permissions::from_mode(metadata.mode() & 0o777);
            fs::set_permissions(&path, mode).map_err(failed)?;
        }
    }
    Ok(())
}

/// Writes a new file with exactly this mode.
pub(super) fn write(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: &User,
) -> Result<(), S2iBuildError> {
    let failed = |error| S2iBuildError::io("write", path, error);
    fs::write(path, content).map_err(failed)?;
    give(path, owner)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}
