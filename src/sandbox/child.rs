//! The sandbox's own processes: the monitor outside and pid 1 inside.
//!
//! ```text
//!  parent ─spawn─► monitor (host's namespaces; waits, reports the status)
//!                    └─fork into a new pid namespace─► pid 1: namespaces, root, user, seccomp
//!                                                        └─ (with an init) the command
//! ```
//! The kernel kills each when its parent ends; when pid 1 ends, the kernel kills everything inside.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::net::RecvFlags;
use rustix::process::{PidfdFlags, Resource, Rlimit, Signal};
use rustix::thread::UnshareFlags;

use super::capabilities::Identity;
use super::command::{self, Prepared};
use super::error::{Doing, Failure};
use super::helper::{quiet_streams, tie_to_parent};
use super::id_map::IdMode;
use super::outward::Door;
use super::spec::{Defence, Network};
use super::to_parent::{Descriptors, detach, introduce};
use super::wire::{self, Message, Run};
use super::{
    capabilities, fence, init, landlock, mounts, network, outward, seccomp, sys, terminal,
};

/// Between monitor and pid 1: "here is a way out to serve", "the network namespace is there", "go on".
#[derive(serde::Serialize, serde::Deserialize)]
enum Step {
    Door(Door),
    Unshared,
    Go,
}

/// Starts pid 1 in its namespaces, waits for it, and reports.
pub(super) fn monitor(request: &Run, to_parent: &mut Descriptors) -> Result<(), Failure> {
    detach(request.parent)?;
    if !request.spec.init {
        hide_monitor(to_parent)?;
    }
    let (ours, theirs) = wire::seqpacket().doing("making a pair of sockets")?;
    let first = match sys::fork_into_pid_namespace().doing("creating a pid namespace")? {
        sys::Forked::Child => {
            drop(ours);
            let failure = match first_process(request, to_parent, &theirs) {
                Err(failure) => failure,
                Ok(never) => match never {},
            };
            to_parent.report(&failure);
            sys::exit_now(1);
        }
        sys::Forked::Parent(first) => first,
    };
    drop(theirs);
    let pidfd = rustix::process::pidfd_open(first, PidfdFlags::empty()).doing("opening a pidfd")?;
    let pid = sys::DescriptorTable::open()
        .doing("opening /proc/self/fdinfo")?
        .pid_of(pidfd.as_fd());
    introduce(&pidfd, pid, to_parent)?;
    // The streams must end when the processes inside have closed them.
    quiet_streams();
    let helpers = match outside(request, &pidfd, pid, &ours, &to_parent.control) {
        Ok(helpers) => helpers,
        Err(failure) => {
            // One report is enough: the first process would say that the monitor is gone.
            let _ = rustix::process::kill_process(first, Signal::KILL);
            let _ = sys::wait(Some(first), false);
            return Err(failure);
        }
    };
    to_parent.setup = None;
    let _ = wire::send(&ours, &Step::Go, None);
    let status = match sys::wait(Some(first), false) {
        Ok(Some((_, status))) => status,
        _ => libc::SIGKILL,
    };
    helpers.stop();
    // If the parent has ended, the report is lost, which does not matter.
    let _ = wire::send(&to_parent.control, &Message::Status(status), None);
    Ok(())
}

/// The outside part of the sandbox's network namespace, set up while pid 1 mounts its root.
fn outside(
    request: &Run,
    pidfd: &OwnedFd,
    pid: Option<i32>,
    first: &OwnedFd,
    control: &OwnedFd,
) -> Result<network::Helpers, Failure> {
    let mut doors = Vec::new();
    loop {
        match wire::receive::<Step>(first, RecvFlags::empty()) {
            Ok(Some((Step::Door(door), Some(socket)))) => doors.push((door, socket)),
            Ok(Some((Step::Unshared, _))) => break,
            // It has reported why it ended.
            _ => return Ok(network::Helpers::default()),
        }
    }
    network::outside(&request.spec, pidfd, pid, doors, control)
}

