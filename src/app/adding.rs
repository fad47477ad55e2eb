//! How a project adds a package to what it asks for: by its manager's own command, or in a list.

use serde::{Deserialize, Serialize};

use super::files::{Below, Files, join};
use super::lock;
use super::settings::Settings;

/// The way that fits a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adding {
    /// A line of `requirements.txt`.
    #[default]
    List,
    /// A line under `[project]`.
    Project,
    /// The same, and a lock that is written again.
    Locked,
    Uv,
    Poetry,
    Pdm,
    Pipenv,
}

impl Adding {
    /// The managers with a command for it.
    const MANAGERS: [Self; 4] = [Self::Uv, Self::Poetry, Self::Pdm, Self::Pipenv];

    /// Its name as the setting `dependencies` has it, its lock, and its command before a package's name.
    fn manager(self) -> Option<(&'static str, &'static str, &'static str)> {
        Some(match self {
            Self::Uv => ("uv", "uv.lock", "uv add"),
            Self::Poetry => ("poetry", "poetry.lock", "poetry add"),
            Self::Pdm => ("pdm", "pdm.lock", "pdm add"),
            Self::Pipenv => ("pipenv", "Pipfile.lock", "pipenv install"),
            Self::List | Self::Project | Self::Locked => return None,
        })
    }

    /// The manager for which this part of its facts holds.
    fn of_manager(holds: impl Fn((&str, &str)) -> bool) -> Option<Self> {
        let named = |one: &Self| {
            one.manager()
                .is_some_and(|(name, lock, _)| holds((name, lock)))
        };
        Self::MANAGERS.into_iter().find(named)
    }

    /// Of a source tree with these settings.
    pub fn of(files: &dyn Files, settings: &Settings) -> Self {
        if let Some(said) = settings.get("dependencies") {
            if let Some(manager) = Self::of_manager(|(name, _)| name == said) {
                return manager;
            }
            match said.as_str() {
                "pip" => return Self::List,
                "pylock" => return Self::Locked,
                _ => {}
            }
        }
        if let Some(lists) = settings.get("requirements") {
            let mut lists = lists.split_whitespace();
            return match (lists.next(), lists.next()) {
                (Some(file), None) if is_locked(files, file) => Self::Locked,
                _ => Self::List,
            };
        }
        let home = settings.get("home").and_then(|home| join("", &home));
        let below = home.filter(|home| !home.is_empty()).and_then(|home| {
            Self::stated(&Below {
                files,
                directory: &home,
            })
        });
        Self::stated(files).or(below).unwrap_or_default()
    }

    /// What the files of one directory say; a lock counts before a list, as for the installation.
    fn stated(files: &dyn Files) -> Option<Self> {
        let locked = Self::of_manager(|(_, lock)| files.is_file(lock));
        if locked.is_some() {
            return locked;
        }
        let mut names = files.list("").into_iter().map(|entry| entry.name);
        if names.any(|name| is_locked(files, &name)) {
            return Some(Self::Locked);
        }
        if files.is_file("requirements.txt") {
            return Some(Self::List);
        }
        let project = table(files);
        let has_table = |name: &str| {
            project
                .get("tool")
                .is_some_and(|tool| tool.get(name).is_some())
        };
        if let Some(manager) = Self::of_manager(|(name, _)| has_table(name)) {
            return Some(manager);
        }
        if project.contains_key("project") {
            return Some(Self::Project);
        }
        files.is_file("Pipfile").then_some(Self::Pipenv)
    }

    /// Whether packages are added to a list, without a manager.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn is_list(&self) -> bool {
        *self == Self::List
    }

    /// What to do for this requirement.
    pub fn remedy(self, requirement: &str) -> String {
        let project =
            || format!("add {requirement} to dependencies under [project] in pyproject.toml");
        match self.manager() {
            Some((_, _, command)) => {
                // A shell reads `<` otherwise.
                let quote = if requirement.contains(['<', '>', '[', ' ']) {
                    "'"
                } else {
                    ""
                };
                format!("run `{command} {quote}{requirement}{quote}` and commit what it writes")
            }
            None if self == Self::Project => project(),
            None if self == Self::Locked => format!("{}, and write the lock again", project()),
            None => format!("add {requirement} to requirements.txt"),
        }
    }
}

