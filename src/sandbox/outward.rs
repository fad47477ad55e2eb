//! A network that leads only outward: the sandbox cannot reach this machine itself.
//!
//! The program that carries the traffic out (slirp4netns, pasta) connects from this machine, so a
//! service that listens on all of the machine's addresses would answer. Therefore the namespace has
//! every address of this machine on its own loopback device: traffic to such an address never leaves
//! the namespace. Exceptions are *doors*: a door is a socket that is opened inside before the
//! command runs, and that a small unprivileged process outside serves. One door leads to the
//! resolver, the others to the services that the specification names
//! ([`super::Spec::host_services`]).
//!
//! Machines on this machine's link, and the services that a cloud has for this machine alone, cannot
//! be reached either ([`super::fence`]).
//!
//! No helper program needs to know of these defences, and both work in the same way with all of them.

use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket,
};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::error::{Doing, Failure};
use super::helper::{interface_addresses, quiet_streams, tie_to_parent};
use super::{capabilities, seccomp, sys};

/// The name server inside: for the command's `resolv.conf`.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;

const DNS: u16 = 53;
/// Largest message of DNS over UDP (EDNS0 buffer sizes go up to it).
const MAX_DATAGRAM: usize = 64 * 1024;
/// Most connections and questions at once; more wait.
const MAX_AT_ONCE: usize = 128;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A socket inside, and its destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Door {
    /// Datagrams for this machine's resolvers.
    Names,
    /// Connections to the first of these addresses that accepts.
    Service(Vec<SocketAddr>),
}

/// Addresses of this machine that others, and the programs that carry traffic out, could reach it by.
pub(super) fn addresses_of_host() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = interface_addresses()
        .into_iter()
        .map(|(address, _)| address)
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback(),
            // Link-local addresses mean another link inside; all of them are fenced off.
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Gives this process's network namespace these addresses, on its loopback device.
pub(super) fn adopt(addresses: &[IpAddr]) -> Result<(), Failure> {
    for (number, address) in addresses.iter().enumerate() {
        match address {
            IpAddr::V4(v4) => adopt_v4(number, *v4),
            IpAddr::V6(v6) => match adopt_v6(*v6) {
                // Without IPv6 nothing is sent to such an address either.
                Err(error) if without_ipv6(&error) => Ok(()),
                other => other,
            },
        }
        .doing(&format!(
            "keeping this machine's address {address} out of the sandbox's network"
        ))?;
    }
    Ok(())
}

fn without_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EACCES)
    )
}

