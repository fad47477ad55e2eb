//! Gives this process the right to mount and chown: once, at the beginning, in a user namespace.
//!
//! ```text
//!  outer process                         inner process (sealed copy, same arguments)
//!    │ spawn ────────────────────────────► unshare(user, mount)
//!    │ ◄── "u": unshared ─────────────────
//!    │ newuidmap, newgidmap (subuid mode)
//!    │ ──► "m": mapped ───────────────────► become 0, or 1001 with ambient capabilities
//!    │ ◄── end of file: execve worked ─────  main() again, and enter() returns there
//!    │ waits, forwards signals, exits with the inner one's status
//! ```
//! If the outer process is killed, the kernel kills the inner one (parent-death signal).

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::error::{Doing, Failure, SandboxError};
use super::id_map::{self, Plan, State};
use super::{capabilities, exe, probe, start, sys, wire};

/// Set in the inner process to its own id, so that it never enters twice.
const MARKER: &str = "WARPDRIVE_INSIDE_USER_NAMESPACE";

/// Makes this process one that may mount and chown. See the module.
///
/// Returns if it already may (as root, or in the inner process); otherwise re-executes the
/// program and does not return: this process waits and exits with the inner one's status.
pub fn enter() -> Result<(), SandboxError> {
    enter_with(&[], || ())
}

/// Whether [`enter`] would start the program again.
pub fn will_enter() -> bool {
    !matches!(State::current(), State::Ready(_)) && !is_inner()
}

/// The variables that the outer process passed to this one in [`enter_with`]; no other process can set them.
pub fn handed_over(variable: &str) -> Option<OsString> {
    if is_inner() {
        std::env::var_os(variable)
    } else {
        None
    }
}

fn is_inner() -> bool {
    std::env::var(MARKER).is_ok_and(|pid| pid == std::process::id().to_string())
}

/// As [`enter`]; the inner process finds `variables` in its environment ([`handed_over`]), and the
/// outer one calls `afterwards` when the inner one has ended.
pub fn enter_with(
    variables: &[(&str, &OsStr)],
    afterwards: impl FnOnce(),
) -> Result<(), SandboxError> {
    if let State::Ready(_) = State::current() {
        return Ok(());
    }
    if is_inner() {
        return Err(SandboxError::UserNamespace {
            reason: "the new user namespace gave no capabilities".to_owned(),
            remedy: probe::user_namespace_remedy(),
        });
    }
    let plan = id_map::plan();
    let inner = match start(&plan, variables) {
        // A broken newuidmap (no setuid bit, inside a container) is not a reason to give up.
        Err(Started::NotMapped(_)) => {
            start(&Plan::Single("newuidmap failed".to_owned()), variables)
        }
        other => other,
    };
    match inner {
        Ok(child) => {
            let status = wait(child);
            afterwards();
            std::process::exit(status)
        }
        Err(Started::NotMapped(error) | Started::Failed(error)) => Err(error),
    }
}

/// Why the inner process did not start.
enum Started {
    /// newuidmap or newgidmap refused.
    NotMapped(SandboxError),
    Failed(SandboxError),
}

impl From<SandboxError> for Started {
    fn from(error: SandboxError) -> Self {
        Self::Failed(error)
    }
}

/// The messages between the two processes.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Unshared,
    Mapped,
    Failed(Failure),
}

fn start(plan: &Plan, variables: &[(&str, &OsStr)]) -> Result<Child, Started> {
    let io = |doing: &str, error: io::Error| Started::Failed(SandboxError::io(doing, error));
    let (ours, theirs) =
        wire::seqpacket().map_err(|error| io("making a pair of sockets", error))?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new(exe::path()?);
    command
        .arg0(start::MAGIC)
        .arg("enter")
        .arg(theirs.as_raw_fd().to_string())
        .arg(if matches!(plan, Plan::Single(_)) {
            "single"
        } else {
            "subuid"
        })
        .arg(std::process::id().to_string())
        .arg(name)
        .args(arguments)
        .envs(variables.iter().copied());
    start::keep_on_exec(&mut command, vec![theirs.as_raw_fd()]);
    let mut inner = command
        .spawn()
        .map_err(|error| io("starting this program again", error))?;
    drop(theirs);
    match arrange(plan, &inner, &ours) {
        Ok(()) => Ok(inner),
        Err(error) => {
            let _ = inner.kill();
            let _ = inner.wait();
            Err(error)
        }
    }
}

/// The outer side of the conversation, until the inner process runs the program again.
fn arrange(plan: &Plan, inner: &Child, socket: &OwnedFd) -> Result<(), Started> {
    let receive = || {
        wire::receive::<Word>(socket, RecvFlags::empty()).map_err(|error| {
            Started::Failed(SandboxError::io("hearing from the inner process", error))
        })
    };
    match receive()? {
        Some((Word::Unshared, _)) => {}
        Some((Word::Failed(failure), _)) => return Err(Started::Failed(refused(&failure))),
        _ => {
            return Err(Started::Failed(SandboxError::Died(
                "user namespace".to_owned(),
            )));
        }
    }
    if let Plan::Subuid {
        newuidmap,
        newgidmap,
        uids,
        gids,
    } = plan
    {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        run_mapper(newuidmap, inner.id(), &id_map::map_arguments(uid, uids))?;
        run_mapper(newgidmap, inner.id(), &id_map::map_arguments(gid, gids))?;
    }
    wire::send(socket, &Word::Mapped, None).map_err(|error| {
        Started::Failed(SandboxError::io("talking to the inner process", error))
    })?;
    match receive()? {
        None => Ok(()),
        Some((Word::Failed(failure), _)) => Err(Started::Failed(refused(&failure))),
        Some(_) => Err(Started::Failed(SandboxError::Died(
            "user namespace".to_owned(),
        ))),
    }
}

