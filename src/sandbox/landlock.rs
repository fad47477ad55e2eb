//! Landlock (kernel, `Documentation/userspace-api/landlock.rst`): rules by which a process restricts
//! itself and all processes that it starts, without any privilege.
//!
//! The version of the interface decides what can be fenced: files from 1 on, renames across directories
//! from 2, truncation from 3, TCP ports from 4, devices from 5, abstract sockets and signals from 6.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::error::{Doing, Failure};

/// Before this version, a read-only file can be truncated.
pub(super) const LEAST: i64 = 3;

/// Rights on files (`linux/landlock.h`).
mod files {
    pub(super) const EXECUTE: u64 = 1;
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    /// Of the first version.
    pub(super) const FIRST: u64 = (1 << 13) - 1;
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(super) const IOCTL_DEVICE: u64 = 1 << 15;
}

const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;
const SCOPE_ABSTRACT_SOCKETS: u64 = 1;
const SCOPE_SIGNALS: u64 = 1 << 1;

const RULE_PATH: i32 = 1;
const RULE_PORT: i32 = 2;

#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// The kernel's struct has no padding.
#[repr(C, packed)]
struct PathRule {
    allowed_access: u64,
    parent: i32,
}

#[repr(C)]
struct PortRule {
    allowed_access: u64,
    port: u64,
}

/// What a fenced process may reach.
pub(super) struct Fence<'a> {
    /// Read and executed.
    pub(super) readable: &'a [std::path::PathBuf],
    /// Everything except device operations.
    pub(super) writable: &'a [std::path::PathBuf],
    /// TCP connections; `None` leaves them free.
    pub(super) ports: Option<&'a [u16]>,
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The version of the interface, 0 without Landlock.
pub(super) fn version() -> i64 {
    // SAFETY: with LANDLOCK_CREATE_RULESET_VERSION the call only returns a number.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            1_u32,
        )
    }
    .max(0)
}

/// Fences the process off from abstract Unix sockets of processes outside (version 6, Linux 6.12).
/// `false` where the kernel cannot.
pub(super) fn abstract_sockets() -> io::Result<bool> {
    if version() < 6 {
        return Ok(false);
    }
    let ruleset = ruleset(&RulesetAttributes {
        handled_access_fs: 0,
        handled_access_net: 0,
        scoped: SCOPE_ABSTRACT_SOCKETS,
    })?;
    restrict(&ruleset)?;
    Ok(true)
}

/// Lays the fence around this process, which has `no_new_privs` set. Missing paths are outside the
/// fence.
pub(super) fn raise(fence: &Fence<'_>) -> Result<(), Failure> {
    let version = version();
    if version < LEAST {
        return Err(Failure::new(format!(
            "this kernel has no Landlock of version {LEAST} or later (it has {version})"
        )));
    }
    let mut all = files::FIRST | files::REFER | files::TRUNCATE;
    if version >= 5 {
        all |= files::IOCTL_DEVICE;
    }
    let net = if version >= 4 && fence.ports.is_some() {
        BIND_TCP | CONNECT_TCP
    } else {
        0
    };
    let scoped = if version >= 6 {
        SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS
    } else {
        0
    };
    let ruleset = ruleset(&RulesetAttributes {
        handled_access_fs: all,
        handled_access_net: net,
        scoped,
    })
    .doing("making a Landlock ruleset")?;
    let read = files::EXECUTE | files::READ_FILE | files::READ_DIR;
    for path in fence.readable {
        add_path(&ruleset, path, read)?;
    }
    for path in fence.writable {
        add_path(&ruleset, path, all & !files::IOCTL_DEVICE)?;
    }
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        let rights = files::READ_FILE | files::WRITE_FILE | (all & files::IOCTL_DEVICE);
        add_path(&ruleset, &Path::new("/dev").join(device), rights)?;
    }
    if net != 0 {
        for port in fence.ports.unwrap_or_default() {
            let rule = PortRule {
                allowed_access: CONNECT_TCP,
                port: u64::from(*port),
            };
            add(&ruleset, RULE_PORT, (&raw const rule).cast()).doing("allowing a port")?;
        }
        // A port that the kernel chooses: the application's own tests may listen on one.
        let rule = PortRule {
            allowed_access: BIND_TCP,
            port: 0,
        };
        add(&ruleset, RULE_PORT, (&raw const rule).cast()).doing("allowing a port")?;
    }
    restrict(&ruleset).doing("fencing the command by Landlock")
}

fn ruleset(attributes: &RulesetAttributes) -> io::Result<OwnedFd> {
    // SAFETY: a struct of the size that is given; the result is a new descriptor.
    let ruleset = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const *attributes,
            size_of::<RulesetAttributes>(),
            0,
        )
    })?;
    let ruleset = RawFd::try_from(ruleset).map_err(io::Error::other)?;
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(ruleset) })
}

/// Allows a file, or everything below a directory. A missing or unreadable path is not allowed.
fn add_path(ruleset: &OwnedFd, path: &Path, rights: u64) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(opened) = rustix::fs::open(path, flags, Mode::empty()) else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&opened).doing_at("looking at", path)?;
    // Rights about the entries of a directory are not valid for a file, and are refused.
    let of_files = files::EXECUTE
        | files::WRITE_FILE
        | files::READ_FILE
        | files::TRUNCATE
        | files::IOCTL_DEVICE;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let rule = PathRule {
        allowed_access: if is_directory {
            rights
        } else {
            rights & of_files
        },
        parent: opened.as_raw_fd(),
    };
    add(ruleset, RULE_PATH, (&raw const rule).cast()).doing_at("allowing", path)
}

fn add(ruleset: &OwnedFd, kind: i32, rule: *const u8) -> io::Result<()> {
    // SAFETY: the callers give a rule of the kind that they name, which outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            kind,
            rule,
            0_u32,
        )
    })
    .map(|_| ())
}

fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: takes a descriptor and a flag.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(|_| ())
}
