//! The commands. Each returns the exit status, or does not return because the program has
//! replaced warpdrive.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::environment::{Environment, Origin};
use super::error::RunError;
use super::launch::Program;
use super::supervise::{Stopping, Supervisor};
use super::{Caller, early_end, home, hook, once, probe, reach};
use crate::detect::Interface;
use crate::plan::{PLAN_FILE, Plan, RELEASE, Start, WEB};
use crate::progress::StepProgress;
use crate::server::{
    Concurrency, Context, DEFAULT_GRACE, GRACE, Limits, Server, command, extra, shell_line,
};

/// The environment for a command, after printing its warnings.
fn environment(
    caller: &Caller,
    action: &str,
    progress: &dyn StepProgress,
) -> Result<Environment, RunError> {
    let mut environment = Environment::of(caller)?;
    environment.set_action(action);
    for warning in &environment.warnings {
        progress.warn(warning);
    }
    Ok(environment)
}

fn plan(environment: &Environment) -> Result<&Plan, RunError> {
    environment.plan.as_ref().ok_or_else(|| RunError::NotBuilt {
        path: environment.roots.app.join(PLAN_FILE),
    })
}

/// The record, with the caller's present values instead of those at build.
fn plan_to_start(process: Option<&str>, environment: &Environment) -> Result<Plan, RunError> {
    let mut plan = plan(environment)?.clone();
    if let Some(name) = process.filter(|name| *name != WEB || !plan.web) {
        let Some(line) = plan.processes.get(name) else {
            return Err(RunError::NoProcess {
                name: name.to_owned(),
                known: known_processes(&plan),
            });
        };
        plan.start = Start::Command { line: line.clone() };
        plan.server_args = None;
        plan.web = false;
        return Ok(plan);
    }
    if let Some(text) = environment.server_arguments() {
        plan.server_args = Some(text);
    }
    Ok(plan)
}

fn known_processes(plan: &Plan) -> Vec<String> {
    let web = plan.web.then(|| WEB.to_owned());
    web.into_iter()
        .chain(plan.processes.keys().cloned())
        .collect()
}

/// Settings of the caller about the server that only a build could follow.
fn too_late(plan: &Plan, environment: &Environment) -> Option<String> {
    let said = environment.value("WARPDRIVE_SERVER_TYPE")?.to_str()?;
    let server = plan.server()?.name();
    (said.replace('-', "_") != server).then(|| {
        format!("WARPDRIVE_SERVER_TYPE={said} is for a build: this one installed {server}")
    })
}

/// `start`: `deploy-cfg` once, the hook `deploy`, then the server (or the process of that name) in
/// the application's home. The application is not loaded: the plan has everything that is needed.
pub fn start(
    process: Option<&str>,
    caller: &Caller,
    progress: &dyn StepProgress,
) -> Result<u8, RunError> {
    let mut environment = environment(caller, "start", progress)?;
    let plan = plan_to_start(process, &environment)?;
    if let Some(text) = too_late(&plan, &environment) {
        progress.warn(&text);
    }
    let mut supervisor = Supervisor::new().map_err(RunError::Signals)?;
    if let Some(status) = once::configure(&environment, &mut supervisor, progress)? {
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
    environment.set_for_server();
    let Prepared { words, concurrency } = prepare(&plan, &mut environment)?;
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let program = match (Program::find(&words, &environment), plan.server()) {
        (Err(RunError::NoProgram { .. }), _) if let Some(agent) = &plan.instrument => {
            return Err(RunError::AgentMissing {
                agent: agent.to_string(),
            });
        }
        (Err(RunError::NoProgram { .. }), Some(server)) => {
            return Err(RunError::ServerMissing {
                server: server.name(),
            });
        }
        (found, _) => found?.in_directory(&environment.app_home),
    };
    early_end::check_port(&plan, environment.port)?;
    for line in announcement(&plan, environment.port) {
        progress.step(&line);
    }
    if let Some(line) = concurrency {
        progress.step(&line);
    }
    let program = match plan.server() {
        Some(Server::ModWsgi) => program.stopped_by(Stopping::Apache),
        // Not granian: one of its workers that gets the signal twice cuts its responses and hangs.
        Some(Server::Gunicorn) => program.stopped_by(Stopping::Workers),
        _ => program,
    };
    let begun = Instant::now();
    let own = plan.web && environment.roots.image && plan.server().is_none();
    let done = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        if own {
            scope.spawn(|| reach::watch(&plan, environment.port, &done, progress));
        }
        let ended = program.take_over(&environment, Some(supervisor));
        done.store(true, Ordering::Relaxed);
        ended
    })?;
    if ended.status != 0
        && ended.asked.is_none()
        && begun.elapsed() < early_end::EARLY
        && let Some(advice) = early_end::explain(&plan, &environment, ended.status)
    {
        progress.advise(&advice);
    }
    Ok(ended.status)
}

