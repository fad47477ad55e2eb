//! Destinations that a namespace cannot send traffic to: those of this machine's link, and the services
//! by which a cloud gives a machine its identity and credentials.
//!
//! pasta connects to a link-local address on this machine's own link, and so to this machine. A routing
//! rule of the namespace comes before every route, of any device, that a program may add later.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::error::{Doing, Failure};

/// A destination and the length of its prefix.
type Destination = (IpAddr, u8);

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Destination {
    (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length)
}

const fn v6(first: [u16; 3], last: u16, length: u8) -> Destination {
    let [a, b, c] = first;
    let address = Ipv6Addr::new(a, b, c, 0, 0, 0, 0, last);
    (IpAddr::V6(address), length)
}

const FENCED: [Destination; 6] = [
    // Link-local. Most clouds have their metadata at 169.254.169.254.
    v4(169, 254, 0, 0, 16),
    v6([0xfe80, 0, 0], 0, 10),
    // Azure's, Alibaba's, Amazon's and Google's other addresses for it.
    v4(168, 63, 129, 16, 32),
    v4(100, 100, 100, 200, 32),
    v6([0xfd00, 0x0ec2, 0], 0x0254, 128),
    v6([0xfd20, 0x00ce, 0], 0x0254, 128),
];

/// Whether no traffic goes there.
pub(super) fn fenced(address: IpAddr) -> bool {
    FENCED
        .iter()
        .any(|(network, length)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let other = network.to_bits() ^ address.to_bits();
                other.leading_zeros() >= u32::from(*length)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let other = network.to_bits() ^ address.to_bits();
                other.leading_zeros() >= u32::from(*length)
            }
            _ => false,
        })
}

/// Makes them unreachable in this process's network namespace, except the namespace's own addresses.
pub(super) fn raise() -> Result<(), Failure> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
    .doing("opening a socket to the kernel's routing")?;
    for (address, length) in FENCED {
        match unreachable(&socket, address, length) {
            Ok(()) => {}
            // Without IPv6 nothing is sent to such an address either.
            Err(_) if address.is_ipv6() && !has_ipv6() => {}
            Err(error) => {
                return Err(Failure::no_outbound(format!(
                    "{address}/{length} cannot be kept out of it ({error})"
                )));
            }
        }
    }
    Ok(())
}

fn has_ipv6() -> bool {
    let socket = rustix::net::socket_with(
        AddressFamily::INET6,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    );
    socket.is_ok()
}

/// Adds one rule (rtnetlink(7)), after that of the namespace's own addresses, which is 0.
fn unreachable(socket: &impl std::os::fd::AsFd, address: IpAddr, length: u8) -> io::Result<()> {
    const NEW_RULE: u16 = 32;
    const REQUEST_ACK_CREATE_EXCLUSIVE: u16 = 0x01 | 0x04 | 0x400 | 0x200;
    const UNREACHABLE: u8 = 7;
    const DESTINATION: u16 = 1;
    const PRIORITY: u16 = 6;
    const ERROR: u16 = 2;

    let (family, octets) = match address {
        IpAddr::V4(v4) => (AddressFamily::INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::INET6, v6.octets().to_vec()),
    };
    let family = u8::try_from(family.as_raw()).map_err(io::Error::other)?;
    let mut body = vec![family, length, 0, 0, 0, 0, 0, UNREACHABLE];
    body.extend(0_u32.to_ne_bytes());
    for (kind, value) in [
        (DESTINATION, octets),
        (PRIORITY, 1_u32.to_ne_bytes().to_vec()),
    ] {
        let size = u16::try_from(value.len() + 4).map_err(io::Error::other)?;
        body.extend(size.to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    let size = u32::try_from(body.len() + 16).map_err(io::Error::other)?;
    let mut message = size.to_ne_bytes().to_vec();
    message.extend(NEW_RULE.to_ne_bytes());
    message.extend(REQUEST_ACK_CREATE_EXCLUSIVE.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    rustix::net::send(socket, &message, SendFlags::empty())?;

    let mut answer = [0_u8; 1024];
    let (count, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
    let answer = answer.get(..count).unwrap_or_default();
    let kind = answer
        .get(4..6)
        .and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
    let error = answer
        .get(16..20)
        .and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)));
    match (kind, error) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(error)) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_clouds_are_fenced_and_nothing_beside_them() {
        for (address, expected) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("169.253.255.255", false),
            ("169.255.0.0", false),
            ("168.63.129.16", true),
            ("168.63.129.17", false),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", false),
            ("fd00:ec2::254", true),
            ("fd00:ec2::253", false),
            ("fd20:ce::254", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(fenced(address.parse().unwrap()), expected, "{address}");
        }
    }
}
