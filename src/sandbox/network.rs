//! Network namespaces: loopback, the dialer that connects to ports inside, and outbound traffic
//! through slirp4netns or pasta, if one is installed.
//!
//! The dialer is a small process outside of the sandbox's pid namespace but inside its network
//! namespace, without privileges. Asked for a port, it connects there and passes the socket back,
//! so a port proxy needs neither root nor a helper program.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal};
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};

use super::error::{Doing, Failure};
use super::helper::{interface_addresses, quiet_streams, tie_to_parent};
use super::outward::{self, Door};
use super::spec::{Defence, Network, Spec};
use super::wire::{self, Message};
use super::{capabilities, id_map, seccomp, sys};

/// The name server of a private network with outbound traffic: for its `resolv.conf`.
pub const PRIVATE_NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// A `resolv.conf` that names this server, with the host's search list and options: the host's own
/// servers may be on its loopback, which is another one inside.
pub fn resolver_file(server: Ipv4Addr, host: &str) -> String {
    let kept = host.lines().filter(|line| {
        let word = line.split_ascii_whitespace().next();
        matches!(word, Some("search" | "domain" | "options"))
    });
    let mut text = format!("nameserver {server}\n");
    for line in kept {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// A helper that has not set up the network after this time is killed.
const HELPER_DEADLINE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes that are read of a helper's error output.
const MOST_WORDS: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Dial {
    port: u16,
}

#[derive(Debug, Serialize, Deserialize)]
enum Dialed {
    Connected,
    Failed(i32),
}

/// Connects to ports inside a sandbox with [`super::Network::Private`] or
/// [`super::Network::None`].
#[derive(Debug)]
pub struct Dialer {
    socket: Mutex<OwnedFd>,
}

impl Dialer {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: Mutex::new(socket),
        }
    }

    /// Connects to the listener on the port inside: on 127.0.0.1, else on `::1`, else on an
    /// address of the namespace's interface.
    pub fn connect(&self, port: u16) -> io::Result<TcpStream> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&*socket, &Dial { port }, None)?;
        match wire::receive::<Dialed>(&*socket, RecvFlags::empty())? {
            Some((Dialed::Connected, Some(connected))) => Ok(TcpStream::from(connected)),
            Some((Dialed::Failed(errno), _)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Processes beside the sandbox that give it a network; children of the monitor.
#[derive(Default)]
pub(super) struct Helpers {
    /// The dialer, the process that serves doors.
    ours: Vec<Pid>,
    outbound: Option<std::process::Child>,
}

impl Helpers {
    pub(super) fn stop(self) {
        for process in self.ours {
            let _ = rustix::process::kill_process(process, Signal::KILL);
            let _ = sys::wait(Some(process), false);
        }
        if let Some(mut outbound) = self.outbound {
            let _ = outbound.kill();
            let _ = outbound.wait();
        }
    }
}

/// Starts the processes for a specification's network. Without a helper for outbound traffic, a
/// private network gives a note, and a network that leads outward is refused.
pub(super) fn outside(
    spec: &Spec,
    first: &OwnedFd,
    pid: Option<i32>,
    doors: Vec<(Door, OwnedFd)>,
    control: &OwnedFd,
) -> Result<Helpers, Failure> {
    let mut helpers = Helpers::default();
    let user = (spec.uid, spec.gid);
    match spec.network {
        Network::Host => {}
        Network::None => helpers.ours.push(start_dialer(first, user, control)?),
        Network::Private => {
            helpers.ours.push(start_dialer(first, user, control)?);
            let note = match start_outbound(pid, Way::Private) {
                Ok((child, name)) => {
                    helpers.outbound = Some(child);
                    format!("outbound network through {name}")
                }
                Err(reason) => format!("no outbound network: {reason}"),
            };
            wire::send(control, &Message::Note(note), None).doing("talking to the parent")?;
        }
        Network::Outward => {
            let way = if spec.lacks(Defence::HostAddresses) {
                Way::OpenToHost
            } else {
                Way::Outward
            };
            let (child, _) = start_outbound(pid, way).map_err(Failure::no_outbound)?;
            helpers.outbound = Some(child);
            helpers
                .ours
                .push(outward::serve(doors, outward::resolvers(), user)?);
        }
    }
    Ok(helpers)
}

/// What a helper carries out of a namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Traffic, and questions to [`PRIVATE_NAME_SERVER`].
    Private,
    /// Only traffic: [`outward`] resolves names.
    Outward,
    /// As it would be without [`Defence::HostAddresses`].
    OpenToHost,
}

fn start_dialer(first: &OwnedFd, user: (u32, u32), control: &OwnedFd) -> Result<Pid, Failure> {
    let (ours, theirs) = wire::seqpacket().doing("making a pair of sockets")?;
    match sys::fork().doing("starting the dialer")? {
        sys::Forked::Parent(pid) => {
            wire::send(control, &Message::Dialer, Some(theirs.as_fd()))
                .doing("passing the dialer's socket to the parent")?;
            Ok(pid)
        }
        sys::Forked::Child => {
            drop(theirs);
            let _ = dial(first, user, &ours);
            sys::exit_now(0);
        }
    }
}

/// The dialer process.
fn dial(first: &OwnedFd, (uid, gid): (u32, u32), socket: &OwnedFd) -> Result<(), Failure> {
    tie_to_parent()?;
    rustix::thread::move_into_thread_name_spaces(first.as_fd(), ThreadNameSpaceType::NETWORK)
        .doing("joining the network namespace")?;
    sys::close_from(3, &[socket.as_raw_fd()]).doing("closing descriptors")?;
    quiet_streams();
    capabilities::become_user(&capabilities::Identity {
        uid,
        gid,
        groups: &[],
        capabilities: &[],
    })?;
    // The change of user has cleared it.
    tie_to_parent()?;
    seccomp::install(seccomp::Kept::Apart)?;
    while let Some((request, _)) =
        wire::receive::<Dial>(socket, RecvFlags::empty()).doing("receiving a request")?
    {
        let (answer, connected) = match connect(request.port) {
            Ok(connected) => (Dialed::Connected, Some(connected)),
            Err(error) => (
                Dialed::Failed(error.raw_os_error().unwrap_or(libc::ECONNREFUSED)),
                None,
            ),
        };
        wire::send(socket, &answer, connected.as_ref().map(AsFd::as_fd))
            .doing("answering a request")?;
    }
    Ok(())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let mut first_error = None;
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let connected = loopback
        .into_iter()
        .chain(std::iter::once_with(other_addresses).flatten())
        .find_map(|address| {
            TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_TIMEOUT)
                .map_err(|error| {
                    first_error.get_or_insert(error);
                })
                .ok()
        });
    connected.ok_or_else(|| first_error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// IPv4 addresses of this namespace's interfaces but loopback.
fn other_addresses() -> Vec<IpAddr> {
    interface_addresses()
        .into_iter()
        .filter(|(address, loopback)| address.is_ipv4() && !loopback)
        .map(|(address, _)| address)
        .collect()
}

/// Brings `lo` up in this process's network namespace.
pub(super) fn raise_loopback() -> Result<(), Failure> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .doing("opening a socket")?;
    // SAFETY: ifreq is plain data, for which zeros are valid; its name is shorter than the field.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            &raw const request,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error()).doing("bringing the loopback device up");
    }
    Ok(())
}

