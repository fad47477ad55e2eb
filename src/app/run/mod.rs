//! Run time: `start`, `setup`, `migrate`, `verify`, `alive`, `ready`, `exec`, `shell`, `env`.
//!
//! All of them see the environment of [`environment_for`]. Nothing is written below the
//! application's root, which may be read-only; what has to be written goes to a directory in `/tmp`.

mod health;
mod places;
mod start;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::advice::{Advice, Explain};
use super::environment::{self, Environment, EnvironmentError};
use super::files::Directory;
use super::plan::{MODULES_DIRECTORY, Plan, PlanError};
use super::process::{self, ProcessError};
use super::progress::Progress;
use super::roots::Roots;
use super::server::ArgumentsError;

pub use health::{HealthError, probe};
pub use start::{port, server_line, start};

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error("the hook {name} failed with status {status}")]
    Hook { name: String, status: i32 },
    #[error("`{value}` is no port ({variable})")]
    Port {
        variable: &'static str,
        value: String,
    },
    #[error("{server} is not installed in this image")]
    ServerMissing { server: String },
    #[error("cannot {doing} {path}")]
    Io {
        doing: &'static str,
        path: std::path::PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl RunError {
    /// The process's status: that of the hook, 126 and 127 as in a shell, else 125.
    pub fn status(&self) -> i32 {
        match self {
            RunError::Process(error) => error.status(),
            RunError::Hook { status, .. }
            | RunError::Environment(EnvironmentError::Failed { status, .. }) => *status,
            RunError::Health(_) => 1,
            RunError::ServerMissing { .. } => 127,
            _ => 125,
        }
    }
}

impl Explain for RunError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            RunError::Plan(PlanError::Read { source, .. }) => advice
                .cause(source.to_string())
                .cause("The plan is made when the app is built.")
                .remedy("run `warpdrive build` first"),
            RunError::Plan(_) => advice.remedy("build the app again with this release of warpdrive"),
            RunError::Environment(error) => error.advice(),
            RunError::Process(error) => error.advice(),
            RunError::Arguments(_) => {
                advice.remedy("server_args knows $V, ${V} and ${V:-default}; put the result of a command into .warpdrive/action_hooks/deploy-env")
            }
            RunError::Health(error) => error.advice(),
            RunError::Hook { name, .. } => advice.remedy(format!("run it by hand: warpdrive exec .warpdrive/action_hooks/{name}")),
            RunError::Port { .. } => advice.remedy("a port is a number from 1 to 65535"),
            RunError::ServerMissing { server } => advice
                .cause("The server is chosen and installed at build.")
                .remedy(format!("echo {server} > .warpdrive/server_type, and build again")),
            RunError::Io { source, .. } => advice.cause(source.to_string()),
        }
    }
}

/// What a hook's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookState {
    Absent,
    NotExecutable,
    Executable,
}

pub(crate) fn hook_state(path: &Path) -> HookState {
    match fs::metadata(path) {
        Ok(data) if data.is_file() && data.permissions().mode() & 0o111 != 0 => {
            HookState::Executable
        }
        Ok(data) if data.is_file() => HookState::NotExecutable,
        _ => HookState::Absent,
    }
}

/// `PYTHONPATH` of the app: home, source, further directories, the build's own modules. No empty
/// part: that would be the working directory.
pub(crate) fn python_path(roots: &Roots, plan: &Plan, given: &Environment) -> String {
    let mut parts = Vec::new();
    if !plan.home.is_empty() {
        parts.push(roots.home(&plan.home));
    }
    parts.push(roots.source.clone());
    parts.extend(plan.python_path.iter().map(|path| roots.source.join(path)));
    let own = parts.len();
    let mut parts: Vec<String> = parts
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if let Some(more) = given.get("PYTHONPATH") {
        parts.extend(
            more.split(':')
                .filter(|part| !part.is_empty())
                .map(str::to_owned),
        );
    }
    let mut seen = Vec::with_capacity(own);
    parts.retain(|part| {
        let new = !seen.contains(part);
        seen.push(part.clone());
        new
    });
    parts.join(":")
}

