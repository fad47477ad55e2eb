//! Which packages a manager builds from source although there is a wheel, and which it never builds. The
//! manager's variables and its own settings decide this.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::files::{self, Files};
use crate::app::requirement::normalize;

use super::fit::at;
use super::manager::Manager;
use super::packages::File;

/// Some packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Names {
    #[default]
    None,
    All,
    These(BTreeSet<String>),
}

impl Names {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }

    /// `:all:`, `:none:`, names, or a switch.
    fn of_words<'t>(words: impl Iterator<Item = &'t str>) -> Self {
        let mut found = Self::None;
        for word in words {
            found = match (word.to_ascii_lowercase().as_str(), found) {
                (":none:" | "false" | "0", _) => Self::None,
                (":all:" | "true" | "1", _) | (_, Self::All) => Self::All,
                (name, Self::None) => Self::These(BTreeSet::from([normalize(name)])),
                (name, Self::These(mut names)) => {
                    names.insert(normalize(name));
                    Self::These(names)
                }
            };
        }
        found
    }

    fn of_text(text: &str) -> Self {
        let separators = [' ', ',', '\t', '\n'];
        Self::of_words(text.split(separators).filter(|word| !word.is_empty()))
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Boolean(true) => Self::All,
            Value::String(text) => Self::of_text(text),
            Value::Array(items) => Self::of_words(items.iter().filter_map(Value::as_str)),
            _ => Self::None,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::None, names) | (names, Self::None) => names,
            (Self::These(mut names), Self::These(more)) => {
                names.extend(more);
                Self::These(names)
            }
        }
    }
}

/// Which kinds of files are allowed for each package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Binaries {
    no_wheel: Names,
    only_wheel: Names,
}

impl Binaries {
    pub(super) fn read(
        manager: Manager,
        files: &dyn Files,
        directory: &str,
        project: &Table,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        let variable = |name: &str| variables.get(name).map(|text| Names::of_text(text));
        let said = |name: &str| variable(name).unwrap_or_default();
        let uv = |key: &str| at(project, &["tool", "uv", key]).map(Names::of_value);
        match manager {
            // A variable comes before the table, and both kinds of values are combined.
            Manager::Uv => {
                let both = |all: (&str, &str), some: (&str, &str)| {
                    let all = variable(all.0).or_else(|| uv(all.1)).unwrap_or_default();
                    let some = variable(some.0).or_else(|| uv(some.1)).unwrap_or_default();
                    all.or(some)
                };
                Self {
                    no_wheel: both(
                        ("UV_NO_BINARY", "no-binary"),
                        ("UV_NO_BINARY_PACKAGE", "no-binary-package"),
                    ),
                    only_wheel: both(
                        ("UV_NO_BUILD", "no-build"),
                        ("UV_NO_BUILD_PACKAGE", "no-build-package"),
                    ),
                }
            }
            Manager::Poetry => {
                let text = files::join(directory, "poetry.toml").and_then(|file| files.text(&file));
                let own: Table = text
                    .and_then(|text| toml::from_str(&text).ok())
                    .unwrap_or_default();
                let said = |name: &str, key: &str| {
                    let of_file = || at(&own, &["installer", key]).map(Names::of_value);
                    variable(name).or_else(of_file).unwrap_or_default()
                };
                Self {
                    no_wheel: said("POETRY_INSTALLER_NO_BINARY", "no-binary"),
                    only_wheel: said("POETRY_INSTALLER_ONLY_BINARY", "only-binary"),
                }
            }
            Manager::Pdm => Self {
                no_wheel: said("PDM_NO_BINARY"),
                only_wheel: said("PDM_ONLY_BINARY"),
            },
            Manager::Pipenv | Manager::Pylock | Manager::Pip => Self {
                no_wheel: said("PIP_NO_BINARY"),
                only_wheel: said("PIP_ONLY_BINARY"),
            },
        }
    }