/// Whether a file is a lock (PEP 751) that stands for itself: one that warpdrive wrote belongs to a list.
fn is_locked(files: &dyn Files, file: &str) -> bool {
    lock::is_lock(file) && {
        let text = files.text(file).unwrap_or_default();
        lock::Document::parse(&text).is_ok_and(|document| !document.is_ours())
    }
}

fn table(files: &dyn Files) -> toml::Table {
    let text = files.text("pyproject.toml").unwrap_or_default();
    toml::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::files::Memory;
    use super::*;

    fn adding(files: &Memory, variables: &[(&str, &str)], given: &[(&str, &str)]) -> Adding {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let settings = Settings::load(files, &map(variables), &map(given)).unwrap();
        Adding::of(files, &settings)
    }

    #[test]
    fn a_package_is_added_as_the_projects_manager_does_it() {
        let list = "add idna to requirements.txt";
        let uv = "run `uv add idna` and commit what it writes";
        let poetry = "run `poetry add idna` and commit what it writes";
        let pdm = "run `pdm add idna` and commit what it writes";
        let pipenv = "run `pipenv install idna` and commit what it writes";
        let project = "add idna to dependencies under [project] in pyproject.toml";
        let written = "lock-version = \"1.0\"\ncreated-by = \"x\"\n";
        let relock = format!("{project}, and write the lock again");
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], list),
            (&[("requirements.txt", "")], list),
            (&[("uv.lock", ""), ("requirements.txt", "")], uv),
            (&[("poetry.lock", "")], poetry),
            (&[("pdm.lock", "")], pdm),
            (&[("Pipfile.lock", ""), ("Pipfile", "")], pipenv),
            (&[("Pipfile", "")], pipenv),
            (&[("pyproject.toml", "[tool.poetry]")], poetry),
            (&[("pyproject.toml", "[project]\n[tool.uv]")], uv),
            (&[("pyproject.toml", "[project]")], project),
            (
                &[("pyproject.toml", "[project]"), ("pylock.toml", written)],
                &relock,
            ),
            (
                &[("pyproject.toml", "[project]"), ("requirements.txt", "")],
                list,
            ),
            (
                &[
                    ("pyproject.toml", "[tool.warpdrive]\ndependencies = 'pdm'"),
                    ("pdm.lock", ""),
                    ("uv.lock", ""),
                ],
                pdm,
            ),
            (
                &[
                    ("pyproject.toml", "[tool.warpdrive]\nhome = 'app'"),
                    ("app/uv.lock", ""),
                ],
                uv,
            ),
            (
                &[
                    ("pyproject.toml", "[tool.warpdrive]\nrequirements = 'a.txt'"),
                    ("uv.lock", ""),
                ],
                list,
            ),
            (
                &[
                    (
                        "pyproject.toml",
                        "[tool.warpdrive]\nrequirements = 'pylock.web.toml'",
                    ),
                    ("pylock.web.toml", written),
                ],
                &relock,
            ),
        ];
        for (content, expected) in cases {
            let files = content
                .iter()
                .fold(Memory::new(), |files, (path, text)| files.with(path, text));
            let found = adding(&files, &[], &[]);
            assert_eq!(found.remedy("idna"), *expected, "{content:?}");
        }
        assert_eq!(
            Adding::Uv.remedy("setuptools<82"),
            "run `uv add 'setuptools<82'` and commit what it writes"
        );
    }

    #[test]
    fn variables_and_options_choose_the_manager() {
        let both = Memory::new().with("uv.lock", "").with("pdm.lock", "");
        assert_eq!(adding(&both, &[], &[]), Adding::Uv);
        let variable = ("WARPDRIVE_DEPENDENCIES", "pdm");
        assert_eq!(adding(&both, &[variable], &[]), Adding::Pdm);
        let option = ("dependencies", "pip");
        assert_eq!(adding(&both, &[variable], &[option]), Adding::List);
        let openshift = ("ENABLE_PIPENV", "true");
        assert_eq!(adding(&both, &[openshift], &[]), Adding::Pipenv);
        let below = Memory::new().with("web/poetry.lock", "");
        assert_eq!(adding(&below, &[("APP_HOME", "web")], &[]), Adding::Poetry);
    }
}
