//! Turns a list of words into a running program: the search path, and the exit codes for programs
//! that cannot run. The program replaces warpdrive, or (as process 1) warpdrive stays as its
//! parent.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, access};

use super::environment::Environment;
use super::error::RunError;
use super::supervise::{Ended, Stopping, Supervisor};

/// `errno` of a program without a header or `#!` line.
const ENOEXEC: i32 = 8;

/// A program to be run.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    stopping: Stopping,
}

impl Program {
    /// Finds the first word in the environment's PATH, as a shell does.
    pub(super) fn find(words: &[OsString], environment: &Environment) -> Result<Program, RunError> {
        let (name, arguments) = words.split_first().ok_or(RunError::EmptyCommand)?;
        Ok(Program {
            path: search(name, environment.value("PATH"))?,
            arguments: arguments.to_vec(),
            directory: None,
            stopping: Stopping::AsTold,
        })
    }

    pub(super) fn at(path: PathBuf) -> Program {
        Program {
            path,
            arguments: Vec::new(),
            directory: None,
            stopping: Stopping::AsTold,
        }
    }

    #[must_use]
    pub(super) fn in_directory(mut self, directory: &Path) -> Program {
        self.directory = Some(directory.to_owned());
        self
    }

    /// With a special way to stop it. For Apache, warpdrive stays its parent with any process id.
    #[must_use]
    pub(super) fn stopped_by(mut self, stopping: Stopping) -> Program {
        // With a terminal, `mod_wsgi-express` stays Apache's parent and forwards signals.
        if stopping != Stopping::Apache || !rustix::termios::isatty(rustix::stdio::stdout()) {
            self.stopping = stopping;
        }
        self
    }

    fn command(&self, environment: &Environment, by_shell: bool) -> Command {
        let mut command = if by_shell {
            let mut shell = Command::new("/bin/sh");
            shell.arg(&self.path);
            shell
        } else {
            Command::new(&self.path)
        };
        command.args(&self.arguments);
        environment.give_to(&mut command);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Starts it as a child and waits for it.
    pub(super) fn run(
        &self,
        environment: &Environment,
        supervisor: &mut Supervisor,
    ) -> Result<Ended, RunError> {
        match supervisor.run(&mut self.command(environment, false), self.stopping) {
            Err(error) if error.raw_os_error() == Some(ENOEXEC) => {
                supervisor.run(&mut self.command(environment, true), self.stopping)
            }
            other => other,
        }
        .map_err(|error| self.refused(error))
    }

    /// Replaces this process, or stays the program's parent (as process 1, or to translate signals)
    /// and returns its status.
    pub(super) fn become_it(
        &self,
        environment: &Environment,
        supervisor: Option<Supervisor>,
    ) -> Result<u8, RunError> {
        Ok(self.take_over(environment, supervisor)?.status)
    }

    /// The same, with everything that is known about its end.
    pub(super) fn take_over(
        &self,
        environment: &Environment,
        supervisor: Option<Supervisor>,
    ) -> Result<Ended, RunError> {
        if is_process_one(environment) || self.stopping == Stopping::Apache {
            let mut supervisor = match supervisor {
                Some(supervisor) => supervisor,
                None => Supervisor::new().map_err(RunError::Signals)?,
            };
            return self.run(environment, &mut supervisor);
        }
        if let Some(signal) = supervisor.and_then(|mut supervisor| supervisor.asked()) {
            return Ok(Ended {
                status: 128 + u8::try_from(signal).unwrap_or(0),
                asked: Some(signal),
            });
        }
        let mut error = self.command(environment, false).exec();
        if error.raw_os_error() == Some(ENOEXEC) {
            error = self.command(environment, true).exec();
        }
        Err(self.refused(error))
    }

    /// Why the kernel did not start it.
    fn refused(&self, source: io::Error) -> RunError {
        if let Some(path) = self.directory.as_ref().filter(|path| !path.is_dir()) {
            return RunError::Directory {
                path: path.clone(),
                source,
            };
        }
        if source.kind() == io::ErrorKind::NotFound {
            let path = self.path.clone();
            return match interpreter(&path) {
                Some(interpreter) => RunError::NoInterpreter { path, interpreter },
                None => RunError::NoProgram {
                    program: path.into(),
                },
            };
        }
        RunError::CannotExecute {
            path: self.path.clone(),
            source,
        }
    }
}

/// The kernel gives process 1 no default action for signals.
fn is_process_one(environment: &Environment) -> bool {
    std::process::id() == 1 && environment.value("WARPDRIVE_RUN_AS_PID1").is_none()
}

fn search(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, RunError> {
    if name.as_encoded_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    let mut unusable = None;
    for directory in std::env::split_paths(path.unwrap_or(OsStr::new("/usr/bin:/bin"))) {
        let candidate = directory.join(name);
        if !name.is_empty() && candidate.is_file() {
            if access(&candidate, Access::EXEC_OK).is_ok() {
                return Ok(candidate);
            }
            unusable.get_or_insert(candidate);
        }
    }
    match unusable {
        Some(path) => Err(RunError::CannotExecute {
            path,
            source: io::ErrorKind::PermissionDenied.into(),
        }),
        None => Err(RunError::NoProgram {
            program: name.to_owned(),
        }),
    }
}

/// The program that a `#!` line names.
fn interpreter(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(path)
        .ok()?
        .take(256)
        .read_to_end(&mut start)
        .ok()?;
    let line = start
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    let word = line
        .trim_start_matches([' ', '\t'])
        .split([' ', '\t'])
        .next()?;
    Some(word.to_owned())
}
