//! The policy file: which rules count, how much, and what is excused until when.
//!
//! ```toml
//! fail-on = "high"              # "medium", "low", "info", "never"
//!
//! [rules]
//! app-readonly = "off"          # or a severity
//!
//! [[exception]]
//! rule = "setuid"
//! path = "/usr/local/bin/ping*" # `*` within a name, `**` across; left out: any path
//! layer = "sha256:…"            # left out: any layer
//! reason = "the monitor needs it; see the runbook"
//! expires = 2027-01-31          # the last day on which it counts
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::progress::one_line;

use super::date::Date;
use super::finding::{Finding, Severity};
use super::rules::{self, RULES};

/// Largest policy file, in bytes.
const MAX_POLICY: u64 = 1024 * 1024;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("could not read the policy {path}: {source}", path = path.display())]
    Io {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("the policy has more than {limit} bytes, which is the limit")]
    TooLarge { limit: u64 },
    #[error("the policy is not valid: {message}")]
    Syntax { message: String },
    #[error("the policy names the rule `{id}`, which there is not{suggestion}")]
    UnknownRule { id: String, suggestion: String },
    #[error("exception {number} of the policy (rule `{rule}`): {problem}")]
    Exception {
        number: usize,
        rule: String,
        problem: String,
    },
}

/// Which rules count, their severities, and the exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// An image is refused for a finding of this severity or graver; `None`: never.
    pub fail_on: Option<Severity>,
    /// `None`: the rule is off.
    severities: BTreeMap<String, Option<Severity>>,
    exceptions: Vec<Exception>,
}

/// An exception: what it covers, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub rule: String,
    pub path: Option<String>,
    pub layer: Option<String>,
    pub reason: String,
    pub expires: Date,
}

/// The policy's decision about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict<'p> {
    Off,
    Counts(Severity),
    Excused(&'p Exception),
}

