//! What sudo reads, loads and runs besides its rules (rules `library`, `sudo-setting`, `account-unreadable`):
//! `/etc/sudo.conf`, its plugins, its records of who has given a password.

use super::super::accounts::sudo_conf;
use super::super::finding::{Finding, Severity};
use super::super::flatten::Lookup;
use super::super::paths;
use super::loaded::Loaded;
use super::privileges::SudoFacts;
use super::quoted;

const CONF: &[u8] = b"etc/sudo.conf";

/// Where sudo writes down who has given a password (Debian's; a user who has may go on without).
const RECORDS: &[u8] = b"run/sudo/ts";

pub(super) fn judge(loaded: &mut Loaded<'_>, sudo: &SudoFacts, findings: &mut Vec<Finding>) {
    let mut push = |rule, layer, message| {
        findings.push(Finding::of_path(rule, Severity::High, layer, CONF, message));
    };
    let conf: &[u8] = match loaded.flat().read_through_links(CONF) {
        Lookup::Bytes { layer, bytes } => {
            for argument in sudo_conf::paths(bytes) {
                let message = format!(
                    "line {} has sudo's rules, or a part of sudo, from a file that is not judged: {}",
                    argument.line,
                    quoted(&argument.text),
                );
                push("account-unreadable", layer, message);
            }
            for argument in sudo_conf::acting(bytes) {
                let message = format!(
                    "line {} makes sudo write to a file as root, or load what others can write: {}",
                    argument.line,
                    quoted(&argument.text),
                );
                push("sudo-setting", layer, message);
            }
            bytes
        }
        Lookup::Absent => b"",
        Lookup::Unreadable { layer, problem } => {
            let message = format!("{} cannot be judged: {problem}", paths::shown(CONF));
            push("account-unreadable", layer, message);
            b""
        }
    };
    for plugin in sudo_conf::plugins(conf) {
        loaded.by_path(plugin.as_bytes(), "sudo");
    }
    for plugin in &sudo.plugins {
        let plugin = sudo_conf::in_plugins(conf, plugin);
        loaded.by_path(plugin.as_bytes(), "sudo");
    }
    records(loaded, findings);
}

/// A record in the image says of every container's user that it has given its password.
fn records(loaded: &Loaded<'_>, findings: &mut Vec<Finding>) {
    let flat = loaded.flat();
    let mut found: Vec<(usize, Vec<u8>)> = flat
        .files_in(RECORDS)
        .into_iter()
        .filter_map(|path| Some((flat.origin(&path)?, path)))
        .collect();
    let behind = [RECORDS, b"/x"].concat();
    if let Lookup::Unreadable { layer, .. } = flat.read(&behind)
        && found.is_empty()
    {
        found.push((layer, RECORDS.to_vec()));
    }
    for (layer, path) in found.into_iter().take(5) {
        let message = "sudo takes it for its own record of who has given a password".to_owned();
        findings.push(Finding::of_path(
            "sudo-setting",
            Severity::High,
            layer,
            &path,
            message,
        ));
    }
}
