//! The report as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), which code
//! hosts show beside the source.

use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use super::report::Report;
use super::rules::{self, RULES};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The report as a SARIF log with one run.
pub fn to_sarif(report: &Report) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.explanation},
                "help": {"text": rule.remedy},
                "defaultConfiguration": {"level": level(rule.severity)},
                "properties": {"security-severity": score(rule.severity)},
            })
        })
        .collect();
    let mut results: Vec<Value> = report.findings.iter().map(|f| result(report, f)).collect();
    results.extend(report.excused.iter().map(|excused| {
        let mut value = result(report, &excused.finding);
        let until = format!(
            "{} (until {})",
            excused.exception.reason, excused.exception.expires
        );
        value["suppressions"] = json!([{"kind": "external", "justification": until}]);
        value
    }));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "warpdrive",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
            "properties": {
                "image": report.name,
                "digest": report.digest.as_ref().map(ToString::to_string),
                "verdict": if report.is_refused() { "refused" } else { "passed" },
            },
        }],
    })
}

fn result(report: &Report, finding: &Finding) -> Value {
    let mut properties = json!({
        "severity": finding.severity,
        "count": finding.count,
        "more": finding.more,
    });
    if let Some((number, layer)) = report.layer(finding) {
        properties["layer"] = json!({
            "number": number,
            "digest": layer.digest.to_string(),
            "kind": layer.kind,
        });
    }
    // A location needs a relative reference; a finding in the configuration uses its name.
    let place = match &finding.path {
        Some(path) => uri(path.trim_start_matches('/')),
        None => "config.json".to_owned(),
    };
    let layer = finding
        .layer
        .map_or_else(String::new, |layer| layer.to_string());
    json!({
        "ruleId": finding.rule,
        "ruleIndex": rules::position(finding.rule),
        "level": level(finding.severity),
        "message": {"text": message(finding)},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": place},
                "region": {"startLine": 1},
            },
        }],
        "partialFingerprints": {
            "warpdrive/v1": format!("{}:{layer}:{}", finding.rule, finding.path.as_deref().unwrap_or_default()),
        },
        "properties": properties,
    })
}

fn message(finding: &Finding) -> String {
    match &finding.path {
        Some(path) => format!("{path}: {}", finding.message),
        None => finding.message.clone(),
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// As GitHub groups them.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "8.0",
        Severity::Medium => "5.0",
        Severity::Low => "2.0",
        Severity::Info => "0.0",
    }
}

/// Percent-encodes characters that a URI's path must not contain (RFC 3986, section 3.3).
fn uri(path: &str) -> String {
    use std::fmt::Write as _;
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    if uri.is_empty() { ".".into() } else { uri }
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("opt/a b/ü%:x"), "opt/a%20b/%C3%BC%25%3Ax");
        assert_eq!(uri(""), ".");
    }
}
