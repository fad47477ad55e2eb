//! The paths of the application, and the search paths that follow from them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::contract;
use crate::plan::{MODULES_DIRECTORY, Plan, PlanError};
use crate::roots::Roots;

use super::super::caller::Caller;
use super::super::error::RunError;
use super::super::home;
use super::{Environment, Origin};

impl Environment {
    pub(super) fn apply_places(&mut self, home_origin: Origin) {
        let Roots {
            app: app_root,
            source: src_root,
            ..
        } = self.roots.clone();
        self.set(contract::LIFE_PHASE, "deploy", Origin::Default);
        self.set(contract::APP_ROOT, &app_root, Origin::Default);
        self.set(contract::SRC_ROOT, &src_root, Origin::Default);
        self.set(contract::APP_HOME, self.app_home.clone(), home_origin);
        self.set_default("PYTHONUNBUFFERED", "1", Origin::Default);
        let programs = app_root.join("bin");
        if programs.is_dir() {
            let path = with_first(&[&programs], self.value("PATH"));
            self.set("PATH", path, Origin::Default);
        }
        if app_root.join("pyvenv.cfg").is_file() {
            self.set("VIRTUAL_ENV", &app_root, Origin::Default);
        }
        let path = self.python_path();
        self.set("PYTHONPATH", path, Origin::Default);
    }

    fn python_path(&self) -> OsString {
        let given = self.value("PYTHONPATH");
        python_path(&self.roots, &self.app_home, self.plan.as_ref(), given)
    }

    pub(super) fn apply_home(&mut self) {
        let substitutes = home::substitutes(self.value("HOME"), &self.private);
        for (name, path) in substitutes {
            if self.value(name).is_none() {
                self.directories.push(path.clone());
                self.set(name, path, Origin::ReadOnlyHome);
            }
        }
    }
}

/// `first`, then the elements of an old search path that are neither empty (that would be the
/// current directory) nor among them.
pub(super) fn with_first(first: &[&Path], old: Option<&OsStr>) -> OsString {
    let mut parts: Vec<PathBuf> = Vec::new();
    let old = old.map(std::env::split_paths).into_iter().flatten();
    for part in first.iter().map(|path| path.to_path_buf()).chain(old) {
        if !part.as_os_str().is_empty() && !parts.contains(&part) {
            parts.push(part);
        }
    }
    let mut joined = OsString::new();
    for part in parts {
        if !joined.is_empty() {
            joined.push(":");
        }
        joined.push(part);
    }
    joined
}

/// `PYTHONPATH`: home, source, further directories of the source, what the caller has, the build's
/// own modules.
pub(crate) fn python_path(
    roots: &Roots,
    home: &Path,
    plan: Option<&Plan>,
    given: Option<&OsStr>,
) -> OsString {
    let mut first = vec![home.to_owned(), roots.source.clone()];
    for path in plan.iter().flat_map(|plan| &plan.python_path) {
        first.push(roots.source.join(path));
    }
    let first: Vec<&Path> = first.iter().map(PathBuf::as_path).collect();
    let modules = roots.app.join(MODULES_DIRECTORY);
    let mut path = with_first(&first, given);
    if modules.is_dir() && !std::env::split_paths(&path).any(|part| part == modules) {
        path.push(":");
        path.push(modules);
    }
    path
}

pub(super) fn read_plan(app_root: &Path) -> Result<Option<Plan>, RunError> {
    match Plan::load(app_root) {
        Ok(plan) => Ok(Some(plan)),
        Err(PlanError::Read { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// `WARPDRIVE_APP_HOME`, else the record's, else (before a build) what `.warpdrive/home` says;
/// relative to the source.
pub(super) fn app_home(
    caller: &Caller,
    roots: &Roots,
    plan: Option<&Plan>,
) -> Result<(PathBuf, Origin), RunError> {
    const FILE: &str = ".warpdrive/home";
    let below = |path: &Path| -> PathBuf {
        // Without `.` and trailing slashes, so that it is seen when it is the source itself.
        roots.source.join(path).components().collect()
    };
    if let Some(path) = caller.variable(contract::APP_HOME) {
        return Ok((below(Path::new(path)), Origin::Environment));
    }
    if let Some(plan) = plan {
        return Ok((below(Path::new(&plan.home)), Origin::Plan));
    }
    let path = roots.source.join(FILE);
    let Ok(bytes) = std::fs::read(&path) else {
        return Ok((below(Path::new("")), Origin::Default));
    };
    let text = String::from_utf8(bytes).map_err(|error| RunError::NotText {
        path,
        offset: error.utf8_error().valid_up_to(),
    })?;
    Ok((below(Path::new(text.trim())), Origin::File(FILE.to_owned())))
}
