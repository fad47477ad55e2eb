//! The three files that say where a container is: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.

use std::fs::File;
use std::io::Read;

use crate::sandbox::{Mount, Network, PRIVATE_NAME_SERVER};

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
        Network::Private => Some(private_resolver(
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

/// The name server that the network's helper answers for, with the host's search list: the host's
/// own resolvers may be on its loopback, which is another one inside.
fn private_resolver(host: &str) -> String {
    let kept = host.lines().filter(|line| {
        let word = line.split_ascii_whitespace().next();
        matches!(word, Some("search" | "domain" | "options"))
    });
    let mut text = format!("nameserver {PRIVATE_NAME_SERVER}\n");
    for line in kept {
        text.push_str(line);
        text.push('\n');
    }
    text
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
    fn a_private_network_asks_its_own_name_server() {
        let host = "# x\nnameserver 127.0.0.53\nsearch a b\noptions ndots:2\n\n";
        let expected = "nameserver 10.0.2.3\nsearch a b\noptions ndots:2\n";
        assert_eq!(private_resolver(host), expected);
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
