//! What every program of the application sees.
//!
//! In this order: the caller's variables; the paths of the application; substitutes for a HOME that
//! cannot be written to; `.warpdrive/environment` and `.warpdrive/action_hooks/deploy-env`, which
//! set variables that the caller did not set or that they use themselves (`A=${A:-1}`,
//! `PATH=/x:$PATH`); the build's record, for variables that are still not set. (The record holds the
//! file's variables as the build saw them, so it must not come before the file: `A=${A:-$B}` would
//! not see this B.)
//!
//! The variables of the builder image (`LANG`, `PYTHON_VERSION`) are not the caller's choice: the
//! record lists them, and a file comes before them.

mod from_files;
mod places;
mod port;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use super::caller::Caller;
use super::error::RunError;
use super::home;
use crate::environment::{DEPLOY_FILE, FILE};
use crate::jupyter;
use crate::plan::{Plan, Start};
use crate::roots::Roots;
pub(crate) use places::python_path;
use places::{app_home, read_plan, with_first};

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The caller's environment.
    Environment,
    /// A variable of the builder image.
    Image,
    /// A file, relative to the source.
    File(String),
    /// The build's record.
    Plan,
    /// warpdrive's own default, or its addition to an existing value.
    Default,
    /// HOME cannot be written to.
    ReadOnlyHome,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => out.write_str("environment"),
            Self::Image => out.write_str("image"),
            Self::File(path) => write!(out, "file: {path}"),
            Self::Plan => out.write_str("plan"),
            Self::Default => out.write_str("default"),
            Self::ReadOnlyHome => out.write_str("default: HOME cannot be written to"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub value: OsString,
    pub origin: Origin,
}

/// The variables, and the facts found while computing them.
#[derive(Debug)]
pub struct Environment {
    pub roots: Roots,
    /// `APP_HOME`, absolute: where the application is started.
    pub app_home: PathBuf,
    pub port: u16,
    /// None before the first build.
    pub plan: Option<Plan>,
    pub variables: BTreeMap<OsString, Variable>,
    /// The caller's variables that a file has unset.
    pub unset: BTreeSet<OsString>,
    /// For the user.
    pub warnings: Vec<String>,
    /// This user's own, below `/tmp`.
    pub private: PathBuf,
    directories: Vec<PathBuf>,
}

impl Environment {
    /// Computes the environment; reads files and runs the shell on them, writes nothing.
    ///
    /// # Errors
    /// If the record or a file cannot be read, or PORT is not a port.
    pub fn of(caller: &Caller) -> Result<Environment, RunError> {
        let roots = caller.roots()?;
        let plan = read_plan(&roots.app)?;
        let variables = caller
            .variables
            .iter()
            .map(|(name, value)| {
                let images = plan
                    .as_ref()
                    .and_then(|plan| plan.image_environment.get(name.to_str()?))
                    .is_some_and(|known| OsStr::new(known) == value);
                let variable = Variable {
                    value: value.clone(),
                    origin: if images {
                        Origin::Image
                    } else {
                        Origin::Environment
                    },
                };
                (name.clone(), variable)
            })
            .collect();
        let (app_home, home_origin) = app_home(caller, &roots, plan.as_ref())?;
        let mut environment = Environment {
            app_home,
            port: 0,
            variables,
            unset: BTreeSet::new(),
            warnings: Vec::new(),
            private: home::private_directory(caller.variable("TMPDIR")),
            directories: Vec::new(),
            roots,
            plan,
        };
        environment.apply_places(home_origin);
        environment.apply_home();
        environment.set_port(None)?;
        for name in [FILE, DEPLOY_FILE] {
            let before = environment.values();
            environment.apply_file(name)?;
            environment.set_port(Some(&before))?;
        }
        environment.apply_plan();
        Ok(environment)
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>, origin: Origin) {
        let variable = Variable {
            value: value.into(),
            origin,
        };
        match self.variables.get(OsStr::new(name)) {
            Some(known) if known.value == variable.value => {}
            _ => {
                self.variables.insert(name.into(), variable);
            }
        }
    }

    pub(super) fn set_default(&mut self, name: &str, value: impl Into<OsString>, origin: Origin) {
        if self.value(name).is_none() {
            self.set(name, value, origin);
        }
    }

    /// The value of a variable that is set and not empty.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(|variable| variable.value.as_os_str())
            .filter(|value| !value.is_empty())
    }

    /// Only names and values.
    pub fn values(&self) -> BTreeMap<OsString, OsString> {
        self.variables
            .iter()
            .map(|(name, variable)| (name.clone(), variable.value.clone()))
            .collect()
    }

    fn apply_plan(&mut self) {
        let Some(plan) = &self.plan else { return };
        let settings = plan
            .django
            .as_ref()
            .and_then(|django| django.settings_module.clone())
            .map(|module| ("DJANGO_SETTINGS_MODULE".to_owned(), module));
        for (name, value) in plan.environment.clone().into_iter().chain(settings) {
            if !self.variables.contains_key(OsStr::new(&name)) {
                self.set(&name, value, Origin::Plan);
            }
        }
    }

    /// Variables that only the server's process sees: those of agents and of Jupyter.
    pub(super) fn set_for_server(&mut self) {
        let Some(plan) = self.plan.clone() else {
            return;
        };
        if let Some(instrument) = &plan.instrument {
            for (name, value) in instrument.variables(plan.service.as_deref()) {
                self.set_default(name, value, Origin::Default);
            }
        }
        if matches!(plan.start, Start::Jupyter { .. }) {
            let ours = self.roots.app.join(jupyter::CONFIG_DIRECTORY);
            let path = with_first(&[&ours], self.value("JUPYTER_CONFIG_PATH"));
            self.set("JUPYTER_CONFIG_PATH", path, Origin::Default);
        }
    }

    /// `WARPDRIVE_SERVER_ARGS`, which comes before the build's record.
    pub(super) fn server_arguments(&self) -> Option<String> {
        self.value("WARPDRIVE_SERVER_ARGS")
            .map(|text| text.to_string_lossy().into_owned())
    }

    /// `WARPDRIVE_PHASE`, if it is not a container's.
    pub(super) fn set_phase(&mut self, phase: &str) {
        self.set(crate::contract::LIFE_PHASE, phase, Origin::Default);
    }

    /// A variable that tells hooks which command runs them.
    pub(super) fn set_action(&mut self, action: &str) {
        self.set("WARPDRIVE_ACTION", action, Origin::Default);
    }

    /// Gives a command this environment and nothing else, and makes its directories.
    pub(super) fn give_to(&self, command: &mut Command) {
        for directory in &self.directories {
            home::make(directory, &self.private);
        }
        command.env_clear().envs(
            self.variables
                .iter()
                .map(|(name, variable)| (name, &variable.value)),
        );
    }
}
