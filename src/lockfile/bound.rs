//! The requirements of a project without a lock, each with the location that the project binds it to:
//! a path of the tree, a repository, a file, an index.
//!
//! The result is a list for an installer, which looks for the rest in the usual index. Only a requirement
//! that is bound to an index stays open here: that index says which file it is.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::declared::{self, binding::Bindings};
use crate::app::files::{self, Files};
use crate::app::listed::{Listed, Open};
use crate::app::package::is_package;
use crate::app::pip_variables;
use crate::app::project::{Project, Source};
use crate::app::requirement::{self as lines, Line, LineKind, is_archive, normalize};
use crate::app::settings::Settings;

use super::any_name::{self, AnyName, Installer};
use super::bound_to::{BoundNames, BoundTo};
use super::builders::Builders;
use super::error::LockfileError;
use super::fit::at;
use super::marker::{self, Chosen};
use super::packages::Index;
use super::requirement::Requirement;
use super::target::Target;
use super::{manager::Manager, pipenv};

/// Largest depth of projects of the tree that require each other.
const MAX_PROJECTS: usize = 200;

/// The requirements, and the location of each.
#[derive(Debug)]
pub struct Bound {
    file: String,
    asked: Vec<Asked>,
    names: BTreeSet<String>,
    settled: BTreeSet<String>,
    open: Open,
    files: Vec<String>,
    builders: Builders,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// A line for an installer, as written.
    Line(String),
    /// A line of a bound name, for environments in which none of these markers holds: there, its places do not
    /// count.
    Else {
        name: String,
        text: String,
        markers: Vec<String>,
    },
    Index(FromIndex),
}

/// A name in one index; no other index is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromIndex {
    pub name: String,
    /// `[a,b]`, or nothing.
    pub extras: String,
    /// Conditions on the version (PEP 440).
    pub specifiers: BTreeSet<String>,
    marker: Option<String>,
    pub index: Index,
}

impl FromIndex {
    /// Of the usual index.
    pub fn new(name: &str, specifiers: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            extras: String::new(),
            specifiers: specifiers.iter().map(|one| (*one).to_owned()).collect(),
            marker: None,
            index: Index::default(),
        }
    }

    /// As a list has it.
    pub fn text(&self) -> String {
        let specifiers: Vec<&str> = self.specifiers.iter().map(String::as_str).collect();
        let marker = of_marker(self.marker.as_deref());
        format!(
            "{}{}{}{marker}",
            self.name,
            self.extras,
            specifiers.join(",")
        )
    }

    /// Whether this version is allowed. (The conditions of all projects must hold.)
    pub fn allows(&self, version: &str) -> bool {
        self.specifiers
            .iter()
            .all(|one| super::requirement::allows(one, version))
    }
}

/// Refuses an index that is asked for all names where the installer does not know it: only a lock says which
/// packages come from there. (Of `[tool.poetry.dependencies]`, `declared` says the same.)
fn no_source_of_any_name(
    files: &dyn Files,
    project: &Project,
    installer: Installer<'_>,
) -> Result<(), LockfileError> {
    let home = project.home();
    let mut places: Vec<&str> = match &project.source {
        Source::Static { file, .. } if !project.requirements.lines.is_empty() => {
            vec![files::parent(file)]
        }
        Source::Dynamic { file } => vec![files::parent(file)],
        // Groups of `pyproject.toml`, and lists beside it.
        Source::Requirements(lists) => lists.iter().map(|file| files::parent(file)).collect(),
        _ => return Ok(()),
    };
    // uv reads them for lists of any name; the other managers do not know these lists.
    let is_list = match &project.source {
        Source::Requirements(lists) => !lists.iter().any(|file| file.ends_with("pyproject.toml")),
        _ => false,
    };
    if is_list {
        places.push(&home);
    }
    places.sort_unstable();
    places.dedup();
    for directory in places {
        let mut found = any_name::of_directory(files, directory, installer).into_iter();
        // A list for pip has pip's rules.
        let one = found.find(|one| !is_list || one.manager == "uv" && !installer.is_pip);
        if let Some(one) = one {
            return Err(of_any_name(files, one));
        }
    }
    Ok(())
}

