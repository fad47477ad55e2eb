//! The command itself: prepared with privileges, executed without them.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};

use super::error::{Doing, Failure, FailureKind};
use super::to_parent::Descriptors;
use super::{sys, wire};

/// Starts the child that becomes the command: it calls `run` and reports a failure itself.
pub(super) fn fork(
    to_parent: &mut Descriptors,
    run: impl FnOnce(&mut Descriptors) -> Result<Infallible, Failure>,
) -> Result<(Pid, OwnedFd), Failure> {
    let pid = match sys::fork().doing("starting the command")? {
        sys::Forked::Child => {
            let failure = match run(to_parent) {
                Err(failure) => failure,
                Ok(never) => match never {},
            };
            to_parent.report(&failure);
            sys::exit_now(127);
        }
        sys::Forked::Parent(pid) => pid,
    };
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).doing("opening a pidfd")?;
    Ok((pid, pidfd))
}

/// The standard streams of the command. Call it in the command's root.
///
/// The command's user becomes the owner of pipes, so that it can open `/dev/stdout` again, as in docker. The
/// host's `/dev/null` is replaced by the one in the sandbox's `/dev`, because user 0 could change the mode of
/// the host's without any capability.
pub(super) fn own_streams(uid: u32) {
    own_null();
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        let is_pipe = rustix::fs::fstat(stream).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo
        });
        if is_pipe {
            let _ = rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None);
        }
    }
}

fn own_null() {
    let null = rustix::fs::makedev(1, 3);
    let is_null = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::fs::fstat(fd).is_ok_and(|stat| {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            kind == rustix::fs::FileType::CharacterDevice && stat.st_rdev == null
        })
    };
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NOCTTY;
    let Ok(own) = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()) else {
        return;
    };
    if !is_null(own.as_fd()) {
        return;
    }
    if is_null(rustix::stdio::stdin()) {
        let _ = rustix::stdio::dup2_stdin(&own);
    }
    if is_null(rustix::stdio::stdout()) {
        let _ = rustix::stdio::dup2_stdout(&own);
    }
    if is_null(rustix::stdio::stderr()) {
        let _ = rustix::stdio::dup2_stderr(&own);
    }
}

/// A command ready for execve: only the program itself must still be looked up.
pub(super) struct Prepared {
    program: String,
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: std::path::PathBuf,
    umask: u32,
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Prepared {
    pub(super) fn new(
        command: &[String],
        environment: &[(String, String)],
        directory: &Path,
        umask: u32,
    ) -> Result<Self, Failure> {
        let c_string =
            |text: &str| CString::new(text).map_err(|_| Failure::new("a NUL byte in the command"));
        let program = command
            .first()
            .filter(|program| !program.is_empty())
            .ok_or_else(|| Failure::new("no command is given"))?;
        let path = environment
            .iter()
            .rev()
            .find(|(name, _)| name == "PATH")
            .map_or(DEFAULT_PATH, |(_, value)| value.as_str());
        let candidates = candidates(program, path)
            .iter()
            .map(|candidate| c_string(candidate))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            program: program.clone(),
            candidates,
            arguments: command
                .iter()
                .map(|word| c_string(word))
                .collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| c_string(&format!("{name}={value}")))
                .collect::<Result<_, _>>()?,
            directory: directory.to_owned(),
            umask,
        })
    }

    /// Changes to the working directory after closing every descriptor of the host: an image may
    /// name `/proc/self/fd/7` (CVE-2024-21626).
    pub(super) fn enter_directory(&self, keep: &[RawFd]) -> Result<(), Failure> {
        sys::close_from(3, keep).doing("closing descriptors")?;
        rustix::process::chdir(&self.directory)
            .doing_at("entering the working directory", &self.directory)?;
        let here = rustix::process::getcwd(Vec::new()).doing("looking at the working directory")?;
        if here.as_bytes().first() != Some(&b'/') {
            return Err(
                Failure::new("the working directory is outside of the root:").at(&self.directory),
            );
        }
        Ok(())
    }

    /// Becomes the command.
    pub(super) fn execute(
        &self,
        to_parent: &mut Descriptors,
    ) -> Result<std::convert::Infallible, Failure> {
        let _ = rustix::process::setrlimit(
            Resource::Core,
            Rlimit {
                current: Some(0),
                maximum: Some(0),
            },
        );
        sane_descriptor_limit();
        rustix::process::umask(Mode::from_raw_mode(self.umask & 0o777));
        sys::default_signals().doing("resetting signals")?;
        if let Some(setup) = &mut to_parent.setup {
            setup
                .write_all(&[wire::EXEC])
                .doing("reporting to the parent")?;
        }
        let mut denied = None;
        for candidate in &self.candidates {
            let error = sys::execve(candidate, &self.arguments, &self.environment);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) if self.candidates.len() > 1 => denied = Some(error),
                _ => {
                    denied = Some(error);
                    break;
                }
            }
        }
        Err(self.refused(denied))
    }

    fn refused(&self, error: Option<std::io::Error>) -> Failure {
        let failure = Failure::new("running").at(Path::new(&self.program));
        let Some(error) = error else {
            // A script whose interpreter is missing fails with ENOENT too.
            let there = self.candidates.iter().any(|candidate| {
                rustix::fs::access(candidate.as_c_str(), rustix::fs::Access::EXISTS).is_ok()
            });
            return if there {
                Failure {
                    kind: FailureKind::CommandNotExecutable,
                    errno: Some(libc::ENOENT),
                    ..failure
                }
                .remedy("the interpreter of its first line, or its dynamic loader, is missing")
            } else {
                Failure {
                    kind: FailureKind::CommandNotFound,
                    ..failure
                }
            };
        };
        let failure = Failure {
            kind: FailureKind::CommandNotExecutable,
            ..failure.errno(error)
        };
        if failure.errno == Some(libc::ENOEXEC) {
            failure.remedy("it is for another processor, or a script without a #! line")
        } else {
            failure
        }
    }
}

fn sane_descriptor_limit() {
    const DESCRIPTORS: u64 = 1 << 20;
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = hard.map_or(DESCRIPTORS, |hard| hard.min(DESCRIPTORS));
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        },
    );
}

/// The paths to try for a program, as execvp(3) does.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':')
        .map(|directory| {
            if directory.is_empty() {
                format!("./{program}")
            } else {
                format!("{directory}/{program}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_path() {
        for (program, path, expected) in [
            ("sh", "/a:/b", vec!["/a/sh", "/b/sh"]),
            ("./sh", "/a", vec!["./sh"]),
            ("/bin/sh", "/a", vec!["/bin/sh"]),
            ("sh", "/a::/b", vec!["/a/sh", "./sh", "/b/sh"]),
        ] {
            assert_eq!(candidates(program, path), expected);
        }
    }

    #[test]
    fn the_last_path_of_the_environment_counts() {
        let environment = [("PATH", "/a"), ("PATH", "/b")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let prepared =
            Prepared::new(&["x".to_owned()], &environment, Path::new("/"), 0o22).unwrap();
        assert_eq!(prepared.candidates, vec![CString::new("/b/x").unwrap()]);
    }

    #[test]
    fn commands_that_cannot_be_are_refused() {
        for command in [&[][..], &[String::new()], &["a\0b".to_owned()]] {
            assert!(Prepared::new(command, &[], Path::new("/"), 0).is_err());
        }
    }
}
