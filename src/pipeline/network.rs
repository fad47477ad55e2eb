//! The network of a stage: warpdrive's own tools get this machine's network; code of the
//! application and of packages gets one that leads only outward.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::app::address::{Address, name_and_address};
use crate::progress::Progress;
use crate::sandbox::{
    self, Io, Mount, Network, OUTWARD_NAME_SERVER, SandboxError, Spec, resolver_file,
};

use super::error::BuildError;
use super::place::{Place, Reach, Started};

const RESOLVER: &str = "/etc/resolv.conf";

/// Whose code runs in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The pinned installer's and the base image's.
    Ours,
    /// The application's code, or that of its packages.
    Foreign,
    /// warpdrive's own code, which needs no network: none is set up.
    Offline,
}

/// Starts the command with the network that a build allows for such code (`spec.network`).
/// `indexes` are the caller's settings of indexes and proxies.
pub(super) fn start<'p>(
    mut spec: Spec,
    code: Code,
    indexes: &[String],
    place: &'p Place,
    progress: &dyn Progress,
) -> Result<Started<'p>, BuildError> {
    if matches!(place, Place::Here(_)) {
        return place.start(&spec, Io::piped(), &reach(spec.network, code, indexes));
    }
    match (spec.network, code) {
        (Network::None, _) => {}
        (_, Code::Offline) => spec.network = Network::None,
        (_, Code::Ours) => spec.network = Network::Host,
        (Network::Host, Code::Foreign) => {
            if !sandbox::fences_abstract_sockets() {
                once(progress, &reaches("--network host", false));
            }
        }
        (_, Code::Foreign) => {
            let outward = outward(spec.clone(), indexes);
            let started = sandbox::outbound()
                .map_err(SandboxError::NoOutbound)
                .map_err(BuildError::from)
                .and_then(|_| place.start(&outward, Io::piped(), &Reach::Everything));
            let Err(BuildError::Sandbox(SandboxError::NoOutbound(reason))) = started else {
                return started;
            };
            once(
                progress,
                &reaches(&reason, sandbox::fences_abstract_sockets()),
            );
            spec.network = Network::Host;
        }
    }
    place.start(&spec, Io::piped(), &Reach::Everything)
}

/// Ports that foreign code reaches here, besides those of indexes and proxies that the caller named: an
/// address cannot be fenced off, but a registry, a database or the cluster's own interface mostly has
/// another port.
const OUTWARD: [u16; 3] = [53, 80, 443];

/// The ports that a command may connect to without a network namespace.
fn reach(network: Network, code: Code, indexes: &[String]) -> Reach {
    match (network, code) {
        (Network::None, _) | (_, Code::Offline) => Reach::Ports(Vec::new()),
        (Network::Host, _) | (_, Code::Ours) => Reach::Everything,
        (_, Code::Foreign) => {
            let named = indexes.iter().flat_map(|value| ports(value));
            let mut ports: Vec<u16> = OUTWARD.into_iter().chain(named).collect();
            ports.sort_unstable();
            ports.dedup();
            Reach::Ports(ports)
        }
    }
}

/// The ports of the URLs in a variable's value.
fn ports(value: &str) -> Vec<u16> {
    places(value).map(|(_, port)| port).collect()
}

/// One line about what code can reach on this machine's network.
fn reaches(why: &str, fenced: bool) -> String {
    let sockets = if fenced {
        ""
    } else {
        ", and its abstract Unix sockets (this kernel has no Landlock scopes)"
    };
    format!(
        "code of the application and of its packages runs on this machine's network ({why}): it can \
         reach services on 127.0.0.1 and a cloud's metadata on 169.254.169.254{sockets}; `--network none` \
         prevents it, `warpdrive doctor` says what is missing"
    )
}

/// Prints it once, because a build has several stages.
fn once(progress: &dyn Progress, line: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        progress.warning(line);
    }
}

