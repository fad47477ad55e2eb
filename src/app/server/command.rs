//! The servers' command lines. A pure function of the plan and of what is known at start, so that
//! every line can be a row of docs/reference/servers.md and a test. Order: our own arguments,
//! `MOD_WSGI_*`, `server_args`, the application.

use std::collections::BTreeMap;
use std::fmt;

use super::super::detect::Interface;
use super::super::plan::{Application, Plan, Start, StaticMap};
use super::super::shell_words::{ArgumentsError, expand};
use super::{Concurrency, Server, mod_wsgi};

/// Threads of a process, for servers whose processes have some.
const THREADS: u64 = 5;

/// The framework of an application with Flask-SocketIO.
pub const SOCKET_IO: &str = "flask-socketio";

/// What is known at start.
#[derive(Debug, Clone)]
pub struct Context<'c> {
    pub port: u16,
    /// Absolute; for `app.sh`.
    pub home: &'c str,
    /// A writable directory for `mod_wsgi`'s server root.
    pub run_directory: &'c str,
    /// For the heartbeat files of gunicorn's workers: memory, not a disk.
    pub worker_directory: Option<&'c str>,
    /// How many workers or threads; `None` if it is not a server.
    pub concurrency: Option<&'c Concurrency>,
    /// Seconds for running requests after the server is told to stop.
    pub grace: u32,
    pub environment: &'c BTreeMap<String, String>,
}

impl Context<'_> {
    fn has(&self, variable: &str) -> bool {
        self.environment
            .get(variable)
            .is_some_and(|value| !value.is_empty())
    }

    fn has_plain_locale(&self) -> bool {
        let said = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| self.environment.get(name).filter(|text| !text.is_empty()));
        said.is_none_or(|text| {
            let text = text.to_lowercase();
            matches!(text.as_str(), "c" | "posix" | "c.utf-8" | "c.utf8")
        })
    }
}

/// The words of `server_args`, expanded.
///
/// # Errors
/// If they cannot be understood.
pub fn extra(
    plan: &Plan,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<String>, ArgumentsError> {
    let said = match &plan.server_args {
        Some(text) => expand(text, environment)?,
        None => Vec::new(),
    };
    if plan.framework != SOCKET_IO || plan.server() != Some(Server::Gunicorn) {
        return Ok(said);
    }
    // The sessions of Socket.IO are in the memory of one process.
    let mut all = ["--workers", "1", "--threads", "100"]
        .map(str::to_owned)
        .to_vec();
    all.extend(said);
    Ok(all)
}

/// The program and its arguments.
///
/// # Errors
/// If `server_args` cannot be understood.
pub fn command(plan: &Plan, context: &Context<'_>) -> Result<Vec<String>, ArgumentsError> {
    let extra = extra(plan, context.environment)?;
    let mut line = Line::default();
    match &plan.start {
        Start::Shell { program } => {
            line.words(&[&format!("{}/{program}", context.home)]);
            line.0.extend(extra);
        }
        Start::Python { program } => {
            line.words(&["python", program]);
            line.0.extend(extra);
        }
        Start::Command { line: text } => {
            line.0 = shell_line(text, extra);
        }
        Start::Jupyter { interface } => {
            line.0 = interface.command(context.port, context.home);
            line.0.extend(extra);
        }
        Start::Server {
            server,
            application,
        } => {
            let application = application.as_ref();
            let version = Version(plan.server_version.as_deref());
            base(*server, context, application, version, &mut line);
            if *server == Server::ModWsgi {
                line.0.extend(mod_wsgi::options(context.environment));
            }
            line.0.extend(extra);
            if let Some(application) = application {
                target(*server, application, &plan.static_files, &mut line);
            }
        }
    }
    Ok(line.0)
}

/// A shell that runs a line, with more arguments behind it. If the line is a single command, the
/// program replaces the shell, so that it gets the signals.
pub fn shell_line(text: &str, extra: Vec<String>) -> Vec<String> {
    let single = !text.contains(['&', '|', ';', '<', '>', '(', ')', '\n'])
        && text.split_whitespace().next().is_some_and(|word| {
            !word.contains('=') && !matches!(word, "exec" | "cd" | "if" | "for")
        });
    let mut script = if single {
        format!("exec {text}")
    } else {
        text.to_owned()
    };
    if !extra.is_empty() {
        script.push_str(" \"$@\"");
    }
    let mut line = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    if !extra.is_empty() {
        line.push("sh".to_owned());
        line.extend(extra);
    }
    line
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }

    fn option(&mut self, name: &str, value: impl fmt::Display) {
        self.0.extend([name.to_owned(), value.to_string()]);
    }

    fn number(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.option(name, number);
        }
    }
}

/// The release of the server's package that is installed, if the build has seen it. Options that
/// older releases refuse are used only for releases that are known to have them.
#[derive(Clone, Copy)]
struct Version<'v>(Option<&'v str>);

impl Version<'_> {
    fn is_at_least(self, major: u32, minor: u32) -> bool {
        let Some(text) = self.0 else { return false };
        let mut numbers = text.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit());
            part[..digits.unwrap_or(part.len())].parse().unwrap_or(0)
        });
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
    }
}