/// Puts the monitor into a separate pid namespace, around the sandbox's.
///
/// A command that is pid 1 itself could undo its parent-death signal. The kernel kills it all the
/// same when this namespace's first process, the monitor, ends.
fn hide_monitor(to_parent: &Descriptors) -> Result<(), Failure> {
    if let sys::Forked::Parent(monitor) =
        sys::fork_into_pid_namespace().doing("creating a pid namespace")?
    {
        let _ = sys::close_from(3, &[]);
        quiet_streams();
        let _ = sys::wait(Some(monitor), false);
        sys::exit_now(0);
    }
    tie_to_parent()?;
    // Our parent's parent may have died in between.
    let mut polled = [PollFd::new(&to_parent.control, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match rustix::event::poll(&mut polled, Some(&now)) {
        Ok(0) => Ok(()),
        _ => Err(Failure::new(
            "the process that asked for the sandbox is gone",
        )),
    }
}

/// Pid 1 of the new pid namespace.
fn first_process(
    request: &Run,
    to_parent: &mut Descriptors,
    monitor: &OwnedFd,
) -> Result<std::convert::Infallible, Failure> {
    let spec = &request.spec;
    tie_to_parent()?;
    rustix::process::umask(Mode::empty());
    for procs in &request.cgroups {
        std::fs::write(procs, "0").doing_at("joining the cgroup of", procs)?;
    }
    let own_network = spec.network != Network::Host;
    let of_host = match spec.network {
        Network::Outward => outward::addresses_of_host(),
        _ => Vec::new(),
    };
    let mut namespaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    if own_network {
        namespaces |= UnshareFlags::NEWNET;
    }
    sys::unshare(namespaces).doing("creating namespaces")?;
    if own_network {
        raise_loopback(spec.network)?;
    }
    if spec.network == Network::Outward {
        if !spec.lacks(Defence::HostAddresses) {
            // Even there, a door lets a service through that the caller names.
            let named = spec.host_services.iter().map(SocketAddr::ip);
            let named = named.filter(|address| address.is_ipv4() && fence::fenced(*address));
            let mut kept: Vec<IpAddr> = of_host.into_iter().chain(named).collect();
            kept.sort();
            kept.dedup();
            outward::adopt(&kept)?;
            fence::raise()?;
        }
        for (door, socket) in outward::open_doors(&spec.host_services, outward::resolvers())? {
            wire::send(monitor, &Step::Door(door), Some(socket.as_fd()))
                .doing("talking to the monitor")?;
        }
    }
    wire::send(monitor, &Step::Unshared, None).doing("talking to the monitor")?;
    raise_descriptor_limit();
    mounts::enter_root(&mounts::Settings {
        spec,
        userxattr: IdMode::current().userxattr(),
        own_network,
    })?;
    rustix::system::sethostname(spec.hostname.as_bytes()).doing("setting the host name")?;
    // Before the change of user: the program that sets up the network inspects this process.
    match wire::receive::<Step>(monitor, RecvFlags::empty()).doing("hearing from the monitor")? {
        Some((Step::Go, _)) => {}
        _ => return Err(Failure::new("the sandbox's monitor is gone")),
    }
    let terminal = match request.terminal {
        Some(size) => Some(terminal::open(size, spec.uid, &to_parent.control)?),
        None => None,
    };
    let command = Prepared::new(&spec.command, &spec.env, &spec.cwd, spec.umask)?;
    command.enter_directory(&to_parent.numbers(terminal.as_ref()))?;
    command::own_streams(spec.uid);
    confine(
        &Identity {
            uid: spec.uid,
            gid: spec.gid,
            groups: &spec.groups,
            capabilities: &spec.capabilities,
        },
        !own_network,
        |defence| spec.lacks(defence),
    )?;
    bound(request)?;
    if spec.init {
        init::supervise(&command, to_parent, terminal)
    } else {
        let _ = rustix::process::setsid();
        if let Some(terminal) = terminal {
            terminal::take(&terminal)?;
        }
        command.execute(to_parent)
    }
}

/// Without `CAP_NET_ADMIN`, as in some pods, the loopback device stays down. This is fine without a network;
/// a network that leads outward is not possible then.
fn raise_loopback(network: Network) -> Result<(), Failure> {
    match (network::raise_loopback(), network) {
        (Err(failure), Network::None) if failure.errno == Some(libc::EPERM) => Ok(()),
        (Err(failure), Network::Outward) if failure.errno == Some(libc::EPERM) => Err(
            Failure::no_outbound("this process may not set networks up".to_owned()),
        ),
        (result, _) => result,
    }
}

/// Drops all privileges: user, capabilities, Landlock's fence, system calls.
pub(super) fn confine(
    who: &Identity<'_>,
    host_network: bool,
    lacks: impl Fn(Defence) -> bool,
) -> Result<(), Failure> {
    if lacks(Defence::Capabilities) {
        capabilities::become_user_with_all(who)?;
    } else {
        capabilities::become_user(who)?;
    }
    // Changing the user has cleared it.
    tie_to_parent()?;
    if host_network && !lacks(Defence::AbstractSockets) {
        landlock::abstract_sockets().doing("fencing off abstract sockets by Landlock")?;
    }
    if lacks(Defence::SystemCalls) {
        return Ok(());
    }
    seccomp::install(seccomp::Kept::Apart)
}

/// Bounds that need no control group: processes, and the size of a file.
fn bound(request: &Run) -> Result<(), Failure> {
    let spec = &request.spec;
    if spec.lacks(Defence::Bounds) {
        return Ok(());
    }
    for (resource, most) in [
        (Resource::Nproc, request.processes),
        (Resource::Fsize, spec.limits.written),
    ] {
        if most.is_none() {
            continue;
        }
        // A lower limit of the caller stays.
        let maximum = rustix::process::getrlimit(resource)
            .maximum
            .into_iter()
            .chain(most)
            .min();
        let limit = Rlimit {
            current: maximum,
            maximum,
        };
        rustix::process::setrlimit(resource, limit).doing("bounding what the command may use")?;
    }
    Ok(())
}

/// Hundreds of layers are hundreds of descriptors.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
