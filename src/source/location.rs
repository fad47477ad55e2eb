//! What a source argument means: a directory, a git repository, an archive, standard input.
//!
//! The text comes from people, from pipelines and from labels of images, and ends as arguments of
//! `git` and of `ssh`. So everything that is not plainly one of the known forms is refused here, each
//! with its reason: text that begins with `-`, remote helpers (`ext::sh -c …` runs a program, see
//! gitremote-helpers), other protocols, hosts and refs with odd characters.

use std::fmt;
use std::path::{Path, PathBuf};

use super::SourceError;
use crate::app::address::{Address, is_percent_encoded, login_and_place, percent_decoded};

/// Longest location that is accepted.
const MAX_LENGTH: usize = 4096;
/// Longest name of a branch or tag, as in file systems.
const MAX_REFERENCE: usize = 255;

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The working tree as it is.
    Directory(PathBuf),
    Git(GitUrl),
    /// A tar (also compressed with gzip or zstd) or zip file.
    Archive(PathBuf),
    /// A tar, also compressed, on standard input.
    Stdin,
}

impl Origin {
    /// Reads a source argument: `-`, a path, a URL, or git's `[USER@]HOST:PATH`. An existing file or
    /// directory comes first; `DIR#REF` is a commit of the repository there.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        check(text)?;
        let path = Path::new(text);
        if !text.contains("://") {
            if path.is_dir() {
                return Ok(if bare_repository(path) {
                    Self::Git(GitUrl::of_path(path, None)?)
                } else {
                    Self::Directory(path.to_owned())
                });
            }
            if path.exists() {
                return Ok(Self::Archive(path.to_owned()));
            }
            if let Some((directory, reference)) = text.rsplit_once('#')
                && Path::new(directory).is_dir()
            {
                return Ok(Self::Git(GitUrl::of_path(
                    Path::new(directory),
                    Some(reference),
                )?));
            }
        } else if let Some(local) = text.strip_prefix("file://") {
            // As in the `s2i` tool, a file URL may be any directory.
            let path = Path::new(local);
            if path.is_file() {
                return Ok(Self::Archive(path.to_owned()));
            }
            if path.is_dir() && !path.join(".git").exists() && !bare_repository(path) {
                return Ok(Self::Directory(path.to_owned()));
            }
        }
        if text.contains("://") || text.contains("::") || is_scp_like(text) {
            return GitUrl::parse(text).map(Self::Git);
        }
        Ok(Self::Directory(path.to_owned()))
    }

    /// A place on this machine, or `-`; never a URL.
    pub fn local(path: &Path) -> Self {
        if path == Path::new("-") {
            Self::Stdin
        } else if path.is_file() {
            Self::Archive(path.to_owned())
        } else {
            Self::Directory(path.to_owned())
        }
    }

    /// The same at another commit: for `--ref`, which replaces a `#REF` in the URL.
    pub fn at(self, reference: &str) -> Result<Self, SourceError> {
        check_reference(reference)?;
        match self {
            Self::Git(mut url) => {
                url.reference = Some(reference.to_owned());
                Ok(Self::Git(url))
            }
            Self::Directory(path) if path.join(".git").exists() => {
                Ok(Self::Git(GitUrl::of_path(&path, Some(reference))?))
            }
            _ => Err(SourceError::Reference {
                reference: reference.to_owned(),
                problem: "the source is not a git repository, so it has no branches, tags or commits",
            }),
        }
    }
}

/// For people: no credentials.
impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::Archive(path) => write!(formatter, "{}", path.display()),
            Self::Git(url) => write!(formatter, "{url}"),
            Self::Stdin => formatter.write_str("standard input"),
        }
    }
}

/// The protocols that `git` may speak for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Https,
    Http,
    Ssh,
    File,
}

/// A git repository, and the wanted commit.
#[derive(Clone, PartialEq, Eq)]
pub struct GitUrl {
    /// The URL for `git`: never with a password.
    pub(super) url: String,
    pub(super) protocol: Protocol,
    /// User name and password that stood in an http(s) URL.
    pub(super) login: Option<(String, String)>,
    /// Branch, tag or commit; `None` for the repository's own `HEAD`.
    pub(super) reference: Option<String>,
}

impl GitUrl {
    /// The repository's URL, without a login and without a reference.
    pub fn address(&self) -> &str {
        &self.url
    }

    /// The repository's directory, if it is on this machine.
    pub fn path(&self) -> Option<PathBuf> {
        let path = self.url.strip_prefix("file://").unwrap_or(&self.url);
        (self.protocol == Protocol::File).then(|| PathBuf::from(path))
    }

