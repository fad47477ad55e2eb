//! A root file system under construction: attaches mounts to their places. `mounts` and `device` decide
//! which mounts there are.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::attach::{SAFE, attach, clone_mount, set_attributes};
use super::error::{Doing, Failure};
use super::mount_points::{Staging, is_directory, make_path, open_beneath, resolve_missing};

/// The root under construction.
pub(super) struct Builder {
    pub(super) root: OwnedFd,
    pub(super) staging: Staging,
    /// Device numbers of our own tmpfs mounts: mount points may be made there.
    tmpfs: Vec<u64>,
}

impl Builder {
    pub(super) fn new(root: OwnedFd, staging: Staging) -> Self {
        Self {
            root,
            staging,
            tmpfs: Vec::new(),
        }
    }

    pub(super) fn remember_tmpfs(&mut self, mount: &OwnedFd) -> Result<(), Failure> {
        let stat = rustix::fs::fstat(mount).doing("looking at a tmpfs")?;
        self.tmpfs.push(stat.st_dev);
        Ok(())
    }

    /// The mount point; made if it is missing and its parent is on one of our tmpfs.
    pub(super) fn place(&self, target: &Path, directory: bool) -> Result<OwnedFd, Failure> {
        let place = match open_beneath(&self.root, target) {
            Err(Errno::NOENT) => {
                self.make_on_tmpfs(target, directory)?;
                open_beneath(&self.root, target)
            }
            other => other,
        }
        .doing_at("finding the mount point", target)?;
        if is_directory(&place)? != directory {
            let (is, wants) = if directory {
                ("a file", "a directory")
            } else {
                ("a directory", "a file")
            };
            return Err(Failure::new(format!("mounting {wants} on {is},")).at(target));
        }
        Ok(place)
    }

    fn make_on_tmpfs(&self, target: &Path, directory: bool) -> Result<(), Failure> {
        let place = resolve_missing(&self.root, target)?;
        // The deepest existing directory.
        for parent in place.ancestors().skip(1) {
            let Ok(fd) = open_beneath(&self.root, parent) else {
                continue;
            };
            let stat = rustix::fs::fstat(&fd).doing_at("looking at", parent)?;
            if !self.tmpfs.contains(&stat.st_dev) {
                return Err(Failure::new("making the mount point")
                    .at(target)
                    .remedy(format!(
                        "{} is a mount where nothing may be made",
                        parent.display()
                    )));
            }
            let rest = place.strip_prefix(parent).unwrap_or(&place);
            return make_path(&fd, rest, directory);
        }
        Err(Errno::NOENT).doing_at("making the mount point", target)
    }

    /// Covers an existing path; does nothing if it is missing.
    pub(super) fn cover(
        &self,
        target: &Path,
        file: impl FnOnce() -> Result<OwnedFd, Failure>,
    ) -> Result<(), Failure> {
        let Ok(place) = open_beneath(&self.root, target) else {
            return Ok(());
        };
        let cover = if is_directory(&place)? {
            self.staging.empty()?
        } else {
            file()?
        };
        attach(&cover, &place).doing_at("masking", target)
    }

    /// Makes an existing path read-only.
    pub(super) fn read_only(&self, target: &Path) -> Result<(), Failure> {
        let Ok(place) = open_beneath(&self.root, target) else {
            return Ok(());
        };
        let copy = clone_mount(&place, true)?;
        set_attributes(
            &copy,
            SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY,
        )?;
        attach(&copy, &place).doing_at("making read-only", target)
    }
}
