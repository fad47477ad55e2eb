//! Mounts overlays with any number of layers and any length and characters of their paths.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountFlags};

use super::attach::{SAFE, attach};
use super::error::{Doing, Failure};

/// Options of an overlay without a value.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    /// Its attributes are `user.*`, which a user namespace may write.
    pub(super) userxattr: bool,
    /// It never waits for the disk.
    pub(super) volatile: bool,
}

impl Flags {
    fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [(self.userxattr, "userxattr"), (self.volatile, "volatile")];
        all.into_iter()
            .filter_map(|(set, name)| set.then_some(name))
    }
}

/// Mounts an overlay on a directory. Layers are named by descriptor (`12` in `/proc/self/fd`), so
/// that neither their number nor odd characters nor the length of their paths matter: the kernel
/// takes 500 layers, 255 bytes each by `lowerdir+` and 4095 bytes altogether by mount(2).
pub(super) fn mount(
    lowers: &[BorrowedFd<'_>],
    upper: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
    mut flags: Flags,
    place: &OwnedFd,
) -> Result<(), Failure> {
    flags.volatile &= upper.is_some();
    if let Some((_, work)) = upper
        && flags.volatile
    {
        // An earlier mount has marked these directories as possibly damaged by a power cut; this
        // is the same build, so there was none.
        let mark = "work/incompat/volatile";
        let _ = rustix::fs::unlinkat(work, format!("{mark}/dirty"), AtFlags::empty());
        let _ = rustix::fs::unlinkat(work, mark, AtFlags::REMOVEDIR);
    }
    rustix::process::chdir("/proc/self/fd").doing("entering /proc/self/fd (is /proc mounted?)")?;
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().to_string();
    // Set explicitly, so that a distribution's defaults cannot change the content of the upper
    // directory. With user.* attributes the kernel requires `nofollow`, which also never makes a
    // redirect.
    let redirect = if flags.userxattr { "nofollow" } else { "off" };
    let mut options = vec![
        ("redirect_dir", redirect.to_owned()),
        ("metacopy", "off".to_owned()),
        ("index", "off".to_owned()),
    ];
    if let Some((upper, work)) = upper {
        options.push(("upperdir", number(upper)));
        options.push(("workdir", number(work)));
    }
    let layers: Vec<String> = lowers.iter().map(|lower| number(*lower)).collect();
    match overlay_by_fsopen(&layers, &options, flags) {
        Ok(mount) => attach(&mount, place).doing("mounting the overlay"),
        // Before Linux 6.7 there is no `lowerdir+`.
        Err(Refused::NoAppending) => {
            let mut text = format!("lowerdir={}", layers.join(":"));
            for (name, value) in &options {
                let _ = write!(text, ",{name}={value}");
            }
            let mut mounted = overlay_by_mount(&with_flags(&text, flags)?, place);
            if mounted == Err(Errno::INVAL) && flags.volatile {
                // That came with Linux 5.10.
                flags.volatile = false;
                mounted = overlay_by_mount(&with_flags(&text, flags)?, place);
            }
            mounted.map_err(|error| overlay_failure(error, ""))
        }
        Err(Refused::Failed(failure)) => Err(failure),
    }
}

fn with_flags(options: &str, flags: Flags) -> Result<CString, Failure> {
    let mut options = options.to_owned();
    for name in flags.names() {
        let _ = write!(options, ",{name}");
    }
    CString::new(options).doing("naming layers")
}

fn overlay_by_mount(options: &CStr, place: &OwnedFd) -> Result<(), Errno> {
    rustix::mount::mount(
        "overlay",
        place.as_raw_fd().to_string(),
        "overlay",
        MountFlags::NODEV | MountFlags::NOSUID,
        options,
    )
}

enum Refused {
    NoAppending,
    Failed(Failure),
}

fn overlay_by_fsopen(
    layers: &[String],
    options: &[(&str, String)],
    flags: Flags,
) -> Result<OwnedFd, Refused> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| Refused::Failed(overlay_failure(error, "")))?;
    let failed = |error| Refused::Failed(overlay_failure(error, &kernel_words(&context)));
    rustix::mount::fsconfig_set_string(&context, "source", "overlay").map_err(failed)?;
    for (index, layer) in layers.iter().enumerate() {
        match rustix::mount::fsconfig_set_string(&context, "lowerdir+", layer) {
            Ok(()) => {}
            Err(Errno::INVAL) if index == 0 => return Err(Refused::NoAppending),
            Err(error) => return Err(failed(error)),
        }
    }
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(&context, *name, value.as_str()).map_err(failed)?;
    }
    for name in flags.names() {
        rustix::mount::fsconfig_set_flag(&context, name).map_err(failed)?;
    }
    rustix::mount::fsconfig_create(&context).map_err(failed)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, SAFE).map_err(failed)
}

/// The kernel's messages about a file system context, beyond the errno.
fn kernel_words(context: &OwnedFd) -> String {
    let mut words = Vec::new();
    let mut line = [0_u8; 512];
    while let Ok(length) = rustix::io::read(context, &mut line) {
        if length == 0 || words.len() > 8 {
            break;
        }
        let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
        words.push(text.trim().to_owned());
    }
    words.join("; ")
}

fn overlay_failure(error: Errno, kernel: &str) -> Failure {
    let failure = Failure::new(if kernel.is_empty() {
        "mounting the overlay".to_owned()
    } else {
        format!("mounting the overlay ({kernel})")
    })
    .errno(error);
    match error {
        Errno::PERM => failure.remedy(
            "overlayfs in a user namespace needs Linux 5.11 or newer, outside of a restricted \
             container",
        ),
        Errno::NODEV => failure.remedy("load the kernel module: modprobe overlay"),
        Errno::INVAL | Errno::OPNOTSUPP => failure.remedy(
            "the upper directory's file system may not carry an overlay (NFS, overlayfs itself, \
             eCryptfs): set WARPDRIVE_STORE to a directory on ext4, xfs, btrfs or tmpfs",
        ),
        _ => failure,
    }
}