impl Default for Policy {
    /// All rules, no exception; refused from `high` on.
    fn default() -> Self {
        Self {
            fail_on: Some(Severity::High),
            severities: BTreeMap::new(),
            exceptions: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    fail_on: Option<Threshold>,
    #[serde(default)]
    rules: BTreeMap<String, Setting>,
    #[serde(default, rename = "exception")]
    exceptions: Vec<ExceptionEntry>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Threshold {
    Never,
    Info,
    Low,
    Medium,
    High,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Setting {
    Off,
    Info,
    Low,
    Medium,
    High,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExceptionEntry {
    rule: String,
    path: Option<String>,
    layer: Option<String>,
    reason: String,
    expires: Day,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Day {
    Date(toml::value::Datetime),
    Text(String),
}

impl Policy {
    /// All rules, no exception; refused from `medium` on.
    pub fn strict() -> Self {
        Self {
            fail_on: Some(Severity::Medium),
            ..Self::default()
        }
    }

    /// Reads a policy file.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        use std::io::Read;
        let io = |source| PolicyError::Io {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(io)?;
        file.take(MAX_POLICY + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        if bytes.len() as u64 > MAX_POLICY {
            return Err(PolicyError::TooLarge { limit: MAX_POLICY });
        }
        Self::parse(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let syntax = |message: String| PolicyError::Syntax { message };
        let text = std::str::from_utf8(bytes).map_err(|error| syntax(error.to_string()))?;
        let file: File =
            toml::from_str(text).map_err(|error| syntax(one_line(&error.to_string())))?;
        let fail_on = match file.fail_on {
            None | Some(Threshold::High) => Some(Severity::High),
            Some(Threshold::Medium) => Some(Severity::Medium),
            Some(Threshold::Low) => Some(Severity::Low),
            Some(Threshold::Info) => Some(Severity::Info),
            Some(Threshold::Never) => None,
        };
        let mut severities = BTreeMap::new();
        for (id, setting) in file.rules {
            known(&id)?;
            let severity = match setting {
                Setting::Off => None,
                Setting::Info => Some(Severity::Info),
                Setting::Low => Some(Severity::Low),
                Setting::Medium => Some(Severity::Medium),
                Setting::High => Some(Severity::High),
            };
            severities.insert(id, severity);
        }
        let mut exceptions = Vec::new();
        for (index, entry) in file.exceptions.into_iter().enumerate() {
            known(&entry.rule)?;
            exceptions.push(exception(index + 1, entry)?);
        }
        Ok(Self {
            fail_on,
            severities,
            exceptions,
        })
    }

    pub(super) fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// The decision about a finding in the layer with this digest. A combined finding with several
    /// paths is excused only if the exception names no path, or if all known paths match.
    pub(super) fn judge(&self, finding: &Finding, layer: Option<&str>, today: Date) -> Verdict<'_> {
        let severity = match self.severities.get(finding.rule) {
            Some(None) => return Verdict::Off,
            Some(Some(severity)) => *severity,
            None => finding.severity,
        };
        let excuse = self
            .exceptions
            .iter()
            .find(|exception| exception.expires >= today && exception.fits(finding, layer));
        match excuse {
            Some(exception) => Verdict::Excused(exception),
            None => Verdict::Counts(severity),
        }
    }
}

impl Exception {
    fn fits(&self, finding: &Finding, layer: Option<&str>) -> bool {
        let path_fits = match (&self.path, &finding.path) {
            (None, _) => true,
            (Some(pattern), Some(path)) => {
                let all_shown = finding.count == 1 + finding.more.len() as u64;
                fits(pattern, path)
                    && finding.more.iter().all(|path| fits(pattern, path))
                    && (all_shown || pattern.ends_with("**"))
            }
            (Some(_), None) => false,
        };
        self.rule == finding.rule
            && path_fits
            && self
                .layer
                .as_deref()
                .is_none_or(|wanted| layer == Some(wanted))
    }
}

fn exception(number: usize, entry: ExceptionEntry) -> Result<Exception, PolicyError> {
    let wrong = |problem: &str| PolicyError::Exception {
        number,
        rule: entry.rule.clone(),
        problem: problem.to_owned(),
    };
    if entry.reason.trim().is_empty() {
        return Err(wrong("`reason` is empty"));
    }
    let text = match &entry.expires {
        Day::Date(date) => date.to_string(),
        Day::Text(text) => text.clone(),
    };
    let expires = text
        .parse()
        .map_err(|()| wrong("`expires` is not a day such as 2027-01-31"))?;
    if entry
        .path
        .as_deref()
        .is_some_and(|path| !path.starts_with('/'))
    {
        return Err(wrong("`path` does not begin with `/`"));
    }
    if let Some(layer) = &entry.layer {
        crate::oci::parse_digest(layer).map_err(|error| wrong(&format!("`layer`: {error}")))?;
    }
    Ok(Exception {
        rule: entry.rule,
        path: entry.path,
        layer: entry.layer,
        reason: entry.reason,
        expires,
    })
}

fn known(id: &str) -> Result<(), PolicyError> {
    if rules::by_id(id).is_some() {
        return Ok(());
    }
    let nearest = RULES
        .iter()
        .map(|rule| (strsim::jaro_winkler(rule.id, id), rule.id))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    Err(PolicyError::UnknownRule {
        id: super::paths::text(id.as_bytes()),
        suggestion: match nearest {
            Some((_, nearest)) => format!("; did you mean `{nearest}`?"),
            None => String::new(),
        },
    })
}

/// Compares a path with a pattern: `*` stands for any text without `/`, `**` for any text.
fn fits(pattern: &str, path: &str) -> bool {
    // Which prefixes of the path match the pattern read so far; the time is bounded by the
    // product of both lengths, for any pattern.
    let path: Vec<char> = path.chars().collect();
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    let mut pattern = pattern.chars().peekable();
    while let Some(sign) = pattern.next() {
        if sign == '*' {
            let across = pattern.next_if_eq(&'*').is_some();
            for at in 0..path.len() {
                if reached[at] && (across || path[at] != '/') {
                    reached[at + 1] = true;
                }
            }
        } else {
            for at in (0..path.len()).rev() {
                reached[at + 1] = reached[at] && path[at] == sign;
            }
            reached[0] = false;
        }
    }
    reached[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn finding(path: &str) -> Finding {
        Finding::of_path(
            "setuid",
            Severity::High,
            0,
            path.trim_start_matches('/').as_bytes(),
            "x".into(),
        )
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("/bin/su", "/bin/su", true),
            ("/bin/su", "/bin/sudo", false),
            ("/bin/*", "/bin/su", true),
            ("/bin/*", "/bin/a/b", false),
            ("/bin/**", "/bin/a/b", true),
            ("/**/b", "/bin/a/b", true),
            ("/*/b", "/bin/a/b", false),
            ("/b*n/su*", "/bin/su", true),
            ("", "/bin", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn an_exception_counts_until_its_last_day_and_for_its_paths() {
        let policy = Policy::parse(
            b"[[exception]]\nrule = 'setuid'\npath = '/opt/*'\nreason = 'because'\nexpires = 2026-06-30\n\
              [[exception]]\nrule = 'user-name'\nreason = 'because'\nexpires = '2026-06-30'\n",
        )
        .unwrap();
        let verdict = |path: &str, today: &str| policy.judge(&finding(path), None, day(today));
        assert!(matches!(
            verdict("/opt/x", "2026-06-30"),
            Verdict::Excused(_)
        ));
        assert_eq!(
            verdict("/opt/x", "2026-07-01"),
            Verdict::Counts(Severity::High)
        );
        assert_eq!(
            verdict("/srv/x", "2026-06-30"),
            Verdict::Counts(Severity::High)
        );
        let name = Finding::of_config("user-name", Severity::High, "x".into());
        assert!(matches!(
            policy.judge(&name, None, day("2026-01-01")),
            Verdict::Excused(_)
        ));
    }

    #[test]
    fn severities_and_thresholds() {
        let policy =
            Policy::parse(b"fail-on = 'never'\n[rules]\nsetuid = 'low'\ndevice = 'off'\n").unwrap();
        assert_eq!(policy.fail_on, None);
        let today = day("2026-01-01");
        assert_eq!(
            policy.judge(&finding("/x"), None, today),
            Verdict::Counts(Severity::Low)
        );
        let device = Finding::of_config("device", Severity::High, "x".into());
        assert_eq!(policy.judge(&device, None, today), Verdict::Off);
        assert_eq!(Policy::parse(b"").unwrap(), Policy::default());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let exception = |text: &str| format!("[[exception]]\nrule='setuid'\n{text}\n");
        for (text, part) in [
            ("[rules]\nsetuidd = 'off'".into(), "did you mean `setuid`"),
            ("[rules]\nzzz = 'off'".into(), "there is not"),
            ("[rules]\nsetuid = 'fatal'".into(), "not valid"),
            ("failon = 'high'".into(), "not valid"),
            (exception("reason='x'"), "expires"),
            (exception("expires=2026-01-01"), "reason"),
            (
                exception("reason=' '\nexpires=2026-01-01"),
                "`reason` is empty",
            ),
            (exception("reason='x'\nexpires='soon'"), "not a day"),
            (
                exception("reason='x'\nexpires=2026-01-01T00:00:00Z"),
                "not a day",
            ),
            (
                exception("reason='x'\nexpires=2026-01-01\npath='opt'"),
                "begin with `/`",
            ),
            (
                exception("reason='x'\nexpires=2026-01-01\nlayer='x'"),
                "digest",
            ),
        ] {
            let text: String = text;
            let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Policy::parse(&bytes);
        }

        #[test]
        fn a_pattern_of_stars_fits_everything(path in "(/[a-z]{0,5}){0,6}") {
            prop_assert!(fits("**", &path));
            prop_assert!(fits(&path, &path));
        }
    }
}