fn run_mapper(program: &Path, pid: u32, arguments: &[String]) -> Result<(), Started> {
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let reason = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Started::NotMapped(SandboxError::UserNamespace {
        reason: format!("{}: {reason}", program.display()),
        remedy: "check that it is setuid root or has cap_setuid, and /etc/subuid and /etc/subgid"
            .to_owned(),
    }))
}

fn refused(failure: &Failure) -> SandboxError {
    SandboxError::UserNamespace {
        reason: failure.to_string(),
        remedy: probe::user_namespace_remedy(),
    }
}

/// Waits for the inner process and forwards signals; returns the exit status for this process.
fn wait(mut inner: Child) -> i32 {
    // SIGCHLD among them: one wait covers both.
    let signals = sys::Signals::of(&[
        libc::SIGCHLD,
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
    ]);
    if signals.block().is_err() {
        return inner.wait().map_or(1, status_of);
    }
    loop {
        match inner.try_wait() {
            Ok(Some(status)) => return status_of(status),
            Ok(None) => {}
            Err(_) => return 1,
        }
        let Ok((signal, from_terminal)) = signals.wait() else {
            continue;
        };
        // A key on the terminal has reached the inner process too: it is in our process group.
        if signal != libc::SIGCHLD && !from_terminal {
            let _ = i32::try_from(inner.id()).map(|pid| sys::kill(pid, signal));
        }
    }
}

fn status_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The inner process before it runs the program again. Arguments: the socket's number, the mode,
/// the outer process's id, and the program's own arguments.
pub(super) fn inner(mut arguments: impl Iterator<Item = OsString>) -> i32 {
    let socket = arguments
        .next()
        .and_then(|number| number.to_str()?.parse().ok())
        .and_then(|number| sys::adopt(number).ok());
    let Some(socket) = socket else { return 2 };
    let single = arguments.next().is_some_and(|mode| mode == "single");
    let outer = arguments
        .next()
        .and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let failure = match become_inner(&socket, single, outer, arguments) {
        Err(failure) => failure,
        Ok(never) => match never {},
    };
    let _ = wire::send(&socket, &Word::Failed(failure), None);
    1
}

fn become_inner(
    socket: &OwnedFd,
    single: bool,
    outer: Option<i32>,
    program: impl Iterator<Item = OsString>,
) -> Result<std::convert::Infallible, Failure> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).doing("creating a user namespace")?;
    if single {
        write("/proc/self/setgroups", "deny")?;
        write(
            "/proc/self/gid_map",
            &format!("{} {gid} 1", id_map::APP_GID),
        )?;
        write(
            "/proc/self/uid_map",
            &format!("{} {uid} 1", id_map::APP_UID),
        )?;
    }
    wire::send(socket, &Word::Unshared, None).doing("talking to the outer process")?;
    match wire::receive::<Word>(socket, RecvFlags::empty())
        .doing("hearing from the outer process")?
    {
        Some((Word::Mapped, _)) => {}
        _ => return Err(Failure::new("waiting for the id maps")),
    }
    if single {
        capabilities::keep().doing("keeping capabilities across execve")?;
    } else {
        let root = rustix::process::Uid::ROOT;
        rustix::thread::set_thread_res_gid(
            rustix::process::Gid::ROOT,
            rustix::process::Gid::ROOT,
            rustix::process::Gid::ROOT,
        )
        .doing("becoming the namespace's root group")?;
        rustix::thread::set_thread_res_uid(root, root, root)
            .doing("becoming the namespace's root")?;
    }
    // Mounts here stay here; new mounts of the host still arrive.
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::DOWNSTREAM
            | rustix::mount::MountPropagationFlags::REC,
    )
    .doing("making mounts private")?;
    // After the last change of credentials, which would clear it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .doing("tying this process to the outer one")?;
    if rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(std::num::NonZeroI32::get)
        != outer
    {
        return Err(Failure::new("the outer process is gone"));
    }
    let arguments = c_strings(program);
    let mark = (
        OsString::from(MARKER),
        std::process::id().to_string().into(),
    );
    let inherited = std::env::vars_os().filter(|(name, _)| name != MARKER);
    let environment = c_strings(inherited.chain([mark]).map(|(mut entry, value)| {
        entry.push("=");
        entry.push(value);
        entry
    }));
    let error = sys::execve(c"/proc/self/exe", &arguments, &environment);
    Err(Failure::new("running this program again").errno(error))
}

fn c_strings(strings: impl Iterator<Item = OsString>) -> Vec<CString> {
    strings
        .filter_map(|string| CString::new(string.into_vec()).ok())
        .collect()
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .doing_at("writing", Path::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_signals_are_the_shell_s() {
        for (script, expected) in [("exit 7", 7), ("kill -TERM $$", 143)] {
            let status = Command::new("/bin/sh")
                .args(["-c", script])
                .status()
                .unwrap();
            assert_eq!(status_of(status), expected, "{script}");
        }
    }
}
