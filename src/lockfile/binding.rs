//! Names that a project binds to a place: a path, a repository, an index.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::app::requirement::normalize;

use super::fit::at;
use super::manager::Manager;
use super::pdm;

/// Who binds a name, and in which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) manager: Manager,
    /// The table, for people.
    pub(super) table: &'static str,
}

/// The names that `pyproject.toml` and `Pipfile` bind. PDM's sources name them by patterns.
pub(super) struct Bindings {
    names: BTreeMap<String, Binding>,
    patterns: Vec<String>,
}

impl Bindings {
    pub(super) fn of(pyproject: &Table, pipfile: &Table) -> Self {
        let mut names = BTreeMap::new();
        let mut add = |name: &str, manager, table| {
            names
                .entry(normalize(name))
                .or_insert(Binding { manager, table });
        };
        let table = |path: &[&str]| {
            at(pyproject, path)
                .and_then(Value::as_table)
                .into_iter()
                .flatten()
        };
        for (name, _) in table(&["tool", "uv", "sources"]) {
            add(name, Manager::Uv, "[tool.uv.sources]");
        }
        let groups = table(&["tool", "poetry", "group"])
            .filter_map(|(_, group)| group.get("dependencies")?.as_table());
        let poetry = [table(&["tool", "poetry", "dependencies"])];
        for (name, value) in poetry.into_iter().flatten().chain(groups.flatten()) {
            let all = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            let keys = ["source", "path", "git", "url", "file"];
            if all
                .iter()
                .any(|one| keys.iter().any(|key| one.get(key).is_some()))
            {
                add(name, Manager::Poetry, "[tool.poetry.dependencies]");
            }
        }
        for section in ["packages", "dev-packages"] {
            let entries = pipfile.get(section).and_then(Value::as_table);
            for (name, value) in entries.into_iter().flatten() {
                let keys = ["index", "path", "git", "file"];
                if keys.iter().any(|key| {
                    value
                        .get(key)
                        .is_some_and(|value| value.as_str() != Some("pypi"))
                }) {
                    add(name, Manager::Pipenv, "Pipfile");
                }
            }
        }
        let sources = at(pyproject, &["tool", "pdm", "source"]).and_then(Value::as_array);
        let patterns = sources
            .into_iter()
            .flatten()
            .filter_map(|source| source.get("include_packages")?.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        Self { names, patterns }
    }

    /// Who binds this name.
    pub(super) fn find(&self, name: &str) -> Option<Binding> {
        let by_pattern = || {
            let bound = self.patterns.iter().any(|pattern| pdm::glob(pattern, name));
            bound.then_some(Binding {
                manager: Manager::Pdm,
                table: "[[tool.pdm.source]]",
            })
        };
        self.names.get(name).cloned().or_else(by_pattern)
    }

    /// All names, with who binds them; a pattern stands for those that it fits.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Binding)> {
        let patterns = self.patterns.iter().map(|pattern| {
            (
                pattern.as_str(),
                Binding {
                    manager: Manager::Pdm,
                    table: "[[tool.pdm.source]]",
                },
            )
        });
        let names = self
            .names
            .iter()
            .map(|(name, binding)| (name.as_str(), binding.clone()));
        names.chain(patterns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_binds_a_name() {
        let pyproject = toml::from_str(
            "[tool.uv.sources]\nRates = { path = 'libs/rates' }\n\
             [tool.poetry.dependencies]\npython = '^3.9'\nflask = '*'\ncorp = { version = '*', source = 'corp' }\nm = [{ git = 'x' }]\n\
             [[tool.pdm.source]]\nname = 'corp'\nurl = 'https://c'\ninclude_packages = ['acme-*']\n",
        )
        .unwrap();
        let pipfile = toml::from_str("[packages]\nflask = {version = '*', index = 'pypi'}\nown = {version = '*', index = 'corp'}\n").unwrap();
        let bindings = Bindings::of(&pyproject, &pipfile);
        let manager = |name: &str| bindings.find(name).map(|binding| binding.manager);
        for (name, expected) in [
            ("rates", Some(Manager::Uv)),
            ("corp", Some(Manager::Poetry)),
            ("m", Some(Manager::Poetry)),
            ("own", Some(Manager::Pipenv)),
            ("acme-web", Some(Manager::Pdm)),
            ("flask", None),
        ] {
            assert_eq!(manager(name), expected, "{name}");
        }
        assert_eq!(bindings.all().count(), 5);
    }
}
