//! The new mount interface, in four operations: make a file system, copy a mount, restrict it, attach it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use super::error::{Doing, Failure};
use super::sys;

/// The attributes of every mount: setuid bits and device nodes of an image have no effect.
pub(super) const SAFE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Makes a mount of a file system by its name and options; detached.
pub(super) fn new_mount(
    name: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let doing = format!("making a file system of type {name}");
    let context = rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).doing(&doing)?;
    let _ = rustix::mount::fsconfig_set_string(&context, "source", name);
    for (option, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *option)
        } else {
            rustix::mount::fsconfig_set_string(&context, *option, *value)
        }
        .doing(&doing)?;
    }
    rustix::mount::fsconfig_create(&context).doing(&doing)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(&doing)
}

/// Attaches a detached mount to a descriptor's file or directory.
pub(super) fn attach(mount: impl AsFd, place: impl AsFd) -> rustix::io::Result<()> {
    rustix::mount::move_mount(
        mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// A detached copy of the mount at a descriptor.
pub(super) fn clone_mount(of: impl AsFd, recursive: bool) -> Result<OwnedFd, Failure> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(of, "", flags).doing("copying a mount")
}

pub(super) fn set_attributes(mount: &OwnedFd, attributes: MountAttrFlags) -> Result<(), Failure> {
    sys::mount_setattr(
        mount,
        true,
        attributes,
        Some(MountPropagationFlags::PRIVATE),
    )
    .map_err(|error| {
        let missing = error.raw_os_error() == Some(libc::ENOSYS);
        let failure = Failure::new("restricting a mount").errno(error);
        if missing {
            failure.remedy("this needs Linux 5.12 or newer")
        } else {
            failure
        }
    })
}
