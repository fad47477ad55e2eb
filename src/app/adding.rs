//! How a project adds a package to what it asks for: by its manager's own command, or in a list.

use std::path::Path;

use super::files::{Below, Directory, Files, join};
use super::lock;

/// The way that fits a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Adding {
    /// A line of `requirements.txt`.
    #[default]
    List,
    /// A line under `[project]`, and a lock that is written again if there is one.
    Project { locked: bool },
    /// This command, before the name.
    Command(&'static str),
}

/// Names of managers, as the setting `dependencies` has them, with their lock and command.
const MANAGERS: [(&str, &str, &str); 4] = [
    ("uv", "uv.lock", "uv add"),
    ("poetry", "poetry.lock", "poetry add"),
    ("pdm", "pdm.lock", "pdm add"),
    ("pipenv", "Pipfile.lock", "pipenv install"),
];

impl Adding {
    /// Of the tree below a directory of this machine.
    pub fn of_source(source: &Path) -> Self {
        Directory::open(source).map_or_else(|_| Self::default(), |files| Self::of(&files))
    }

    /// Of a source tree, or of the application's directory in it.
    pub fn of(files: &dyn Files) -> Self {
        let own = table(files);
        let said = |key: &str| {
            let value = own.get("tool")?.get("warpdrive")?.get(key)?;
            value.as_str().map(str::to_owned)
        };
        if let Some(manager) = said("dependencies") {
            let named = MANAGERS.iter().find(|(name, ..)| *name == manager);
            match named {
                Some((.., command)) => return Self::Command(command),
                None if manager == "pip" => return Self::List,
                None => {}
            }
        }
        if own
            .get("tool")
            .and_then(|tool| tool.get("warpdrive")?.get("requirements"))
            .is_some()
        {
            return Self::List;
        }
        let home = said("home").and_then(|home| join("", &home));
        let below = home.filter(|home| !home.is_empty()).and_then(|home| {
            let below = Below {
                files,
                directory: &home,
            };
            Self::stated(&below, &table(&below))
        });
        Self::stated(files, &own).or(below).unwrap_or_default()
    }

    /// What the files of one directory say; a lock counts before a list, as for the installation.
    fn stated(files: &dyn Files, project: &toml::Table) -> Option<Self> {
        for (_, lock, command) in MANAGERS {
            if files.is_file(lock) {
                return Some(Self::Command(command));
            }
        }
        let mut locks = files.list("").into_iter();
        if locks.any(|entry| {
            lock::is_lock(&entry.name) && {
                // One that warpdrive wrote belongs to a list.
                let text = files.text(&entry.name).unwrap_or_default();
                lock::Document::parse(&text).is_ok_and(|document| !document.is_ours())
            }
        }) {
            return Some(Self::Project { locked: true });
        }
        if files.is_file("requirements.txt") {
            return Some(Self::List);
        }
        let tool = |name: &str| project.get("tool").and_then(|tool| tool.get(name));
        for (name, _, command) in MANAGERS {
            if tool(name).is_some() {
                return Some(Self::Command(command));
            }
        }
        if project.contains_key("project") {
            return Some(Self::Project { locked: false });
        }
        files
            .is_file("Pipfile")
            .then_some(Self::Command("pipenv install"))
    }

    /// What to do for this requirement.
    pub fn remedy(self, requirement: &str) -> String {
        match self {
            Self::List => format!("add {requirement} to requirements.txt"),
            Self::Project { locked: false } => {
                format!("add {requirement} to dependencies under [project] in pyproject.toml")
            }
            Self::Project { locked: true } => format!(
                "add {requirement} to dependencies under [project] in pyproject.toml, and write the lock again"
            ),
            Self::Command(command) => {
                // A shell reads `<` otherwise.
                let quote = if requirement.contains(['<', '>', '[', ' ']) {
                    "'"
                } else {
                    ""
                };
                format!("run `{command} {quote}{requirement}{quote}` and commit what it writes")
            }
        }
    }
}

fn table(files: &dyn Files) -> toml::Table {
    let text = files.text("pyproject.toml").unwrap_or_default();
    toml::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::files::Memory;
    use super::*;

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
        ];
        for (content, expected) in cases {
            let files = content
                .iter()
                .fold(Memory::new(), |files, (path, text)| files.with(path, text));
            assert_eq!(Adding::of(&files).remedy("idna"), *expected, "{content:?}");
        }
        assert_eq!(
            Adding::Command("uv add").remedy("setuptools<82"),
            "run `uv add 'setuptools<82'` and commit what it writes"
        );
    }
}
