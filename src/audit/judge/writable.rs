//! What users other than root can write (rules `account-writable`, `path-writable`, `sticky-missing`): by
//! owner and mode, and by access control lists.

use super::super::facts::{Item, ItemKind};
use super::super::finding::{Finding, Severity};
use super::super::flatten::Seen;
use super::super::interest::PathKind;
use super::accounts::Runtime;
use super::{Bundle, Subject, ownership, visible};

pub(super) fn judge(
    subject: &Subject<'_>,
    all: &[Seen<'_>],
    runtime: &Runtime,
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
        if let (Some((severity, whom)), Some(rule)) = (writer(item, runtime), rule(place)) {
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