    /// Reads `URL[#REF]`, where URL is one of `https`, `http`, `ssh`, `file`, or `[USER@]HOST:PATH`.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        check(text)?;
        let malformed = |problem| SourceError::Url {
            url: redacted(text),
            problem,
        };
        let (address, reference) = match text.split_once('#') {
            Some((address, reference)) => (address, Some(reference)),
            None => (text, None),
        };
        if let Some(reference) = reference {
            check_reference(reference)?;
        }
        let reference = reference.map(str::to_owned);
        if address.contains(|c: char| c.is_whitespace() || c == '\\')
            && remote_helper(address).is_none()
        {
            return Err(malformed("it has a space or a backslash in it"));
        }
        if let Some(transport) = remote_helper(address) {
            return Err(SourceError::Transport {
                transport: transport.to_owned(),
                url: redacted(text),
            });
        }
        let Some((scheme, behind)) = address.split_once("://") else {
            if !is_scp_like(address) {
                return Err(malformed(
                    "it is neither https://…, ssh://…, file://… nor [USER@]HOST:PATH",
                ));
            }
            let (host, path) = split_scp(address).ok_or_else(|| malformed("it has no host"))?;
            check_authority(host).map_err(malformed)?;
            if path.is_empty() || path.starts_with('-') {
                return Err(malformed("its path is empty or begins with `-`"));
            }
            return Ok(Self {
                url: address.to_owned(),
                protocol: Protocol::Ssh,
                login: None,
                reference,
            });
        };
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "https" => Protocol::Https,
            "http" => Protocol::Http,
            "ssh" | "git+ssh" | "ssh+git" => Protocol::Ssh,
            "file" => Protocol::File,
            _ => {
                return Err(SourceError::Transport {
                    transport: scheme.to_owned(),
                    url: redacted(text),
                });
            }
        };
        let Address {
            login: user_info,
            place: host,
            rest: path,
            ..
        } = Address::behind(scheme, behind);
        if path.len() < 2 || !path.starts_with('/') {
            return Err(malformed("it names no repository"));
        }
        if path[1..].starts_with('-') {
            return Err(malformed("its path begins with `-`"));
        }
        if protocol == Protocol::File {
            if user_info.is_some() || !["", "localhost"].contains(&host) {
                return Err(malformed("a file URL has three slashes: file:///PATH"));
            }
            return Ok(Self {
                url: format!("file://{path}"),
                protocol,
                login: None,
                reference,
            });
        }
        check_host(host).map_err(malformed)?;
        let mut login = None;
        let mut shown_user = String::new();
        if let Some(user_info) = user_info {
            let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
            let decode = |part: &str| {
                decoded(part)
                    .ok_or_else(|| malformed("its user or password is not percent-encoded text"))
            };
            if protocol == Protocol::Ssh {
                // A password in an ssh URL is of no use to ssh, and shows in a list of processes.
                check_user(user).map_err(malformed)?;
                shown_user = format!("{user}@");
            } else {
                login = Some((decode(user)?, decode(password)?));
            }
        }
        let scheme = match protocol {
            Protocol::Https => "https",
            Protocol::Http => "http",
            _ => "ssh",
        };
        Ok(Self {
            url: format!("{scheme}://{shown_user}{host}{path}"),
            protocol,
            login,
            reference,
        })
    }

    /// A repository of this machine.
    fn of_path(path: &Path, reference: Option<&str>) -> Result<Self, SourceError> {
        if let Some(reference) = reference {
            check_reference(reference)?;
        }
        let absolute = std::fs::canonicalize(path).map_err(|source| SourceError::Root {
            path: path.to_owned(),
            source,
        })?;
        let text = absolute.to_str().ok_or_else(|| SourceError::Url {
            url: absolute.display().to_string(),
            problem: "its path is not UTF-8",
        })?;
        Ok(Self {
            url: format!("file://{text}"),
            protocol: Protocol::File,
            login: None,
            reference: reference.map(str::to_owned),
        })
    }

    /// Without credentials and without a reference.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url)?;
        match &self.reference {
            Some(reference) => write!(formatter, "#{reference}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GitUrl({self})")
    }
}

