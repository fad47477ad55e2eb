//! Which proxy a request goes through: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and what `NO_PROXY`
//! leaves out, each in small letters too, which are stronger.
//!
//! `NO_PROXY` is read as curl and Go read it: `*`; a name, which means those below it as well; an
//! address or a network (`10.0.0.0/8`); any of them with a port.

use std::net::IpAddr;

use ipnet::IpNet;
use reqwest::Url;

/// The proxies of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// A proxy, and the variable that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    pub(crate) variable: &'static str,
}

impl Proxy {
    /// The scheme, where it is not one of HTTP.
    pub(crate) fn unknown_scheme(&self) -> Option<String> {
        let (scheme, _) = self.url.split_once("://")?;
        let known = ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        (!known).then(|| super::error::tame(scheme, 20))
    }

    /// For messages: without a login.
    pub(crate) fn shown(&self) -> String {
        let address = self.url.rsplit('@').next().unwrap_or_default();
        let address = address.split("://").last().unwrap_or_default();
        format!(
            "{} ({})",
            super::error::tame(address.trim_end_matches('/'), 100),
            self.variable
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    All,
    /// In small letters, without a dot before it.
    Name(String),
    Net(IpNet),
}

impl Proxies {
    pub(crate) fn new(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let url = variable(name)?.trim().to_owned();
                let variable = *name;
                (!url.is_empty()).then_some(Proxy { url, variable })
            })
        };
        let all = || first(&["all_proxy", "ALL_PROXY"]);
        let none = variable("no_proxy").or_else(|| variable("NO_PROXY"));
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
            http: first(&["http_proxy", "HTTP_PROXY"]).or_else(all),
            exceptions: none
                .unwrap_or_default()
                .split([',', ' '])
                .filter_map(Exception::read)
                .collect(),
        }
    }

    /// The proxy for a URL, when there is one.
    pub(crate) fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        let excepted = self.exceptions.iter().any(|exception| exception.holds(url));
        (!excepted).then_some(proxy)
    }
}

impl Exception {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self {
                host: Host::All,
                port: None,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            // `::1` has no port, `[::1]:80` has one.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            _ => (text, None),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let host = if let Ok(net) = bare.parse::<IpNet>() {
            Host::Net(net)
        } else if let Ok(address) = bare.parse::<IpAddr>() {
            Host::Net(address.into())
        } else {
            let name = bare.trim_start_matches('*').trim_start_matches('.');
            Host::Name(name.trim_end_matches('.').to_ascii_lowercase())
        };
        Some(Self { host, port })
    }

    fn holds(&self, url: &Url) -> bool {
        if self.port.is_some() && self.port != url.port_or_known_default() {
            return false;
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        match &self.host {
            Host::All => true,
            Host::Net(net) => host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: IpAddr| net.contains(&address)),
            Host::Name(name) => {
                !name.is_empty()
                    && host
                        .strip_suffix(name.as_str())
                        .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &'static [(&'static str, &'static str)]) -> Proxies {
        Proxies::new(&|name| {
            let (_, value) = variables.iter().find(|(key, _)| *key == name)?;
            Some((*value).to_owned())
        })
    }

    #[test]
    fn what_goes_past_the_proxy() {
        let proxies = proxies(&[
            ("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128/"),
            (
                "NO_PROXY",
                "inner.example, reg.example:5000,.dotted.example,*.star.example,10.0.0.0/8,192.0.2.7:5000,[2001:db8::1]:443,::2",
            ),
        ]);
        for (url, proxied) in [
            ("https://outer.example/", true),
            ("https://inner.example/", false),
            ("https://INNER.example./", false),
            ("https://a.inner.example/", false),
            ("https://notinner.example/", true),
            ("https://reg.example:5000/", false),
            ("https://reg.example/", true),
            ("https://a.dotted.example/", false),
            ("https://a.star.example/", false),
            ("https://10.1.2.3/", false),
            ("https://11.1.2.3/", true),
            ("https://192.0.2.7:5000/", false),
            ("https://192.0.2.7/", true),
            ("https://[2001:db8::1]/", false),
            ("https://[2001:db8::1]:444/", true),
            ("https://[::2]:99/", false),
            ("http://outer.example/", false),
        ] {
            let found = proxies.of(&Url::parse(url).unwrap());
            assert_eq!(found.is_some(), proxied, "{url}");
        }
        let shown = proxies.https.unwrap().shown();
        assert_eq!(shown, "proxy.example:3128 (HTTPS_PROXY)");
    }

    #[test]
    fn variables_in_their_order() {
        let found = proxies(&[
            ("https_proxy", "small:1"),
            ("HTTPS_PROXY", "large:1"),
            ("ALL_PROXY", "all:1"),
            ("no_proxy", ""),
            ("NO_PROXY", "*"),
        ]);
        let of = |url: &str| found.of(&Url::parse(url).unwrap()).map(|p| p.url.clone());
        assert_eq!(of("https://x.example").as_deref(), Some("small:1"));
        assert_eq!(of("http://x.example").as_deref(), Some("all:1"));
        assert_eq!(proxies(&[]).of(&Url::parse("http://x").unwrap()), None);
        let none = proxies(&[("HTTPS_PROXY", "p"), ("NO_PROXY", "*")]);
        assert_eq!(none.of(&Url::parse("https://x").unwrap()), None);
    }
}
