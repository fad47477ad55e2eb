//! The three files that say where a container is: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

use crate::sandbox::{Mount, Network};

/// Largest of the host's files that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

pub(super) fn network_files(network: Network, hostname: &str) -> Vec<Mount> {
    let hosts = match network {
        // The host's names count where its network does.
        Network::Host => read("/etc/hosts").unwrap_or_else(|| hosts(hostname)),
        Network::None | Network::Private => hosts(hostname),
    };
    let mut files = vec![
        file("/etc/hosts", hosts),
        file("/etc/hostname", format!("{hostname}\n")),
    ];
    let resolver = match network {
        Network::Host => read("/etc/resolv.conf"),
        Network::Private => reachable_resolver(),
        Network::None => Some(String::new()),
    };
    files.push(file("/etc/resolv.conf", resolver.unwrap_or_default()));
    files
}

fn file(target: &str, contents: String) -> Mount {
    Mount::File {
        target: target.into(),
        contents: contents.into_bytes(),
        mode: 0o644,
    }
}

fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{hostname}\n"
    )
}

/// The host's resolvers, but for those on its loopback, which is another one inside: then those
/// that systemd-resolved itself asks.
fn reachable_resolver() -> Option<String> {
    let text = read("/etc/resolv.conf")?;
    if nameservers(&text).any(|address| !address.is_loopback()) {
        return Some(without_loopback(&text));
    }
    read("/run/systemd/resolve/resolv.conf").or(Some(text))
}

fn nameservers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(nameserver)
}

fn nameserver(line: &str) -> Option<IpAddr> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    let address = words.next()?.split('%').next()?;
    (first == "nameserver").then(|| address.parse().ok())?
}

fn without_loopback(text: &str) -> String {
    text.lines()
        .filter(|line| nameserver(line).is_none_or(|address| !address.is_loopback()))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_on_loopback_are_left_out() {
        let text =
            "# x\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\nsearch a\n";
        let expected = "# x\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\nsearch a\n";
        assert_eq!(without_loopback(text), expected);
        assert_eq!(nameservers(text).count(), 3);
        assert_eq!(
            nameservers("nameserver\nnameserver x\noptions 1.1.1.1").count(),
            0
        );
    }

    #[test]
    fn a_container_without_a_network_has_no_resolver() {
        let files = network_files(Network::None, "name");
        let text = |path: &str| {
            files.iter().find_map(|mount| match mount {
                Mount::File {
                    target, contents, ..
                } if target.to_str() == Some(path) => {
                    Some(String::from_utf8(contents.clone()).unwrap())
                }
                _ => None,
            })
        };
        assert_eq!(text("/etc/resolv.conf").unwrap(), "");
        assert_eq!(text("/etc/hostname").unwrap(), "name\n");
        assert!(text("/etc/hosts").unwrap().contains("127.0.0.1\tname"));
    }
}
