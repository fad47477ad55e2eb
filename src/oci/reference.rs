//! Names of images: `opal`, `opal:1.2`, `registry.example.com:5000/team/opal@sha256:…`.
//!
//! Grammar: distribution-spec 1.1, "Pulling manifests", and the `reference` package of the
//! distribution project for the host part. A name is kept as it was given ([`Reference::as_given`]);
//! the registry's host is worked out only when something is to be fetched.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::Digest;

use super::parse_digest;

/// A parsed image name. It displays as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    given: String,
    /// `None` for a bare name such as `opal`.
    host: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why some text is not an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an image name: {problem}")]
pub struct ReferenceError {
    pub given: String,
    pub problem: String,
}

/// The registry that a name without a host means.
const DEFAULT_HOST: &str = "docker.io";

impl Reference {
    /// The text as it was given, under which the image is stored.
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// Whether the name contains a registry's host.
    pub fn has_host(&self) -> bool {
        self.host.is_some()
    }

    /// The registry, `docker.io` when none was given. `host` or `host:port`.
    pub fn registry(&self) -> &str {
        self.host.as_deref().unwrap_or(DEFAULT_HOST)
    }

    /// The repository below the registry (`library/python` for a bare `python` on docker.io).
    pub fn repository(&self) -> String {
        if self.registry() == DEFAULT_HOST && !self.path.contains('/') {
            format!("library/{}", self.path)
        } else {
            self.path.clone()
        }
    }

    /// The last component of the path: `opal` of `registry.example.com/team/opal:1.2`.
    pub fn short_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest.as_deref().and_then(|d| parse_digest(d).ok())
    }

    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn tag_or_digest(&self) -> &str {
        self.digest
            .as_deref()
            .or(self.tag.as_deref())
            .unwrap_or("latest")
    }

    /// The name in full, as registries and `docker://` know it.
    pub fn canonical(&self) -> String {
        let mut text = format!("{}/{}", self.registry(), self.repository());
        match (&self.tag, &self.digest) {
            (None, None) => text.push_str(":latest"),
            (tag, digest) => {
                if let Some(tag) = tag {
                    text.push(':');
                    text.push_str(tag);
                }
                if let Some(digest) = digest {
                    text.push('@');
                    text.push_str(digest);
                }
            }
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.given)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(given: &str) -> Result<Self, ReferenceError> {
        let bad = |problem: String| ReferenceError {
            given: given.chars().take(300).collect(),
            problem,
        };
        if given.is_empty() {
            return Err(bad("it is empty".into()));
        }
        if given.len() > 4096 {
            return Err(bad("it is longer than 4096 characters".into()));
        }
        let (rest, digest) = match given.split_once('@') {
            Some((rest, digest)) => {
                parse_digest(digest).map_err(|error| bad(error.to_string()))?;
                (rest, Some(digest.to_owned()))
            }
            None => (given, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to the host's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if let Some(tag) = &tag {
            check_tag(tag).map_err(bad)?;
        }
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if is_host(host) => (Some(host.to_owned()), path),
            _ => (None, name),
        };
        if let Some(host) = &host {
            check_host(host).map_err(bad)?;
        }
        check_path(path).map_err(bad)?;
        Ok(Self {
            given: given.to_owned(),
            host: host.map(|host| match host.as_str() {
                "index.docker.io" | "registry-1.docker.io" => DEFAULT_HOST.to_owned(),
                _ => host,
            }),
            path: path.to_owned(),
            tag,
            digest,
        })
    }
}

