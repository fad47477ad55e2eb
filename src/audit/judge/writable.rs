//! What users other than root can write (rules `account-writable`, `path-writable`, `sticky-missing`): by
//! owner and mode, and by access control lists.

use std::collections::BTreeSet;

use super::super::dpkg::without_usr;
use super::super::facts::{Item, ItemKind};
use super::super::finding::{Finding, Severity};
use super::super::flatten::Seen;
use super::super::interest::PathKind;
use super::super::shipped_setuid;
use super::accounts::{Entrant, Runtime};
use super::trust::{Trust, Vouch};
use super::{Bundle, Subject, ownership, visible};

pub(super) fn judge(
    subject: &Subject<'_>,
    all: &[Seen<'_>],
    (runtime, powers): (&Runtime, &Powers),
    findings: &mut Vec<Finding>,
) {
    let mut bundles = Vec::new();
    for seen in visible(all) {
        let Seen {
            layer, path, item, ..
        } = *seen;
        if matches!(item.kind, ItemKind::Symlink(_)) {
            continue;
        }
        let place = subject.interest.place(path);
        let shown = ownership(item.uid, item.gid, item.mode);
        let writer = match writer(item, runtime) {
            Some((severity, whom)) if severity == Severity::High => Some((severity, whom)),
            other => powers.writer(item).or(other),
        };
        if let (Some((severity, whom)), Some(rule)) = (writer, rule(place)) {
            // A world-writable directory is a fault in every search path.
            let searched = match subject.interest.behind_the_system(path) {
                Some(true) if item.mode & 0o002 == 0 => Some((
                    Severity::Low,
                    "; PATH searches it behind the system's own directories",
                )),
                Some(false) => Some((
                    severity,
                    "; PATH searches it before the system's own directories, so it decides which program a name means",
                )),
                _ => None,
            };
            let (severity, note) = searched.unwrap_or((severity, ""));
            let message = format!("can be written by {whom} ({shown}){note}");
            Bundle::add(
                &mut bundles,
                Finding::of_path(rule, severity, layer, path, message),
            );
        }
        if item.is_directory() && item.mode & 0o1002 == 0o002 {
            let message = format!("is writable by all and not sticky ({shown})");
            findings.push(Finding::of_path(
                "sticky-missing",
                Severity::Medium,
                layer,
                path,
                message,
            ));
        }
    }
    Bundle::finish(bundles, findings);
}

fn rule(place: PathKind) -> Option<&'static str> {
    match place {
        PathKind::Account => Some("account-writable"),
        PathKind::System => Some("path-writable"),
        PathKind::App | PathKind::Elsewhere => None,
    }
}

/// Ids other than root's with which the image's user can act: those of programs that run with them, and those
/// of accounts whose password is empty or known.
#[derive(Default)]
pub(super) struct Powers {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
}

impl Powers {
    pub(super) fn new(all: &[Seen<'_>], trust: &Trust<'_>, entrants: &[Entrant]) -> Self {
        let mut powers = Self::default();
        for seen in visible(all).filter(|seen| seen.item.is_setuid() || seen.item.is_setgid()) {
            let name = without_usr(seen.path);
            let vouch = trust.vouch(seen.layer, seen.path, Some(seen.item));
            let is_shipped = matches!(vouch, Vouch::AsShipped | Vouch::Unknown);
            // What a distribution ships does not let its caller write where it wants.
            if is_shipped && (shipped_setuid::is_setuid(name) || shipped_setuid::is_setgid(name)) {
                continue;
            }
            if seen.item.is_setuid() {
                powers.uids.insert(seen.item.uid);
            }
            if seen.item.is_setgid() {
                powers.gids.insert(seen.item.gid);
            }
        }
        for entrant in entrants.iter().filter(|entrant| entrant.is_open) {
            powers.uids.extend(entrant.as_who.uid);
            powers.gids.extend(&entrant.as_who.gids);
        }
        powers
    }

    /// Whether a program or an account has this group.
    pub(super) fn acts_in(&self, gid: u32) -> bool {
        self.gids.contains(&gid)
    }

    pub(super) fn writer(&self, item: &Item) -> Option<(Severity, String)> {
        let by_owner = item.uid != 0 && self.uids.contains(&item.uid);
        let by_group = item.mode & 0o020 != 0 && self.gids.contains(&item.gid);
        let by_list = item.acl.as_ref().is_some_and(|acl| {
            acl.users.iter().any(|uid| self.uids.contains(uid))
                || acl.groups.iter().any(|gid| self.gids.contains(gid))
        });
        let whom = if by_owner {
            format!("uid {}", item.uid)
        } else if by_group {
            format!("group {}", item.gid)
        } else if by_list {
            "another user, by its access control list".to_owned()
        } else {
            return None;
        };
        let how = "by a program that runs with its id, or by its password";
        Some((
            Severity::High,
            format!("{whom}, as which the image's user can act {how}"),
        ))
    }
}

/// The users besides root who can write to it, and the severity.
pub(super) fn writer(item: &Item, runtime: &Runtime) -> Option<(Severity, String)> {
    if item.mode & 0o002 != 0 {
        return Some((Severity::High, "everybody".into()));
    }
    if item.uid != 0 && runtime.uid == Some(item.uid) {
        return Some((Severity::High, "its owner, the image's user".into()));
    }
    if let Some(acl) = &item.acl {
        let by_user = runtime.uid.is_some_and(|uid| acl.users.contains(&uid));
        let by_group = acl.groups.iter().any(|gid| runtime.gids.contains(gid))
            || (acl.own_group && runtime.gids.contains(&item.gid));
        if acl.everybody || by_user || by_group {
            let whom = "the image's user, by its access control list";
            return Some((Severity::High, whom.into()));
        }
        let whom = "others than root, by its access control list";
        return Some((Severity::Medium, whom.into()));
    }
    if item.mode & 0o020 == 0 {
        return None;
    }
    if runtime.gids.contains(&item.gid) {
        return Some((
            Severity::High,
            format!("group {}, which the image's user has or is given", item.gid),
        ));
    }
    Some((Severity::Low, format!("group {}", item.gid)))
}