    /// The allowed files of a package.
    pub(super) fn allowed(&self, name: &str, files: &[File]) -> Vec<File> {
        let (no_wheel, only_wheel) = (self.no_wheel.has(name), self.only_wheel.has(name));
        files
            .iter()
            .filter(|file| {
                if file.is_wheel() {
                    !no_wheel
                } else {
                    !only_wheel
                }
            })
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::files::Memory;

    /// The allowed ones of a wheel and an archive of `psycopg2`.
    fn left(manager: Manager, files: &Memory, variables: &[(&str, &str)]) -> &'static str {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let project = files.text("pyproject.toml").unwrap_or_default();
        let project = toml::from_str(&project).unwrap();
        let binaries = Binaries::read(manager, files, "", &project, &variables);
        let file = |name: &str| File {
            name: name.to_owned(),
            url: None,
            sha256: String::new(),
            size: None,
        };
        let both = [
            file("psycopg2-2.9-cp311-cp311-manylinux_2_17_x86_64.whl"),
            file("psycopg2-2.9.tar.gz"),
        ];
        match binaries.allowed("psycopg2", &both).as_slice() {
            [] => "nothing",
            [one] if one.is_wheel() => "wheel",
            [_] => "archive",
            _ => "both",
        }
    }

    #[test]
    fn each_manager_has_its_own_words() {
        let none = Memory::new();
        let uv = |text: &str| Memory::new().with("pyproject.toml", format!("[tool.uv]\n{text}\n"));
        let poetry =
            |text: &str| Memory::new().with("poetry.toml", format!("[installer]\n{text}\n"));
        for (manager, files, variables, expected) in [
            (Manager::Uv, &none, &[][..], "both"),
            (Manager::Uv, &none, &[("UV_NO_BINARY", "1")], "archive"),
            (
                Manager::Uv,
                &none,
                &[("UV_NO_BINARY_PACKAGE", "a psycopg2")],
                "archive",
            ),
            (Manager::Uv, &none, &[("UV_NO_BUILD", "true")], "wheel"),
            (
                Manager::Uv,
                &none,
                &[("UV_NO_BUILD_PACKAGE", "other")],
                "both",
            ),
            (
                Manager::Uv,
                &uv("no-binary-package = ['Psycopg2']"),
                &[],
                "archive",
            ),
            (
                Manager::Uv,
                &uv("no-binary = true"),
                &[("UV_NO_BINARY", "0")],
                "both",
            ),
            (Manager::Uv, &uv("no-build = true"), &[], "wheel"),
            (
                Manager::Poetry,
                &none,
                &[("POETRY_INSTALLER_NO_BINARY", "x,psycopg2")],
                "archive",
            ),
            (
                Manager::Poetry,
                &none,
                &[("POETRY_INSTALLER_NO_BINARY", ":all:")],
                "archive",
            ),
            (
                Manager::Poetry,
                &none,
                &[("POETRY_INSTALLER_ONLY_BINARY", "true")],
                "wheel",
            ),
            (Manager::Poetry, &none, &[("UV_NO_BINARY", "1")], "both"),
            (
                Manager::Poetry,
                &poetry("no-binary = ['psycopg2']"),
                &[],
                "archive",
            ),
            (
                Manager::Poetry,
                &poetry("no-binary = true"),
                &[("POETRY_INSTALLER_NO_BINARY", ":none:")],
                "both",
            ),
            (
                Manager::Pdm,
                &none,
                &[("PDM_NO_BINARY", "psycopg2")],
                "archive",
            ),
            (
                Manager::Pdm,
                &none,
                &[("PDM_ONLY_BINARY", ":all:")],
                "wheel",
            ),
            (
                Manager::Pipenv,
                &none,
                &[("PIP_NO_BINARY", "psycopg2")],
                "archive",
            ),
            (
                Manager::Pipenv,
                &none,
                &[("PIP_NO_BINARY", ":all:"), ("PIP_ONLY_BINARY", ":all:")],
                "nothing",
            ),
        ] {
            assert_eq!(
                left(manager, files, variables),
                expected,
                "{manager:?} {variables:?}"
            );
        }
    }
}
