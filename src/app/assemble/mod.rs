//! `assemble` and `build`: installs the dependencies, then the application, and records the plan.
//!
//! Two phases, each of which can run alone. [`Phase::Dependencies`] needs only the files that
//! [`super::dependencies::files`] lists, and its result depends on these alone.
//! [`Phase::Application`] needs all the source. The same code runs on a laptop (`warpdrive build`),
//! without the steps that give an image its normal form.

mod added;
mod application;
mod compile;
pub mod compiler;
mod dependencies;
mod django;
mod django_failure;
mod error;
mod install;
mod list;
mod marshal;
mod origins;
pub mod records;
mod source;
mod wheels;
mod wrapper;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::contract::{self, Phase};
use super::declared::binding::Bindings;
use super::detect::{DetectError, Detected, Options, detect};
use super::environment::{self, Environment};
use super::files::Directory;
use super::fixup::fixup;
use super::listed::Listed;
use super::process;
use super::progress::StepProgress;
use super::project::Project;
use super::python_version::PythonVersion;
use super::roots::Roots;

pub use django_failure::Failure;
pub use error::AssembleError;
pub use wrapper::complete;

/// A build in an image: what `s2i/bin/assemble` does.
///
/// # Errors
/// The first step that fails. [`AssembleError::status`] is what the process has to end with.
pub fn assemble(
    roots: &Roots,
    process_environment: &Environment,
    phase: Option<Phase>,
    progress: &dyn StepProgress,
) -> Result<(), AssembleError> {
    let none = BTreeMap::new();
    let build = Build::new(roots, process_environment, &none, progress);
    match phase {
        Some(Phase::Dependencies) => build.dependencies(None),
        Some(Phase::Application) => {
            build.application()?;
            build.fix_permissions(&[&roots.source])
        }
        None => {
            progress.stage("Installing application source");
            source::take_source(Path::new("/tmp/src"), &roots.source)?;
            progress.stage("Building application from source");
            build.both()?;
            build.fix_permissions(&[&roots.app])
        }
    }
}

/// A build on a laptop: what `warpdrive build` does, in the active virtual environment.
///
/// # Errors
/// The first step that fails.
pub fn build(
    roots: &Roots,
    process_environment: &Environment,
    command_line: &Environment,
    progress: &dyn StepProgress,
) -> Result<(), AssembleError> {
    Build::new(roots, process_environment, command_line, progress).both()
}

/// Wheels of everything that a build installs, for one without an index: what `warpdrive wheels`
/// does.
///
/// # Errors
/// The first step that fails.
pub fn wheels(
    roots: &Roots,
    process_environment: &Environment,
    command_line: &Environment,
    progress: &dyn StepProgress,
) -> Result<(), AssembleError> {
    Build::new(roots, process_environment, command_line, progress).wheels()
}

struct Build<'a> {
    roots: &'a Roots,
    given: &'a Environment,
    /// Settings.
    command_line: &'a Environment,
    progress: &'a dyn StepProgress,
}

