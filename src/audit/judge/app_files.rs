//! Files of the app that an arbitrary uid with gid 0 cannot use (rules `app-*`).

use super::super::facts::ItemKind;
use super::super::finding::{Finding, Severity};
use super::super::flatten::Seen;
use super::super::interest::{PathKind, Use};
use super::{Bundle, Subject, ownership, visible};

pub(super) fn judge(subject: &Subject<'_>, all: &[Seen<'_>], findings: &mut Vec<Finding>) {
    if !subject.interest.has_app_root() {
        return;
    }
    let mut bundles = Vec::new();
    for seen in visible(all) {
        let Seen {
            layer, path, item, ..
        } = *seen;
        let judged = matches!(item.kind, ItemKind::File | ItemKind::Directory);
        if !judged || subject.interest.place(path) != PathKind::App {
            continue;
        }
        let (rule, severity, cannot) = match Use::of(item.is_directory(), item.mode, item.gid) {
            Use::Full => continue,
            Use::None => ("app-unusable", Severity::Medium, "use"),
            Use::ReadOnly => ("app-readonly", Severity::Low, "write"),
        };
        let shown = ownership(item.uid, item.gid, item.mode);
        let message = format!("an arbitrary uid with gid 0 cannot {cannot} it ({shown})");
        Bundle::add(
            &mut bundles,
            Finding::of_path(rule, severity, layer, path, message),
        );
    }
    for bundle in &mut bundles {
        let layer = bundle.finding.layer.unwrap_or_default();
        if subject.flat.layers()[layer].app_files_cut {
            bundle
                .finding
                .message
                .push_str("; there are more than were counted");
        }
    }
    Bundle::finish(bundles, findings);
}