/// The part before the extra arguments.
fn base(
    server: Server,
    context: &Context<'_>,
    application: Option<&Application>,
    version: Version<'_>,
    line: &mut Line,
) {
    let port = context.port;
    let number = context.concurrency.and_then(|found| found.number);
    let address = format!("0.0.0.0:{port}");
    let asgi = application.is_some_and(|application| application.interface == Interface::Asgi);
    if let Some(module) = server.launcher() {
        line.words(&["python", "-m", module]);
    }
    match server {
        Server::Gunicorn => {
            line.words(&["gunicorn", "--log-file", "-", "--bind", &address]);
            line.words(&["--access-logfile", "-"]);
            line.option("--graceful-timeout", context.grace);
            if let Some(directory) = context.worker_directory {
                line.option("--worker-tmp-dir", directory);
            }
            // The default is in HOME, which is part of the image.
            if version.is_at_least(25, 1) {
                line.words(&["--no-control-socket"]);
            }
            if asgi {
                line.option("--worker-class", "uvicorn_worker.UvicornWorker");
            }
            // OpenShift's name for gunicorn's configuration.
            if let Some(file) = context
                .environment
                .get("APP_CONFIG")
                .filter(|file| !file.is_empty())
            {
                line.option("--config", file);
            }
        }
        Server::ModWsgi => {
            line.words(&["mod_wsgi-express", "start-server"]);
            line.option(
                "--server-root",
                format!("{}/mod_wsgi", context.run_directory),
            );
            line.words(&["--log-to-terminal", "--startup-log", "--access-log"]);
            line.option("--port", port);
            line.number("--processes", number);
            line.option("--threads", THREADS);
            line.option("--shutdown-timeout", context.grace);
            // By itself it replaces C.UTF-8 with en_US.UTF-8, which an image does not have.
            if context.has_plain_locale() {
                line.option("--locale", "C.UTF-8");
            }
        }
        Server::Uwsgi => {
            line.words(&["uwsgi", "--master", "--http-socket", &format!(":{port}")]);
            line.words(&["--enable-threads", &format!("--threads={THREADS}")]);
            line.number("--processes", number);
            line.words(&["--thunder-lock", "--single-interpreter", "--need-app"]);
            // `--die-on-term` would cut running responses.
            line.option(
                "--hook-master-start",
                "unix_signal:15 gracefully_kill_them_all",
            );
        }
        Server::Waitress => {
            line.option("--port", port);
            if let Some(number) = number {
                line.words(&[&format!("--threads={number}")]);
            }
        }
        Server::Uvicorn => {
            line.words(&["uvicorn", "--host", "0.0.0.0"]);
            line.option("--port", port);
            if version.is_at_least(0, 22) {
                line.option("--timeout-graceful-shutdown", context.grace);
            }
        }
        Server::Hypercorn => {
            line.words(&["--bind", &address]);
            line.words(&["--access-logfile", "-", "--error-logfile", "-"]);
            line.option("--graceful-timeout", context.grace);
            line.number("--workers", number);
        }
        Server::Daphne => {
            line.words(&["--bind", "0.0.0.0"]);
            line.option("--port", port);
            line.words(&["--access-log", "-"]);
        }
        Server::Granian => {
            line.words(&["granian", "--interface", if asgi { "asgi" } else { "wsgi" }]);
            line.words(&["--host", "0.0.0.0"]);
            line.option("--port", port);
            line.words(&["--access-log"]);
            line.number("--workers", number);
            if !asgi && !context.has("GRANIAN_BLOCKING_THREADS") {
                line.option("--blocking-threads", THREADS);
            }
            if version.is_at_least(2, 3) {
                line.option("--workers-kill-timeout", context.grace);
                line.words(&["--respawn-failed-workers"]);
            }
        }
    }
}

/// The arguments that name the application and, where the server does that itself, static files.
fn target(server: Server, application: &Application, static_files: &[StaticMap], line: &mut Line) {
    let (reference, factory) = match &application.wrapper {
        Some(module) => (format!("{module}:application"), false),
        None => (application.reference(), application.factory),
    };
    let (module, object) = reference
        .split_once(':')
        .unwrap_or((&reference, "application"));
    let call = |text: &str| {
        if factory {
            format!("{text}()")
        } else {
            text.to_owned()
        }
    };
    match server {
        Server::ModWsgi => {
            line.option("--application-type", "module");
            line.option("--entry-point", module);
            line.option("--callable-object", object);
            for map in static_files {
                line.words(&["--url-alias", &map.url, &map.root]);
            }
        }
        Server::Uwsgi => {
            if factory {
                line.option("--module", call(&reference));
            } else {
                line.option("--module", module);
                line.option("--callable", object);
            }
            for map in static_files {
                line.option("--static-map", format!("{}={}", map.url, map.root));
            }
        }
        Server::Waitress => {
            if factory {
                line.words(&["--call"]);
            }
            line.words(&[&reference]);
        }
        Server::Uvicorn | Server::Granian => {
            if factory {
                line.words(&["--factory"]);
            }
            line.words(&[&reference]);
        }
        Server::Hypercorn if application.interface == Interface::Wsgi => {
            line.words(&[&format!("wsgi:{}", call(&reference))]);
        }
        Server::Hypercorn | Server::Gunicorn | Server::Daphne => {
            line.words(&[&call(&reference)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        for (text, expected) in [
            (Some("25.1.0"), true),
            (Some("27.0.1"), true),
            (Some("25.1rc1"), true),
            (Some("25.0.3"), false),
            (Some("9"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(Version(text).is_at_least(25, 1), expected, "{text:?}");
        }
    }
}
