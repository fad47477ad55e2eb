//! The programs that distributions ship with a setuid or setgid bit or with file capabilities.
//!
//! A program in this list, with the content that the package database has for it, is reported for
//! information only; `--harden` removes the bits all the same. A program that is not in the list
//! is a finding, whatever its content: `chmod 4711 /bin/bash` leaves the content as the package
//! has it. Paths are as [`super::dpkg::without_usr`] gives them.

/// setuid root, or as `at` setuid to an account of its own.
const SETUID: [&str; 33] = [
    "bin/at",
    "bin/bbsuid",
    "bin/chage",
    "bin/chfn",
    "bin/chsh",
    "bin/expiry",
    "bin/fusermount",
    "bin/fusermount3",
    "bin/gpasswd",
    "bin/mount",
    "bin/newgidmap",
    "bin/newgrp",
    "bin/newuidmap",
    "bin/ntfs-3g",
    "bin/passwd",
    "bin/ping",
    "bin/ping6",
    "bin/pkexec",
    "bin/su",
    "bin/sudo",
    "bin/sudoedit",
    "bin/umount",
    "lib/dbus-1.0/dbus-daemon-launch-helper",
    "lib/eject/dmcrypt-get-device",
    "lib/openssh/ssh-keysign",
    "lib/polkit-1/polkit-agent-helper-1",
    "lib/policykit-1/polkit-agent-helper-1",
    "sbin/exim4",
    "sbin/mount.cifs",
    "sbin/mount.nfs",
    "sbin/pam_timestamp_check",
    "sbin/unix_chkpwd",
    "usr/libexec/dbus-1/dbus-daemon-launch-helper",
];

/// setgid to a group of its own kind (shadow, tty, mail, crontab, daemon, _ssh).
const SETGID: [&str; 21] = [
    "bin/at",
    "bin/bsd-write",
    "bin/chage",
    "bin/crontab",
    "bin/dotlockfile",
    "bin/dotlock.mailutils",
    "bin/expiry",
    "bin/locate",
    "bin/mlocate",
    "bin/mutt_dotlock",
    "bin/plocate",
    "bin/screen",
    "bin/ssh-agent",
    "bin/wall",
    "bin/write",
    "bin/write.ul",
    "lib/utempter/utempter",
    "lib/x86_64-linux-gnu/utempter/utempter",
    "sbin/pam_extrausers_chkpwd",
    "sbin/unix_chkpwd",
    "usr/libexec/utempter/utempter",
];

const fn bits(numbers: &[u32]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < numbers.len() {
        bits |= 1 << numbers[at];
        at += 1;
    }
    bits
}

/// With their own capabilities (numbers of `linux/capability.h`).
const CAPABILITY: [(&str, u64); 9] = [
    ("bin/arping", bits(&[NET_RAW])),
    ("bin/clockdiff", bits(&[NET_RAW, SYS_NICE])),
    ("bin/dumpcap", bits(&[NET_RAW, NET_ADMIN])),
    ("bin/mtr-packet", bits(&[NET_RAW])),
    ("bin/newgidmap", bits(&[CAP_SETGID])),
    ("bin/newuidmap", bits(&[CAP_SETUID])),
    ("bin/ping", bits(&[NET_RAW, NET_ADMIN])),
    (
        "lib/x86_64-linux-gnu/gstreamer1.0/gstreamer-1.0/gst-ptp-helper",
        bits(&[NET_BIND_SERVICE, NET_ADMIN, SYS_NICE]),
    ),
    ("sbin/suexec", bits(&[CAP_SETUID, CAP_SETGID])),
];

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_NICE: u32 = 23;

/// Programs without their own setuid bit that setuid programs run as root.
const HELPERS: [&str; 7] = [
    "sbin/nscd",
    "sbin/sss_cache",
    "sbin/mkhomedir_helper",
    "sbin/pam_namespace_helper",
    "sbin/unix_chkpwd",
    "sbin/unix_update",
    "usr/libexec/sudo/sesh",
];

fn has(list: &[&str], path: &[u8]) -> bool {
    list.iter().any(|known| known.as_bytes() == path)
}

pub(super) fn is_setuid(path: &[u8]) -> bool {
    has(&SETUID, path)
}

pub(super) fn is_setgid(path: &[u8]) -> bool {
    has(&SETGID, path)
}

/// The capabilities that a program has in distributions.
pub(super) fn capabilities(path: &[u8]) -> Option<u64> {
    CAPABILITY
        .iter()
        .find(|(known, _)| known.as_bytes() == path)
        .map(|(_, bits)| *bits)
}

/// In one of the lists.
pub(super) fn is_privileged(path: &[u8]) -> bool {
    is_setuid(path) || is_setgid(path) || capabilities(path).is_some()
}

pub(super) fn is_helper(path: &[u8]) -> bool {
    has(&HELPERS, path)
}

/// A list of the modules that convert character sets (`gconv-modules`, `gconv-modules.d/*.conf`, or what
/// iconvconfig made of them): it can name modules at any path. The path is as the layer has it.
pub(super) fn is_conversion_list(path: &[u8]) -> bool {
    let (directory, name) = super::paths::split(path);
    let directory = match name {
        b"gconv-modules" | b"gconv-modules.cache" => Some(directory),
        _ if name.ends_with(b".conf") => directory.strip_suffix(b"/gconv-modules.d"),
        _ => None,
    };
    directory.is_some_and(|directory| {
        directory.ends_with(b"/gconv") && is_library(&[directory, b"/x.so"].concat())
    })
}

/// A library in a directory from which the system's programs load theirs. Only Python and Node.js load
/// their own libraries there. The path is as the layer has it.
pub(super) fn is_library(path: &[u8]) -> bool {
    let trees = [
        &b"lib"[..],
        b"lib32",
        b"lib64",
        b"libx32",
        b"usr/lib",
        b"usr/lib32",
        b"usr/lib64",
        b"usr/libx32",
        b"usr/libexec",
        b"usr/local/lib",
    ];
    let (directory, name) = super::paths::split(path);
    let of_a_language = || {
        directory.split(|&byte| byte == b'/').any(|part| {
            part.starts_with(b"python") || part == b"node_modules" || part.starts_with(b"perl")
        })
    };
    name.windows(3).any(|part| part == b".so")
        && trees
            .iter()
            .any(|tree| super::paths::is_beneath(directory, tree))
        && !of_a_language()
}
