//! Requests that must not reach this machine or its link: what an image or a server names could
//! otherwise be a service that trusts whatever comes from here (OWASP, "Server Side Request Forgery").
//!
//! Names are judged by the addresses that are connected to, so an answer of the DNS that changes
//! meanwhile gains nothing. With a proxy it is the proxy that looks names up; names and addresses that
//! say themselves what they are never get there.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A client of this address which connects only to public addresses; `None` if the address is not public.
pub(super) fn refuse(builder: reqwest::ClientBuilder, url: &Url) -> Option<reqwest::ClientBuilder> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_matches(['[', ']']).trim_end_matches('.');
    let lower = bare.to_ascii_lowercase();
    let local =
        lower == "localhost" || lower.ends_with(".localhost") || bare.parse().is_ok_and(is_local);
    (!local).then(|| {
        builder.dns_resolver(Public {
            host: host.to_owned(),
        })
    })
}

/// Addresses of the machine itself (RFC 1122, RFC 4291), "this network", and link-local ones (RFC
/// 3927), among which are the clouds' services for credentials.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_link_local() || address.octets()[0] == 0
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address
                    .to_ipv4()
                    .is_some_and(|inner| is_local(IpAddr::V4(inner)))
        }
    }
}

/// Looks names up; of one host, only public addresses are given.
struct Public {
    host: String,
}

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        // The name of a proxy is the user's own.
        let judged = name.as_str().eq_ignore_ascii_case(&self.host);
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok::<Vec<SocketAddr>, std::io::Error>(found.collect())
            })
            .await??;
            let all = found.len();
            let kept: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| !judged || !is_local(address.ip()))
                .collect();
            if kept.is_empty() && all > 0 {
                return Err(
                    "its name leads to an address of this machine or of its own link".into(),
                );
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_in_every_form() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (text, allowed) in [
            ("http://127.0.0.1/", false),
            ("http://127.9.9.9:8080/x", false),
            ("http://2130706433/", false),
            ("http://0x7f.1/", false),
            ("http://0/", false),
            ("http://[::1]/", false),
            ("http://[::]/", false),
            ("http://[::ffff:127.0.0.1]/", false),
            ("http://[fe80::1]/", false),
            ("http://169.254.169.254/latest", false),
            ("https://localhost/", false),
            ("https://LOCALHOST./", false),
            ("https://a.localhost/", false),
            ("https://10.0.0.1/", true),
            ("https://example.com/", true),
            ("https://[2001:db8::1]/", true),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(
                refuse(reqwest::Client::builder(), &url).is_some(),
                allowed,
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_judged_by_their_addresses() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let resolve = |host: &str| {
            let public = Public {
                host: host.to_owned(),
            };
            runtime.block_on(public.resolve("localhost".parse().unwrap()))
        };
        assert!(resolve("localhost").is_err());
        assert!(resolve("scripts.example").is_ok(), "the name of a proxy");
    }
}
