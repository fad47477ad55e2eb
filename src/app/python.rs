//! Which Python an app wants: `.python-version`, `runtime.txt`, `Pipfile`, `requires-python` …,
//! as a condition on minor versions, because a builder image has one patch release of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files::Files;
use super::python_version::PythonVersion;
use super::settings::Settings;

/// What an app says about its Python.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonRequest {
    /// As it stands there: `3.12`, `>=3.9,<3.13`, `^3.10`.
    pub text: String,
    /// The file or setting that says it.
    pub source: String,
}

impl PythonRequest {
    /// Whether some release of this minor version fits. What cannot be understood fits always: the
    /// installer will read it again.
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

/// Finds what an app says about its Python, the most explicit place first.
pub fn request(files: &dyn Files, settings: &Settings) -> Option<PythonRequest> {
    let found = |text: &str, source: &str| {
        let text = text.trim();
        (!text.is_empty()).then(|| PythonRequest {
            text: text.to_owned(),
            source: source.to_owned(),
        })
    };
    if let Some(value) = settings.value("python") {
        return found(&value.text, &value.origin.to_string());
    }
    if let Some(text) = files.text(".python-version")
        && let Some(version) = text.lines().map(str::trim).find(|line| {
            !line.is_empty() && !line.starts_with('#')
        })
        // pyenv's other implementations (`pypy3.10-7.3`, names of virtual environments) say nothing
        // that a builder image could fulfil.
        && let Some(version) = version
            .strip_prefix("cpython-")
            .or_else(|| version.strip_prefix("python-"))
            .or_else(|| version.starts_with(|c: char| c.is_ascii_digit() || "<>=~!".contains(c)).then_some(version))
    {
        return found(
            version.split('-').next().unwrap_or(version),
            ".python-version",
        );
    }
    if let Some(text) = files.text("runtime.txt")
        && let Some(version) = text.trim().strip_prefix("python-")
    {
        return found(version, "runtime.txt");
    }
    let table = |path: &str| {
        files
            .text(path)
            .and_then(|text| toml::from_str::<toml::Table>(&text).ok())
    };
    if let Some(pipfile) = table("Pipfile")
        && let Some(requires) = pipfile.get("requires")
        && let Some(version) = requires
            .get("python_full_version")
            .or_else(|| requires.get("python_version"))
            .and_then(toml::Value::as_str)
    {
        return found(version, "Pipfile");
    }
    if let Some(project) = table("pyproject.toml") {
        if let Some(text) = project
            .get("project")
            .and_then(|project| project.get("requires-python"))
            .and_then(toml::Value::as_str)
        {
            return found(text, "pyproject.toml requires-python");
        }
        if let Some(text) = project
            .get("tool")
            .and_then(|tool| tool.get("poetry"))
            .and_then(|poetry| poetry.get("dependencies"))
            .and_then(|dependencies| dependencies.get("python"))
            .and_then(toml::Value::as_str)
        {
            return found(text, "pyproject.toml [tool.poetry.dependencies]");
        }
    }
    if let Some(text) = super::setup_cfg::value(files, "options", "python_requires") {
        return found(&text, "setup.cfg python_requires");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::files::Memory;
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
    fn places() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            (
                ".python-version",
                "# x\n3.12.1\n",
                Some("3.12.1 (.python-version)"),
            ),
            (".python-version", "pypy3.10-7.3\n", None),
            (
                "runtime.txt",
                "python-3.9.18\n",
                Some("3.9.18 (runtime.txt)"),
            ),
            (
                "Pipfile",
                "[requires]\npython_version = '3.11'\n",
                Some("3.11 (Pipfile)"),
            ),
            (
                "pyproject.toml",
                "[project]\nrequires-python='>=3.10'\n",
                Some(">=3.10 (pyproject.toml requires-python)"),
            ),
            (
                "pyproject.toml",
                "[tool.poetry.dependencies]\npython='^3.10'\n",
                Some("^3.10 (pyproject.toml [tool.poetry.dependencies])"),
            ),
            (
                "setup.cfg",
                "[options]\npython_requires = >=3.8\n",
                Some(">=3.8 (setup.cfg python_requires)"),
            ),
            ("app.py", "", None),
        ];
        for (file, text, expected) in cases {
            let files = Memory::new().with(file, text);
            let settings = Settings::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
            let found = request(&files, &settings).map(|request| request.to_string());
            assert_eq!(found.as_deref(), *expected, "{file}");
        }
    }
}
