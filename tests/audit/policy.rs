//! Policies: other severities, and exceptions that end.

use warpdrive::audit::Severity::{High, Low};
use warpdrive::audit::{self, Policy};

use crate::support::made::Layer;
use crate::support::sound::{audit_with, found, with};

#[test]
fn a_policy_excuses_until_a_day() {
    let image = with(Layer::new().file("opt/tool", 0o4755, "x"));
    let policy = |expires: &str| {
        let text = format!(
            "[[exception]]\nrule = 'setuid'\npath = '/opt/*'\nreason = 'see the runbook'\nexpires = {expires}\n"
        );
        Policy::parse(text.as_bytes()).unwrap()
    };
    let report = audit_with(&image, &policy("2026-06-01"));
    assert!(!report.is_refused());
    assert_eq!(report.excused.len(), 1);
    assert_eq!(report.to_json()["excused"][0]["reason"], "see the runbook");
    let sarif = audit::to_sarif(&report);
    let suppressed = sarif["runs"][0]["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r.get("suppressions").is_some());
    assert_eq!(suppressed.count(), 1);
    let report = audit_with(&image, &policy("2026-05-31"));
    assert!(report.is_refused());
    assert_eq!(found(&report), [("setuid", High), ("policy-expired", Low)]);
    let off = Policy::parse(b"fail-on = 'medium'\n[rules]\nsetuid = 'medium'\n").unwrap();
    assert!(audit_with(&image, &off).is_refused());
    let off = Policy::parse(b"[rules]\nsetuid = 'off'\n").unwrap();
    assert!(!audit_with(&image, &off).is_refused());
}
