//! Puts owner, attributes, mode and time upon what was just unpacked.
//!
//! In this order, because chown clears setuid bits and file capabilities. Directories' times come
//! at the very end of an archive, when nothing is put into them any more.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::LayerError;
use super::apply_options::ApplyOptions;
use super::error::quoted;
use super::member::{Member, MemberKind};
use super::xattr::{Class, classify, is_capability};

/// Times that file systems can store.
const TIMES: std::ops::RangeInclusive<i64> = -0x8000_0000..=0x3_7fff_ffff;

/// Owner, attributes and mode of an open file or directory. Gives what was left out, and why.
pub(super) fn set(
    fd: &OwnedFd,
    member: &Member,
    path: &Path,
    options: &ApplyOptions,
) -> Result<Vec<String>, LayerError> {
    if options.ownership {
        let (uid, gid) = (Uid::from_raw(member.uid), Gid::from_raw(member.gid));
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(|error| owner(error, member, path))?;
    }
    let left_out = attributes(member, path, options, &|name, value| {
        rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())
    })?;
    let more = match (options.ownership, &member.kind) {
        (true, _) => 0,
        (false, MemberKind::Directory) => 0o700,
        (false, _) => 0o400,
    };
    rustix::fs::fchmod(fd, Mode::from_raw_mode(member.mode | more))
        .map_err(|error| LayerError::io("set the mode of", path, error))?;
    Ok(left_out)
}

/// The same, and the time, for what cannot be opened: a link, pipe or device that was just made.
pub(super) fn set_by_name(
    parent: &OwnedFd,
    name: &OsStr,
    member: &Member,
    path: &Path,
    options: &ApplyOptions,
) -> Result<Vec<String>, LayerError> {
    if options.ownership {
        rustix::fs::chownat(
            parent,
            name,
            Some(Uid::from_raw(member.uid)),
            Some(Gid::from_raw(member.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|error| owner(error, member, path))?;
    }
    let mut left_out = Vec::new();
    if !member.xattrs.is_empty() {
        // There is no lsetxattrat before Linux 6.13; the magic link names the very directory.
        let mut by_handle = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
        by_handle.push(name);
        left_out = attributes(member, path, options, &|name, value| {
            rustix::fs::lsetxattr(&by_handle, name, value, XattrFlags::empty())
        })?;
    }
    if !matches!(member.kind, MemberKind::Symlink(_)) {
        // Follows links, but this is the pipe or device of a moment ago.
        let mode = Mode::from_raw_mode(member.mode);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
            .map_err(|error| LayerError::io("set the mode of", path, error))?;
    }
    let times = times(member.mtime, member.nanos);
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| LayerError::io("set the time of", path, error))?;
    Ok(left_out)
}

/// Access and modification time, as near as a file system can have them.
pub(super) fn times(seconds: i64, nanos: u32) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds.clamp(*TIMES.start(), *TIMES.end()),
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// In a user namespace the kernel knows only the ids of its map.
fn owner(error: Errno, member: &Member, path: &Path) -> LayerError {
    if error == Errno::INVAL {
        let (uid, gid) = (member.uid, member.gid);
        let problem = format!(
            "its owner {uid}:{gid} is outside this user namespace's id map: a larger range in \
             /etc/subuid and /etc/subgid is needed"
        );
        return LayerError::refused(path, problem);
    }
    LayerError::io("change the owner of", path, error)
}

/// Sets one attribute of something that was just made.
type SetAttribute<'a> = dyn Fn(&OsStr, &[u8]) -> Result<(), Errno> + 'a;

fn attributes(
    member: &Member,
    path: &Path,
    options: &ApplyOptions,
    set: &SetAttribute<'_>,
) -> Result<Vec<String>, LayerError> {
    let mut left_out = Vec::new();
    for (name, value) in &member.xattrs {
        let reason = match classify(name) {
            Class::Overlay => "belongs to overlayfs",
            Class::Foreign => "belongs to the machine that it comes from",
            Class::Capability if !options.ownership => "needs root",
            Class::Capability if !is_capability(value) => "has a value that Linux does not take",
            Class::Capability | Class::User => match set(name, value) {
                Ok(()) => continue,
                // user.* is for files and directories only; some file systems have none.
                Err(Errno::OPNOTSUPP | Errno::PERM) => "cannot be set here",
                Err(error) => return Err(LayerError::io("set an attribute of", path, error)),
            },
        };
        left_out.push(format!("its attribute {} {reason}", quoted(name)));
    }
    Ok(left_out)
}
