//! `start`: from the recorded plan to the running server.

use std::path::Path;

use super::super::environment::Environment;
use super::super::plan::{Plan, Start};
use super::super::process;
use super::super::progress::Progress;
use super::super::roots::Roots;
use super::super::server::{Context, command};
use super::{RunError, configure, environment_for, hook, places};

/// `$PORT`, else `$WARPDRIVE_HTTP_PORT`, else 8080.
///
/// # Errors
/// If the value is no port.
pub fn port(environment: &Environment) -> Result<u16, RunError> {
    for variable in ["PORT", "WARPDRIVE_HTTP_PORT"] {
        if let Some(value) = environment.get(variable).filter(|value| !value.is_empty()) {
            return match value.parse() {
                Ok(port) if port > 0 => Ok(port),
                _ => Err(RunError::Port {
                    variable,
                    value: value.clone(),
                }),
            };
        }
    }
    Ok(8080)
}

/// The server's command line as `start` would run it.
///
/// # Errors
/// If `server_args` cannot be understood, or there is nowhere to write.
pub fn server_line(
    roots: &Roots,
    plan: &Plan,
    environment: &Environment,
) -> Result<Vec<String>, RunError> {
    let home = roots.home(&plan.home).display().to_string();
    let needs_directory = plan.server() == Some(super::super::server::Server::ModWsgi);
    let run_directory = if needs_directory && roots.image {
        places::run_directory(roots)?.display().to_string()
    } else {
        roots.app.display().to_string()
    };
    let memory = Path::new("/dev/shm");
    let worker_directory = if places::is_writable(memory) {
        Some("/dev/shm")
    } else if roots.image {
        Some("/tmp")
    } else {
        None
    };
    let context = Context {
        port: port(environment)?,
        home: &home,
        run_directory: &run_directory,
        worker_directory,
        environment,
    };
    Ok(command(plan, &context)?)
}

/// Runs the hooks `deploy-cfg` and `deploy`, then the server in place of this process (behind it as
/// pid 1). Nothing of Django is run to find out what the plan knows.
///
/// # Errors
/// If there is no plan, a hook fails, or the server cannot be started.
pub fn start(roots: &Roots, given: &Environment, progress: &dyn Progress) -> Result<i32, RunError> {
    let plan = Plan::load(&roots.app)?;
    let mut environment = environment_for(roots, Some(&plan), given)?;
    configure(roots, &environment, progress)?;
    if let Some(status) = hook("deploy", roots, &environment, progress, false)?
        && status != 0
    {
        return Err(RunError::Hook {
            name: "deploy".to_owned(),
            status,
        });
    }
    let line = server_line(roots, &plan, &environment)?;
    progress.step(&format!("Starting: {}", line.join(" ")));
    environment.insert("WARPDRIVE_ACTION".to_owned(), "start".to_owned());
    // gunicorn's control socket, for one, would else go to HOME, which is the image.
    if roots.image
        && !environment.contains_key("XDG_RUNTIME_DIR")
        && let Ok(directory) = places::run_directory(roots)
    {
        environment.insert(
            "XDG_RUNTIME_DIR".to_owned(),
            directory.display().to_string(),
        );
    }
    let home = roots.home(&plan.home);
    if let (Start::Server { server, .. }, Some(program)) = (&plan.start, line.first())
        && process::which(program, &environment).is_none()
    {
        return Err(RunError::ServerMissing {
            server: server.name().to_owned(),
        });
    }
    Ok(process::become_program(&line, &home, &environment)?)
}
