//! Which Python an app wants: `.python-version`, `runtime.txt`, `Pipfile`, `requires-python` …,
//! as a condition on minor versions, because a builder image has one patch release of each minor version.

mod places;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files::{Below, Files, join};
use super::python_version::PythonVersion;
use super::settings::Settings;

pub use places::MISE;

/// What an app says about its Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonRequest {
    /// As written: `3.12`, `>=3.9,<3.13`, `^3.10`.
    pub text: String,
    /// The file or setting that says it.
    pub source: String,
}

impl PythonRequest {
    /// Whether some release of this minor version fits. A condition that cannot be understood
    /// always fits: the installer reads it again.
    pub fn matches(&self, version: PythonVersion) -> bool {
        self.text.split("||").any(|part| {
            part.split(',')
                .all(|clause| clause_allows(clause.trim(), version))
        })
    }
}

impl fmt::Display for PythonRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.text, self.source)
    }
}

/// Whether a clause of a version specifier (PEP 440, and Poetry's caret and tilde) allows a release
/// of `have`.
fn clause_allows(clause: &str, have: PythonVersion) -> bool {
    if clause.is_empty() || clause == "*" {
        return true;
    }
    let split = clause
        .find(|c: char| c.is_ascii_digit() || c == 'v')
        .unwrap_or(clause.len());
    let (operator, version) = (
        clause[..split].trim(),
        clause[split..].trim_start_matches('v'),
    );
    let numbers: Vec<u32> = version
        .split('.')
        .map_while(|part| {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part[..end].parse().ok()
        })
        .collect();
    let Some(major) = numbers.first().copied() else {
        return true;
    };
    let Some(minor) = numbers.get(1).copied() else {
        // `3`, `>=3`, `==3.*`, `<4`
        return match operator {
            "" | "=" | "==" | "===" | "~=" | "^" | "~" => have.major == major,
            "!=" => have.major != major,
            // 3.1 is greater than 3, which is 3.0.
            ">=" | ">" => have.major >= major,
            "<" => have.major < major,
            "<=" => have.major < major || (have.major == major && have.minor == 0),
            _ => true,
        };
    };
    let wanted = PythonVersion { major, minor };
    let patch = numbers.get(2).copied();
    let wildcard = version.contains('*');
    match operator {
        "" | "=" | "==" | "===" | "~" => have == wanted,
        "!=" => have != wanted || (!wildcard && patch.is_some()),
        "~=" if patch.is_some() => have == wanted,
        "^" | "~=" => have.major == major && have >= wanted,
        ">=" | ">" => have >= wanted,
        "<" => have < wanted || (have == wanted && patch.is_some_and(|patch| patch > 0)),
        // `<=3.12` excludes 3.12.1, but is always meant to include Python 3.12.
        "<=" => have <= wanted,
        _ => true,
    }
}

/// Why an app's request for a Python cannot be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PythonError {
    #[error("{}", unreadable(.place, .text, .why))]
    Unreadable {
        place: String,
        text: String,
        why: String,
        write: String,
    },
    #[error("{} and {} exclude each other", .0[0], .0[1])]
    Conflict([PythonRequest; 2]),
}

fn unreadable(place: &str, text: &str, why: &str) -> String {
    if text.is_empty() {
        return format!("{place} says no Python version that can be read: {why}");
    }
    format!("{place}: `{text}` is not a Python version that a builder can have: {why}")
}

/// What an app says about its Python, from all files and settings together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// The most explicit request.
    pub request: Option<PythonRequest>,
    pub warnings: Vec<String>,
}

/// Finds what an app says about its Python, the most explicit place first. A setting of warpdrive
/// decides; all other files must agree with each other.
///
/// # Errors
/// If a request cannot be understood, or two exclude each other.
pub fn request(files: &dyn Files, settings: &Settings) -> Result<Said, PythonError> {
    let setting = match settings.value("python") {
        Some(value) => {
            let place = value.origin.to_string();
            places::check(&value.text, &place)?;
            Some(PythonRequest {
                text: value.text,
                source: place,
            })
        }
        None => None,
    };
    let mut said = Said::default();
    let mut found = places::all(files);
    let home = settings.get("home").and_then(|home| join("", &home));
    if let Some(home) = home.filter(|home| found.is_empty() && !home.is_empty()) {
        // What the top does not say, the application's directory does.
        let directory = home.as_str();
        found = places::all(&Below { files, directory });
        for request in found.iter_mut().flatten() {
            request.source = format!("{home}/{}", request.source);
        }
    }
    if let Some(setting) = setting {
        for request in found.into_iter().flatten() {
            if excluding(&setting, &request) {
                said.warnings
                    .push(format!("{request} does not count: {setting} is asked for"));
            }
        }
        said.request = Some(setting);
        return Ok(said);
    }
    if let Some(at) = found.iter().position(Result::is_err) {
        found.swap_remove(at)?;
    }
    let found: Vec<PythonRequest> = found.into_iter().flatten().collect();
    for (index, first) in found.iter().enumerate() {
        for second in &found[index + 1..] {
            if excluding(first, second) {
                return Err(PythonError::Conflict([first.clone(), second.clone()]));
            }
        }
    }
    said.request = found.into_iter().next();
    Ok(said)
}

