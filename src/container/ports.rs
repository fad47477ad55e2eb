//! `-p [ADDR:]HOST:PORT`: which port of the host leads to which port inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ContainerError;

/// A TCP port of the host that leads to one inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// Where the proxy listens; 127.0.0.1 unless told otherwise.
    pub address: IpAddr,
    /// The host's port; 0 asks for a free one.
    pub host: u16,
    /// The port inside.
    pub port: u16,
}

impl PortMapping {
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.host)
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.listen(), self.port)
    }
}

impl FromStr for PortMapping {
    type Err = ContainerError;

    fn from_str(value: &str) -> Result<Self, ContainerError> {
        let wrong = |problem: &str| ContainerError::Port {
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        let text = match value.rsplit_once('/') {
            None => value,
            Some((text, "tcp")) => text,
            Some((_, "udp" | "sctp")) => return Err(wrong("only TCP ports can be published")),
            Some(_) => return Err(wrong("what follows `/` can only be `tcp`")),
        };
        let (front, inside) = text
            .rsplit_once(':')
            .ok_or_else(|| wrong("write HOST:PORT; `0:PORT` chooses a free port of the host"))?;
        let port = number(inside)
            .filter(|port| *port != 0)
            .ok_or_else(|| wrong("the port inside is a number from 1 to 65535"))?;
        let (address, host) = match front.rsplit_once(':') {
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), front),
            Some((address, host)) => (
                parse_address(address).ok_or_else(|| {
                    wrong("the address is an IPv4 address or an IPv6 address in brackets")
                })?,
                host,
            ),
        };
        let host = if host.is_empty() && front.contains(':') {
            0 // docker's `127.0.0.1::8080`
        } else {
            number(host).ok_or_else(|| wrong("the host's port is a number from 0 to 65535"))?
        };
        Ok(Self {
            address,
            host,
            port,
        })
    }
}

/// Decimal digits only: `+80` and ` 80` are not ports.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

/// Refuses two mappings of one address and port of the host.
pub(super) fn check_ports(ports: &[PortMapping]) -> Result<(), ContainerError> {
    for (index, mapping) in ports.iter().enumerate() {
        let twice = mapping.host != 0
            && ports[..index]
                .iter()
                .any(|other| other.listen() == mapping.listen());
        if twice {
            return Err(ContainerError::Port {
                value: mapping.to_string(),
                problem: "this port of the host is given twice".to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mappings_are_read() {
        for (text, expected) in [
            ("8080:80", "127.0.0.1:8080:80"),
            ("0:8080", "127.0.0.1:0:8080"),
            ("0.0.0.0:8080:80", "0.0.0.0:8080:80"),
            ("localhost:1:2", "127.0.0.1:1:2"),
            ("127.0.0.1::80", "127.0.0.1:0:80"),
            ("[::1]:8080:80/tcp", "[::1]:8080:80"),
        ] {
            let mapping: PortMapping = text.parse().unwrap();
            assert_eq!(mapping.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for text in [
            "",
            ":",
            "80",
            ":80",
            "80:",
            "80:0",
            "a:80",
            "80:65536",
            "80:80/udp",
            "80:80/x",
            "::1:80:80",
            "1.2.3:80:80",
            "+1:80",
            " 1:80",
            "1: 80",
            "[1.2.3.4]:1:2",
            "-1:80",
            "80:80:80",
        ] {
            assert!(text.parse::<PortMapping>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_given_twice_is_refused() {
        let read = |texts: &[&str]| -> Vec<PortMapping> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(check_ports(&read(&["80:1", "80:2"])).is_err());
        assert!(check_ports(&read(&["80:1", "81:1", "0:1", "0:1", "0.0.0.0:80:1"])).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<PortMapping>();
        }

        #[test]
        fn what_is_written_is_read_again(v6: bool, a: u128, host: u16, port in 1u16..) {
            let address = if v6 {
                IpAddr::V6(a.into())
            } else {
                IpAddr::V4(u32::try_from(a >> 96).unwrap().into())
            };
            let mapping = PortMapping { address, host, port };
            prop_assert_eq!(mapping.to_string().parse::<PortMapping>().unwrap(), mapping);
        }
    }
}
