//! Directories that engines make, and give to the image's user, because the configuration names them (rule
//! `path-created`).

use crate::oci::ImageConfig;

use super::super::finding::{Finding, Severity};
use super::super::flatten::Flat;
use super::super::paths::{is_beneath, shown};
use super::quoted;

/// Where root's programs find what they load, run or ask.
const SYSTEM: [&[u8]; 28] = [
    b"bin",
    b"boot",
    b"etc",
    b"lib",
    b"lib32",
    b"lib64",
    b"libx32",
    b"sbin",
    b"usr",
    b"run/dbus",
    b"run/faillock",
    b"run/host",
    b"run/nscd",
    b"run/polkit-1",
    b"run/sudo",
    b"run/systemd",
    b"run/userdb",
    b"var/run/dbus",
    b"var/run/faillock",
    b"var/run/nscd",
    b"var/run/sudo",
    b"var/run/systemd",
    b"var/run/userdb",
    b"var/db",
    b"var/lib/extrausers",
    b"var/lib/misc",
    b"var/lib/sss",
    b"var/lib/sudo",
];

/// In `/usr`, but an application's.
const OF_APPS: &[u8] = b"usr/src";

pub(super) fn judge(config: &ImageConfig, flat: &Flat<'_>, findings: &mut Vec<Finding>) {
    let directory = config.working_dir();
    let mut push = |message| {
        findings.push(Finding::of_config("path-created", Severity::High, message));
    };
    if directory.contains(|letter: char| letter == ':' || letter.is_control()) {
        push(format!(
            "`WorkingDir` is {}: engines write it into the container's /etc/passwd",
            quoted(directory)
        ));
    }
    let volumes = config.get("Volumes").and_then(serde_json::Value::as_object);
    let volumes = volumes.into_iter().flat_map(|volumes| volumes.keys());
    let named = [("WorkingDir", directory)].into_iter();
    for (what, path) in named.chain(volumes.map(|path| ("Volumes", path.as_str()))) {
        let Some(real) = flat.follow(path.as_bytes()) else {
            continue;
        };
        let is_system =
            SYSTEM.iter().any(|tree| is_beneath(&real, tree)) && !is_beneath(&real, OF_APPS);
        if !real.is_empty() && is_system && !flat.has(&real) {
            push(format!(
                "`{what}` names {}, which the image does not have: engines make it and give it to the image's user",
                shown(&real)
            ));
        }
    }
}
