//! The result: findings in order, what the policy excused, and the verdict; as JSON.

use serde_json::{Value, json};

use crate::oci::Digest;

use super::date::Date;
use super::finding::{Finding, Severity};
use super::policy::{Exception, Policy, Verdict};
use super::rules;

/// A layer as the report names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The digest of the stored blob; the diff id if the layer has no blob.
    pub digest: Digest,
    pub diff_id: Digest,
    /// `base`, `builder`, `dependencies` or `application`, where warpdrive made it.
    pub kind: Option<&'static str>,
    /// The line of the image's history that made it.
    pub created_by: Option<String>,
}

/// A finding that an exception of the policy covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excused {
    pub finding: Finding,
    pub exception: Exception,
}

/// The result of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub name: String,
    /// The digest of the manifest, if there is one.
    pub digest: Option<Digest>,
    /// The lowest first.
    pub layers: Vec<LayerInfo>,
    /// The most severe first.
    pub findings: Vec<Finding>,
    pub excused: Vec<Excused>,
    pub fail_on: Option<Severity>,
    /// Bytes of uncompressed layers that were read.
    pub bytes: u64,
}

impl Report {
    /// Applies the policy to the findings.
    pub(super) fn new(
        name: &str,
        digest: Option<Digest>,
        layers: Vec<LayerInfo>,
        found: Vec<Finding>,
        policy: &Policy,
        today: Date,
    ) -> Self {
        let mut report = Self {
            name: name.to_owned(),
            digest,
            layers,
            findings: Vec::new(),
            excused: Vec::new(),
            fail_on: policy.fail_on,
            bytes: 0,
        };
        let expired = policy
            .exceptions()
            .iter()
            .filter(|exception| exception.expires < today)
            .map(|exception| {
                let message = format!(
                    "the exception for `{}` expired on {}; its reason was: {}",
                    exception.rule,
                    exception.expires,
                    super::paths::text(exception.reason.as_bytes()),
                );
                Finding::of_config("policy-expired", Severity::Low, message)
            });
        for mut finding in found.into_iter().chain(expired) {
            let layer = finding.layer.and_then(|index| report.layers.get(index));
            let layer = layer.map(|layer| layer.digest.to_string());
            match policy.judge(&finding, layer.as_deref(), today) {
                Verdict::Off => {}
                Verdict::Counts(severity) => {
                    finding.severity = severity;
                    report.findings.push(finding);
                }
                Verdict::Excused(exception) => report.excused.push(Excused {
                    finding,
                    exception: exception.clone(),
                }),
            }
        }
        report.findings.sort_by(|a, b| {
            let key = |f: &Finding| {
                (
                    std::cmp::Reverse(f.severity),
                    rules::position(f.rule),
                    f.layer,
                )
            };
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
        report
    }

    /// Whether the image is refused.
    pub fn is_refused(&self) -> bool {
        self.fail_on.is_some_and(|least| {
            self.findings
                .iter()
                .any(|finding| finding.severity >= least)
        })
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// The layer of a finding, by its number from 1.
    pub fn layer(&self, finding: &Finding) -> Option<(usize, &LayerInfo)> {
        let index = finding.layer?;
        Some((index + 1, self.layers.get(index)?))
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(|f| self.finding(f)).collect();
        let excused: Vec<Value> = self
            .excused
            .iter()
            .map(|excused| {
                let mut value = self.finding(&excused.finding);
                value["reason"] = json!(excused.exception.reason);
                value["expires"] = json!(excused.exception.expires.to_string());
                value
            })
            .collect();
        let counts: serde_json::Map<String, Value> = Severity::ALL
            .iter()
            .map(|severity| (severity.word().to_owned(), json!(self.count(*severity))))
            .collect();
        json!({
            "name": self.name,
            "digest": self.digest.as_ref().map(ToString::to_string),
            "verdict": if self.is_refused() { "refused" } else { "passed" },
            "fail_on": self.fail_on.map_or("never", Severity::word),
            "counts": counts,
            "findings": findings,
            "excused": excused,
            "layers": self.layers.iter().map(layer_json).collect::<Vec<_>>(),
        })
    }

    fn finding(&self, finding: &Finding) -> Value {
        let rule = rules::by_id(finding.rule);
        let layer = self.layer(finding).map(|(number, layer)| {
            let mut value = layer_json(layer);
            value["number"] = json!(number);
            value
        });
        json!({
            "rule": finding.rule,
            "severity": finding.severity,
            "title": rule.map(|rule| rule.title),
            "message": finding.message,
            "path": finding.path,
            "more": finding.more,
            "count": finding.count,
            "layer": layer,
            "explanation": rule.map(|rule| rule.explanation),
            "remedy": rule.map(|rule| rule.remedy),
        })
    }
}

fn layer_json(layer: &LayerInfo) -> Value {
    json!({
        "digest": layer.digest.to_string(),
        "diff_id": layer.diff_id.to_string(),
        "kind": layer.kind,
        "created_by": layer.created_by,
    })
}
