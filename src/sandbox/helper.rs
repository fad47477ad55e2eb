//! What the small processes beside a sandbox have in common: they end with the monitor, they do not
//! keep the command's streams, and they look at the interfaces of a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use super::error::{Doing, Failure};

pub(super) fn tie_to_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .doing("tying the sandbox's life to its parent's")
}

/// Closes the command's standard streams.
pub(super) fn quiet_streams() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Addresses of this namespace's interfaces, and whether each is loopback's.
pub(super) fn interface_addresses() -> Vec<(IpAddr, bool)> {
    let mut addresses = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the list is the kernel's answer as libc allocated it; it is walked while it is valid
    // and freed once. Socket addresses are read as what their family says, unaligned reads allowed.
    unsafe {
        if libc::getifaddrs(&raw mut list) != 0 {
            return addresses;
        }
        let mut entry = list;
        while let Some(current) = entry.as_ref() {
            let loopback = current.ifa_flags & libc::IFF_LOOPBACK.unsigned_abs() != 0;
            let family = current.ifa_addr.as_ref().map(|address| address.sa_family);
            match family.map(i32::from) {
                Some(libc::AF_INET) => {
                    let v4: libc::sockaddr_in = current
                        .ifa_addr
                        .cast::<libc::sockaddr_in>()
                        .read_unaligned();
                    let v4 = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                    addresses.push((IpAddr::V4(v4), loopback));
                }
                Some(libc::AF_INET6) => {
                    let v6: libc::sockaddr_in6 = current
                        .ifa_addr
                        .cast::<libc::sockaddr_in6>()
                        .read_unaligned();
                    let v6 = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                    addresses.push((IpAddr::V6(v6), loopback));
                }
                _ => {}
            }
            entry = current.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    addresses
}
