//! Files that give whoever runs them another's power: setuid, setgid, capabilities.

use super::super::dpkg::{Md5, without_usr};
use super::super::facts::Item;
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Seen};
use super::super::known;
use super::accounts::Accounts;
use super::{ownership, visible};

/// How a known program's content compares with the package database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    AsShipped,
    Changed,
    Unknown,
}

/// What the package database says, of the visible lists only.
struct Database<'a> {
    sums: Vec<(&'a [u8], Md5)>,
    /// Of all layers, for files that are hidden.
    all: Vec<(&'a [u8], Md5)>,
}

impl<'a> Database<'a> {
    fn new(flat: &Flat<'a>) -> Self {
        let (mut sums, mut all) = (Vec::new(), Vec::new());
        for (layer, facts) in flat.layers().iter().enumerate() {
            // dpkg rewrites its status whenever it installs something: a list that came without it
            // was put there by other means.
            let genuine = flat.layer_has(layer, b"var/lib/dpkg/status")
                || facts
                    .md5sums
                    .keys()
                    .all(|path| path.starts_with(b"var/lib/dpkg/status.d/"));
            if !genuine {
                continue;
            }
            for (list, lines) in &facts.md5sums {
                let entries = lines.iter().map(|(path, md5)| (path.as_slice(), *md5));
                if flat.hidden_by(layer, list).is_none() {
                    sums.extend(entries.clone());
                }
                all.extend(entries);
            }
        }
        Self { sums, all }
    }

    fn compare(sums: &[(&[u8], Md5)], path: &[u8], md5: Option<Md5>) -> Content {
        let mut known = sums.iter().filter(|(own, _)| *own == path).peekable();
        if known.peek().is_none() {
            Content::Unknown
        } else if known.any(|(_, own)| Some(*own) == md5) {
            Content::AsShipped
        } else {
            Content::Changed
        }
    }
}

pub(super) fn judge(
    flat: &Flat<'_>,
    all: &[Seen<'_>],
    accounts: &Accounts,
    findings: &mut Vec<Finding>,
) {
    let database = Database::new(flat);
    for seen in visible(all) {
        let Seen {
            layer, path, item, ..
        } = *seen;
        let name = without_usr(path);
        let mut push = |rule, severity, message: String| {
            findings.push(Finding::of_path(rule, severity, layer, path, message));
        };
        let content = Database::compare(&database.sums, name, item.md5);
        let shown = ownership(item.uid, item.gid, item.mode);
        if item.is_setuid() {
            if item.uid == 0 && known::is_setuid(name) {
                let (rule, severity, message) = of_known(content, "setuid root");
                push(rule, severity, format!("{message} ({shown})"));
            } else {
                let (severity, whom) = if item.uid == 0 {
                    (Severity::High, "root".to_owned())
                } else {
                    (Severity::Medium, format!("uid {}", item.uid))
                };
                let message = format!("runs as {whom} whoever starts it ({shown})");
                push("setuid", severity, message);
            }
        }
        if item.is_setgid() {
            let group = accounts.privileged_group(item.gid);
            if known::is_setgid(name) && item.gid != 0 {
                let (rule, severity, message) = of_known(content, "setgid");
                push(rule, severity, format!("{message} ({shown})"));
            } else {
                let severity = match (item.gid, group) {
                    (0, _) | (_, Some(_)) => Severity::High,
                    _ => Severity::Medium,
                };
                let message = format!("runs with group {} whoever starts it ({shown})", item.gid);
                push("setgid", severity, message);
            }
        }
        if let Some(capability) = item.capability {
            let words = capability.words();
            if known::has_capability(name) && content != Content::Changed {
                let (rule, severity, message) = of_known(content, &words);
                push(rule, severity, message);
            } else {
                let severity = if capability.is_dangerous() {
                    Severity::High
                } else {
                    Severity::Medium
                };
                push(
                    "capability",
                    severity,
                    format!("has {words} whoever starts it"),
                );
            }
        }
    }
    hidden(all, &database, findings);
}

fn of_known(content: Content, what: &str) -> (&'static str, Severity, String) {
    match content {
        Content::AsShipped => (
            "setuid-known",
            Severity::Info,
            format!("is {what}, as the distribution ships it"),
        ),
        Content::Changed => (
            "setuid-changed",
            Severity::High,
            format!("is {what}, and its content is not what the package database has"),
        ),
        Content::Unknown => (
            "setuid-unverified",
            Severity::Medium,
            format!("is {what} as in many distributions; no package database confirms its content"),
        ),
    }
}

/// Privileged files of lower layers that the flattened image does not show.
fn hidden(all: &[Seen<'_>], database: &Database<'_>, findings: &mut Vec<Finding>) {
    for seen in all {
        let Some(by) = seen.hidden_by else { continue };
        let name = without_usr(seen.path);
        let known = known::is_privileged(name)
            && Database::compare(&database.all, name, seen.item.md5) != Content::Changed;
        if known || !gives_root(seen.item) {
            continue;
        }
        let message = format!(
            "is setuid root or has capabilities in its layer ({}); layer {} hides it",
            ownership(seen.item.uid, seen.item.gid, seen.item.mode),
            by + 1,
        );
        findings.push(Finding::of_path(
            "setuid-hidden",
            Severity::Medium,
            seen.layer,
            seen.path,
            message,
        ));
    }
}

fn gives_root(item: &Item) -> bool {
    let dangerous = item
        .capability
        .is_some_and(super::super::capability::Capability::is_dangerous);
    (item.is_setuid() && item.uid == 0) || (item.is_setgid() && item.gid == 0) || dangerous
}