fn of_any_name(files: &dyn Files, one: AnyName) -> LockfileError {
    let manager = Manager::named(one.manager);
    let text = files.text("pyproject.toml").unwrap_or_default();
    let root = toml::from_str::<Table>(&text).unwrap_or_default();
    let is_member = manager == Manager::Uv
        && one.place.ends_with("/pyproject.toml")
        && at(&root, &["tool", "uv", "workspace"]).is_some();
    LockfileError::Source {
        name: one.name,
        table: one.table,
        place: one.place,
        is_member,
        file: manager.file(),
        mend: manager.mend().to_owned(),
        or: one.or,
    }
}

/// The extras of both, as in `[a,b]`.
fn joined(one: &str, other: &str) -> String {
    let extras = [one, other].map(|text| text.trim_matches(['[', ']']));
    let all: BTreeSet<&str> = extras.iter().flat_map(|text| text.split(',')).collect();
    let all: Vec<&str> = all.into_iter().filter(|extra| !extra.is_empty()).collect();
    if all.is_empty() {
        return String::new();
    }
    format!("[{}]", all.join(","))
}

/// Whether uv takes the requirements of this file for those of a project with tables of its own.
fn is_standard(files: &dyn Files, file: &str) -> bool {
    let text = files.text(file).unwrap_or_default();
    file.ends_with("pyproject.toml")
        && toml::from_str::<Table>(&text).is_ok_and(|document| document.contains_key("project"))
}

fn of_marker(marker: Option<&str>) -> String {
    marker.map_or_else(String::new, |marker| format!(" ; {marker}"))
}