fn outward(mut spec: Spec, indexes: &[String]) -> Spec {
    spec.network = Network::Outward;
    spec.host_services = services(indexes);
    for mount in &mut spec.mounts {
        if let Mount::File {
            target, contents, ..
        } = mount
            && target.as_path() == Path::new(RESOLVER)
        {
            let host = String::from_utf8_lossy(contents);
            *contents = resolver_file(OUTWARD_NAME_SERVER, &host).into_bytes();
        }
    }
    spec
}

/// Package indexes and proxies that the caller named, by their addresses. Code that needs one on
/// this machine can reach it, but nothing else of this machine. Addresses in the source do not
/// count: a source could name anything.
fn services(indexes: &[String]) -> Vec<SocketAddr> {
    let names = hosts(&fs::read_to_string("/etc/hosts").unwrap_or_default());
    let found: BTreeSet<SocketAddr> = indexes
        .iter()
        .flat_map(|value| addresses(value, &names))
        .collect();
    found.into_iter().collect()
}

/// Names and addresses of `/etc/hosts`, and those that are always there.
fn hosts(text: &str) -> Vec<(String, IpAddr)> {
    let mut found = vec![
        ("localhost".to_owned(), Ipv4Addr::LOCALHOST.into()),
        ("localhost".to_owned(), Ipv6Addr::LOCALHOST.into()),
    ];
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or(line);
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        found.extend(words.map(|name| (name.to_ascii_lowercase(), address)));
    }
    found
}

/// Hosts and ports of the URLs in a variable's value. A proxy's may have no scheme.
fn places(value: &str) -> impl Iterator<Item = (String, u16)> {
    value.split([' ', '\t', '\n', ',']).filter_map(|word| {
        if word.is_empty() {
            return None;
        }
        let (_, url) = name_and_address(word);
        let address = Address::of_scheme("http", url);
        Some((address.host().to_owned(), address.port()?))
    })
}

/// The addresses of the URLs in a variable's value, by these names.
fn addresses(value: &str, names: &[(String, IpAddr)]) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for (host, port) in places(value) {
        if let Ok(address) = host.parse() {
            found.push(SocketAddr::new(address, port));
            continue;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let host = if host.ends_with(".localhost") {
            "localhost"
        } else {
            &host
        };
        found.extend(
            names
                .iter()
                .filter(|(name, _)| name == host)
                .map(|(_, address)| SocketAddr::new(*address, port)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_and_proxies_on_this_machine_are_found() {
        let names = hosts("127.0.1.1 Box box.example # x\n192.0.2.7\tdevpi\nnonsense\n");
        for (value, expected) in [
            (
                "http://127.0.0.1:3141/root/pypi/+simple/",
                &["127.0.0.1:3141"][..],
            ),
            ("own=https://me:word@box/simple", &["127.0.1.1:443"]),
            ("127.0.0.1:3128", &["127.0.0.1:3128"]),
            ("http://[::1]:8080", &["[::1]:8080"]),
            ("http://[::1]", &["[::1]:80"]),
            ("http://localhost:1/", &["127.0.0.1:1", "[::1]:1"]),
            ("http://a.localhost.:2", &["127.0.0.1:2", "[::1]:2"]),
            (
                "https://pypi.org/simple http://devpi:3141/a\nhttp://198.51.100.1",
                &["192.0.2.7:3141", "198.51.100.1:80"],
            ),
            ("socks5://127.0.0.1:99999", &[]),
            ("", &[]),
            ("https://pypi.org/simple?x=127.0.0.1:22", &[]),
            ("https://127.0.0.1:22@pypi.org/", &[]),
            ("https://pypi.org\\@127.0.0.1:22/", &[]),
            ("127.0.0.1/x?http://127.0.0.2", &["127.0.0.1:80"]),
        ] {
            let found: Vec<String> = addresses(value, &names)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, expected, "{value}");
        }
    }
}
