//! What can go wrong when an application is run, with the exit code that docker would give.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::super::advice::{Advice, Explain};
use super::super::environment::EnvironmentError;
use super::super::plan::PlanError;
use super::super::roots::RootsError;
use super::super::server::{CONCURRENCY, ConcurrencyError, GRACE};
use super::super::shell_words::ArgumentsError;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Roots(#[from] RootsError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error("the application has not been built: {} is missing", path.display())]
    NotBuilt { path: PathBuf },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    #[error("{name}={value}: not a port (1 to 65535)")]
    Port { name: &'static str, value: String },
    #[error("WARPDRIVE_PROBE_TIMEOUT={value}: not a number of seconds (above 0, below 3600)")]
    Timeout { value: String },
    #[error(transparent)]
    Concurrency(#[from] ConcurrencyError),
    #[error("{GRACE}={value}: not a number of seconds")]
    Grace { value: String },
    #[error("the working directory is gone: {0}")]
    WorkingDirectory(#[source] io::Error),
    #[error("{} is not UTF-8 (byte {offset})", path.display())]
    NotText { path: PathBuf, offset: usize },
    #[error("the hook {} is not executable", path.display())]
    HookNotExecutable { path: PathBuf },
    #[error("the hook {name} failed with status {status}")]
    HookFailed { name: &'static str, status: u8 },
    #[error("port {port} is in use")]
    PortInUse { port: u16 },
    #[error("there is no process `{name}`")]
    NoProcess { name: String, known: Vec<String> },
    #[error("nothing to run")]
    EmptyCommand,
    #[error("{server}, the server of this application, is not installed")]
    ServerMissing { server: &'static str },
    #[error("{agent}, the agent of this application, is not installed")]
    AgentMissing { agent: String },
    #[error("{}: no such program", program.display())]
    NoProgram { program: OsString },
    #[error("{}: its first line names `{interpreter}`, which is not there", path.display())]
    NoInterpreter { path: PathBuf, interpreter: String },
    #[error("{} cannot be executed: {source}", path.display())]
    CannotExecute { path: PathBuf, source: io::Error },
    #[error("the directory {} cannot be entered: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot receive signals: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot wait for the program: {0}")]
    Wait(#[source] io::Error),
    #[error("nothing answers at 127.0.0.1:{port}: {reason}")]
    NoAnswer { port: u16, reason: String },
    #[error("the application answers with status {status}")]
    Unwell { status: u16 },
}

impl RunError {
    /// The exit code of the command that fails so: 125 a failure of warpdrive's own, 126 what
    /// cannot be executed, 127 what is not there; a hook's own status; 1 for a probe.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::HookFailed { status, .. } => *status,
            Self::HookNotExecutable { .. } | Self::CannotExecute { .. } => 126,
            Self::NoProgram { .. }
            | Self::NoInterpreter { .. }
            | Self::ServerMissing { .. }
            | Self::AgentMissing { .. } => 127,
            Self::NoAnswer { .. } | Self::Unwell { .. } => 1,
            _ => 125,
        }
    }
}

impl Explain for RunError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            Self::Roots(error) => error.advice(),
            Self::Environment(error) => error.advice(),
            Self::NotBuilt { .. } => advice.remedy("warpdrive build"),
            Self::Plan(error) => {
                let advice = match std::error::Error::source(error) {
                    Some(source) => advice.cause(source.to_string()),
                    None => advice,
                };
                advice.remedy("build again with this release of warpdrive")
            }
            Self::Arguments(_) => advice.remedy(
                "server_args knows $V, ${V} and ${V:-default}; put the result of a command into \
                 .warpdrive/action_hooks/deploy-env",
            ),
            Self::Port { name, .. } => advice.remedy(format!("unset {name} or set it to a number")),
            Self::Concurrency(_) => advice.remedy(format!(
                "unset {CONCURRENCY}, and the number follows from CPUs and memory"
            )),
            Self::NoProcess { known, .. } => {
                let advice = if known.is_empty() {
                    advice
                } else {
                    advice.remedy(format!("there is: {}", known.join(", ")))
                };
                advice.remedy(
                    "name it in a Procfile (`worker: python worker.py`) or in                      [tool.warpdrive.processes], and build again",
                )
            }
            Self::Grace { .. } => {
                advice.remedy(format!("unset {GRACE} or set it to whole seconds"))
            }
            Self::NotText { .. } => {
                advice.remedy("save the file as UTF-8 (`iconv -t UTF-8` converts it)")
            }
            Self::HookNotExecutable { path } => advice
                .remedy(format!("chmod +x {}", path.display()))
                .remedy("in git: git update-index --chmod=+x .warpdrive/action_hooks/NAME"),
            Self::HookFailed { name, .. } => advice.remedy(format!(
                "run it by hand: warpdrive exec .warpdrive/action_hooks/{name}"
            )),
            Self::PortInUse { port } => advice
                .cause("Another program listens there.")
                .remedy(format!("find it: ss -ltnp 'sport = :{port}'"))
                .remedy("take another port: PORT=9000 warpdrive start"),
            Self::ServerMissing { server } => advice
                .cause("The server is chosen and installed by the build.")
                .remedy(format!(
                    "echo {server} > .warpdrive/server_type, and build again"
                )),
            Self::AgentMissing { .. } => advice
                .cause("The agent is installed by the build, where .warpdrive/instrument names it.")
                .remedy("build again"),
            Self::NoInterpreter { interpreter, .. } if interpreter.ends_with('\r') => {
                advice.cause("The file has Windows line ends; save it with Unix ones.")
            }
            Self::NoInterpreter { .. } => {
                advice.remedy("write `#!/bin/sh`, or put the interpreter into the builder image")
            }
            Self::CannotExecute { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                advice.remedy(format!("chmod +x {}", path.display()))
            }
            _ => advice,
        }
    }
}
