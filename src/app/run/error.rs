//! What can go wrong when an application is run, with the exit code that docker would give.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{} is missing: the application has not been built", path.display())]
    NotBuilt { path: PathBuf },
    #[error("{} is not a build's record: {message}", path.display())]
    Plan { path: PathBuf, message: String },
    #[error("{name}={value}: not a port (1 to 65535)")]
    Port { name: &'static str, value: String },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("{} is not UTF-8 (byte {offset})", path.display())]
    NotText { path: PathBuf, offset: usize },
    #[error("{} has Windows line ends (line {line})", path.display())]
    LineEnds { path: PathBuf, line: usize },
    #[error("{} starts with a byte order mark", path.display())]
    ByteOrderMark { path: PathBuf },
    #[error("{} failed: the shell that read it ended with status {status}", path.display())]
    EnvironmentFile { path: PathBuf, status: i32 },
    #[error("cannot run /bin/sh to read {}: {source}", path.display())]
    Shell { path: PathBuf, source: io::Error },
    #[error("the hook {} is not executable", path.display())]
    HookNotExecutable { path: PathBuf },
    #[error("the hook {name} failed with status {status}")]
    HookFailed { name: &'static str, status: u8 },
    #[error(transparent)]
    Arguments(#[from] crate::app::server::ArgumentsError),
    #[error("the build's record names no command")]
    EmptyCommand,
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
            Self::NoProgram { .. } | Self::NoInterpreter { .. } => 127,
            Self::NoAnswer { .. } | Self::Unwell { .. } => 1,
            _ => 125,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotBuilt { .. } => "run `warpdrive build` first".to_owned(),
            Self::Plan { .. } => {
                "build the image again; the record is written by the build".to_owned()
            }
            Self::Port { name, .. } => format!("unset {name} or set it to a number"),
            Self::NotText { path, .. } => format!(
                "save it as UTF-8: `iconv -f latin1 -t utf8 {0} > x && mv x {0}`",
                path.display()
            ),
            Self::LineEnds { path, .. } => {
                format!("`sed -i 's/\\r$//' {}` removes them", path.display())
            }
            Self::ByteOrderMark { path } => format!(
                "`sed -i '1s/^\\xEF\\xBB\\xBF//' {}` removes it",
                path.display()
            ),
            Self::EnvironmentFile { .. } => {
                "it is read by /bin/sh with `set -a`; what it says is shown above".to_owned()
            }
            Self::HookNotExecutable { path } => {
                let path = path.display();
                format!("chmod +x {path}\n(in git: `git update-index --chmod=+x` with its name)")
            }
            Self::NoInterpreter { interpreter, .. } if interpreter.ends_with('\r') => {
                "the file has Windows line ends; save it with Unix ones".to_owned()
            }
            Self::NoInterpreter { .. } => {
                "write `#!/bin/sh`, or put the interpreter into the builder image".to_owned()
            }
            _ => return None,
        })
    }
}
