//! Subordinate ids (rule `account-subid`): ranges of `/etc/subuid` and `/etc/subgid` that hold 0.

use super::super::accounts::subordinate;
use super::super::finding::{Finding, Severity};
use super::super::flatten::Flat;
use super::accounts::readable;
use super::quoted;

/// Findings of one file.
const MOST: usize = 5;

pub(super) fn judge(flat: &Flat<'_>, findings: &mut Vec<Finding>) {
    for (file, program, ids) in [
        (&b"etc/subuid"[..], "newuidmap", "uid"),
        (b"etc/subgid", "newgidmap", "gid"),
    ] {
        let maps = ["usr/bin", "bin", "usr/local/bin"].iter().any(|directory| {
            flat.item(format!("{directory}/{program}").as_bytes())
                .is_some_and(|(_, item)| item.gives_root())
        });
        let Some((layer, bytes)) = readable(flat, file, findings) else {
            continue;
        };
        let (severity, note) = if maps {
            (
                Severity::Medium,
                format!("`{program}` is there and maps it"),
            )
        } else {
            (
                Severity::Low,
                format!("though no `{program}` here runs as root"),
            )
        };
        let ranges = subordinate::parse(bytes);
        for range in ranges.iter().filter(|range| range.holds_root).take(MOST) {
            let message = format!(
                "line {} lets {} map {ids} 0 into its own user namespace and so own root's files in the \
                 container; {note}",
                range.line,
                quoted(&range.owner),
            );
            let rule = "account-subid";
            findings.push(Finding::of_path(rule, severity, layer, file, message));
        }
    }
}