/// A program that carries a namespace's traffic out, and its arguments.
struct Outbound {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    input: Input,
}

/// The standard input of a helper for traffic.
enum Input {
    /// How it reports that it is ready.
    Ready,
    /// The namespace; it says on its standard output that it is ready.
    Namespace,
}

/// The installed helper for outbound traffic, without starting it, or why there is none.
pub fn outbound() -> Result<&'static str, String> {
    outbound_program(1, Way::Private).map(|outbound| outbound.name)
}

/// The helper for outbound traffic, or why there is none.
fn outbound_program(pid: i32, way: Way) -> Result<Outbound, String> {
    // Without it pasta has been seen to hang, and slirp4netns fails.
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| format!("/dev/net/tun cannot be opened ({error})"))?;
    let mode = id_map::IdMode::current();
    let slirp = || id_map::find_program("slirp4netns").map(|it| slirp4netns(it, pid, way, mode));
    let pasta = || id_map::find_program("pasta").map(|it| pasta(it, way, mode));
    // slirp4netns starts faster, but cannot enclose itself for a user with one id.
    let found = if mode == id_map::IdMode::SingleUid {
        pasta().or_else(slirp)
    } else {
        slirp().or_else(pasta)
    };
    found.ok_or_else(|| "neither slirp4netns nor pasta (package passt) is installed".to_owned())
}

