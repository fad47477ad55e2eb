//! The process that starts a command without a sandbox, and stays beside it.
//!
//! There is no pid namespace that ends with the command: the monitor adopts all processes that the command
//! starts, and kills the remaining ones when the command has ended.

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal};

use super::command::{self, Prepared};
use super::error::{Doing, Failure};
use super::landlock::{self, Fence};
use super::seccomp::Kept;
use super::spec::HereSpec;
use super::to_parent::{Descriptors, detach, introduce};
use super::wire::{self, Here, Message};
use super::{helper, seccomp, sys};

/// Interval between two checks of the remaining processes.
const ROUND: std::time::Duration = std::time::Duration::from_millis(2);

pub(super) fn monitor(request: &Here, to_parent: &mut Descriptors) -> Result<(), Failure> {
    detach(request.parent)?;
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Processes that the command leaves behind become this process's children.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .doing("adopting what the command starts")?;
    let (command, pidfd) = command::fork(to_parent, |to_parent| {
        self::command(&request.spec, to_parent)
    })?;
    introduce(&pidfd, Some(command.as_raw_nonzero().get()), to_parent)?;
    to_parent.setup = None;
    helper::quiet_streams();
    let status = loop {
        match sys::wait(None, false) {
            Ok(Some((pid, status))) if pid == command => break status,
            Ok(_) => {}
            Err(_) => break libc::SIGKILL,
        }
    };
    end_what_is_left();
    let _ = wire::send(&to_parent.control, &Message::Status(status), None);
    Ok(())
}

/// Kills this process's children, and the children that it inherits from them, until none is left.
fn end_what_is_left() {
    loop {
        for child in children() {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        // A process that starts another one before it dies, or that could not be read, is found in one of the
        // next rounds.
        match sys::wait(None, true) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(ROUND),
            Err(_) => return,
        }
    }
}

/// From the children's `/proc/PID/stat`, which every kernel has.
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    let is_ours = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A program's name, in parentheses, may hold anything.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1) == Some(own.as_str())
    };
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && is_ours(name))
        .filter_map(|name| Pid::from_raw(name.parse().ok()?))
        .collect()
}

fn command(
    spec: &HereSpec,
    to_parent: &mut Descriptors,
) -> Result<std::convert::Infallible, Failure> {
    helper::tie_to_parent()?;
    let _ = rustix::process::setsid();
    let prepared = Prepared::new(&spec.command, &spec.env, &spec.cwd, spec.umask)?;
    prepared.enter_directory(&to_parent.numbers(None))?;
    rustix::thread::set_no_new_privs(true).doing("setting no_new_privs")?;
    if let Some(most) = spec.limits.written {
        let maximum = rustix::process::getrlimit(Resource::Fsize)
            .maximum
            .into_iter()
            .chain([most])
            .min();
        let limit = Rlimit {
            current: maximum,
            maximum,
        };
        rustix::process::setrlimit(Resource::Fsize, limit)
            .doing("bounding what the command may use")?;
    }
    if let Some(inside) = &spec.fence {
        landlock::raise(&Fence {
            readable: &inside.readable,
            writable: &inside.writable,
            ports: inside.ports.as_deref(),
        })?;
    }
    seccomp::install(if spec.fence.is_some() {
        Kept::ByLandlock
    } else {
        Kept::Apart
    })?;
    prepared.execute(to_parent)
}
