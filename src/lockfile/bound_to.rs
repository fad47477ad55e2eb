//! The locations that `pyproject.toml` and `Pipfile` bind names to, in each manager's syntax.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::declared::binding::glob;
use crate::app::files::{self, EntryKind, Files};
use crate::app::requirement::normalize;
use crate::app::settings::Settings;

use super::error::LockfileError;
use super::fit::at;
use super::packages::{Index, is_word, named};

/// A location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BoundTo {
    /// A directory or an archive of the tree, relative to it.
    Path {
        path: String,
        editable: bool,
    },
    /// An address, or that of a repository (`git+…`).
    Url(String),
    Index(Index),
}

/// Locations by normalized name; each with its environments.
#[derive(Debug, Default)]
pub(super) struct BoundNames(BTreeMap<String, Vec<(Option<String>, BoundTo)>>);

impl BoundNames {
    pub(super) fn of(&self, name: &str) -> Option<&[(Option<String>, BoundTo)]> {
        self.0.get(name).map(Vec::as_slice)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &[(Option<String>, BoundTo)])> {
        self.0
            .iter()
            .map(|(name, places)| (name.as_str(), places.as_slice()))
    }

    /// The names that the `pyproject.toml` of a directory binds, if they are not bound yet: those for extras and
    /// groups where the settings name these.
    pub(super) fn add(
        &mut self,
        files: &dyn Files,
        directory: &str,
        table: &Table,
        settings: Option<&Settings>,
    ) -> Result<(), LockfileError> {
        let file = files::join(directory, "pyproject.toml").unwrap_or_default();
        let mut found = Found {
            files,
            file: &file,
            directory,
            chosen: settings
                .map(|settings| chosen(settings, table))
                .unwrap_or_default(),
            indexes: indexes(table, &["tool", "uv", "index"]),
            table: "[[tool.uv.index]]",
            places: BTreeMap::new(),
        };
        let mut members = of_workspace(files, directory, table);
        if !directory.is_empty() {
            // The workspace that it is a member of.
            let root = files.text("pyproject.toml").unwrap_or_default();
            let root = toml::from_str::<Table>(&root).unwrap_or_default();
            for (name, path) in of_workspace(files, "", &root) {
                members.entry(name).or_insert(path);
            }
            if at(&root, &["tool", "uv", "workspace"]).is_some() {
                for (name, url) in indexes(&root, &["tool", "uv", "index"]) {
                    found.indexes.entry(name).or_insert(url);
                }
            }
        }
        let sources = at(table, &["tool", "uv", "sources"]).and_then(Value::as_table);
        for (name, source) in sources.into_iter().flatten() {
            for one in all(source) {
                found.of_uv(name, one, &members)?;
            }
        }
        found.indexes = indexes(table, &["tool", "poetry", "source"]);
        found.table = "[[tool.poetry.source]]";
        let poetry = at(table, &["tool", "poetry", "dependencies"]).and_then(Value::as_table);
        for (name, source) in poetry.into_iter().flatten() {
            for one in all(source) {
                found.of_poetry(name, one)?;
            }
        }
        let sources = at(table, &["tool", "pdm", "source"]).and_then(Value::as_array);
        for source in sources.into_iter().flatten() {
            found.of_pdm(source)?;
        }
        for (name, places) in found.places {
            self.0.entry(name).or_insert(places);
        }
        Ok(())
    }

    /// The names that a `Pipfile` binds.
    pub(super) fn add_pipfile(
        &mut self,
        files: &dyn Files,
        directory: &str,
        table: &Table,
    ) -> Result<(), LockfileError> {
        let file = files::join(directory, super::pipenv::PIPFILE).unwrap_or_default();
        let mut found = Found {
            files,
            file: &file,
            directory,
            chosen: BTreeSet::new(),
            indexes: indexes(table, &["source"]),
            table: "[[source]]",
            places: BTreeMap::new(),
        };
        let packages = table.get("packages").and_then(Value::as_table);
        for (name, value) in packages.into_iter().flatten() {
            found.of_pipenv(name, value)?;
        }
        for (name, places) in found.places {
            self.0.entry(name).or_insert(places);
        }
        Ok(())
    }
}

/// The extras and the groups that are installed, with the groups that these include: kind and name.
fn chosen(settings: &Settings, table: &Table) -> BTreeSet<(&'static str, String)> {
    let names = |key| -> Vec<String> {
        let names = settings.get(key).unwrap_or_default();
        names.split_whitespace().map(normalize).collect()
    };
    let extras = names("dependency_extras").into_iter();
    let mut found: BTreeSet<_> = extras.map(|name| ("extra", name)).collect();
    let groups = table.get("dependency-groups").and_then(Value::as_table);
    let mut left = names("dependency_groups");
    while let Some(name) = left.pop() {
        let mut all = groups.into_iter().flatten();
        let group = all.find(|(key, _)| normalize(key) == name);
        if found.insert(("group", name)) {
            let items = group.and_then(|(_, items)| items.as_array());
            let included = items.into_iter().flatten();
            left.extend(
                included
                    .filter_map(|item| item.get("include-group")?.as_str())
                    .map(normalize),
            );
        }
    }
    found
}

