//! What the verdict on an image has to be.

use warpdrive::audit::Severity;

use crate::support::made::Made;
use crate::support::sound::{audit_of, found};

#[track_caller]
pub(super) fn breaks(made: &Made, rule: &str, severity: Severity) {
    let report = audit_of(made);
    assert!(
        found(&report).contains(&(rule, severity)),
        "{rule} {severity:?} is missing: {:#?}",
        report.findings
    );
    assert_eq!(
        report.is_refused(),
        report
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::High)
    );
}

#[track_caller]
pub(super) fn keeps(made: &Made, rule: &str) {
    let report = audit_of(made);
    assert!(
        !report.findings.iter().any(|finding| finding.rule == rule),
        "{rule}: {:#?}",
        report.findings
    );
}
