//! Files that run with another user's power: setuid, setgid, capabilities (rules `setuid*`, `setgid`,
//! `capability`, `self-vouched`).

use super::super::dpkg::without_usr;
use super::super::facts::Item;
use super::super::finding::{Finding, Severity};
use super::super::flatten::Seen;
use super::super::shipped_setuid;
use super::accounts::Accounts;
use super::trust::{Trust, Vouch};
use super::{ownership, visible};

pub(super) fn judge(
    all: &[Seen<'_>],
    accounts: &Accounts,
    trust: &Trust<'_>,
    findings: &mut Vec<Finding>,
) {
    for seen in visible(all) {
        let Seen {
            layer, path, item, ..
        } = *seen;
        let name = without_usr(path);
        let mut push = |rule, severity, message: String| {
            findings.push(Finding::of_path(rule, severity, layer, path, message));
        };
        let vouch = trust.vouch(layer, path, Some(item));
        let shown = ownership(item.uid, item.gid, item.mode);
        if item.is_setuid() {
            if item.uid == 0 && shipped_setuid::is_setuid(name) {
                let (rule, severity, message) = of_known(vouch, "setuid root", true);
                push(rule, severity, format!("{message} ({shown})"));
            } else {
                let (severity, whom) = if item.uid == 0 {
                    (Severity::High, "root".to_owned())
                } else {
                    (Severity::Medium, format!("uid {}", item.uid))
                };
                let message = format!("runs as {whom} for every user ({shown})");
                push("setuid", severity, message);
            }
        }
        if item.is_setgid() {
            let group = accounts.privileged_group(item.gid);
            if shipped_setuid::is_setgid(name) && item.gid != 0 {
                let (rule, severity, message) = of_known(
                    vouch,
                    "setgid",
                    accounts.privileged_group(item.gid).is_some(),
                );
                push(rule, severity, format!("{message} ({shown})"));
            } else {
                let severity = match (item.gid, group) {
                    (0, _) | (_, Some(_)) => Severity::High,
                    _ => Severity::Medium,
                };
                let message = format!("runs with group {} for every user ({shown})", item.gid);
                push("setgid", severity, message);
            }
        }
        if let Some(capability) = item.capability {
            let words = capability.words();
            let usual = shipped_setuid::capabilities(name)
                .is_some_and(|usual| !capability.malformed && capability.bits & !usual == 0);
            if usual && vouch != Vouch::Changed {
                let (rule, severity, message) = of_known(vouch, &words, capability.is_dangerous());
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
                    format!("has {words} for every user"),
                );
            }
        }
    }
    hidden(all, trust, findings);
}

/// The finding for a program that distributions ship like this; `grave` if its power is as good as root.
fn of_known(vouch: Vouch, what: &str, grave: bool) -> (&'static str, Severity, String) {
    let severity = if grave {
        Severity::High
    } else {
        Severity::Medium
    };
    match vouch {
        Vouch::AsShipped => (
            "setuid-known",
            Severity::Info,
            format!("is {what}, as the distribution ships it"),
        ),
        Vouch::Changed => (
            "setuid-changed",
            Severity::High,
            format!("is {what}, and its content is not what the package database has"),
        ),
        Vouch::Unowned => (
            "setuid-unowned",
            severity,
            format!("is {what} and has a well-known name, and no package has it"),
        ),
        Vouch::SelfVouched => (
            "self-vouched",
            Severity::Medium,
            format!("is {what}, and {}", vouch.problem()),
        ),
        Vouch::Unknown => (
            "setuid-unverified",
            Severity::Medium,
            format!("is {what} as in many distributions; no package database confirms its content"),
        ),
    }
}

/// Privileged files of lower layers that the flattened image does not show.
fn hidden(all: &[Seen<'_>], trust: &Trust<'_>, findings: &mut Vec<Finding>) {
    for seen in all {
        let Some(by) = seen.hidden_by else { continue };
        let name = without_usr(seen.path);
        let known = shipped_setuid::is_privileged(name) && !trust.was_changed(name, seen.item);
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
