//! The programs that distributions ship with a setuid or setgid bit or with file capabilities.
//!
//! A program in this list, with the content that the package database has for it, is reported for
//! information only; `--harden` takes the bits away all the same. A program that is not in it is a
//! finding whatever its content: `chmod 4711 /bin/bash` leaves the content as the package has it.
//! Paths are as [`super::dpkg::without_usr`] gives them.

/// setuid root.
const SETUID: [&str; 32] = [
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

/// setgid to a group of its own kind (shadow, tty, mail, crontab, _ssh).
const SETGID: [&str; 20] = [
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

/// With capabilities of their own.
const CAPABILITY: [&str; 9] = [
    "bin/arping",
    "bin/clockdiff",
    "bin/dumpcap",
    "bin/mtr-packet",
    "bin/newgidmap",
    "bin/newuidmap",
    "bin/ping",
    "lib/x86_64-linux-gnu/gstreamer1.0/gstreamer-1.0/gst-ptp-helper",
    "sbin/suexec",
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

pub(super) fn has_capability(path: &[u8]) -> bool {
    has(&CAPABILITY, path)
}

/// In one of the lists.
pub(super) fn is_privileged(path: &[u8]) -> bool {
    is_setuid(path) || is_setgid(path) || has_capability(path)
}