fn slirp4netns(program: PathBuf, pid: i32, way: Way, mode: id_map::IdMode) -> Outbound {
    let mut arguments = vec!["--configure", "--mtu=65520", "--ready-fd=0"];
    arguments.push(if mode == id_map::IdMode::SingleUid {
        // It would join its own user namespace, because it is not user 0.
        "--enable-seccomp"
    } else {
        "--enable-sandbox"
    });
    if way != Way::OpenToHost {
        arguments.push("--disable-host-loopback");
    }
    if way != Way::Private {
        // Its name server is a resolver of this machine, with all ports of it.
        arguments.push("--disable-dns");
    }
    let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    arguments.extend([pid.to_string(), "tap0".to_owned()]);
    Outbound {
        name: "slirp4netns",
        program,
        arguments,
        input: Input::Ready,
    }
}

fn pasta(program: PathBuf, way: Way, mode: id_map::IdMode) -> Outbound {
    let mut arguments = vec!["--config-net", "--foreground", "--quiet"];
    for forwarded in ["-t", "-u", "-T", "-U"] {
        arguments.extend([forwarded, "none"]);
    }
    if way != Way::OpenToHost {
        arguments.push("--no-map-gw");
    }
    let server = PRIVATE_NAME_SERVER.to_string();
    if way == Way::Private {
        arguments.extend(["--dns-forward", &server]);
    }
    if mode == id_map::IdMode::Root {
        // It would become the user `nobody`, which may not enter the namespace.
        arguments.extend(["--runas", "0"]);
    }
    // It drops the right to inspect the process before it opens the namespace, and closes
    // inherited descriptors except the standard streams. It writes its process id last.
    arguments.extend(["--pid", "/proc/self/fd/1", "--netns", "/proc/self/fd/0"]);
    Outbound {
        name: "pasta",
        program,
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        input: Input::Namespace,
    }
}

/// Starts it for the network namespace of a process, and waits until it reports that it works.
pub(super) fn start_outbound(
    pid: Option<i32>,
    way: Way,
) -> Result<(std::process::Child, &'static str), String> {
    let pid = pid.ok_or("the sandbox is gone")?;
    let outbound = outbound_program(pid, way)?;
    let name = outbound.name;
    let failed = |error: io::Error| format!("{name}: {error}");
    let (ready, theirs) = io::pipe().map_err(failed)?;
    let (input, output): (Stdio, Stdio) = match outbound.input {
        Input::Ready => (theirs.into(), Stdio::null()),
        Input::Namespace => {
            let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).map_err(failed)?;
            (namespace.into(), theirs.into())
        }
    };
    let words = rustix::fs::memfd_create("words", MemfdFlags::CLOEXEC);
    let mut words = std::fs::File::from(words.map_err(|error| failed(error.into()))?);
    let mut command = Command::new(&outbound.program);
    command
        .args(&outbound.arguments)
        .stdin(input)
        .stdout(output)
        .stderr(words.try_clone().map_err(failed)?);
    // SAFETY: one prctl, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(failed)?;
    // From here on, only the child has the other end of the pipe.
    drop(command);
    match first_byte(ready) {
        Ok(true) => Ok((child, name)),
        Ok(false) => {
            let _ = child.kill();
            let status = child.wait().map_err(failed)?;
            let last = last_line(&mut words).map_or_else(String::new, |line| format!(": {line}"));
            Err(format!("{name} failed ({status}){last}"))
        }
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failed(error))
        }
    }
}

/// The last error line of a program that has ended, if it is short text.
fn last_line(words: &mut std::fs::File) -> Option<String> {
    words.rewind().ok()?;
    let mut text = String::new();
    words.take(MOST_WORDS).read_to_string(&mut text).ok()?;
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map(str::to_owned)
}

/// Waits for a byte from the program; `false` at the end of its pipe.
fn first_byte(mut ready: io::PipeReader) -> io::Result<bool> {
    let deadline = Timespec {
        tv_sec: HELPER_DEADLINE.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&ready, PollFlags::IN)];
    let heard = rustix::io::retry_on_intr(|| poll(&mut polled, Some(&deadline)))?;
    if heard == 0 {
        let words = format!(
            "it did not start within {} seconds",
            HELPER_DEADLINE.as_secs()
        );
        return Err(io::Error::new(io::ErrorKind::TimedOut, words));
    }
    Ok(ready.read(&mut [0])? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_its_own_asks_its_own_name_server() {
        let host = "# x\nnameserver 127.0.0.53\nsearch a b\noptions ndots:2\n\n";
        let expected = "nameserver 10.0.2.3\nsearch a b\noptions ndots:2\n";
        assert_eq!(resolver_file(PRIVATE_NAME_SERVER, host), expected);
    }
}
