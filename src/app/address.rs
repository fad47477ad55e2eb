//! The parts of an address: where its host begins and ends, and what of it is a login.
//!
//! Two readers that differ in the host are a fault in a program that sends logins: a name that is bound to one index
//! would be asked of another, or a login would go to a stranger. So all addresses are divided here. The rules are
//! those of RFC 3986, and of the URL standard of browsers where that is stricter: the host and its login end at the
//! first `/`, `?` or `#`, in an address of HTTP also at a `\`; the login ends at the last `@` before that.

/// An address in its parts, each as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    pub scheme: &'a str,
    /// `user:password`, percent-encoded.
    pub login: Option<&'a str>,
    /// The host with its port.
    pub place: &'a str,
    /// All behind the host, with the character that ends it: path, query and fragment.
    pub rest: &'a str,
}

impl<'a> Address<'a> {
    /// The parts of `SCHEME://…`; `None` for a text without a scheme.
    pub fn of(text: &'a str) -> Option<Self> {
        let (scheme, behind) = text.trim().split_once("://")?;
        let mut letters = scheme.chars();
        let is_scheme = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        is_scheme.then(|| Self::behind(scheme, behind))
    }

    /// The same; a text without a scheme is `[LOGIN@]HOST[:PORT]` of this one, as proxies are named.
    pub fn of_scheme(usual: &'a str, text: &'a str) -> Self {
        Self::of(text).unwrap_or_else(|| Self::behind(usual, text.trim()))
    }

    /// The parts of what is behind `SCHEME://`.
    pub fn behind(scheme: &'a str, behind: &'a str) -> Self {
        let has_backslashes = ["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let end = behind
            .find(|c| matches!(c, '/' | '?' | '#') || (c == '\\' && has_backslashes))
            .unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        let (login, place) = login_and_place(authority);
        Self {
            scheme,
            login,
            place,
            rest,
        }
    }

    /// The host without its port, and an address of IPv6 without its brackets.
    pub fn host(&self) -> &'a str {
        let (host, _) = self.host_and_port();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The port that it names, or its scheme's; `None` where what it names is not a port.
    pub fn port(&self) -> Option<u16> {
        match self.host_and_port().1 {
            None | Some("") => usual_port(&self.scheme.to_ascii_lowercase()),
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok(),
            Some(_) => None,
        }
    }

    fn host_and_port(&self) -> (&'a str, Option<&'a str>) {
        let from = if self.place.starts_with('[') {
            self.place.find(']').unwrap_or_default()
        } else {
            0
        };
        match self.place[from..].find(':') {
            Some(at) => {
                let (host, port) = self.place.split_at(from + at);
                (host, Some(&port[1..]))
            }
            None => (self.place, None),
        }
    }

    /// `scheme://host`, with the port if it is not the scheme's: two addresses with one origin are of one server.
    pub fn origin(&self) -> String {
        let scheme = self.scheme.to_ascii_lowercase();
        let (host, written) = self.host_and_port();
        let host = host.to_ascii_lowercase();
        match (written, self.port()) {
            (Some(text), None) if !text.is_empty() => format!("{scheme}://{host}:{text}"),
            (_, Some(port)) if usual_port(&scheme) != Some(port) => {
                format!("{scheme}://{host}:{port}")
            }
            _ => format!("{scheme}://{host}"),
        }
    }

    /// Equal for addresses of the same thing, whatever their logins.
    pub fn key(&self) -> String {
        format!("{}{}", self.origin(), self.rest.trim_end_matches('/'))
    }

    pub fn without_login(&self) -> String {
        format!("{}://{}{}", self.scheme, self.place, self.rest)
    }

    /// The address for people. In a login with a `?` that should have been encoded the host ends there: then all
    /// before the `@` is left out, too.
    pub fn shown(&self) -> String {
        let (place, path) = self.shown_parts();
        format!("{}://{place}{path}", self.scheme)
    }

    /// Its host and port for people.
    pub fn shown_place(&self) -> &'a str {
        self.shown_parts().0
    }

    fn shown_parts(&self) -> (&'a str, &'a str) {
        let end = self.rest.find('/').unwrap_or(self.rest.len());
        let (before, path) = self.rest.split_at(end);
        match before.rsplit_once('@') {
            Some((_, place)) => (place, path),
            None => (self.place, self.rest),
        }
    }

