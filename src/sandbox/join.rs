//! A command in the namespaces of a running sandbox.
//!
//! The monitor joins the sandbox's user namespace (if it has its own, which must belong to our
//! user) and the others through one pidfd, forks into the pid namespace, and that child drops its
//! privileges and becomes the command, like a sandbox's first process.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags};
use rustix::thread::ThreadNameSpaceType;

use super::capabilities::Identity;
use super::child;
use super::command::{self, Prepared};
use super::error::{Doing, Failure, SandboxError};
use super::helper;
use super::running::{self, Io, Sandbox};
use super::spec::JoinSpec;
use super::to_parent::{Descriptors, detach, introduce};
use super::wire::{self, Join, Message, Request};
use super::{limits, sys, terminal};

/// Runs a command in the sandbox whose pid 1 is `spec.target`.
pub fn join(spec: &JoinSpec, io: Io) -> Result<Sandbox, SandboxError> {
    let request = Request::Join(Join {
        spec: spec.clone(),
        terminal: running::terminal_of(&io),
        parent: running::own_pid(),
    });
    running::start(&request, io, None, limits::Groups::default())
}

pub(super) fn monitor(request: &Join, to_parent: &mut Descriptors) -> Result<(), Failure> {
    detach(request.parent)?;
    let target = request.spec.target;
    let gone = || Failure::new(format!("the sandbox's process {target} is not there"));
    let pid = Pid::from_raw(target)
        .filter(|_| target > 0)
        .ok_or_else(gone)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| gone().errno(error))?;
    let namespace = |of: &str, kind: &str| std::fs::read_link(format!("/proc/{of}/ns/{kind}")).ok();
    let shares = |kind: &str| {
        let theirs = namespace(&target.to_string(), kind);
        theirs.is_some() && theirs == namespace("self", kind)
    };
    let mut namespaces = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK;
    if !shares("user") {
        namespaces |= ThreadNameSpaceType::USER;
    }
    let host_network = shares("net");
    // Never join the namespaces of a process that is not in a sandbox.
    if shares("mnt") || shares("pid") {
        return Err(Failure::new(format!("process {target} is in no sandbox")));
    }
    let table = sys::DescriptorTable::open().doing("opening /proc/self/fdinfo")?;
    let cgroups = limits::procs_of(target);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // Best effort: the sandbox may belong to another user, with permission only to join its namespaces.
    for procs in &cgroups {
        let _ = std::fs::write(procs, "0");
    }
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), namespaces)
        .doing("joining the sandbox's namespaces")
        .map_err(|failure| failure.remedy("is it your own, and does it still run?"))?;
    // Joining a user namespace is a change of credentials, which has cleared it.
    helper::tie_to_parent()?;
    let (command, pidfd) = command::fork(to_parent, |to_parent| {
        self::command(request, host_network, to_parent)
    })?;
    introduce(&pidfd, table.pid_of(pidfd.as_fd()), to_parent)?;
    to_parent.setup = None;
    helper::quiet_streams();
    let status = match sys::wait(Some(command), false) {
        Ok(Some((_, status))) => status,
        _ => libc::SIGKILL,
    };
    let _ = wire::send(&to_parent.control, &Message::Status(status), None);
    Ok(())
}

fn command(
    request: &Join,
    host_network: bool,
    to_parent: &mut Descriptors,
) -> Result<std::convert::Infallible, Failure> {
    let spec = &request.spec;
    helper::tie_to_parent()?;
    let _ = rustix::process::setsid();
    let tty = match request.terminal {
        Some(size) => Some(terminal::open(size, spec.uid, &to_parent.control)?),
        None => None,
    };
    let prepared = Prepared::new(&spec.command, &spec.env, &spec.cwd, spec.umask)?;
    rustix::process::chdir(Path::new("/")).doing("entering the root")?;
    prepared.enter_directory(&to_parent.numbers(tty.as_ref()))?;
    command::own_streams(spec.uid);
    child::confine(
        &Identity {
            uid: spec.uid,
            gid: spec.gid,
            groups: &[],
            capabilities: &[],
        },
        host_network,
        |_| false,
    )?;
    if let Some(tty) = tty {
        terminal::take(&tty)?;
    }
    prepared.execute(to_parent)
}
