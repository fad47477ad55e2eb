//! Finds the lock that counts for a tree, and refuses trees without a clear one.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::declared::binding::Bindings;
use crate::app::declared::groups;
use crate::app::files::{self, Files};
use crate::app::listed::Listed;
use crate::app::lock as pylock_file;
use crate::app::project::{Project, Source};
use crate::app::requirement::{self, LineKind};
use crate::app::settings::{Settings, SettingsError};

use super::bound::Bound;
use super::builders::Builders;
use super::error::LockfileError;
use super::lock::{Lock, parse};
use super::manager::Manager;

/// What decides which packages are installed, except a list that an installer reads.
#[derive(Debug)]
pub enum Found {
    Lock(Box<Lock>),
    /// No lock, but names that the project binds to locations.
    Bound(Box<Bound>),
}

impl Found {
    /// Which build requirements must not be looked for in the usual index.
    pub fn builders(&self) -> &Builders {
        match self {
            Self::Lock(lock) => lock.builders(),
            Self::Bound(bound) => bound.builders(),
        }
    }

    /// The facts that are known before the Python.
    pub fn preview(&self) -> Listed {
        match self {
            Self::Lock(lock) => lock.preview(),
            Self::Bound(bound) => bound.preview(),
        }
    }
}

/// The lock that counts for a tree, if it has one, else its bound names. `None` if a list of requirements
/// counts. Without a lock, `project` reads the tree.
///
/// # Errors
/// If there are several, if it cannot be read, or if it does not fit its project.
pub fn find<'p>(
    files: &dyn Files,
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    project: impl FnOnce() -> Result<&'p Project, SettingsError>,
) -> Result<Option<Found>, LockfileError> {
    let home = settings.get("home").and_then(|home| files::join("", &home));
    let home = home.unwrap_or_default();
    let said = settings.get("dependencies");
    let said = Manager::ALL
        .into_iter()
        .find(|manager| Some(manager.name()) == said.as_deref());
    // Lists that the owner names come first.
    let named = settings.get("requirements");
    let named: Vec<&str> = named
        .as_deref()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let (manager, file, directory) = match (said, named.as_slice()) {
        (None, [file]) if pylock_file::is_lock(file) && files.is_file(file) => {
            (Manager::Pylock, (*file).to_owned(), "")
        }
        (Some(Manager::Pip), _) | (None, [_, ..]) => return unlocked(files, environment, project),
        (Some(manager), _) => {
            let file = manager.file();
            let below = files::join(&home, file).filter(|below| files.is_file(below));
            match below {
                _ if files.is_file(file) => (manager, file.to_owned(), ""),
                Some(below) => (manager, below, home.as_str()),
                None => {
                    return Err(LockfileError::Missing {
                        manager: manager.name(),
                        file,
                        mend: manager.mend().to_owned(),
                    });
                }
            }
        }
        (None, []) => match the_only(files, "")? {
            Some((manager, file)) if manager != Manager::Pip => (manager, file, ""),
            _ => {
                let project = project()?;
                match of_home(files, &home, project)? {
                    Some((manager, file)) => (manager, file, home.as_str()),
                    None => return unlocked(files, environment, || Ok(project)),
                }
            }
        },
    };
    let lock = Lock::open(files, settings, environment, manager, (&file, directory))?;
    Ok(Some(Found::Lock(Box::new(lock))))
}

/// The lock in the application's directory, if the top of the tree names no packages.
fn of_home(
    files: &dyn Files,
    home: &str,
    project: &Project,
) -> Result<Option<(Manager, String)>, LockfileError> {
    if home.is_empty() {
        return Ok(None);
    }
    let is_elsewhere = |file: &&String| files::parent(file) != home;
    let list = match &project.source {
        Source::Static { file, .. } | Source::Dynamic { file } if is_elsewhere(&file) => {
            return Ok(None);
        }
        Source::Requirements(lists) => lists.iter().find(is_elsewhere),
        _ => None,
    };
    let found = the_only(files, home)?.filter(|(manager, _)| *manager != Manager::Pip);
    match (found, list) {
        (Some((manager, file)), Some(list)) => Err(LockfileError::Several {
            found: vec![list.clone(), file],
            choices: vec![Manager::Pip, manager],
        }),
        (found, _) => Ok(found),
    }
}