    /// With this login, which is not yet percent-encoded, instead of its own.
    pub fn with_login(&self, user: &str, password: &str) -> String {
        let (user, password) = (percent_encoded(user), percent_encoded(password));
        let Self {
            scheme,
            place,
            rest,
            ..
        } = self;
        format!("{scheme}://{user}:{password}@{place}{rest}")
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        "socks5" | "socks5h" => Some(1080),
        _ => None,
    }
}

/// `[LOGIN@]HOST[:PORT]` in two: all before the last `@` is the login.
pub fn login_and_place(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, authority),
    }
}

/// Name and address of an index in a variable of uv: `corp=https://…`, or the address alone.
pub fn name_and_address(index: &str) -> (Option<&str>, &str) {
    match index.trim().split_once('=') {
        Some((name, address)) if !name.contains(':') => (Some(name), address.trim_start()),
        _ => (None, index.trim()),
    }
}

/// The bytes that percent-encoded text stands for (RFC 3986, section 2.1). A `%` that no two digits follow stands for
/// itself.
pub fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%'
            && let [high, low, tail @ ..] = tail
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push(high * 16 + low);
            rest = tail;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    bytes
}

/// The same as text, with a mark in the place of what is not UTF-8.
pub fn percent_decoded_text(text: &str) -> String {
    String::from_utf8_lossy(&percent_decoded(text)).into_owned()
}

/// Whether two digits follow each `%`.
pub fn is_percent_encoded(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| digit(byte).is_some()))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|value| value.try_into().ok())
}