/// `start --dry-run`: the server's program and arguments.
pub fn server_line(
    process: Option<&str>,
    caller: &Caller,
    progress: &dyn StepProgress,
) -> Result<Vec<String>, RunError> {
    let mut environment = environment(caller, "start", progress)?;
    let plan = plan_to_start(process, &environment)?;
    environment.set_for_server();
    Ok(prepare(&plan, &mut environment)?.words)
}

/// A server's command line, and how many workers it gets, in words.
struct Prepared {
    words: Vec<String>,
    concurrency: Option<String>,
}

/// Makes the command line, and sets the variables that belong to it.
fn prepare(plan: &Plan, environment: &mut Environment) -> Result<Prepared, RunError> {
    let run_directory = if environment.roots.image {
        if plan.server() == Some(Server::ModWsgi) {
            home::make(&environment.private, &environment.private);
        }
        environment.private.clone()
    } else {
        environment.roots.app.clone()
    };
    let worker_directory = if home::is_writable(Path::new("/dev/shm")) {
        Some("/dev/shm")
    } else {
        environment.roots.image.then_some("/tmp")
    };
    let variables = environment
        .values()
        .into_iter()
        .map(|(name, value)| {
            let text = |word: OsString| word.to_string_lossy().into_owned();
            (text(name), text(value))
        })
        .collect();
    let concurrency = match plan.server() {
        Some(server) => {
            let interface = plan
                .application()
                .map_or(Interface::Wsgi, |application| application.interface);
            let extra = extra(plan, &variables)?;
            let limits = Limits::current();
            let found = Concurrency::choose(server, interface, &extra, &variables, &limits)?;
            if let (Some(variable), Some(number)) = (server.reads_concurrency(), found.number) {
                environment.set_default(variable, number.to_string(), Origin::Default);
            }
            Some((server, found))
        }
        None => None,
    };
    let context = Context {
        port: environment.port,
        home: &environment.app_home.to_string_lossy(),
        run_directory: &run_directory.to_string_lossy(),
        worker_directory,
        concurrency: concurrency.as_ref().map(|(_, found)| found),
        grace: grace(environment)?,
        environment: &variables,
    };
    let words = command(plan, &context)?;
    let words = match &plan.instrument {
        Some(instrument) => instrument.wrap(words, plan.server()),
        None => words,
    };
    let concurrency = concurrency.map(|(server, found)| {
        let file = server == Server::Gunicorn
            && found.number.is_some()
            && environment.app_home.join("gunicorn.conf.py").is_file();
        let unless = if file {
            ", unless gunicorn.conf.py says otherwise"
        } else {
            ""
        };
        format!("{}{unless}", found.words)
    });
    Ok(Prepared { words, concurrency })
}

/// How long a server may take for running requests after it is told to stop.
fn grace(environment: &Environment) -> Result<u32, RunError> {
    let Some(value) = environment.value(GRACE) else {
        return Ok(DEFAULT_GRACE);
    };
    let value = value.to_string_lossy().into_owned();
    value
        .trim()
        .parse()
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or(RunError::Grace { value })
}

/// The line before the server's own output. The arguments are not shown: they may hold a secret.
fn announcement(plan: &Plan, port: u16) -> Vec<String> {
    let (mode, server) = match &plan.start {
        Start::Shell { program } => ("shell", program.clone()),
        Start::Python { program } => ("python", format!("python {program}")),
        // A line may hold a secret; its first word does not.
        Start::Command { line } => {
            let program = line.split_whitespace().next().unwrap_or("sh");
            ("process", program.to_owned())
        }
        Start::Jupyter { interface } => ("jupyter", format!("jupyter {}", interface.name())),
        Start::Server {
            server,
            application,
        } => {
            let mode = match application
                .as_ref()
                .map(|application| application.interface)
            {
                Some(Interface::Wsgi) => "wsgi",
                Some(Interface::Asgi) => "asgi",
                Some(Interface::Own) => "python",
                None => server.name(),
            };
            let name = server.name();
            let words = match application {
                Some(application) => {
                    let call = if application.factory { "()" } else { "" };
                    format!("{name} for {}{call}", application.reference())
                }
                None => name.to_owned(),
            };
            (mode, words)
        }
    };
    vec![
        format!("Configuring for deployment mode: '{mode}'"),
        if plan.web {
            format!("Starting {server} on port {port}")
        } else {
            format!("Starting {server}")
        },
    ]
}

/// `OpenShift`'s variable: something else migrates the database.
const DISABLE_MIGRATE: &str = "DISABLE_MIGRATE";