/// Whether no minor version fits both.
fn excluding(first: &PythonRequest, second: &PythonRequest) -> bool {
    let fits = |request: &PythonRequest, minor| request.matches(PythonVersion::new(3, minor));
    !(0..40).any(|minor| fits(first, minor) && fits(second, minor))
        && !(0..8).any(|minor| {
            let version = PythonVersion::new(2, minor);
            first.matches(version) && second.matches(version)
        })
}

/// The last month (year, month) in which a Python gets security fixes, as PEP 602 has it.
pub fn end_of_life(version: PythonVersion) -> Option<(i64, u32)> {
    match version {
        PythonVersion {
            major: 3,
            minor: 0..=7,
        } => Some((2023, 6)),
        PythonVersion { major: 3, minor: 8 } => Some((2024, 10)),
        // Five years after the release, which is in October.
        PythonVersion { major: 3, minor } => Some((2016 + i64::from(minor), 10)),
        PythonVersion { major: 0..=2, .. } => Some((2020, 1)),
        PythonVersion { .. } => None,
    }
}

/// The warning about a Python that gets no fixes at this time (seconds since 1970).
pub fn warn_of_end(version: PythonVersion, now: u64) -> Option<String> {
    let (year, month) = end_of_life(version)?;
    // The month after the last one begins; days before it make no difference here.
    let months = (year - 1970) * 12 + i64::from(month);
    let ended = i64::try_from(now / 86_400).ok()? * 4800 / 146_097 >= months;
    ended.then(|| {
        format!(
            "Python {version} has had no security fixes since {year}-{month:02}: take a newer one"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses() {
        for (text, yes, no) in [
            ("3.11", vec![11], vec![10, 12]),
            ("3.11.4", vec![11], vec![10, 12]),
            ("3", vec![9, 14], vec![]),
            (">=3.9", vec![9, 14], vec![8]),
            (">=3.9.2,<3.12", vec![9, 11], vec![8, 12]),
            (">3.9,<=3.11", vec![10, 11], vec![12]),
            ("<3.12.1", vec![12], vec![13]),
            ("~=3.9", vec![9, 14], vec![8]),
            ("~=3.9.2", vec![9], vec![10]),
            ("^3.10", vec![10, 14], vec![9]),
            ("==3.11.*", vec![11], vec![10]),
            (">=3.9,!=3.10.*", vec![9, 11], vec![10]),
            (">=3.9,!=3.10.1", vec![10], vec![8]),
            ("<4", vec![9], vec![]),
            (">=3", vec![9], vec![]),
            ("3.9 || 3.11", vec![9, 11], vec![10]),
            ("*", vec![9], vec![]),
        ] {
            let request = PythonRequest {
                text: text.into(),
                source: String::new(),
            };
            for minor in yes {
                assert!(
                    request.matches(PythonVersion::new(3, minor)),
                    "{text} 3.{minor}"
                );
            }
            for minor in no {
                assert!(
                    !request.matches(PythonVersion::new(3, minor)),
                    "{text} not 3.{minor}"
                );
            }
        }
    }

    #[test]
    fn the_end_of_a_python() {
        let at =
            |year: u64, month: u64| ((year - 1970) * 365 + (year - 1969) / 4 + month * 30) * 86_400;
        assert_eq!(warn_of_end(PythonVersion::new(3, 13), at(2026, 11)), None);
        assert_eq!(warn_of_end(PythonVersion::new(3, 9), at(2025, 6)), None);
        let warned = warn_of_end(PythonVersion::new(3, 9), at(2026, 1)).unwrap();
        assert!(warned.contains("2025-10"), "{warned}");
    }
}
