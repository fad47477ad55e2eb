//! Errors for callers, and the failure report that the sandbox's own process sends back as JSON.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a sandbox could not be started or waited for.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Setting up the sandbox failed before the command ran.
    #[error("{0}")]
    Setup(Failure),
    /// The program is not there (a shell says 127).
    #[error("{program}: no such program in the sandbox")]
    CommandNotFound { program: String },
    /// The program is there but cannot be executed (a shell says 126).
    #[error("{program} cannot be executed in the sandbox: {reason}")]
    CommandNotExecutable { program: String, reason: String },
    /// This process may not create or use a user namespace.
    #[error("cannot set up a user namespace: {reason}; {remedy}")]
    UserNamespace { reason: String, remedy: String },
    /// A network that leads only outward is not possible.
    #[error("the sandbox cannot have a network of its own: {0}")]
    NoOutbound(String),
    /// A requested limit cannot be enforced on this machine.
    #[error("the limit on {which} cannot be enforced here: {reason}")]
    LimitNotEnforceable { which: &'static str, reason: String },
    /// The specification contradicts itself or this machine's id map.
    #[error("{0}")]
    Invalid(String),
    /// A system call of this process failed.
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
    /// The sandbox's own process ended without saying why.
    #[error("the sandbox's process ended while it was set up ({0})")]
    Died(String),
}

impl SandboxError {
    pub(super) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing: doing.into(),
            source: source.into(),
        }
    }

    /// The exit code as in a shell, for commands that end as docker's do.
    pub fn shell_status(&self) -> i32 {
        match self {
            Self::CommandNotFound { .. } => 127,
            Self::CommandNotExecutable { .. } => 126,
            _ => 125,
        }
    }
}

/// What the sandbox's process was doing when it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// As in "mounting proc".
    pub doing: String,
    pub path: Option<PathBuf>,
    pub errno: Option<i32>,
    /// What to do about it.
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    Setup,
    CommandNotFound,
    CommandNotExecutable,
    NoOutbound,
}

impl Failure {
    pub(super) fn no_outbound(reason: String) -> Self {
        Self {
            kind: FailureKind::NoOutbound,
            ..Self::new(reason)
        }
    }

    pub(super) fn new(doing: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Setup,
            doing: doing.into(),
            path: None,
            errno: None,
            remedy: None,
        }
    }

    pub(super) fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    pub(super) fn errno(mut self, error: impl Into<io::Error>) -> Self {
        self.errno = error.into().raw_os_error();
        self
    }

    pub(super) fn remedy(mut self, words: impl Into<String>) -> Self {
        self.remedy = Some(words.into());
        self
    }

    /// The errno as text, without Rust's "(os error N)".
    fn reason(&self) -> Option<String> {
        let error = io::Error::from_raw_os_error(self.errno?).to_string();
        Some(match error.split_once(" (os error") {
            Some((words, _)) => words.to_owned(),
            None => error,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if let Some(path) = &self.path {
            write!(f, " {}", path.display())?;
        }
        if let Some(reason) = self.reason() {
            write!(f, ": {reason}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        let program = || {
            failure
                .path
                .as_ref()
                .map_or_else(String::new, |path| path.display().to_string())
        };
        match failure.kind {
            FailureKind::Setup => Self::Setup(failure),
            FailureKind::NoOutbound => Self::NoOutbound(failure.doing),
            FailureKind::CommandNotFound => Self::CommandNotFound { program: program() },
            FailureKind::CommandNotExecutable => Self::CommandNotExecutable {
                program: program(),
                reason: match (failure.reason(), &failure.remedy) {
                    (Some(reason), Some(remedy)) => format!("{reason} ({remedy})"),
                    (Some(reason), None) => reason,
                    (None, _) => failure.doing.clone(),
                },
            },
        }
    }
}

/// Adds to a failed system call what was being done.
pub(super) trait Doing<T> {
    fn doing(self, what: &str) -> Result<T, Failure>;
    fn doing_at(self, what: &str, path: &Path) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what).errno(error))
    }

    fn doing_at(self, what: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(what).at(path).errno(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_a_sentence_with_a_remedy() {
        let failure = Failure::new("mounting proc on")
            .at(Path::new("/proc"))
            .errno(io::Error::from_raw_os_error(libc::EPERM))
            .remedy("run it elsewhere");
        assert_eq!(
            failure.to_string(),
            "mounting proc on /proc: Operation not permitted; run it elsewhere"
        );
    }

    #[test]
    fn statuses_are_docker_s() {
        let not_found = SandboxError::from(Failure {
            kind: FailureKind::CommandNotFound,
            ..Failure::new("").at(Path::new("nope"))
        });
        assert_eq!(not_found.shell_status(), 127);
        assert_eq!(
            not_found.to_string(),
            "nope: no such program in the sandbox"
        );
    }
}