/// `setup` and `migrate`: `deploy-cfg` once, then the hook of that name. Without one `migrate` runs the
/// process `release`, else `manage.py migrate`, and `setup` does the same and makes the account of
/// `DJANGO_SUPERUSER_*`; the commands are printed.
pub fn with_database(
    name: &'static str,
    caller: &Caller,
    progress: &dyn StepProgress,
) -> Result<u8, RunError> {
    let environment = environment(caller, name, progress)?;
    let mut supervisor = Supervisor::new().map_err(RunError::Signals)?;
    if let Some(status) = once::configure(&environment, &mut supervisor, progress)? {
        return Ok(status);
    }
    if let Some(hook) = hook::find(name, &environment)? {
        return hook.become_it(&environment, Some(supervisor));
    }
    let lines = without_hook(name, &environment);
    if environment.value(DISABLE_MIGRATE).is_some() {
        progress.note("DISABLE_MIGRATE is set: manage.py migrate is not run");
    } else if lines.is_empty() {
        progress.note(&nothing_to_do(name));
    }
    for (line, directory) in lines {
        progress.step(&format!("Running {line}"));
        let words: Vec<OsString> = shell_line(&line, Vec::new())
            .into_iter()
            .map(OsString::from)
            .collect();
        let ended = Program::find(&words, &environment)?
            .in_directory(&directory)
            .run(&environment, &mut supervisor)?;
        if let Some(signal) = ended.asked {
            return Ok(128 + u8::try_from(signal).unwrap_or(0));
        }
        if ended.status != 0 {
            return Ok(ended.status);
        }
    }
    Ok(0)
}

/// What `setup` and `migrate` run if the application has no hook: lines for the shell, and their
/// directory.
fn without_hook(name: &str, environment: &Environment) -> Vec<(String, PathBuf)> {
    let Some(plan) = &environment.plan else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    let django = plan.django.as_ref().map(|django| {
        let manage = environment.roots.source.join(&django.manage);
        let directory = manage
            .parent()
            .unwrap_or(&environment.roots.source)
            .to_owned();
        let program = manage.file_name().map_or_else(
            || "manage.py".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        (format!("python {program}"), directory)
    });
    if let Some(line) = plan.processes.get(RELEASE) {
        lines.push((line.clone(), environment.app_home.clone()));
    } else if let Some((program, directory)) = &django
        && environment.value(DISABLE_MIGRATE).is_none()
    {
        lines.push((format!("{program} migrate --noinput"), directory.clone()));
    }
    if name == "setup"
        && let Some((program, directory)) = django
        && ["DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_PASSWORD"]
            .into_iter()
            .all(|name| environment.value(name).is_some())
    {
        lines.push((format!("{program} createsuperuser --noinput"), directory));
    }
    lines
}

fn nothing_to_do(name: &str) -> String {
    format!("there is no hook .warpdrive/action_hooks/{name}: nothing to do")
}

/// `verify`: the hook of that name, else nothing.
pub fn verify(caller: &Caller, progress: &dyn StepProgress) -> Result<u8, RunError> {
    let environment = environment(caller, "verify", progress)?;
    if let Some(hook) = hook::find("verify", &environment)? {
        return hook.become_it(&environment, None);
    }
    progress.note(&nothing_to_do("verify"));
    Ok(0)
}

/// `alive` and `ready`: the hook of that name, else whether the application answers.
pub fn probe(
    name: &'static str,
    caller: &Caller,
    progress: &dyn StepProgress,
) -> Result<u8, RunError> {
    let environment = environment(caller, name, progress)?;
    if let Some(hook) = hook::find(name, &environment)? {
        return hook.become_it(&environment, None);
    }
    probe::get(environment.port, probe_timeout(&environment)?)?;
    let port = environment.port;
    if environment.roots.image && probe::listening(port) == probe::Listening::OnLoopback {
        progress.warn(&reach::words(environment.plan.as_ref(), port));
    }
    Ok(0)
}

/// `WARPDRIVE_PROBE_TIMEOUT`, in seconds.
fn probe_timeout(environment: &Environment) -> Result<Duration, RunError> {
    let Some(text) = environment.value("WARPDRIVE_PROBE_TIMEOUT") else {
        return Ok(probe::TIMEOUT);
    };
    let text = text.to_string_lossy();
    text.trim()
        .parse()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds < 3600.0)
        .map(Duration::from_secs_f32)
        .ok_or_else(|| RunError::Timeout {
            value: text.into_owned(),
        })
}

/// `exec`: any program, in the caller's directory.
pub fn exec(
    words: &[OsString],
    caller: &Caller,
    progress: &dyn StepProgress,
) -> Result<u8, RunError> {
    let environment = environment(caller, "exec", progress)?;
    Program::find(words, &environment)?.become_it(&environment, None)
}

/// `shell`: bash, else sh.
pub fn shell(caller: &Caller, progress: &dyn StepProgress) -> Result<u8, RunError> {
    let environment = environment(caller, "shell", progress)?;
    let program = Program::find(&["bash".into()], &environment)
        .or_else(|_| Program::find(&["sh".into()], &environment))?;
    program.become_it(&environment, None)
}