/// The environment of everything at run time.
///
/// # Errors
/// If the app's own files cannot be understood, or a hook fails.
pub fn environment_for(
    roots: &Roots,
    plan: Option<&Plan>,
    given: &Environment,
) -> Result<Environment, RunError> {
    let mut environment = given.clone();
    let home = roots.home(plan.map_or("", |plan| plan.home.as_str()));
    let app = roots.app.display().to_string();
    for (name, value) in [
        ("WARPDRIVE_PHASE", "deploy".to_owned()),
        ("WARPDRIVE_APP_ROOT", app.clone()),
        ("WARPDRIVE_SRC_ROOT", roots.source.display().to_string()),
        ("WARPDRIVE_APP_HOME", home.display().to_string()),
        ("VIRTUAL_ENV", app.clone()),
    ] {
        environment.insert(name.to_owned(), value);
    }
    let path = given
        .get("PATH")
        .cloned()
        .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let bin = format!("{app}/bin");
    if !path.split(':').any(|part| part == bin) {
        environment.insert("PATH".to_owned(), format!("{bin}:{path}"));
    }
    if roots.image {
        environment.entry("HOME".to_owned()).or_insert(app);
        places::move_home(&mut environment);
    }
    environment::apply_file(&mut environment, &roots.source)?;
    for (name, value) in plan.map(|plan| &plan.environment).into_iter().flatten() {
        environment
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    let hook = roots.source.join(".warpdrive/action_hooks/deploy-env");
    if hook.is_file() {
        environment::apply_script(&mut environment, &hook, &roots.source, false)?;
    }
    let port = port(&environment)?;
    environment.insert("WARPDRIVE_HTTP_PORT".to_owned(), port.to_string());
    environment.insert("PORT".to_owned(), port.to_string());
    if let Some(plan) = plan {
        let mut path = python_path(roots, plan, &environment);
        let modules = roots.app.join(MODULES_DIRECTORY);
        if modules.is_dir() && !path.split(':').any(|part| Path::new(part) == modules) {
            path.push(':');
            path.push_str(&modules.display().to_string());
        }
        environment.insert("PYTHONPATH".to_owned(), path);
    }
    if roots.image {
        environment
            .entry("PYTHONUNBUFFERED".to_owned())
            .or_insert_with(|| "1".to_owned());
    }
    Ok(environment)
}

/// The plan, if there is one.
pub fn plan_of(roots: &Roots) -> Option<Plan> {
    Plan::load(&roots.app).ok()
}

/// Runs a hook in place of this process. `None`: there is no such hook.
fn hook(
    name: &str,
    roots: &Roots,
    environment: &Environment,
    progress: &dyn Progress,
    replace: bool,
) -> Result<Option<i32>, RunError> {
    let path = roots.source.join(".warpdrive/action_hooks").join(name);
    match hook_state(&path) {
        HookState::Absent => Ok(None),
        HookState::NotExecutable => {
            let shown = format!(".warpdrive/action_hooks/{name}");
            progress.warn(&format!(
                "{shown} is not executable and is not run: chmod +x {shown}"
            ));
            Ok(None)
        }
        HookState::Executable => {
            let mut environment = environment.clone();
            environment.insert("WARPDRIVE_ACTION".to_owned(), name.to_owned());
            let line = [path.display().to_string()];
            let status = if replace {
                process::become_program(&line, &roots.source, &environment)?
            } else {
                process::run(&line, &roots.source, &environment)?
            };
            Ok(Some(status))
        }
    }
}

/// The hook `deploy-cfg`, once per container.
fn configure(
    roots: &Roots,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<(), RunError> {
    let path = roots.source.join(".warpdrive/action_hooks/deploy-cfg");
    if hook_state(&path) == HookState::Absent {
        return Ok(());
    }
    let directory = places::run_directory(roots)?;
    let marker = directory.join("deploy-cfg.done");
    if marker.exists() {
        return Ok(());
    }
    if let Some(status) = hook("deploy-cfg", roots, environment, progress, false)? {
        if status != 0 {
            return Err(RunError::Hook {
                name: "deploy-cfg".to_owned(),
                status,
            });
        }
        fs::write(&marker, b"").map_err(|source| RunError::Io {
            doing: "write",
            path: marker,
            source,
        })?;
    }
    Ok(())
}

/// `setup` and `migrate`: the hook of that name, after `deploy-cfg`. Without a hook there is
/// nothing to do, and that is no failure.
///
/// # Errors
/// If the environment or a hook cannot be run.
pub fn action(
    name: &str,
    roots: &Roots,
    given: &Environment,
    progress: &dyn Progress,
) -> Result<i32, RunError> {
    let plan = plan_of(roots);
    let environment = environment_for(roots, plan.as_ref(), given)?;
    configure(roots, &environment, progress)?;
    if let Some(status) = hook(name, roots, &environment, progress, true)? {
        Ok(status)
    } else {
        progress.note(&format!(
            "there is no hook .warpdrive/action_hooks/{name}: nothing to do"
        ));
        Ok(0)
    }
}

/// `verify`, `alive`, `ready`: the hook of that name; without one, `alive` and `ready` ask the app.
///
/// # Errors
/// If the hook cannot be run, or the app does not answer.
pub fn check(
    name: &str,
    roots: &Roots,
    given: &Environment,
    progress: &dyn Progress,
) -> Result<i32, RunError> {
    let plan = plan_of(roots);
    let environment = environment_for(roots, plan.as_ref(), given)?;
    if let Some(status) = hook(name, roots, &environment, progress, true)? {
        return Ok(status);
    }
    if name == "verify" {
        progress.note("there is no hook .warpdrive/action_hooks/verify: nothing to do");
        return Ok(0);
    }
    probe(port(&environment)?)?;
    Ok(0)
}

/// `exec`: a command in the app's environment.
///
/// # Errors
/// If it cannot be run.
pub fn exec(line: &[String], roots: &Roots, given: &Environment) -> Result<i32, RunError> {
    let plan = plan_of(roots);
    let mut environment = environment_for(roots, plan.as_ref(), given)?;
    environment.insert("WARPDRIVE_ACTION".to_owned(), "exec".to_owned());
    let directory = std::env::current_dir().unwrap_or_else(|_| roots.source.clone());
    Ok(process::become_program(line, &directory, &environment)?)
}

/// `shell`: the user's shell, else bash, else sh.
///
/// # Errors
/// If none can be run.
pub fn shell(roots: &Roots, given: &Environment) -> Result<i32, RunError> {
    let plan = plan_of(roots);
    let mut environment = environment_for(roots, plan.as_ref(), given)?;
    environment.insert("WARPDRIVE_ACTION".to_owned(), "shell".to_owned());
    let shell = environment
        .get("SHELL")
        .filter(|shell| Path::new(shell).is_file())
        .cloned()
        .or_else(|| process::which("bash", &environment).map(|path| path.display().to_string()))
        .unwrap_or_else(|| "/bin/sh".to_owned());
    let directory = std::env::current_dir().unwrap_or_else(|_| roots.source.clone());
    Ok(process::become_program(&[shell], &directory, &environment)?)
}

/// Reads the settings of the app as they are now, for `env --explain`.
///
/// # Errors
/// If they cannot be understood.
pub fn settings(
    roots: &Roots,
    given: &Environment,
) -> Result<super::settings::Settings, super::settings::SettingsError> {
    match Directory::open(&roots.source) {
        Ok(files) => {
            super::settings::Settings::load(&files, given, &std::collections::BTreeMap::new())
        }
        Err(_) => Ok(super::settings::Settings::default()),
    }
}
