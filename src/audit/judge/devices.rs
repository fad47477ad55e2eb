//! Device nodes (rule `device`).

use super::super::facts::ItemKind;
use super::super::finding::{Finding, Severity};
use super::super::flatten::Seen;
use super::visible;

/// Those that every container has anyway: null, zero, full, random, urandom, tty, console, ptmx.
const HARMLESS: [(u32, u32); 8] = [
    (1, 3),
    (1, 5),
    (1, 7),
    (1, 8),
    (1, 9),
    (5, 0),
    (5, 1),
    (5, 2),
];

pub(super) fn judge(all: &[Seen<'_>], findings: &mut Vec<Finding>) {
    for seen in visible(all) {
        let ItemKind::Device {
            block,
            major,
            minor,
        } = seen.item.kind
        else {
            continue;
        };
        let harmless = !block && HARMLESS.contains(&(major, minor));
        let severity = if harmless {
            Severity::Low
        } else {
            Severity::High
        };
        let what = if block { "block" } else { "character" };
        let message = format!("is the {what} device {major}:{minor}");
        findings.push(Finding::of_path(
            "device", severity, seen.layer, seen.path, message,
        ));
    }
}