/// One value, or several by environment.
fn all(value: &Value) -> &[Value] {
    value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The indexes of a table, by name.
fn indexes(table: &Table, path: &[&str]) -> BTreeMap<String, String> {
    let list = at(table, path).and_then(Value::as_array);
    let entries = list.into_iter().flatten();
    entries
        .filter_map(|entry| {
            let text = |key: &str| entry.get(key).and_then(Value::as_str);
            Some((text("name")?.to_owned(), text("url")?.to_owned()))
        })
        .collect()
}

/// The projects of the uv workspace whose root this is, if it is one.
fn of_workspace(files: &dyn Files, directory: &str, table: &Table) -> BTreeMap<String, String> {
    at(table, &["tool", "uv", "workspace"])
        .map(|workspace| members(files, directory, workspace))
        .unwrap_or_default()
}

/// The projects of a uv workspace: name and directory.
pub(super) fn members(
    files: &dyn Files,
    root: &str,
    workspace: &Value,
) -> BTreeMap<String, String> {
    let list = |key: &str| -> Vec<&str> {
        let list = workspace.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let mut directories: Vec<String> = vec![root.to_owned()];
    for pattern in list("members") {
        let mut found = vec![root.to_owned()];
        for part in pattern
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
        {
            found = found
                .iter()
                .flat_map(|above| {
                    let named = files.list(above).into_iter().filter(|entry| {
                        entry.kind == EntryKind::Directory && glob(part, &entry.name)
                    });
                    named.filter_map(|entry| files::join(above, &entry.name))
                })
                .collect();
        }
        directories.extend(found);
    }
    let excluded = list("exclude");
    directories
        .into_iter()
        .filter(|path| {
            let below = path.strip_prefix(root).unwrap_or(path);
            let below = below.trim_start_matches('/');
            !excluded.iter().any(|pattern| glob(pattern, below))
        })
        .filter_map(|path| {
            let text = files.text(&files::join(&path, "pyproject.toml")?)?;
            let table: Table = toml::from_str(&text).ok()?;
            let name = at(&table, &["project", "name"])?.as_str()?;
            Some((normalize(name), path))
        })
        .collect()
}

struct Found<'a> {
    files: &'a dyn Files,
    file: &'a str,
    directory: &'a str,
    chosen: BTreeSet<(&'static str, String)>,
    indexes: BTreeMap<String, String>,
    /// The table that defines them.
    table: &'static str,
    places: BTreeMap<String, Vec<(Option<String>, BoundTo)>>,
}

impl Found<'_> {
    fn wrong(&self, name: &str, problem: &str) -> LockfileError {
        LockfileError::Unusable {
            file: self.file.to_owned(),
            problem: format!("`{}` {problem}", name.escape_default()),
        }
    }

    fn push(&mut self, name: &str, marker: Option<String>, place: BoundTo) {
        self.places
            .entry(normalize(name))
            .or_default()
            .push((marker, place));
    }

    fn path(&self, name: &str, path: &str) -> Result<String, LockfileError> {
        let inside = path.strip_prefix("file:").unwrap_or(path);
        let place =
            files::join(self.directory, inside).filter(|path| path.is_empty() || is_word(path));
        let place = place.ok_or_else(|| {
            let path = path.escape_default();
            self.wrong(
                name,
                &format!("is bound to the path {path}, which is not inside the source"),
            )
        })?;
        if self.directory.is_empty() && self.file == super::pipenv::PIPFILE
            || place.is_empty()
            || self.files.is_file(&place)
            || self.files.is_directory(&place)
        {
            return Ok(place);
        }
        Err(self.wrong(
            name,
            &format!("is bound to the path {place}, which is not there"),
        ))
    }

    fn url(&self, name: &str, url: &str) -> Result<String, LockfileError> {
        let good = is_word(url)
            && ["https://", "http://", "ssh://", "git://", "git@"]
                .iter()
                .any(|start| url.starts_with(start));
        if good {
            return Ok(url.to_owned());
        }
        let url = url.escape_default();
        Err(self.wrong(
            name,
            &format!("is bound to {url}, which is not an address that can be used"),
        ))
    }

    fn git(
        &self,
        name: &str,
        source: &Value,
        references: &[&str],
    ) -> Result<BoundTo, LockfileError> {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let url = text("git").unwrap_or_default();
        let url = url.strip_prefix("git+").unwrap_or(url);
        let url = self.url(name, url)?;
        // `git@host:path` is ssh's.
        let url = match url.split_once(':') {
            Some((host, path)) if !url.contains("://") => format!("ssh://{host}/{path}"),
            _ => url,
        };
        let reference = references.iter().find_map(|key| text(key));
        let below = text("subdirectory");
        if [reference, below]
            .into_iter()
            .flatten()
            .any(|text| !is_word(text))
        {
            return Err(self.wrong(
                name,
                "is bound to a repository with a reference that cannot be used",
            ));
        }
        let reference = reference.map_or_else(String::new, |name| format!("@{name}"));
        let below = below.map_or_else(String::new, |path| format!("#subdirectory={path}"));
        Ok(BoundTo::Url(format!("git+{url}{reference}{below}")))
    }

    fn index(&self, name: &str, index: &str) -> Result<BoundTo, LockfileError> {
        let url = self.indexes.get(index);
        let Some(url) = url else {
            if index.eq_ignore_ascii_case("pypi") {
                return Ok(BoundTo::Index(Index::default()));
            }
            return Err(LockfileError::NoIndex {
                file: self.file.to_owned(),
                name: name.escape_default().to_string(),
                index: index.escape_default().to_string(),
                table: self.table,
                defined: named(self.indexes.keys().map(String::as_str)),
            });
        };
        let usable = is_word(url)
            && ["https://", "http://"]
                .iter()
                .any(|start| url.starts_with(start));
        if !usable {
            let url = url.escape_default();
            return Err(self.wrong(
                name,
                &format!("is bound to {url}, which is not an index on the web"),
            ));
        }
        Ok(BoundTo::Index(Index::at(Some(index), url)))
    }

    fn of_uv(
        &mut self,
        name: &str,
        source: &Value,
        members: &BTreeMap<String, String>,
    ) -> Result<(), LockfileError> {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let is_left_out = |kind| {
            let name = text(kind).map(normalize);
            name.is_some_and(|name| !self.chosen.contains(&(kind, name)))
        };
        if is_left_out("extra") || is_left_out("group") {
            return Ok(());
        }
        let marker = text("marker").map(str::to_owned);
        let editable = source.get("editable").and_then(Value::as_bool);
        let place = if source.get("workspace").and_then(Value::as_bool) == Some(true) {
            match members.get(&normalize(name)) {
                Some(path) if path.is_empty() => return Ok(()),
                Some(path) => BoundTo::Path {
                    path: path.clone(),
                    editable: editable.unwrap_or(true),
                },
                // The workspace's root binds it.
                None if !self.directory.is_empty() => return Ok(()),
                None => {
                    return Err(self.wrong(
                        name,
                        "is to be a project of the workspace, whose root is not the source: build the root, with the setting `home` for the application's directory",
                    ));
                }
            }
        } else if text("git").is_some() {
            self.git(name, source, &["rev", "tag", "branch"])?
        } else if let Some(url) = text("url") {
            let below = text("subdirectory");
            let below = below.map_or_else(String::new, |path| format!("#subdirectory={path}"));
            BoundTo::Url(self.url(name, &format!("{url}{below}"))?)
        } else if let Some(path) = text("path") {
            BoundTo::Path {
                path: self.path(name, path)?,
                editable: editable.unwrap_or(false),
            }
        } else if let Some(index) = text("index") {
            self.index(name, index)?
        } else {
            return Err(self.wrong(name, "is bound to a place that is not known"));
        };
        self.push(name, marker, place);
        Ok(())
    }

    fn of_poetry(&mut self, name: &str, source: &Value) -> Result<(), LockfileError> {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let place = if text("git").is_some() {
            self.git(name, source, &["rev", "tag", "branch"])?
        } else if let Some(url) = text("url") {
            BoundTo::Url(self.url(name, url)?)
        } else if let Some(path) = text("path").or_else(|| text("file")) {
            BoundTo::Path {
                path: self.path(name, path)?,
                editable: source.get("develop").and_then(Value::as_bool) == Some(true),
            }
        } else if let Some(index) = text("source") {
            self.index(name, index)?
        } else {
            return Ok(());
        };
        self.push(name, None, place);
        Ok(())
    }

    fn of_pipenv(&mut self, name: &str, source: &Value) -> Result<(), LockfileError> {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let file = text("path").or_else(|| text("file"));
        let place = if text("git").is_some() {
            self.git(name, source, &["ref"])?
        } else if let Some(path) = file {
            if path.contains("://") && !path.starts_with("file:") {
                BoundTo::Url(self.url(name, path)?)
            } else {
                BoundTo::Path {
                    path: self.path(name, path)?,
                    editable: source.get("editable").and_then(Value::as_bool) == Some(true),
                }
            }
        } else if let Some(index) = text("index") {
            self.index(name, index)?
        } else {
            return Ok(());
        };
        self.push(name, None, place);
        Ok(())
    }

    fn of_pdm(&mut self, source: &Value) -> Result<(), LockfileError> {
        let name = source.get("name").and_then(Value::as_str);
        let url = source
            .get("url")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let names = source.get("include_packages").and_then(Value::as_array);
        for package in names.into_iter().flatten().filter_map(Value::as_str) {
            self.indexes
                .insert(name.unwrap_or_default().to_owned(), url.to_owned());
            let place = self.index(package, name.unwrap_or_default())?;
            self.push(package, None, place);
        }
        Ok(())
    }
}