/// docker's rule: the first component is a host when it has a dot, a colon, or is `localhost`.
fn is_host(component: &str) -> bool {
    component.contains('.') || component.contains(':') || component == "localhost"
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = if let Some(v6) = host.strip_prefix('[') {
        let (name, rest) = v6
            .split_once(']')
            .ok_or_else(|| format!("the host `{host}` lacks a `]`"))?;
        if name.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("`{name}` is not an IPv6 address"));
        }
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':').ok_or_else(|| {
                format!(
                    "`{}` may not follow the address `[{name}]`",
                    rest.escape_debug()
                )
            })?),
        };
        ("v6", port)
    } else {
        match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    if let Some(port) = port
        && port.parse::<u16>().map_or(true, |port| port == 0)
    {
        return Err(format!("`{port}` is not a port (1 to 65535)"));
    }
    let good_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.split('.').all(good_label) {
        Ok(())
    } else {
        Err(format!("`{name}` is not a host name"))
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if tag.is_empty() {
        Err("the tag after `:` is empty".into())
    } else if tag.len() > 128 {
        Err("the tag is longer than 128 characters".into())
    } else if !tag.bytes().all(good) || tag.starts_with(['.', '-']) {
        Err(format!(
            "the tag `{tag}` may hold letters, digits, `_`, `.` and `-`, and begins with neither `.` nor `-`"
        ))
    } else {
        Ok(())
    }
}

/// `; try NAME`, if a similar name is allowed.
fn instead(path: &str) -> String {
    let components: Vec<String> = path
        .to_lowercase()
        .split('/')
        .map(|component| {
            let words = component.split(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c));
            words
                .map(|word| word.trim_matches(['.', '_', '-']))
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join("-")
        })
        .collect();
    let name = components.join("/");
    if check_path(&name).is_ok() {
        format!("; try `{name}`")
    } else {
        String::new()
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
fn check_path(path: &str) -> Result<(), String> {
    if path.len() > 255 {
        return Err("the name is longer than 255 characters".into());
    }
    for component in path.split('/') {
        if component.is_empty() {
            return Err("a part of the name between slashes is empty".into());
        }
        if component.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(format!(
                "`{component}` has upper-case letters{}",
                instead(path)
            ));
        }
        if let Some(bad) = component
            .chars()
            .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(*c)))
        {
            return Err(format!(
                "`{}` may not stand in a name{}",
                bad.escape_debug(),
                instead(path)
            ));
        }
        let is_separator = |b: u8| matches!(b, b'.' | b'_' | b'-');
        let bytes = component.as_bytes();
        if is_separator(bytes[0]) || is_separator(bytes[bytes.len() - 1]) {
            return Err(format!("`{component}` begins or ends with `.`, `_` or `-`"));
        }
        for run in component.split(|c: char| c.is_ascii_alphanumeric()) {
            let good = matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-');
            if !good {
                return Err(format!("`{run}` may not separate the parts of a name"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_suggested_is_accepted() {
        for (given, name) in [
            ("My App", "my-app"),
            ("Opal", "opal"),
            ("team/My  App!", "team/my-app"),
            ("a b/C", "a-b/c"),
            ("Übung", "bung"),
        ] {
            let error = given.parse::<Reference>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("; try `{name}`")), "{error}");
            name.parse::<Reference>().unwrap();
        }
        let error = "!!".parse::<Reference>().unwrap_err().to_string();
        assert!(!error.contains("try"), "{error}");
    }
    use proptest::prelude::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn names_as_people_write_them() {
        let hex = "a".repeat(64);
        let cases = [
            ("opal", "docker.io", "library/opal", "latest"),
            ("opal:1.2", "docker.io", "library/opal", "1.2"),
            ("team/opal", "docker.io", "team/opal", "latest"),
            ("localhost/opal", "localhost", "opal", "latest"),
            ("localhost:5000/opal:x", "localhost:5000", "opal", "x"),
            (
                "127.0.0.1:5000/a/b-c__d",
                "127.0.0.1:5000",
                "a/b-c__d",
                "latest",
            ),
            ("[::1]:5000/opal", "[::1]:5000", "opal", "latest"),
            (
                "registry.example.com/team/opal:1.2",
                "registry.example.com",
                "team/opal",
                "1.2",
            ),
        ];
        for (given, registry, repository, what) in cases {
            let reference = parse(given);
            assert_eq!(reference.registry(), registry, "{given}");
            assert_eq!(reference.repository(), repository, "{given}");
            assert_eq!(reference.tag_or_digest(), what, "{given}");
            assert_eq!(reference.to_string(), given);
        }
        let by_digest = parse(&format!("opal:1@sha256:{hex}"));
        assert_eq!(by_digest.tag_or_digest(), format!("sha256:{hex}"));
        assert_eq!(by_digest.tag(), Some("1"));
    }

    #[test]
    fn what_is_not_a_name_says_why() {
        for (given, part) in [
            ("", "empty"),
            ("Opal", "upper-case letters; try `opal`"),
            ("opal:", "tag after `:` is empty"),
            ("opal:-x", "tag `-x`"),
            ("a//b", "between slashes"),
            ("-opal", "begins or ends"),
            ("../opal", "not a host name"),
            ("opal/..", "begins or ends"),
            ("opal opal", "may not stand in a name"),
            ("a..b", "may not separate"),
            ("example.com:0/opal", "not a port"),
            ("[::1]junk/opal", "may not follow the address"),
            ("[::1]:/opal", "not a port"),
            ("[::1]\0:5000/opal", "may not follow the address"),
            ("example.com:99999/opal", "not a port"),
            ("opal@sha256:12", "not a digest"),
        ] {
            let error = given.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(part), "{given}: {error}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_displays_what_was_given(text in "\\PC{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string(), text);
                prop_assert!(reference.canonical().parse::<Reference>().is_ok());
            }
        }
    }
}
