//! A lock: whether it fits the project's requirements, and which packages are chosen from it.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::app::files::{self, Files};
use crate::app::listed::{Listed, LocalProject};
use crate::app::lock;
use crate::app::package::is_package;
use crate::app::requirement::{self, normalize};
use crate::app::settings::{Settings, SettingsError};

use super::any_name::Installer;
use super::binaries::Binaries;
use super::builders::Builders;
use super::error::LockfileError;
use super::manager::Manager;
use super::marker::Chosen;
use super::packages::{Archive, File, Locked};
use super::target::Target;
use super::{fit, pdm, pipenv, poetry, pylock, uv};

/// The lock of a tree, read and checked against its project.
#[derive(Debug)]
pub struct Lock {
    manager: Manager,
    file: String,
    document: Document,
    /// `pyproject.toml` or `Pipfile`; may be empty.
    project: Table,
    /// The directory of the lock and its project; the paths in it are relative to it.
    directory: String,
    /// The project itself is installed, too.
    package: bool,
    binaries: Binaries,
    choice: Choice,
    files: Vec<String>,
    builders: Builders,
}

/// A lock file that was read.
#[derive(Debug)]
pub(super) enum Document {
    Uv(uv::Document),
    Poetry(poetry::Document),
    Pdm(pdm::Document),
    Pipenv(pipenv::Document),
    Pylock(lock::Document),
}

/// What to choose from a lock.
#[derive(Debug, Default)]
struct Choice {
    /// Which project of a workspace.
    member: String,
    extras: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// The groups of each other project of a workspace, if that one is installed.
    of_members: BTreeMap<String, BTreeSet<String>>,
}

/// Reads a manager's lock.
///
/// # Errors
/// In words.
pub(super) fn parse(manager: Manager, text: &str) -> Result<Document, String> {
    Ok(match manager {
        Manager::Uv => Document::Uv(uv::Document::parse(text)?),
        Manager::Poetry => Document::Poetry(poetry::Document::parse(text)?),
        Manager::Pdm => Document::Pdm(pdm::Document::parse(text)?),
        Manager::Pipenv => Document::Pipenv(pipenv::Document::parse(text)?),
        Manager::Pylock => Document::Pylock(lock::Document::parse(text)?),
        Manager::Pip => return Err("it is not a lock".into()),
    })
}

impl Document {
    /// Names and versions of all packages in it, for every environment.
    pub(super) fn versions(&self) -> BTreeSet<(String, String)> {
        match self {
            Self::Uv(document) => document.versions(),
            Self::Poetry(document) => document.versions(),
            Self::Pdm(document) => document.versions(),
            Self::Pipenv(document) => document.versions(),
            Self::Pylock(document) => pylock::versions(document),
        }
    }
}

impl Lock {
    pub(super) fn open(
        files: &dyn Files,
        settings: &Settings,
        environment: &BTreeMap<String, String>,
        manager: Manager,
        (file, directory): (&str, &str),
    ) -> Result<Self, LockfileError> {
        let mend = manager.mend().to_owned();
        let text = files.text(file).unwrap_or_default();
        let document = parse(manager, &text).map_err(|problem| LockfileError::Unreadable {
            file: file.to_owned(),
            problem,
            mend: mend.clone(),
        })?;
        let project_file = match manager {
            Manager::Pipenv => pipenv::PIPFILE,
            _ => "pyproject.toml",
        };
        let project_file = files::join(directory, project_file).unwrap_or_default();
        let project = match files.text(&project_file) {
            Some(text) => toml::from_str::<Table>(&text).map_err(|error| {
                LockfileError::Settings(SettingsError::Pyproject {
                    message: error.message().to_owned(),
                })
            })?,
            None => Table::new(),
        };
        let mut lock = Self {
            package: manager != Manager::Pipenv && is_package(files, directory, &project),
            files: vec![file.to_owned()],
            choice: Choice::default(),
            builders: Builders::read(
                files,
                directory,
                Installer {
                    is_pip: settings.get("installer").as_deref() == Some("pip"),
                    environment,
                },
            ),
            binaries: Binaries::read(manager, files, directory, &project, environment),
            manager,
            file: file.to_owned(),
            directory: directory.to_owned(),
            document,
            project,
        };
        lock.choose(settings, environment, files)?;
        lock.check(files, &project_file)?;
        Ok(lock)
    }