impl Bound {
    /// The requirements of a tree without a lock that binds a name to a location.
    pub(super) fn read(
        files: &dyn Files,
        project: &Project,
        bindings: &Bindings,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, LockfileError> {
        let requirements = &project.requirements;
        if !requirements.problems.is_empty() || !requirements.missing.is_empty() {
            // Detection refuses lines that cannot be installed, one by one.
            return Ok(None);
        }
        let installer = Installer {
            is_pip: project.uses_pip(),
            environment,
        };
        if !pip_variables::without_index(environment) {
            no_source_of_any_name(files, project, installer)?;
        }
        if project.source == Source::None {
            // The application's own list may be below.
            return Ok(None);
        }
        let Some((name, binding)) = bindings.all().next() else {
            return Self::of_libraries(files, project);
        };
        let manager = Manager::named(binding.manager);
        let refused = || LockfileError::Bound {
            name: name.to_owned(),
            table: binding.table,
            file: manager.file(),
            mend: manager.mend().to_owned(),
        };
        if let Source::Dynamic { file } = &project.source {
            // Only its build backend knows its requirements; then uv follows its own table, if it reads it.
            if bindings.all().all(|(_, one)| one.manager == "uv")
                && installer.reads(files::parent(file))
                && is_standard(files, file)
            {
                return Ok(None);
            }
            if binding.manager != "uv" || is_standard(files, file) {
                return Err(refused());
            }
            return Err(LockfileError::Dynamic {
                name: name.to_owned(),
                table: binding.table,
                file: file.clone(),
                mend: manager.mend().to_owned(),
            });
        }
        let of_pattern = |(name, _): &(&str, _)| name.contains(['*', '?', '[']);
        if bindings.all().any(|one| of_pattern(&one)) {
            return Err(refused());
        }
        let home = project.home();
        let mut reader = Reader::new(files, &home, &project.settings)?;
        for line in &project.requirements.lines {
            reader.line(line)?;
        }
        let mut bound = reader.finish(project);
        let place = match project.own_directory() {
            "" => home.as_str(),
            own => own,
        };
        let there = |name: &str| files::join(place, name).is_some_and(|path| files.is_file(&path));
        let place = if there("pyproject.toml") || there(pipenv::PIPFILE) {
            place
        } else {
            ""
        };
        bound.builders = Builders::read(files, place, installer);
        if project.uses_pip()
            && !(bound.open.directories.is_empty() && bound.open.others.is_empty())
        {
            return Err(refused());
        }
        Ok(Some(bound))
    }

    /// The same where the projects of the tree that a list names bind a name in a manager's table that uv does not
    /// know. (It follows its own, of each project that it builds.)
    fn of_libraries(files: &dyn Files, project: &Project) -> Result<Option<Self>, LockfileError> {
        let mut lines = project.requirements.lines.iter();
        let is_project = |line: &Line| matches!(&line.kind, LineKind::Local { path: Some(path), .. } if !is_archive(path));
        if !lines.any(is_project) {
            return Ok(None);
        }
        let mut reader = Reader::new(files, &project.home(), &project.settings)?;
        let mut lines = project.requirements.lines.iter();
        let read = lines.try_for_each(|line| reader.line(line));
        let mut tables = reader.read.iter().filter_map(|path| reader.table(path));
        let binds = |table: Table| {
            let bindings = Bindings::of(&table, &Table::new());
            bindings.all().any(|(_, one)| one.manager != "uv")
        };
        if !tables.any(binds) {
            return Ok(None);
        }
        read?;
        Ok(Some(reader.finish(project)))
    }

    /// The facts that are known before the Python.
    pub fn preview(&self) -> Listed {
        let mut listed = self.listed();
        listed.lines = self
            .asked
            .iter()
            .map(|asked| match asked {
                Asked::Line(text) | Asked::Else { text, .. } => text.clone(),
                Asked::Index(one) => one.text(),
            })
            .collect();
        listed
    }

    fn listed(&self) -> Listed {
        Listed {
            file: self.file.clone(),
            settled: self.settled.iter().cloned().collect(),
            names: self.names.clone(),
            not_for_builds: self.builders.bound(),
            files: self.files.clone(),
            open: Some(self.open.clone()),
            ..Listed::default()
        }
    }

    /// The list for one environment, without the names whose file is chosen in an index; and these names.
    ///
    /// # Errors
    /// For markers that cannot be read.
    pub fn select(&self, target: &Target) -> Result<(Listed, Vec<FromIndex>), LockfileError> {
        let mut listed = self.listed();
        let mut chosen: Vec<FromIndex> = Vec::new();
        let holds = |marker: &str| {
            marker::holds(marker, target, &Chosen::default()).map_err(|problem| {
                LockfileError::Unusable {
                    file: self.file.clone(),
                    problem,
                }
            })
        };
        for asked in &self.asked {
            let one = match asked {
                Asked::Line(text) => {
                    listed.lines.push(text.clone());
                    continue;
                }
                Asked::Else {
                    name,
                    text,
                    markers,
                } => {
                    let mut placed = false;
                    for marker in markers {
                        placed = placed || holds(marker)?;
                    }
                    if !placed {
                        listed.lines.push(text.clone());
                        listed.settled.retain(|settled| settled != name);
                    }
                    continue;
                }
                Asked::Index(one) => one,
            };
            if let Some(marker) = &one.marker
                && !holds(marker)?
            {
                continue;
            }
            match chosen.iter_mut().find(|other| other.name == one.name) {
                None => chosen.push(one.clone()),
                Some(other) => {
                    other.specifiers.extend(one.specifiers.iter().cloned());
                    other.extras = joined(&other.extras, &one.extras);
                }
            }
        }
        Ok((listed, chosen))
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// Which build requirements must not be looked for in the usual index.
    pub fn builders(&self) -> &Builders {
        &self.builders
    }
}

/// Walks the requirements of the project and of the projects of the tree that it needs.
struct Reader<'a> {
    files: &'a dyn Files,
    places: BoundNames,
    asked: Vec<Asked>,
    /// Names that are required and bound.
    named: BTreeSet<String>,
    directories: BTreeSet<String>,
    read: Vec<String>,
    seen: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn new(files: &'a dyn Files, home: &str, settings: &Settings) -> Result<Self, LockfileError> {
        let mut reader = Self {
            files,
            places: BoundNames::default(),
            asked: Vec::new(),
            named: BTreeSet::new(),
            directories: BTreeSet::new(),
            read: Vec::new(),
            seen: BTreeSet::from([String::new(), home.to_owned()]),
        };
        let mut places = vec![home, ""];
        places.dedup();
        for directory in &places {
            let path = files::join(directory, "pyproject.toml").unwrap_or_default();
            if let Some(table) = reader.table(&path) {
                reader
                    .places
                    .add(files, directory, &table, Some(settings))?;
                reader.read.push(path);
            }
        }
        for directory in &places {
            let path = files::join(directory, pipenv::PIPFILE).unwrap_or_default();
            if let Some(table) = reader.table(&path) {
                reader.places.add_pipfile(files, directory, &table)?;
                reader.read.push(path);
            }
        }
        Ok(reader)
    }

    fn table(&self, path: &str) -> Option<Table> {
        toml::from_str(&self.files.text(path)?).ok()
    }

    fn line(&mut self, line: &Line) -> Result<(), LockfileError> {
        match &line.kind {
            LineKind::Named { name, url: None } => {
                let places = self.places.of(name).map(<[_]>::to_vec);
                match places {
                    Some(places) => self.bound(&line.text, &places)?,
                    None => self.push(line.text.clone()),
                }
            }
            LineKind::Named { name, url: Some(_) } => {
                self.named.insert(name.clone());
                self.push(line.text.clone());
            }
            LineKind::Local {
                path: Some(path),
                extras,
                editable,
            } => {
                let editable = if *editable { "-e " } else { "" };
                self.push(format!("{editable}./{path}{extras}"));
                if !is_archive(path) {
                    self.project(path, true)?;
                }
            }
            LineKind::Constraint(Some(path)) => self.push(format!("-c {path}")),
            _ => self.push(line.text.clone()),
        }
        Ok(())
    }

    fn push(&mut self, text: String) {
        let asked = Asked::Line(text);
        if !self.asked.contains(&asked) {
            self.asked.push(asked);
        }
    }

    /// A requirement whose name is bound.
    fn bound(
        &mut self,
        text: &str,
        places: &[(Option<String>, BoundTo)],
    ) -> Result<(), LockfileError> {
        let text = text.split(" --").next().unwrap_or(text);
        let Some(requirement) = Requirement::parse(text) else {
            self.push(text.to_owned());
            return Ok(());
        };
        let Requirement { name, .. } = &requirement;
        self.named.insert(name.clone());
        let extras: Vec<&str> = requirement.extras.iter().map(String::as_str).collect();
        let extras = if extras.is_empty() {
            String::new()
        } else {
            format!("[{}]", extras.join(","))
        };
        let markers: Option<Vec<String>> = places.iter().map(|(one, _)| one.clone()).collect();
        if let Some(markers) = markers {
            let asked = Asked::Else {
                name: name.clone(),
                text: text.to_owned(),
                markers,
            };
            if !self.asked.contains(&asked) {
                self.asked.push(asked);
            }
        }
        for (condition, place) in places {
            let marker = match (&requirement.marker, condition) {
                (Some(one), Some(other)) => Some(format!("({one}) and ({other})")),
                (one, other) => one.clone().or_else(|| other.clone()),
            };
            let end = of_marker(marker.as_deref());
            match place {
                BoundTo::Path { path, .. } if is_archive(path) => {
                    self.push(format!("{name}{extras} @ ./{path}{end}"));
                }
                BoundTo::Path { path, editable } => {
                    if self.project(path, false)? {
                        self.directories.insert(name.clone());
                        let editable = if *editable { "-e " } else { "" };
                        let path = match path.as_str() {
                            "" => ".".to_owned(),
                            path => format!("./{path}"),
                        };
                        self.push(format!("{editable}{path}{extras}{end}"));
                    }
                }
                BoundTo::Url(url) => self.push(format!("{name}{extras} @ {url}{end}")),
                BoundTo::Index(index) => {
                    let asked = Asked::Index(FromIndex {
                        name: name.clone(),
                        extras: extras.clone(),
                        specifiers: requirement.specifiers.clone(),
                        marker,
                        index: index.clone(),
                    });
                    if !self.asked.contains(&asked) {
                        self.asked.push(asked);
                    }
                }
            }
        }
        Ok(())
    }

    /// A project of the tree: its requirements, and whether it is a package itself.
    fn project(&mut self, directory: &str, listed: bool) -> Result<bool, LockfileError> {
        let path = files::join(directory, "pyproject.toml").unwrap_or_default();
        let Some(table) = self.table(&path) else {
            return Ok(true);
        };
        let name = at(&table, &["project", "name"]).or(at(&table, &["tool", "poetry", "name"]));
        if listed && let Some(name) = name.and_then(Value::as_str) {
            self.named.insert(normalize(name));
            self.directories.insert(normalize(name));
        }
        let package = listed
            || at(&table, &["tool", "uv", "package"]).is_none_or(|v| v.as_bool() != Some(false))
                && (is_package(self.files, directory, &table)
                    || !table.contains_key("build-system") && self.is_old_package(directory));
        if self.seen.len() > MAX_PROJECTS || !self.seen.insert(directory.to_owned()) {
            return Ok(package);
        }
        self.places.add(self.files, directory, &table, None)?;
        let texts: Vec<String> = match at(&table, &["project", "dependencies"]) {
            Some(list) => list
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            None => declared::of_poetry(&table)
                .map(|declared| declared.lines)
                .unwrap_or_default(),
        };
        self.read.push(path.clone());
        let mut requirements = lines::Requirements::new(&BTreeMap::new(), directory);
        requirements.add_texts(self.files, &path, &texts);
        for line in &requirements.lines {
            self.line(line)?;
        }
        Ok(package)
    }

    /// setuptools builds a project that has its files, whatever `pyproject.toml` says.
    fn is_old_package(&self, directory: &str) -> bool {
        ["setup.py", "setup.cfg"]
            .iter()
            .any(|name| files::join(directory, name).is_some_and(|path| self.files.is_file(&path)))
    }

    fn finish(self, project: &Project) -> Bound {
        let others: Vec<(String, Option<String>)> = self
            .places
            .all()
            .filter(|(name, _)| !self.named.contains(*name))
            .map(|(name, places)| {
                let directory = places.iter().find_map(|(_, place)| match place {
                    BoundTo::Path { path, .. } if !is_archive(path) => Some(path.clone()),
                    _ => None,
                });
                (name.to_owned(), directory)
            })
            .collect();
        let (file, own) = match &project.source {
            Source::Static { file, .. } | Source::Dynamic { file } => {
                (file.clone(), Some(file.clone()))
            }
            Source::Requirements(files) => (files.join(", "), None),
            Source::Lock { file, project } => (file.clone(), project.clone()),
            Source::None => ("pyproject.toml".to_owned(), None),
        };
        // For the managers, a project without a build system is not a package.
        let own = own.filter(|file| {
            !file.ends_with("pyproject.toml")
                || self
                    .table(file)
                    .is_some_and(|table| table.contains_key("build-system"))
        });
        let bound = |name: &&String| self.places.of(name).is_some();
        let settled = self.named.iter().filter(bound).cloned();
        let mut files = self.read;
        files.extend(project.requirements.files.iter().cloned());
        files.sort();
        files.dedup();
        let mut names = project.names();
        names.extend(self.directories.iter().cloned());
        Bound {
            file,
            names,
            settled: settled.chain(self.directories.iter().cloned()).collect(),
            asked: self.asked,
            open: Open {
                directories: self.directories,
                others,
                project: own,
                ..Open::default()
            },
            files,
            builders: Builders::default(),
        }
    }
}

#[cfg(test)]
mod tests;
