//! Names that a project binds to a location: a path, a repository, an index.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::super::files::{Files, join, parent};
use super::super::pip_variables::is_pypi;
use super::super::project::{Project, Source};
use super::super::requirement::{LineKind, normalize};

/// Which manager binds a name, and in which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `uv`, `poetry`, `pdm` or `pipenv`.
    pub manager: &'static str,
    /// The table, for people.
    pub table: &'static str,
}

/// The names that `pyproject.toml` and `Pipfile` bind. PDM's sources name them by patterns.
pub struct Bindings {
    names: BTreeMap<String, Binding>,
    patterns: Vec<String>,
}

/// A value in nested tables.
fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(table.get(*first)?, |value, key| value.get(key))
}

impl Bindings {
    /// The bindings at the top of the tree and in the application's directory, or in that of the project whose
    /// build backend alone knows what it needs.
    pub fn read(files: &dyn Files, project: &Project) -> Self {
        let home = match &project.source {
            Source::Dynamic { file } => parent(file).to_owned(),
            _ => project.home(),
        };
        let of = |directory| {
            let table = |name| {
                let path = join(directory, name).unwrap_or_default();
                let text = files.text(&path).unwrap_or_default();
                toml::from_str::<Table>(&text).unwrap_or_default()
            };
            Self::of(&table("pyproject.toml"), &table("Pipfile"))
        };
        let mut all = of("");
        if !home.is_empty() {
            let Self { names, patterns } = of(&home);
            all.names.extend(names);
            all.patterns.extend(patterns);
        }
        all
    }

    pub fn of(pyproject: &Table, pipfile: &Table) -> Self {
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
            add(name, "uv", "[tool.uv.sources]");
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
                add(name, "poetry", "[tool.poetry.dependencies]");
            }
        }
        // Without a name, a package is from the first source.
        let sources = pipfile.get("source").and_then(Value::as_array);
        let first = sources.and_then(|sources| sources.first()?.get("url")?.as_str());
        let is_pypi_first = first.is_none_or(is_pypi);
        for section in ["packages", "dev-packages"] {
            let entries = pipfile.get(section).and_then(Value::as_table);
            for (name, value) in entries.into_iter().flatten() {
                let keys = ["index", "path", "git", "file"];
                if keys.iter().any(|key| {
                    value
                        .get(key)
                        .is_some_and(|value| !is_pypi_first || value.as_str() != Some("pypi"))
                }) {
                    add(name, "pipenv", "Pipfile");
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

    /// Which manager binds this name.
    pub fn find(&self, name: &str) -> Option<Binding> {
        let by_pattern = || {
            let bound = self.patterns.iter().any(|pattern| glob(pattern, name));
            bound.then_some(Binding {
                manager: "pdm",
                table: "[[tool.pdm.source]]",
            })
        };
        self.names.get(name).cloned().or_else(by_pattern)
    }

    /// A name that the installation of this project would look for, although it is bound to a location.
    pub fn first_of(&self, project: &Project) -> Option<(String, Binding)> {
        let lists = match &project.source {
            Source::Requirements(_) | Source::Lock { .. } => true,
            // Only uv knows, and it follows its own table.
            Source::Dynamic { .. } => {
                return self.all().find_map(|(name, binding)| {
                    (binding.manager != "uv").then(|| (name.to_owned(), binding))
                });
            }
            Source::Static { .. } => false,
            Source::None => return None,
        };
        if !lists {
            return self
                .all()
                .next()
                .map(|(name, binding)| (name.to_owned(), binding));
        }
        let mut lines = project.requirements.lines.iter();
        lines.find_map(|line| match &line.kind {
            LineKind::Named { name, url: None } => Some((name.clone(), self.find(name)?)),
            _ => None,
        })
    }

    /// All names with their managers; a pattern stands for the names that it matches.
    pub fn all(&self) -> impl Iterator<Item = (&str, Binding)> {
        let patterns = self.patterns.iter().map(|pattern| {
            (
                pattern.as_str(),
                Binding {
                    manager: "pdm",
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

/// Matches `*` and `?` as `fnmatch` does.
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
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
            ("rates", Some("uv")),
            ("corp", Some("poetry")),
            ("m", Some("poetry")),
            ("own", Some("pipenv")),
            ("acme-web", Some("pdm")),
            ("flask", None),
        ] {
            assert_eq!(manager(name), expected, "{name}");
        }
        assert_eq!(bindings.all().count(), 5);
        let corp = "[[source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
        let pipfile = toml::from_str(&format!(
            "{corp}[packages]\nflask = {{version = '*', index = 'pypi'}}\n"
        ));
        let bindings = Bindings::of(&Table::new(), &pipfile.unwrap());
        assert!(bindings.find("flask").is_some());
    }
}