/// Checks for every location.
fn check(text: &str) -> Result<(), SourceError> {
    let malformed = |problem| {
        Err(SourceError::Url {
            url: redacted(text).chars().take(200).collect(),
            problem,
        })
    };
    if text.is_empty() {
        return malformed("it is empty");
    }
    if text.len() > MAX_LENGTH {
        return malformed("it is longer than 4096 bytes");
    }
    if text.starts_with('-') {
        return Err(SourceError::LooksLikeOption {
            what: "source",
            given: redacted(text),
        });
    }
    if text.contains(char::is_control) {
        return malformed("it has a control character in it");
    }
    Ok(())
}

/// A branch, a tag, a full name (`refs/…`) or a commit id (git-check-ref-format(1)).
pub(super) fn check_reference(reference: &str) -> Result<(), SourceError> {
    if reference.starts_with('-') {
        return Err(SourceError::LooksLikeOption {
            what: "reference",
            given: reference.to_owned(),
        });
    }
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    // Case-sensitive, as in git.
    #[expect(clippy::case_sensitive_file_extension_comparisons, reason = "no file")]
    let bad_part = |part: &str| {
        part.is_empty() || part.starts_with('.') || part.ends_with(".lock") || part.ends_with('.')
    };
    let problem = if reference.is_empty() {
        "it is empty"
    } else if reference.len() > MAX_REFERENCE {
        "it is longer than 255 bytes"
    } else if reference.contains(bad) {
        "it has a character that no branch, tag or commit id has (a space, `~`, `^`, `:`, `?`, `*`, `[`, `\\`)"
    } else if reference == "@"
        || reference.contains("..")
        || reference.contains("@{")
        || reference.split('/').any(bad_part)
    {
        "it is not the name of a branch, a tag or a commit"
    } else {
        return Ok(());
    };
    Err(SourceError::Reference {
        reference: reference.chars().take(MAX_REFERENCE).collect(),
        problem,
    })
}

/// Whether the text is a commit id written out: SHA-1 or SHA-256.
pub(super) fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `ext` of `ext::sh -c x`: git would run `git-remote-ext`.
fn remote_helper(address: &str) -> Option<&str> {
    let (name, _) = address.split_once("::")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// git-clone(1): "recognized if there are no slashes before the first colon".
fn is_scp_like(text: &str) -> bool {
    split_scp(text).is_some()
}

/// `[USER@]HOST` and the path.
fn split_scp(text: &str) -> Option<(&str, &str)> {
    let bracket = text.rfind("]:").map(|at| at + 1);
    let colon = match bracket {
        Some(at) if text[..at].contains('[') => at,
        _ => text.find(':')?,
    };
    let (host, path) = text.split_at(colon);
    (!host.is_empty() && !host.contains('/')).then(|| (host, &path[1..]))
}

/// `[USER@]HOST`
fn check_authority(authority: &str) -> Result<(), &'static str> {
    let (user, host) = login_and_place(authority);
    user.map_or(Ok(()), check_user)?;
    check_host(host)
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    if host.starts_with('-') {
        return Err("its host begins with `-`");
    }
    let good = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if !host.chars().all(good) {
        return Err("its host has a character that no host has");
    }
    Ok(())
}

fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.starts_with('-') {
        return Err("its user name is empty or begins with `-`");
    }
    let good = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
    if !user.chars().all(good) {
        return Err("its user name has a character that no user name has");
    }
    Ok(())
}

/// `None` for text that is not UTF-8 or has control characters: a line feed would end a line of git's credential
/// protocol (git-credential(1)).
fn decoded(text: &str) -> Option<String> {
    let decoded = String::from_utf8(percent_decoded(text)).ok()?;
    (is_percent_encoded(text) && !decoded.contains(char::is_control)).then_some(decoded)
}

/// Text with URLs, safe to show: without the part between `://` and `@`.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || "/'\"`?#".contains(c))
            .unwrap_or(after.len());
        // A password may have these characters unencoded: what counts is the last `@` of the word.
        let word = after
            .find(|c: char| c.is_whitespace() || c == '\'' || c == '"' || c == '`')
            .unwrap_or(after.len());
        let credentials = after[..end].rfind('@').or_else(|| {
            let at = after[..word].rfind('@')?;
            after[..at].contains(':').then_some(at)
        });
        rest = match credentials {
            Some(at) => {
                let user = after[..at].split(':').next().unwrap_or_default();
                // `git@` is everyone's; any other name may be a token.
                shown.push_str(if user == "git" && !after[..at].contains(':') {
                    "git@"
                } else {
                    "***@"
                });
                &after[at + 1..]
            }
            None => after,
        };
    }
    shown.push_str(rest);
    shown
}

/// A repository without a working tree.
fn bare_repository(path: &Path) -> bool {
    path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

#[cfg(test)]
mod tests;