impl<'a> Build<'a> {
    fn new(
        roots: &'a Roots,
        given: &'a Environment,
        command_line: &'a Environment,
        progress: &'a dyn StepProgress,
    ) -> Build<'a> {
        Build {
            roots,
            given,
            command_line,
            progress,
        }
    }

    /// Both phases, one after the other.
    fn both(&self) -> Result<(), AssembleError> {
        let detected = self.detect(self.given)?;
        for warning in &detected.warnings {
            self.progress.warn(warning);
        }
        self.dependencies(Some(&detected))?;
        self.application()
    }

    /// The environment of everything that a build runs, before the app's own variables.
    fn base(&self) -> Environment {
        let mut environment = self.given.clone();
        let roots = self.roots;
        let app = roots.app.display();
        for (name, value) in [
            (contract::LIFE_PHASE, "build".to_owned()),
            ("WARPDRIVE_BUILD_TARGET", "application".to_owned()),
            (contract::APP_ROOT, app.to_string()),
            (contract::SRC_ROOT, roots.source.display().to_string()),
            ("VIRTUAL_ENV", app.to_string()),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
            ("UV_LINK_MODE", "copy".to_owned()),
            ("UV_PYTHON_DOWNLOADS", "never".to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        // Only the pipeline and this program use it.
        environment.remove(contract::SAID_VARIABLES);
        environment.remove(contract::IMAGE_ENVIRONMENT);
        environment.remove(contract::LISTED);
        let system = if roots.image { "image" } else { "local" };
        environment
            .entry(contract::BUILD_SYSTEM.to_owned())
            .or_insert_with(|| system.to_owned());
        if roots.image {
            // Byte code is written by one pinned method only.
            environment.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
        }
        let path = environment
            .get("PATH")
            .cloned()
            .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let mut parts = vec![format!("{app}/bin")];
        parts.extend(path.split(':').map(str::to_owned));
        let mut unique: Vec<String> = Vec::new();
        for part in parts {
            if !part.is_empty() && !unique.contains(&part) {
                unique.push(part);
            }
        }
        environment.insert("PATH".to_owned(), unique.join(":"));
        environment
    }

    /// Whether the caller has set this variable. The pipeline names the variables of `-e` and
    /// `--build-env`; its own variables do not count.
    fn is_said(&self, name: &str) -> bool {
        match self.given.get(contract::SAID_VARIABLES) {
            Some(names) => names.split(' ').any(|said| said == name),
            None => self.given.contains_key(name),
        }
    }

    /// `[tool.warpdrive.environment]`, below everything else.
    fn with_settings(&self, mut environment: Environment) -> Result<Environment, AssembleError> {
        for (name, value) in self.project(self.given)?.settings.environment {
            environment.entry(name).or_insert(value);
        }
        Ok(environment)
    }

    /// Adds `.warpdrive/environment` and the hook `build-env`.
    fn with_files(&self, environment: Environment) -> Result<Environment, AssembleError> {
        let mut environment = self.with_settings(environment)?;
        let source = &self.roots.source;
        let said = |name: &str| self.is_said(name);
        for name in [environment::FILE, environment::BUILD_FILE] {
            let status = environment::apply(&mut environment, &source.join(name), source, &said)?;
            if status != 0 {
                let text = format!("the last command in {name} ended with status {status}");
                self.progress.warn(&text);
            }
        }
        Ok(environment)
    }

    fn detect(&self, environment: &Environment) -> Result<Detected, AssembleError> {
        let files = Directory::open(&self.roots.source).map_err(|source| AssembleError::Io {
            doing: "open",
            path: self.roots.source.clone(),
            source,
        })?;
        let options = Options {
            left_out: Vec::new(),
            now: 0,
            environment: environment.clone(),
            command_line: self.command_line.clone(),
            python: python_version(&self.roots.app),
            app_root: Some(self.roots.app.display().to_string()),
            listed: self.listed()?,
        };
        Ok(detect(&files, &options)?)
    }

    fn project(&self, environment: &Environment) -> Result<Project, AssembleError> {
        let files = Directory::open(&self.roots.source).map_err(|source| AssembleError::Io {
            doing: "open",
            path: self.roots.source.clone(),
            source,
        })?;
        let listed = self.listed()?;
        Project::load_listed(&files, environment, self.command_line, listed.as_ref())
            .map_err(|error| DetectError::from(error).into())
    }

    /// The caller's list from a manager's lock file.
    fn listed(&self) -> Result<Option<Listed>, AssembleError> {
        let Some(path) = self.given.get(contract::LISTED).map(PathBuf::from) else {
            return Ok(None);
        };
        let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
        read.map_err(|source| AssembleError::Io {
            doing: "read",
            path,
            source,
        })
    }

    /// Without the caller's list, a project with bound names is not installed: no installer here can ask
    /// only the bound location.
    fn refuse_bound(&self, project: &Project) -> Result<(), AssembleError> {
        if self.given.contains_key(contract::LISTED) {
            return Ok(());
        }
        let files = Directory::open(&self.roots.source).map_err(|source| AssembleError::Io {
            doing: "open",
            path: self.roots.source.clone(),
            source,
        })?;
        match Bindings::read(&files, project).first_of(project) {
            Some((name, binding)) => Err(AssembleError::Bound {
                name,
                table: binding.table,
            }),
            None => Ok(()),
        }
    }

    /// Runs a hook, if there is one. (Detection refuses one that is not executable.)
    fn hook(&self, name: &str, environment: &Environment) -> Result<(), AssembleError> {
        let path = self.roots.source.join(".warpdrive/action_hooks").join(name);
        if !path.is_file() {
            return Ok(());
        }
        self.progress.step(&format!("Running the hook {name}"));
        let mut environment = environment.clone();
        environment.insert("WARPDRIVE_ACTION".to_owned(), name.to_owned());
        let line = [path.display().to_string()];
        let command = process::command(&line, &self.roots.source, &environment)?;
        let heard = process::listen(command, name, |_| true)?;
        if heard.status == 0 {
            Ok(())
        } else {
            Err(AssembleError::Hook {
                name: name.to_owned(),
                status: heard.status,
                tail: heard.tail(12),
            })
        }
    }

    fn fix_permissions(&self, paths: &[&Path]) -> Result<(), AssembleError> {
        self.progress.stage("Fix permissions on application source");
        for path in paths {
            fixup(path)?;
        }
        for name in ["etc", "static"] {
            let path = self.roots.app.join(name);
            if path.is_dir() {
                fixup(&path)?;
            }
        }
        Ok(())
    }
}

/// Where temporary files go.
fn temporary(environment: &Environment) -> PathBuf {
    environment
        .get("TMPDIR")
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// The directory of packages of a virtual environment.
pub fn site_packages(app_root: &Path) -> PathBuf {
    let library = app_root.join("lib");
    let mut names: Vec<String> = fs::read_dir(&library)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("python3"))
        .collect();
    names.sort();
    let name = match python_version(app_root).map(|version| format!("python{version}")) {
        Some(name) => name,
        None => names.pop().unwrap_or_else(|| "python3".to_owned()),
    };
    library.join(name).join("site-packages")
}

/// The Python of a virtual environment, from `pyvenv.cfg` (`version` of venv, `version_info` of uv
/// and virtualenv).
pub fn python_version(app_root: &Path) -> Option<PythonVersion> {
    let text = fs::read_to_string(app_root.join("pyvenv.cfg")).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        matches!(name.trim(), "version" | "version_info")
            .then(|| value.trim().parse().ok())
            .flatten()
    })
}