    /// Extras and groups, and which project of a workspace.
    fn choose(
        &mut self,
        settings: &Settings,
        environment: &BTreeMap<String, String>,
        files: &dyn Files,
    ) -> Result<(), LockfileError> {
        let list = |key: &str| -> BTreeSet<String> {
            let text = settings.get(key).unwrap_or_default();
            text.split_whitespace().map(normalize).collect()
        };
        let mut choice = Choice {
            member: String::new(),
            extras: list("dependency_extras"),
            groups: list("dependency_groups"),
            of_members: BTreeMap::new(),
        };
        let at = |path: &[&str]| fit::at(&self.project, path);
        let known: Option<(BTreeSet<String>, BTreeSet<String>)> = match &self.document {
            Document::Uv(document) => {
                let home = settings.get("home").and_then(|home| files::join("", &home));
                let home = self.seen_from_here(&home.unwrap_or_default());
                if document.members().contains(&home) {
                    choice.member = home;
                }
                let known = document.choices(&choice.member);
                let with_defaults = |member: &str, known: &BTreeSet<String>| {
                    let mut defaults = self.default_groups(files, member, known);
                    uv::of_variables(&mut defaults, environment);
                    defaults.extend(choice.groups.iter().cloned());
                    defaults
                };
                let members = document.members().into_iter();
                let of_members = members.map(|member| {
                    let (_, known) = document.choices(&member);
                    let groups = with_defaults(&member, &known);
                    (member, groups)
                });
                let of_members = of_members.collect();
                let groups = with_defaults(&choice.member, &known.1);
                choice.of_members = of_members;
                choice.groups = groups;
                Some(known)
            }
            Document::Pdm(document) => {
                let groups: BTreeSet<String> = document
                    .groups()
                    .iter()
                    .map(|group| normalize(group))
                    .collect();
                // Extras are groups to PDM.
                choice.groups.append(&mut choice.extras);
                Some((BTreeSet::new(), groups))
            }
            Document::Pylock(document) => {
                let all = |list: &[String]| {
                    list.iter()
                        .map(|one| normalize(one))
                        .collect::<BTreeSet<String>>()
                };
                choice.groups.extend(all(&document.default_groups));
                Some((
                    all(&document.extras),
                    all(&document.dependency_groups)
                        .into_iter()
                        .chain(all(&document.default_groups))
                        .collect(),
                ))
            }
            Document::Poetry(_) => {
                let keys = |path: &[&str]| {
                    let table = at(path).and_then(Value::as_table);
                    table
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| normalize(name))
                        .collect::<BTreeSet<String>>()
                };
                let mut extras = keys(&["tool", "poetry", "extras"]);
                extras.extend(keys(&["project", "optional-dependencies"]));
                let mut groups = keys(&["tool", "poetry", "group"]);
                groups.extend(keys(&["dependency-groups"]));
                if at(&["tool", "poetry", "dev-dependencies"]).is_some() {
                    groups.insert("dev".to_owned());
                }
                Some((extras, groups))
            }
            Document::Pipenv(document) => Some((BTreeSet::new(), document.groups())),
        };
        if let Some((extras, groups)) = known {
            for (kind, chosen, known) in [
                ("extra", &choice.extras, extras),
                ("group", &choice.groups, groups),
            ] {
                if let Some(name) = chosen.iter().find(|name| !known.contains(*name)) {
                    return Err(LockfileError::Unknown {
                        file: self.file.clone(),
                        kind,
                        name: name.clone(),
                        known: known.into_iter().collect(),
                    });
                }
            }
        }
        self.choice = choice;
        Ok(())
    }

    /// The groups that uv installs by default: a workspace has those of the project that is installed.
    fn default_groups(
        &self,
        files: &dyn Files,
        member: &str,
        known: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let path = ["tool", "uv", "default-groups"];
        let said = if member.is_empty() {
            fit::at(&self.project, &path).cloned()
        } else {
            let place = files::join(&self.directory, member)
                .and_then(|place| files::join(&place, "pyproject.toml"));
            let text = place.and_then(|place| files.text(&place));
            let table = text.and_then(|text| toml::from_str::<Table>(&text).ok());
            table.and_then(|table| fit::at(&table, &path).cloned())
        };
        let mut groups: BTreeSet<String> = match said {
            Some(Value::Array(groups)) => groups
                .iter()
                .filter_map(Value::as_str)
                .map(normalize)
                .collect(),
            Some(Value::String(all)) if all == "all" => known.clone(),
            _ => BTreeSet::new(),
        };
        // By its name, it is the group for development.
        groups.remove("dev");
        groups
    }

    /// Whether it was written for the project's present requirements.
    fn check(&mut self, files: &dyn Files, project_file: &str) -> Result<(), LockfileError> {
        let stale = |project: &str, problem: &str| LockfileError::Stale {
            file: self.file.clone(),
            project: project.to_owned(),
            problem: problem.to_owned(),
            mend: self.manager.mend().to_owned(),
        };
        let changed = "it has been changed since";
        match &self.document {
            Document::Uv(document) => {
                let mut read = BTreeSet::new();
                let members = document.members();
                let is_alone = members.len() == 1;
                // Settings in `uv.toml` replace those in `pyproject.toml`.
                let is_said = !files::join(&self.directory, "uv.toml")
                    .is_some_and(|path| files.is_file(&path));
                if is_said
                    && let Some(problem) = fit::problem_of_root(&self.project, document, is_alone)
                {
                    return Err(stale(project_file, &problem));
                }
                for (place, metadata) in document.libraries() {
                    let path = files::join(&self.directory, &place)
                        .and_then(|place| files::join(&place, "pyproject.toml"))
                        .unwrap_or_default();
                    let text = files.text(&path).unwrap_or_default();
                    let table = toml::from_str::<Table>(&text).unwrap_or_default();
                    let pythons = document.requires_python.as_deref();
                    if let Some(problem) = fit::problem_of_library(&table, metadata, pythons) {
                        return Err(stale(&path, &problem));
                    }
                }
                for member in members {
                    let path = files::join(&self.directory, &member)
                        .and_then(|place| files::join(&place, "pyproject.toml"))
                        .unwrap_or_default();
                    let Some(text) = files.text(&path) else {
                        return Err(stale(&path, "it is not there"));
                    };
                    let table = toml::from_str::<Table>(&text)
                        .map_err(|error| stale(&path, error.message()))?;
                    if let Some(metadata) = document.metadata(&member)
                        && let Some(problem) = fit::problem(
                            &table,
                            metadata,
                            &self.project,
                            document.requires_python.as_deref(),
                        )
                    {
                        return Err(stale(&path, &problem));
                    }
                    read.insert(path);
                }
                self.files.extend(read);
            }
            Document::Poetry(document) if !document.fits(&self.project) => {
                return Err(stale(project_file, changed));
            }
            // A workspace has another hash, of all its projects.
            Document::Pdm(document)
                if !document.fits(&self.project)
                    && fit::at(&self.project, &["tool", "pdm", "workspace"]).is_none() =>
            {
                return Err(stale(project_file, changed));
            }
            Document::Pipenv(document) if !document.fits(&self.project) => {
                return Err(stale(project_file, changed));
            }
            Document::Pylock(document) => {
                if let Some(name) = self.lacking(document) {
                    let problem = format!("it asks for {name}, which was not locked");
                    return Err(stale(project_file, &problem));
                }
            }
            _ => {}
        }
        if files.is_file(project_file) && !self.files.iter().any(|file| file == project_file) {
            self.files.push(project_file.to_owned());
        }
        Ok(())
    }

    /// The groups that are installed in addition to the main one.
    #[cfg(test)]
    pub(super) fn groups(&self) -> impl Iterator<Item = &String> {
        self.choice.groups.iter()
    }

    /// In a workspace whose root is not a project, or does not need the project in the application's directory,
    /// that one is installed, unless another one was named.
    pub fn take_member(&mut self, home: &str) {
        if let Document::Uv(document) = &self.document
            && self.choice.member.is_empty()
            && let home = self.seen_from_here(home)
            && document.members().contains(&home)
            && !document.root_needs(&home, &self.choice.extras, &self.choice.groups)
        {
            if let Some(groups) = self.choice.of_members.remove(&home) {
                self.choice.groups = groups;
            }
            self.choice.member = home;
        }
    }

    /// A directory of the tree, as the lock has it.
    fn seen_from_here(&self, directory: &str) -> String {
        let below = match self.directory.as_str() {
            "" => Some(directory),
            here => directory
                .strip_prefix(here)
                .filter(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        below
            .unwrap_or(directory)
            .trim_start_matches('/')
            .to_owned()
    }

    /// The allowed files of a package: wheels or source archives, or both.
    pub fn allowed(&self, name: &str, files: &[File]) -> Vec<File> {
        self.binaries.allowed(name, files)
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    /// An error if there are files of the tree that are not the locked ones. Each comes with the SHA-256 that it
    /// has.
    pub fn expects(&self, changed: &[(&Archive, String)]) -> Result<(), LockfileError> {
        let [(first, found), others @ ..] = changed else {
            return Ok(());
        };
        let names: Vec<&str> = changed.iter().map(|(archive, _)| &*archive.name).collect();
        Err(LockfileError::Archive {
            path: first.path.clone(),
            file: self.file.clone(),
            expected: first.sha256.clone(),
            found: found.clone(),
            others: others
                .iter()
                .map(|(archive, _)| archive.path.clone())
                .collect(),
            mend: self.manager.lock_again(&names),
            is_pipenv: self.manager == Manager::Pipenv,
        })
    }

    /// Which build requirements must not be looked for in the usual index.
    pub fn builders(&self) -> &Builders {
        &self.builders
    }

    /// The facts that are known before the Python: the project's own requirements, and nothing to install.
    pub fn preview(&self) -> Listed {
        let Choice {
            member,
            extras,
            groups,
            ..
        } = &self.choice;
        let wanted = uv::Wanted {
            member: member.clone(),
            extras: extras.clone(),
            groups: groups.clone(),
        };
        let names = match &self.document {
            Document::Uv(document) => document.direct(&wanted),
            Document::Poetry(_) => {
                let mut groups = groups.clone();
                groups.insert(poetry::MAIN.to_owned());
                poetry::Document::direct(&self.project, &groups)
            }
            Document::Pdm(_) => pdm::Document::direct(&self.project, groups),
            Document::Pipenv(_) => pipenv::Document::direct(&self.project),
            Document::Pylock(document) => self.asked_of_a_list().unwrap_or_else(|| {
                document
                    .packages
                    .iter()
                    .map(|entry| normalize(&entry.name))
                    .collect()
            }),
        };
        Listed {
            file: self.file.clone(),
            names,
            not_for_builds: self.builders.bound(),
            files: self.files.clone(),
            ..Listed::default()
        }
    }

    /// The requirements of `[project]`, for a lock that lists only the result.
    fn asked_of_a_list(&self) -> Option<BTreeSet<String>> {
        let list = fit::at(&self.project, &["project", "dependencies"])?.as_array()?;
        let names = list
            .iter()
            .filter_map(Value::as_str)
            .filter_map(requirement::name_of);
        Some(names.map(|(name, _)| normalize(name)).collect())
    }

    /// A requirement of `[project]` for every environment that a lock lacks.
    fn lacking(&self, document: &lock::Document) -> Option<String> {
        let own = fit::at(&self.project, &["project", "name"]).and_then(Value::as_str);
        let own = own.map(normalize);
        let locked: BTreeSet<String> = document
            .packages
            .iter()
            .map(|entry| normalize(&entry.name))
            .collect();
        let list = fit::at(&self.project, &["project", "dependencies"])?.as_array()?;
        list.iter()
            .filter_map(Value::as_str)
            .filter(|text| !text.contains(';'))
            .filter_map(requirement::name_of)
            .map(|(name, _)| normalize(name))
            .find(|name| !locked.contains(name) && own.as_ref() != Some(name))
    }

    /// The packages to install in this environment.
    ///
    /// # Errors
    /// If the lock is for another Python, or cannot be installed.
    pub fn select(&self, target: &Target) -> Result<Locked, LockfileError> {
        let Choice {
            member,
            extras,
            groups,
            ..
        } = &self.choice;
        let pythons: Vec<&str> = match &self.document {
            Document::Uv(document) => document.requires_python.as_deref().into_iter().collect(),
            Document::Poetry(document) => vec![document.python_versions()],
            Document::Pdm(document) => document.pythons(),
            Document::Pylock(document) => document.requires_python.as_deref().into_iter().collect(),
            Document::Pipenv(document) => {
                // It names a minor version, or a patch release of it.
                let minor = target.python().to_string();
                let fits = document.python().is_none_or(|python| {
                    python == minor || python.starts_with(&format!("{minor}."))
                });
                if fits {
                    Vec::new()
                } else {
                    document.python().into_iter().collect()
                }
            }
        };
        let allowed = |python: &&str| super::requirement::allows(python, target.full_version());
        if !pythons.is_empty() && !pythons.iter().any(allowed) {
            return Err(LockfileError::Python {
                file: self.file.clone(),
                wanted: pythons.join(" or "),
                found: target.full_version().to_owned(),
            });
        }
        let chosen = Chosen {
            extras: extras.clone(),
            groups: groups.clone(),
        };
        let selected = match &self.document {
            Document::Uv(document) => document.select(
                &uv::Wanted {
                    member: member.clone(),
                    extras: extras.clone(),
                    groups: groups.clone(),
                },
                target,
            ),
            Document::Poetry(document) => document.select(&self.project, extras, groups, target),
            Document::Pdm(document) => document.select(&self.project, groups, target),
            Document::Pipenv(document) => document.select(&self.project, groups, target),
            Document::Pylock(document) => pylock::select(document, &self.file, &chosen, target),
        };
        let mut locked = selected.map_err(|problem| LockfileError::Unusable {
            file: self.file.clone(),
            problem,
        })?;
        self.name_indexes(&mut locked);
        if let Document::Pylock(_) = &self.document {
            locked.direct = self.preview().names;
        }
        let own = locked
            .projects
            .iter()
            .any(|project| project.path.is_empty());
        if self.package && !own && self.manager != Manager::Uv {
            locked.projects.push(LocalProject {
                path: String::new(),
                extras: String::new(),
                editable: true,
                named_in: files::join(&self.directory, "pyproject.toml").unwrap_or_default(),
                is_listed: false,
            });
        }
        for project in &mut locked.projects {
            // A pylock's paths are of the tree already.
            if self.manager != Manager::Pylock || project.path.is_empty() {
                project.path = files::join(&self.directory, &project.path).ok_or_else(|| {
                    LockfileError::Unusable {
                        file: self.file.clone(),
                        problem: format!("{} is outside the source", project.path.escape_default()),
                    }
                })?;
            }
        }
        for archive in &mut locked.archives {
            // Its project was refused above if it is outside.
            if let Some(path) = files::join(&self.directory, &archive.path) {
                archive.path = path;
            }
        }
        // The project itself comes last, after its dependencies.
        locked
            .projects
            .sort_by_key(|project| std::cmp::Reverse(project.path.clone()));
        Ok(locked)
    }

    /// Gives indexes the names under which their logins are found.
    fn name_indexes(&self, locked: &mut Locked) {
        let tables = [
            fit::at(&self.project, &["tool", "uv", "index"]),
            fit::at(&self.project, &["tool", "poetry", "source"]),
            fit::at(&self.project, &["tool", "pdm", "source"]),
        ];
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for table in tables
            .into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .flatten()
        {
            if let (Some(name), Some(url)) = (
                table.get("name").and_then(Value::as_str),
                table.get("url").and_then(Value::as_str),
            ) {
                names.insert(url.trim_end_matches('/').to_owned(), name.to_owned());
            }
        }
        for package in &mut locked.packages {
            if let super::packages::Origin::Index { indexes, .. } = &mut package.origin {
                for index in indexes {
                    if index.name.is_none() {
                        index.name = index.url.as_ref().and_then(|url| names.get(url)).cloned();
                    }
                }
            }
        }
    }
}