/// Without a lock, bound names are taken from their locations.
fn unlocked<'p>(
    files: &dyn Files,
    environment: &BTreeMap<String, String>,
    project: impl FnOnce() -> Result<&'p Project, SettingsError>,
) -> Result<Option<Found>, LockfileError> {
    let project = project()?;
    refuse_choice(files, project)?;
    let bindings = Bindings::read(files, project);
    let bound = Bound::read(files, project, &bindings, environment)?;
    Ok(bound.map(|bound| Found::Bound(Box::new(bound))))
}

/// Refuses extras and groups where the packages are from a list that has none.
fn refuse_choice(files: &dyn Files, project: &Project) -> Result<(), LockfileError> {
    let from = match &project.source {
        // They are among its requirements, and so among what was locked for it.
        Source::Static { file, .. }
        | Source::Lock {
            project: Some(file),
            ..
        } if file == "pyproject.toml" => return Ok(()),
        // An application below may have another list.
        Source::None => return Ok(()),
        Source::Static { file, .. } | Source::Dynamic { file } | Source::Lock { file, .. } => {
            file.clone()
        }
        Source::Requirements(lists) => lists.join(", "),
    };
    let document = files.text("pyproject.toml").unwrap_or_default();
    let document = toml::from_str(&document).unwrap_or_default();
    let has_all = |name: &str| {
        from == "pyproject.toml"
            && groups::of_name(&document, name).is_some_and(|wanted| {
                let lines = &project.requirements.lines;
                let mut wanted = wanted.iter();
                wanted.all(|text| lines.iter().any(|line| line.text == *text))
            })
    };
    for key in ["dependency_extras", "dependency_groups"] {
        let value = project.settings.get(key).unwrap_or_default();
        let mut names = value.split_whitespace();
        if names.any(|name| key == "dependency_extras" || !has_all(name)) {
            return Err(LockfileError::Choice {
                key: if key == "dependency_extras" {
                    "dependency-extras"
                } else {
                    "dependency-groups"
                },
                value,
                from,
            });
        }
    }
    Ok(())
}

/// The lock of a directory without any setting.
fn the_only(
    files: &dyn Files,
    directory: &str,
) -> Result<Option<(Manager, String)>, LockfileError> {
    let below = |name: &str| files::join(directory, name).unwrap_or_default();
    let mut found: Vec<(Manager, String)> = Vec::new();
    for manager in [Manager::Uv, Manager::Poetry, Manager::Pdm, Manager::Pipenv] {
        let file = below(manager.file());
        if files.is_file(&file) {
            found.push((manager, file));
        }
    }
    for entry in files.list(directory) {
        let file = below(&entry.name);
        if pylock_file::is_lock(&entry.name) && files.is_file(&file) {
            // A lock that warpdrive wrote belongs to a list, and the list counts.
            let text = files.text(&file).unwrap_or_default();
            let ours = pylock_file::Document::parse(&text).is_ok_and(|document| document.is_ours());
            if !ours {
                found.push((Manager::Pylock, file));
            }
        }
    }
    let list = below(Manager::Pip.file());
    let list = list.as_str();
    let only_pylock = found.iter().all(|(manager, _)| *manager == Manager::Pylock);
    let listed = files.is_file(list) && !only_pylock && {
        let exported = found.iter().any(|(manager, file)| {
            let text = files.text(file).unwrap_or_default();
            parse(*manager, &text)
                .is_ok_and(|document| is_export(files, list, &document.versions()))
        });
        !exported
    };
    if listed {
        found.push((Manager::Pip, list.to_owned()));
    }
    if let [_] | [] = found.as_slice() {
        return Ok(found.pop());
    }
    let mut choices: Vec<Manager> = found.iter().map(|(manager, _)| *manager).collect();
    choices.dedup();
    Err(LockfileError::Several {
        found: found.into_iter().map(|(_, file)| file).collect(),
        choices,
    })
}

/// Whether a list has only packages of a lock, in the same versions.
fn is_export(files: &dyn Files, list: &str, versions: &BTreeSet<(String, String)>) -> bool {
    let requirements = requirement::read(files, list);
    requirements.lines.iter().all(|line| match &line.kind {
        LineKind::Named { name, url: None } => {
            let text = line.text.split([';', ' ']).next().unwrap_or_default();
            let version = text.split_once("==").map(|(_, version)| version.trim());
            version.is_some_and(|version| versions.contains(&(name.clone(), version.to_owned())))
        }
        LineKind::Named { name, .. }
        | LineKind::Url {
            name: Some(name), ..
        } => versions.iter().any(|(locked, _)| locked == name),
        LineKind::Url { name: None, .. } => false,
        _ => true,
    })
}
