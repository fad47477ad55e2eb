//! The three files that say where a container is: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::fs::File;
use std::io::Read;

use crate::sandbox::{Mount, Network, PRIVATE_NAME_SERVER, resolver_file};

/// Largest of the host's files that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

pub(super) fn network_files(network: Network, hostname: &str) -> Vec<Mount> {
    let hosts = match network {
        // With the host's network, the host's names are valid too.
        Network::Host => read("/etc/hosts").unwrap_or_else(|| hosts(hostname)),
        Network::None | Network::Private | Network::Outward => hosts(hostname),
    };
    let mut files = vec![
        file("/etc/hosts", hosts),
        file("/etc/hostname", format!("{hostname}\n")),
    ];
    let resolver = match network {
        Network::Host => read("/etc/resolv.conf"),
        Network::Private | Network::Outward => Some(resolver_file(
            PRIVATE_NAME_SERVER,
            &read("/etc/resolv.conf").unwrap_or_default(),
        )),
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
