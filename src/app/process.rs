//! Running other programs during a build: hooks, installers, Python. What runs in a container
//! afterwards belongs to [`super::run`].

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::advice::{Advice, Explain};

/// The status a shell would show: the exit code, or 128 and the signal.
pub fn status_of(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{program}: command not found")]
    NotFound { program: String },
    #[error("{program} cannot be run: {source}")]
    NotRunnable { program: String, source: io::Error },
    #[error("waiting for {program} failed: {source}")]
    Wait { program: String, source: io::Error },
}

impl ProcessError {
    fn from_spawn(program: &str, source: io::Error) -> ProcessError {
        let program = program.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            ProcessError::NotFound { program }
        } else {
            ProcessError::NotRunnable { program, source }
        }
    }

    /// 126 or 127, as shells have it; 125 for warpdrive's own failure.
    pub fn status(&self) -> i32 {
        match self {
            ProcessError::NotFound { .. } => 127,
            ProcessError::NotRunnable { .. } => 126,
            ProcessError::Wait { .. } => 125,
        }
    }
}

impl Explain for ProcessError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            ProcessError::NotRunnable { program, source } if source.raw_os_error() == Some(8) => {
                advice.remedy(format!(
                    "does {program} begin with a line such as #!/bin/sh?"
                ))
            }
            ProcessError::NotRunnable { program, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                advice.remedy(format!("chmod +x {program}")).remedy(
                    "if it is executable: may this user execute the interpreter of its first line?",
                )
            }
            _ => advice,
        }
    }
}

/// Finds a program in the `PATH` of `environment`.
pub fn which(program: &str, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program));
    }
    environment
        .get("PATH")?
        .split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| Path::new(directory).join(program))
        .find(|path| {
            std::fs::metadata(path)
                .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        })
}

/// A command with exactly this environment.
pub fn command(
    line: &[String],
    directory: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<Command, ProcessError> {
    let program = line.first().map_or("", String::as_str);
    let path = which(program, environment).ok_or_else(|| ProcessError::NotFound {
        program: program.to_owned(),
    })?;
    let mut command = Command::new(path);
    command
        .arg0(program)
        .args(line.get(1..).unwrap_or_default())
        .current_dir(directory)
        .env_clear()
        .envs(environment);
    Ok(command)
}

/// Runs a program to its end, with the streams of this process.
///
/// # Errors
/// If it cannot be started.
pub fn run(
    line: &[String],
    directory: &Path,
    environment: &BTreeMap<String, String>,
) -> Result<i32, ProcessError> {
    let program = line.first().map_or("", String::as_str);
    let mut child = command(line, directory, environment)?
        .spawn()
        .map_err(|source| ProcessError::from_spawn(program, source))?;
    let status = child.wait().map_err(|source| ProcessError::Wait {
        program: program.to_owned(),
        source,
    })?;
    Ok(status_of(status))
}

/// What a program says through a pipe until it has ended. One that it has left behind may hold the pipe
/// open, and is not waited for.
pub struct UntilEnd<P> {
    pipe: P,
    /// `None` where the kernel has none: then the end of the pipe counts.
    program: Option<OwnedFd>,
    /// What is read of the pipe after the program's end: a pipe holds no more, so the rest is from a program that still runs.
    left: usize,
}

/// How long after a program's end its pipe is read.
const LAST_WORDS: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

impl<P: Read + AsFd> UntilEnd<P> {
    pub fn of(child: &Child, pipe: P) -> Self {
        const MOST_IN_A_PIPE: usize = 1 << 20;
        Self {
            pipe,
            program: pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok(),
            left: MOST_IN_A_PIPE,
        }
    }
}

impl<P: Read + AsFd> Read for UntilEnd<P> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(program) = &self.program else {
            return self.pipe.read(into);
        };
        let mut waited = [
            PollFd::new(program, PollFlags::IN),
            PollFd::new(&self.pipe, PollFlags::IN),
        ];
        while let Err(error) = poll(&mut waited, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        let [ended, mut said] = waited.map(|fd| !fd.revents().is_empty());
        if ended && !said {
            // A helper in a pipe of the program's (`exec 2> >(tee log)`) has its last words to pass on.
            let mut more = [PollFd::new(&self.pipe, PollFlags::IN)];
            said = poll(&mut more, Some(&LAST_WORDS)).is_ok_and(|ready| ready > 0);
        }
        if !said || self.left == 0 {
            return Ok(0);
        }
        let count = self.pipe.read(into)?;
        if ended {
            self.left = self.left.saturating_sub(count);
        }
        Ok(count)
    }
}

/// What a program that was listened to has said.
#[derive(Debug)]
pub struct Heard {
    pub status: i32,
    /// What it wrote to stderr, its last 64 KiB.
    pub errors: String,
}

impl Heard {
    /// Its last lines.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let all: Vec<&str> = self
            .errors
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        all[all.len().saturating_sub(lines)..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }
}

/// Runs a program and keeps its stderr. Each line is also passed on as long as `pass` returns true.
///
/// # Errors
/// If it cannot be started.
pub fn listen(
    mut command: Command,
    name: &str,
    mut pass: impl FnMut(&str) -> bool,
) -> Result<Heard, ProcessError> {
    const KEEP: usize = 64 << 10;
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| ProcessError::from_spawn(name, source))?;
    let mut errors = String::new();
    if let Some(stderr) = child.stderr.take() {
        let mut reader = BufReader::new(UntilEnd::of(&child, stderr));
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            let text = String::from_utf8_lossy(&line).into_owned();
            if pass(&text) {
                let _ = io::stderr().write_all(&line);
            }
            errors.push_str(&text);
            if errors.len() > 2 * KEEP {
                let mut from = errors.len() - KEEP;
                while !errors.is_char_boundary(from) {
                    from += 1;
                }
                errors.drain(..from);
            }
            line.clear();
        }
    }
    let status = child.wait().map_err(|source| ProcessError::Wait {
        program: name.to_owned(),
        source,
    })?;
    Ok(Heard {
        status: status_of(status),
        errors,
    })
}
