//! The name service (rule `name-service`): modules that root's programs load when they look up accounts,
//! and accounts that do not come from `/etc/passwd` and `/etc/shadow`.

use super::super::accounts::name_service::{self, Sources};
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Lookup, Reach};
use super::super::paths::is_beneath;
use super::asked::{self, Asker};
use super::loaded::Loaded;
use super::quoted;

/// In the C library itself.
const BUILT_IN: [&str; 2] = ["files", "dns"];

/// What glibc does without the file.
const DEFAULT: [&str; 4] = ["compat", "db", "nis", "nisplus"];

/// Databases that decide which users are root.
const ACCOUNTS: [&str; 6] = [
    "passwd",
    "shadow",
    "group",
    "gshadow",
    "initgroups",
    "sudoers",
];

/// A source with its own account files, and their paths.
const FILES: [(&str, &[&str]); 3] = [
    ("sss", &["var/lib/sss/mc/passwd", "var/lib/sss/mc/group"]),
    (
        "db",
        &[
            "var/lib/misc/passwd.db",
            "var/lib/misc/shadow.db",
            "var/lib/misc/group.db",
            "var/db/passwd.db",
            "var/db/shadow.db",
            "var/db/group.db",
        ],
    ),
    (
        "extrausers",
        &[
            "var/lib/extrausers/passwd",
            "var/lib/extrausers/shadow",
            "var/lib/extrausers/group",
        ],
    ),
];

/// Sources without files of their own: with `files`, those whose accounts a program of root's alone knows.
const WITHOUT_FILES: [&str; 6] = [
    "files",
    "compat",
    "dns",
    "mymachines",
    "myhostname",
    "winbind",
];

/// Lines that take accounts from elsewhere, or give them another password: `+root:HASH:::::`.
fn judge_plus(flat: &Flat<'_>, findings: &mut Vec<Finding>) {
    for path in [&b"etc/passwd"[..], b"etc/shadow", b"etc/group"] {
        let Lookup::Bytes { layer, bytes } = flat.read_through_links(path) else {
            continue;
        };
        let mut lines = bytes.split(|&byte| byte == b'\n');
        let Some(at) = lines.position(|line| line.trim_ascii_start().starts_with(b"+")) else {
            continue;
        };
        let message = format!(
            "line {} takes accounts from elsewhere or changes them (`compat`), which is not judged",
            at + 1
        );
        let finding = Finding::of_path("name-service", Severity::High, layer, path, message);
        findings.push(finding);
    }
}

pub(super) fn judge(loaded: &mut Loaded<'_>, asker: Asker<'_>, findings: &mut Vec<Finding>) {
    let flat = loaded.flat();
    let path: &[u8] = if flat.has(b"etc/nsswitch.conf") {
        b"etc/nsswitch.conf"
    } else {
        b"usr/etc/nsswitch.conf"
    };
    let (layer, sources) = match flat.read_through_links(path) {
        Lookup::Bytes { layer, bytes } => (layer, name_service::parse(bytes)),
        Lookup::Absent => (0, Vec::new()),
        Lookup::Unreadable { layer, problem } => {
            if loaded.has_way() {
                let message = format!("cannot be judged: {problem}");
                let finding =
                    Finding::of_path("account-unreadable", Severity::High, layer, path, message);
                findings.push(finding);
            }
            return;
        }
    };
    if !loaded.has_way() {
        return;
    }
    let mut names: Vec<&str> = sources
        .iter()
        .flat_map(|sources| sources.services.iter().map(String::as_str))
        .collect();
    if sources.is_empty() {
        names.extend(DEFAULT);
    }
    names.sort_unstable();
    names.dedup();
    asked::judge_accounts(flat, asker, names.contains(&"systemd"), findings);
    if names.contains(&"compat") {
        judge_plus(flat, findings);
    }
    if loaded.has_program("sudo") {
        let of_rules = sources
            .iter()
            .filter(|sources| sources.database == "sudoers");
        for name in of_rules.flat_map(|sources| &sources.services) {
            // For rules, sudo does not ask the name service but the source's own library.
            let library = format!("lib{name}_sudo.so");
            let owner = format!("sudo, for the rules of `{name}`");
            loaded.by_name(library.as_bytes(), &owner);
        }
    }
    for name in names.iter().filter(|name| !BUILT_IN.contains(name)) {
        let library = format!("libnss_{name}.so.2");
        let owner = format!("the name service (`{name}`)");
        if !loaded.by_name(library.as_bytes(), &owner) {
            continue;
        }
        let source = sources.iter().find(|sources| {
            ACCOUNTS.contains(&sources.database.as_str())
                && sources.services.iter().any(|own| own == name)
        });
        let Some(Sources { line, database, .. }) = source else {
            continue;
        };
        let places = if *name == "systemd" {
            records(flat)
        } else if let Some((_, places)) = FILES.iter().find(|(own, _)| own == name) {
            there(flat, places)
        } else {
            if !WITHOUT_FILES.contains(name) {
                let message = format!(
                    "line {line} has {} from {}, whose accounts are not judged",
                    quoted(database),
                    quoted(name)
                );
                let (rule, severity) = ("name-service", Severity::High);
                findings.push(Finding::of_path(rule, severity, layer, path, message));
            }
            continue;
        };
        for (place, its_layer) in places {
            let message = format!(
                "holds accounts that are not judged; line {line} of {} reads {} from it ({})",
                super::super::paths::shown(path),
                quoted(database),
                quoted(name),
            );
            let layer = its_layer.max(layer);
            findings.push(Finding::of_path(
                "name-service",
                Severity::High,
                layer,
                &place,
                message,
            ));
        }
    }
}

/// The existing files.
fn there(flat: &Flat<'_>, places: &[&str]) -> Vec<(Vec<u8>, usize)> {
    let places = places.iter().map(|place| place.as_bytes());
    places
        .filter(|place| flat.reach(place) != Reach::Absent)
        .map(|place| (place.to_vec(), flat.layer_of(place)))
        .collect()
}

/// Of each directory with records, one of its files.
fn records(flat: &Flat<'_>) -> Vec<(Vec<u8>, usize)> {
    let all = flat.all();
    let inside = |place: &&[u8]| {
        let seen = all.iter().find(|seen| {
            seen.hidden_by.is_none() && seen.path != *place && is_beneath(seen.path, place)
        })?;
        Some((seen.path.to_vec(), seen.layer))
    };
    asked::RECORDS.iter().filter_map(inside).collect()
}
