//! Requirements (PEP 508) and version conditions (PEP 440, Poetry's), as far as the comparison of a
//! lock with its project needs them.

use std::collections::BTreeSet;

use pep440_rs::{Version, VersionSpecifier, VersionSpecifiers};

use crate::app::requirement::{name_of, normalize};

/// A requirement in its parts, in a normal form: equal requirements compare as equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Requirement {
    pub(super) name: String,
    pub(super) extras: BTreeSet<String>,
    pub(super) specifiers: BTreeSet<String>,
    pub(super) url: Option<String>,
    pub(super) marker: Option<String>,
}

impl Requirement {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = name_of(text.trim())?;
        let (extras, rest) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (extras, rest) = inner.split_once(']')?;
                let extras = extras.split(',').map(str::trim);
                let extras = extras.filter(|extra| !extra.is_empty()).map(normalize);
                (extras.collect(), rest.trim_start())
            }
            None => (BTreeSet::new(), rest),
        };
        if let Some(url) = rest.strip_prefix('@') {
            let (url, marker) = match url.split_once(" ;") {
                Some((url, marker)) => (url, Some(marker.trim().to_owned())),
                None => (url, None),
            };
            return Some(Self {
                name: normalize(name),
                extras,
                specifiers: BTreeSet::new(),
                url: Some(url.trim().to_owned()),
                marker,
            });
        }
        let (versions, marker) = match rest.split_once(';') {
            Some((versions, marker)) => (versions, Some(marker.trim().to_owned())),
            None => (rest, None),
        };
        let versions = versions.trim();
        let versions = versions
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .unwrap_or(versions);
        Some(Self {
            name: normalize(name),
            extras,
            specifiers: specifiers(versions),
            url: None,
            marker,
        })
    }
}

/// The clauses of a version condition, each without blanks.
pub(super) fn specifiers(text: &str) -> BTreeSet<String> {
    text.split(',')
        .map(|clause| clause.split_whitespace().collect::<String>())
        .filter(|clause| !clause.is_empty())
        .map(|clause| match clause.parse::<VersionSpecifier>() {
            Ok(specifier) => specifier.to_string(),
            Err(_) => clause,
        })
        .collect()
}

/// Whether a version fits a condition, in the syntax of PEP 440 or of Poetry (`^1.2`, `~1.2`, `1.*`,
/// `a || b`). A condition that cannot be understood fits, because the manager that wrote the lock
/// understood it.
pub(super) fn allows(condition: &str, version: &str) -> bool {
    let Ok(version) = version.parse::<Version>() else {
        return true;
    };
    condition
        .split('|')
        .filter(|part| !part.is_empty())
        .any(|part| {
            part.split(',')
                .all(|clause| clause_allows(clause.trim(), &version))
        })
        || condition.trim().is_empty()
}

fn clause_allows(clause: &str, version: &Version) -> bool {
    if clause.is_empty() || clause == "*" {
        return true;
    }
    // Several clauses may be separated by blanks, but not an operator from its version.
    let clause: String = clause.split_whitespace().collect();
    let specifiers = if let Some(least) = clause.strip_prefix('^') {
        range(least, true)
    } else if let Some(least) = clause
        .strip_prefix('~')
        .filter(|rest| !rest.starts_with('='))
    {
        range(least, false)
    } else if clause.starts_with(|c: char| c.is_ascii_digit()) {
        Some(format!("=={clause}"))
    } else {
        Some(clause)
    };
    let specifiers = specifiers.and_then(|text| text.parse::<VersionSpecifiers>().ok());
    specifiers.is_none_or(|specifiers| specifiers.contains(version))
}

/// `^1.2` and `~1.2` as a range.
fn range(least: &str, caret: bool) -> Option<String> {
    let parsed: Version = least.parse().ok()?;
    let release: Vec<u64> = parsed.release().to_vec();
    let at = if caret {
        release
            .iter()
            .position(|number| *number > 0)
            .unwrap_or(release.len() - 1)
    } else {
        usize::from(release.len() > 1)
    };
    let mut upper: Vec<String> = release.iter().take(at).map(u64::to_string).collect();
    upper.push(release.get(at)?.checked_add(1)?.to_string());
    Some(format!(">={least},<{}", upper.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements() {
        let found =
            Requirement::parse("Flask[Async, dotenv] (>=3.0, <4) ; python_version > '3'").unwrap();
        assert_eq!(found.name, "flask");
        assert_eq!(
            found.extras.into_iter().collect::<Vec<_>>(),
            ["async", "dotenv"]
        );
        assert_eq!(
            found.specifiers.into_iter().collect::<Vec<_>>(),
            ["<4", ">=3.0"]
        );
        assert_eq!(found.marker.as_deref(), Some("python_version > '3'"));
        let found = Requirement::parse("x @ git+https://h/x@main ; os_name == 'nt'").unwrap();
        assert_eq!(found.url.as_deref(), Some("git+https://h/x@main"));
        assert_eq!(Requirement::parse("-e ."), None);
    }

    #[test]
    fn conditions() {
        for (condition, version, fits) in [
            ("^3.8", "3.11.2", true),
            ("^3.8", "4.0", false),
            ("^0.2.3", "0.2.9", true),
            ("^0.2.3", "0.3", false),
            ("^0.0.3", "0.0.4", false),
            ("^0.0", "0.0.4", true),
            ("~1.2", "1.2.9", true),
            ("~1.2", "1.3", false),
            ("~1", "1.9", true),
            ("~=1.2", "1.9", true),
            (">=3.8,<3.10 || >=3.12", "3.11.2", false),
            (">=3.8,<3.10 || >=3.11", "3.11.2", true),
            ("1.2.*", "1.2.3", true),
            ("1.2", "1.2", true),
            (">= 1.2", "1.1", false),
            ("*", "1", true),
            ("", "1", true),
            ("nonsense!", "1", true),
        ] {
            assert_eq!(allows(condition, version), fits, "{condition} {version}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,60}") {
            allows(&text, "3.11.2");
            Requirement::parse(&text);
        }
    }
}
