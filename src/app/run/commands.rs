//! The commands. Each gives the status to end with, or does not come back because the program has
//! taken warpdrive's place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::environment::Environment;
use super::error::RunError;
use super::launch::Program;
use super::supervise::Supervisor;
use super::{Caller, Tell, hook, once, probe};
use crate::app::plan::{Plan, Start};
use crate::app::server;

/// The environment for a command, with its warnings told.
fn environment(caller: &Caller, action: &str, tell: Tell<'_>) -> Result<Environment, RunError> {
    let mut environment = Environment::of(caller)?;
    environment.set_action(action);
    for warning in &environment.warnings {
        tell(&format!("warning: {warning}"));
    }
    Ok(environment)
}

/// `start`: `deploy-cfg` once, the hook `deploy`, then the server in the application's home.
pub fn start(caller: &Caller, tell: Tell<'_>) -> Result<u8, RunError> {
    let environment = environment(caller, "start", tell)?;
    let plan = environment
        .plan
        .as_ref()
        .ok_or_else(|| RunError::NotBuilt {
            path: environment.place.app_root.join(crate::app::plan::PLAN_FILE),
        })?;
    let mut supervisor = Supervisor::new().map_err(RunError::Signals)?;
    if let Some(status) = once::configure(&environment, &mut supervisor, tell)? {
        return Ok(status);
    }
    if let Some(hook) = hook::find("deploy", &environment)? {
        let ended = hook.run(&environment, &mut supervisor)?;
        if let Some(signal) = ended.asked {
            return Ok(128 + u8::try_from(signal).unwrap_or(0));
        }
        if ended.status != 0 {
            return Err(RunError::HookFailed {
                name: "deploy",
                status: ended.status,
            });
        }
    }
    let words = command_line(plan, &environment)?;
    let program = Program::find(&words, &environment)?.in_directory(&environment.app_home);
    for line in announcement(plan, environment.port) {
        tell(&line);
    }
    program.become_it(&environment, Some(supervisor))
}

/// The server's command line, from the plan and what is known now.
fn command_line(plan: &Plan, environment: &Environment) -> Result<Vec<OsString>, RunError> {
    let variables: BTreeMap<String, String> = environment
        .values()
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let memory = Path::new("/dev/shm");
    let context = server::Context {
        port: environment.port,
        home: &environment.app_home.to_string_lossy(),
        run_directory: &environment.private.to_string_lossy(),
        worker_directory: memory.is_dir().then_some("/dev/shm"),
        environment: &variables,
    };
    let words = server::command(plan, &context)?;
    Ok(words.into_iter().map(OsString::from).collect())
}

fn announcement(plan: &Plan, port: u16) -> [String; 2] {
    let (mode, what) = match &plan.start {
        Start::Shell { program } => ("shell", program.clone()),
        Start::Python { program } => ("python", format!("python {program}")),
        Start::Server {
            server,
            application,
        } => (
            if plan.django.is_some() {
                "django"
            } else {
                "wsgi"
            },
            match application {
                Some(application) => format!("{server} for {}", application.reference()),
                None => server.to_string(),
            },
        ),
    };
    [
        format!(" -----> Configuring for deployment mode: '{mode}'"),
        format!(" -----> Starting {what} on port {port}"),
    ]
}

/// `setup` and `migrate`: `deploy-cfg` once, then the hook of that name, if there is one. Nothing is
/// done for any framework: what may be done to a database, the application has to say.
pub fn with_database(name: &'static str, caller: &Caller, tell: Tell<'_>) -> Result<u8, RunError> {
    let environment = environment(caller, name, tell)?;
    let mut supervisor = Supervisor::new().map_err(RunError::Signals)?;
    if let Some(status) = once::configure(&environment, &mut supervisor, tell)? {
        return Ok(status);
    }
    match hook::find(name, &environment)? {
        Some(hook) => hook.become_it(&environment, Some(supervisor)),
        None => {
            tell(&format!(
                "nothing to do: there is no hook .warpdrive/action_hooks/{name}"
            ));
            Ok(0)
        }
    }
}

/// `verify`: the hook of that name, else nothing.
pub fn verify(caller: &Caller, tell: Tell<'_>) -> Result<u8, RunError> {
    let environment = environment(caller, "verify", tell)?;
    match hook::find("verify", &environment)? {
        Some(hook) => hook.become_it(&environment, None),
        None => Ok(0),
    }
}

/// `alive` and `ready`: the hook of that name, else whether the application answers.
pub fn probe(name: &'static str, caller: &Caller, tell: Tell<'_>) -> Result<u8, RunError> {
    let environment = environment(caller, name, tell)?;
    match hook::find(name, &environment)? {
        Some(hook) => hook.become_it(&environment, None),
        None => probe::get(environment.port).map(|()| 0),
    }
}

/// `exec`: any program, where the caller stands.
pub fn exec(words: &[OsString], caller: &Caller, tell: Tell<'_>) -> Result<u8, RunError> {
    let environment = environment(caller, "exec", tell)?;
    Program::find(words, &environment)?.become_it(&environment, None)
}

/// `shell`: bash, else sh.
pub fn shell(caller: &Caller, tell: Tell<'_>) -> Result<u8, RunError> {
    let environment = environment(caller, "shell", tell)?;
    let program = Program::find(&["bash".into()], &environment)
        .or_else(|_| Program::find(&["sh".into()], &environment))?;
    program.become_it(&environment, None)
}