/// Text for a part of an address: all but unreserved characters is encoded (RFC 3986, section 2.3).
pub fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::{Host, Url};

    #[test]
    fn odd_addresses_are_divided_as_the_standards_say() {
        for (text, login, host, port, rest) in [
            ("https://a.example", None, "a.example", Some(443), ""),
            ("http://a.example:/x", None, "a.example", Some(80), "/x"),
            (
                "https://me:pw@A.example:8443/x?y#z",
                Some("me:pw"),
                "A.example",
                Some(8443),
                "/x?y#z",
            ),
            ("https://a@b@c/", Some("a@b"), "c", Some(443), "/"),
            ("https://a?@b/", None, "a", Some(443), "?@b/"),
            ("https://a#@b/", None, "a", Some(443), "#@b/"),
            ("https://a\\@b/", None, "a", Some(443), "\\@b/"),
            ("ssh://a\\@b/", Some("a\\"), "b", None, "/"),
            ("https://a/@b", None, "a", Some(443), "/@b"),
            (
                "https://me%40x:p%2Fw@b",
                Some("me%40x:p%2Fw"),
                "b",
                Some(443),
                "",
            ),
            ("https://@b/", Some(""), "b", Some(443), "/"),
            ("https://me@[::1]:80/", Some("me"), "::1", Some(80), "/"),
            ("http://[::1]", None, "::1", Some(80), ""),
            ("http://[::1/", None, "[", None, "/"),
            ("http://a:b:80/", None, "a", None, "/"),
            ("http://a:99999/", None, "a", None, "/"),
            ("http://a:+80/", None, "a", None, "/"),
            ("https:///a/b", None, "", Some(443), "/a/b"),
        ] {
            let found = Address::of(text).unwrap();
            assert_eq!(
                (found.login, found.host(), found.port(), found.rest),
                (login, host, port, rest),
                "{text}"
            );
        }
        for text in [
            "",
            "a.example/x",
            "me:w@a:80",
            "1a://b",
            "a b://c",
            "x/y://c",
        ] {
            assert_eq!(Address::of(text), None, "{text}");
        }
        let proxy = Address::of_scheme("http", "me:w@a:3128");
        assert_eq!((proxy.login, proxy.host()), (Some("me:w"), "a"));
        assert_eq!(proxy.port(), Some(3128));
    }

    #[test]
    fn equal_addresses_have_one_key() {
        let key = |text| Address::of(text).unwrap().key();
        for same in [
            "https://a.example/simple/",
            "HTTPS://A.Example/simple",
            "https://me:p%40w@a.example:443/simple//",
            " https://a.example:/simple ",
        ] {
            assert_eq!(key(same), "https://a.example/simple", "{same}");
        }
        assert_eq!(key("https://a.example/"), key("https://a.example"));
        for other in [
            "http://a.example/simple",
            "https://a.example:80/simple",
            "https://a.example/Simple",
            "https://b.example/simple",
            "https://a.example?/simple",
            "https://x.example\\@a.example/simple",
        ] {
            assert_ne!(key(other), "https://a.example/simple", "{other}");
        }
        assert_eq!(
            Address::of("http://[FE80::1]:080/").unwrap().origin(),
            "http://[fe80::1]"
        );
        assert_eq!(Address::of("http://a:x").unwrap().origin(), "http://a:x");
    }

    #[test]
    fn logins_are_taken_away_and_given() {
        let address = Address::of("https://a:b@c@d.example:1/x").unwrap();
        assert_eq!(address.without_login(), "https://d.example:1/x");
        assert_eq!(
            address.with_login("m e", "p@w"),
            "https://m%20e:p%40w@d.example:1/x"
        );
        assert_eq!(address.shown(), "https://d.example:1/x");
        let wrong = Address::of("https://me:p?w#x@d.example/y?z").unwrap();
        assert_eq!(wrong.shown(), "https://d.example/y?z");
        assert_eq!(wrong.shown_place(), "d.example");
    }

    #[test]
    fn an_index_may_have_a_name() {
        assert_eq!(
            name_and_address("corp=https://a/?b=c"),
            (Some("corp"), "https://a/?b=c")
        );
        assert_eq!(name_and_address("https://a/?b=c"), (None, "https://a/?b=c"));
        assert_eq!(name_and_address(" x "), (None, "x"));
    }

    #[test]
    fn percent_encoding_goes_both_ways() {
        for (text, expected, strict) in [
            ("a%20b%2Fc", "a b/c", true),
            ("100%", "100%", false),
            ("%4", "%4", false),
            ("%%41", "%A", false),
            ("%+f", "%+f", false),
            ("%é1", "%é1", false),
            ("", "", true),
        ] {
            assert_eq!(percent_decoded_text(text), expected, "{text}");
            assert_eq!(is_percent_encoded(text), strict, "{text}");
        }
        assert_eq!(percent_decoded("%ff"), [255]);
        assert_eq!(percent_encoded("a b/ü"), "a%20b%2F%C3%BC");
    }

    /// A login as it was meant; to one of the two, an empty password is none.
    fn meant(login: &str) -> Vec<u8> {
        let mut login = percent_decoded(login);
        while login.last() == Some(&b':') {
            login.pop();
        }
        login
    }

    proptest! {
        #[test]
        fn the_host_is_that_of_the_url_crate(
            scheme in "https?|HTTPS|ssh|git\\+https",
            // The URL standard takes any number of slashes behind the scheme.
            login in "([a-zA-Z:@?#%][a-zA-Z:@?#\\\\%/]{0,6}@)?",
            host in "[a-zA-Z][a-zA-Z.]{0,8}|\\[::1\\]",
            port in "(:[0-9]{0,5})?",
            rest in "([/?#\\\\][a-zA-Z@:/?#\\\\]{0,6})?",
        ) {
            let text = format!("{scheme}://{login}{host}{port}{rest}");
            let own = Address::of(&text).unwrap();
            // The standard decodes hosts of HTTP.
            if let Ok(url) = Url::parse(&text)
                && !own.place.contains('%')
            {
                let host = match url.host() {
                    Some(Host::Domain(name)) => name.to_ascii_lowercase(),
                    Some(Host::Ipv4(address)) => address.to_string(),
                    Some(Host::Ipv6(address)) => address.to_string(),
                    None => String::new(),
                };
                prop_assert_eq!(own.host().to_ascii_lowercase(), host, "{}", text);
                // To the crate a `\` ends the port of any scheme, though not its host.
                if !own.place.contains('\\') {
                    prop_assert_eq!(own.port(), url.port_or_known_default(), "{}", text);
                }
                let login = url.password().map_or(url.username().to_owned(), |word| {
                    format!("{}:{word}", url.username())
                });
                let own = own.login.unwrap_or_default();
                prop_assert_eq!(meant(own), meant(&login), "{}", text);
            }
        }

        #[test]
        fn no_text_is_lost(text in "[a-z+ ]{1,4}://\\PC{0,30}") {
            if let Some(found) = Address::of(&text) {
                let login = found.login.map_or_else(String::new, |login| format!("{login}@"));
                let whole = format!("{}://{login}{}{}", found.scheme, found.place, found.rest);
                prop_assert_eq!(whole, text.trim());
                let _ = (found.key(), found.host(), found.port());
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,20}") {
            prop_assert!(is_percent_encoded(&percent_encoded(&text)));
            prop_assert_eq!(percent_decoded_text(&percent_encoded(&text)), text);
        }
    }
}