fn control_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        family,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn adopt_v4(number: usize, address: Ipv4Addr) -> io::Result<()> {
    let socket = control_socket(AddressFamily::INET)?;
    let name = format!("lo:{number}");
    for (request, value) in [
        (libc::SIOCSIFADDR, address),
        (libc::SIOCSIFNETMASK, Ipv4Addr::BROADCAST),
    ] {
        // SAFETY: ifreq is plain data, for which zeros are valid; the name is shorter than its field,
        // and a sockaddr_in is not larger than the sockaddr that the union holds.
        let result = unsafe {
            let mut ifreq: libc::ifreq = std::mem::zeroed();
            for (to, from) in ifreq.ifr_name.iter_mut().zip(name.as_bytes()) {
                *to = libc::c_char::from_ne_bytes([*from]);
            }
            let mut place: libc::sockaddr_in = std::mem::zeroed();
            place.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
            place.sin_addr.s_addr = u32::from(value).to_be();
            (&raw mut ifreq.ifr_ifru.ifru_addr)
                .cast::<libc::sockaddr_in>()
                .write_unaligned(place);
            libc::ioctl(socket.as_raw_fd(), request as libc::Ioctl, &raw const ifreq)
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn adopt_v6(address: Ipv6Addr) -> io::Result<()> {
    let socket = control_socket(AddressFamily::INET6)?;
    // SAFETY: in6_ifreq is plain data, filled in whole; `lo` is a string with its final zero.
    let result = unsafe {
        let request = libc::in6_ifreq {
            ifr6_addr: libc::in6_addr {
                s6_addr: address.octets(),
            },
            ifr6_prefixlen: 128,
            ifr6_ifindex: libc::if_nametoindex(c"lo".as_ptr()).cast_signed(),
        };
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFADDR as libc::Ioctl,
            &raw const request,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Opens the doors in this process's network namespace. A service at an address outside the
/// namespace is on another machine and needs no door.
pub(super) fn open_doors(
    services: &[SocketAddr],
    resolvers: Vec<SocketAddr>,
) -> Result<Vec<(Door, OwnedFd)>, Failure> {
    const NAMES: SocketAddr = SocketAddr::new(IpAddr::V4(NAME_SERVER), DNS);
    let mut doors = Vec::new();
    let names = UdpSocket::bind(NAMES).doing("opening the sandbox's name server")?;
    doors.push((Door::Names, names.into()));
    let mut all = vec![(NAMES, resolvers)];
    for service in services {
        if !all.iter().any(|(known, _)| known == service) {
            all.push((*service, vec![*service]));
        }
    }
    for (address, targets) in all {
        match TcpListener::bind(address) {
            Ok(listener) => doors.push((Door::Service(targets), listener.into())),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
            Err(error) => {
                return Err(error).doing(&format!("opening a way to {address} from the sandbox"));
            }
        }
    }
    Ok(doors)
}

/// The name servers of this machine.
pub(super) fn resolvers() -> Vec<SocketAddr> {
    named_in(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
        .into_iter()
        .map(|server| SocketAddr::new(server, DNS))
        .collect()
}

fn named_in(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next())?
        })
        .filter_map(|word| word.split('%').next()?.parse().ok())
        .collect();
    if found.is_empty() {
        // As resolv.conf(5) has it.
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}

/// Starts the process that serves the doors.
pub(super) fn serve(
    doors: Vec<(Door, OwnedFd)>,
    resolvers: Vec<SocketAddr>,
    user: (u32, u32),
) -> Result<Pid, Failure> {
    match sys::fork().doing("starting the process that serves the sandbox's ways out")? {
        sys::Forked::Parent(pid) => Ok(pid),
        sys::Forked::Child => {
            let _ = serve_until_the_end(doors, resolvers, user);
            sys::exit_now(0);
        }
    }
}

fn serve_until_the_end(
    doors: Vec<(Door, OwnedFd)>,
    resolvers: Vec<SocketAddr>,
    (uid, gid): (u32, u32),
) -> Result<(), Failure> {
    tie_to_parent()?;
    let kept: Vec<_> = doors.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
    sys::close_from(3, &kept).doing("closing descriptors")?;
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
    let busy = Arc::new(Busy::default());
    let resolvers = Arc::new(resolvers);
    let threads: Vec<_> = doors
        .into_iter()
        .map(|(door, socket)| {
            let (busy, resolvers) = (Arc::clone(&busy), Arc::clone(&resolvers));
            std::thread::spawn(move || match door {
                Door::Names => answer(&Arc::new(socket.into()), &resolvers, &busy),
                Door::Service(targets) => accept(&socket.into(), &targets, &busy),
            })
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Bounds how much is done at once.
#[derive(Default)]
struct Busy(AtomicUsize);

impl Busy {
    /// Runs it on a new thread, if there are not too many.
    fn run(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        if self.0.fetch_add(1, Ordering::SeqCst) >= MAX_AT_ONCE {
            self.0.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let busy = Arc::clone(self);
        let started = std::thread::Builder::new().spawn(move || {
            work();
            busy.0.fetch_sub(1, Ordering::SeqCst);
        });
        if started.is_err() {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn accept(listener: &TcpListener, targets: &[SocketAddr], busy: &Arc<Busy>) {
    loop {
        match listener.accept() {
            Ok((inside, _)) => {
                let targets = targets.to_vec();
                busy.run(move || connect(&inside, &targets));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // For example without free descriptors: do not retry at once.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn connect(inside: &TcpStream, targets: &[SocketAddr]) {
    let connected = targets
        .iter()
        .find_map(|target| TcpStream::connect_timeout(target, CONNECT_TIMEOUT).ok());
    let Some(outside) = connected else {
        return;
    };
    let (Ok(from_outside), Ok(to_inside)) = (outside.try_clone(), inside.try_clone()) else {
        return;
    };
    let back = std::thread::spawn(move || carry(&from_outside, &to_inside));
    carry(inside, &outside);
    let _ = back.join();
}

fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn answer(socket: &Arc<UdpSocket>, resolvers: &Arc<Vec<SocketAddr>>, busy: &Arc<Busy>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let Ok((length, asker)) = socket.recv_from(&mut buffer) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let question = buffer.get(..length).unwrap_or_default().to_vec();
        let (socket, resolvers) = (Arc::clone(socket), Arc::clone(resolvers));
        busy.run(move || {
            let answer = resolvers
                .iter()
                .find_map(|server| ask(*server, &question).ok());
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, asker);
            }
        });
    }
}

fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.send(question)?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_go_to_the_first_resolver_that_answers() {
        let local = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (resolver, door, asker) = (local(), local(), local());
        // Nothing listens there any more.
        let gone = local().local_addr().unwrap();
        let resolvers = Arc::new(vec![gone, resolver.local_addr().unwrap()]);
        let inside = door.local_addr().unwrap();
        std::thread::spawn(move || answer(&Arc::new(door), &resolvers, &Arc::default()));
        std::thread::spawn(move || {
            let mut buffer = [0; 100];
            let (length, from) = resolver.recv_from(&mut buffer).unwrap();
            let said = [b"answer to ", &buffer[..length]].concat();
            resolver.send_to(&said, from).unwrap();
        });
        asker.send_to(b"question", inside).unwrap();
        let mut buffer = [0; 100];
        let (length, from) = asker.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"answer to question");
        assert_eq!(from, inside);
    }

    #[test]
    fn connections_go_to_the_first_target_that_takes_them() {
        use std::io::{Read, Write};
        let local = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (target, door) = (local(), local());
        let gone = local().local_addr().unwrap();
        let targets = [gone, target.local_addr().unwrap()];
        let inside = door.local_addr().unwrap();
        std::thread::spawn(move || accept(&door, &targets, &Arc::default()));
        std::thread::spawn(move || {
            let (mut taken, _) = target.accept().unwrap();
            let mut text = String::new();
            taken.read_to_string(&mut text).unwrap();
            taken.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        let mut asker = TcpStream::connect(inside).unwrap();
        asker.write_all(b"both ways").unwrap();
        asker.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        asker.read_to_string(&mut text).unwrap();
        assert_eq!(text, "BOTH WAYS");
    }

    #[test]
    fn name_servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 9.9.9.9\nsearch a\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n\
                    nameserver x\nnameserver\n";
        let expected: [IpAddr; 2] = ["127.0.0.53".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(named_in(text), expected);
        assert_eq!(named_in(""), [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
}
