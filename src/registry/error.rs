//! What can go wrong with a registry, in words that name the registry, the repository and the way out.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::progress::shown;

/// A failed exchange with a registry, an index or the Docker daemon.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("cannot reach {host}: {cause}")]
    Unreachable {
        host: String,
        kind: Unreachable,
        cause: String,
    },
    #[error("{host} answered {status} to {action}{detail}")]
    Status {
        host: String,
        repository: String,
        action: String,
        status: u16,
        detail: Detail,
    },
    #[error("{host} has no {what}{detail}")]
    NotFound {
        host: String,
        what: String,
        detail: Detail,
    },
    #[error(transparent)]
    Unauthorized(Box<Denied>),
    #[error("{host} asks to wait {} (until {}), and warpdrive waits {} at most", humantime::format_duration(whole_seconds(*wait)), time_after(*wait), humantime::format_duration(whole_seconds(*limit)))]
    Busy {
        host: String,
        wait: Duration,
        limit: Duration,
    },
    #[error(
        "{target} does not have the base layer {digest}, and the registry does not mount it from {place}"
    )]
    Elsewhere {
        digest: String,
        target: String,
        place: String,
    },
    #[error("{host} may not be used: {} blocks it", by.display())]
    Blocked { host: String, by: PathBuf },
    #[error("{what} is for {found}, not for {wanted}")]
    OtherPlatform {
        what: String,
        wanted: String,
        found: String,
    },
    #[error("{target} names another digest than that of the image, {found}")]
    OtherDigest { target: String, found: String },
    #[error("{host} asks for a login in a way that cannot be trusted: {problem}")]
    Challenge { host: String, problem: String },
    #[error(
        "{what} arrived with the digest {found} instead of {expected}: the bytes were changed on the way or in the registry"
    )]
    Digest {
        what: String,
        expected: String,
        found: String,
    },
    #[error(
        "{host} keeps a damaged copy of {digest} and did not replace it with the one that was sent"
    )]
    Damaged { host: String, digest: String },
    #[error("{host} said that it has taken {what}, and does not have it")]
    Lost { host: String, what: String },
    #[error("{what} ended after {received} of {expected} bytes")]
    Truncated {
        what: String,
        received: u64,
        expected: u64,
    },
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("{what} cannot be used: {problem}")]
    Manifest { what: String, problem: String },
    #[error("{what} is not there for {wanted}, but for {}", list(.found))]
    Platform {
        what: String,
        wanted: String,
        found: Vec<String>,
    },
    #[error("{} cannot be used: {problem}", .path.display())]
    File { path: PathBuf, problem: String },
    #[error("`{url}` cannot be used: {problem}")]
    Url { url: String, problem: String },
    #[error("while {doing}: {source}")]
    Local { doing: String, source: io::Error },
    #[error("while {doing}: {source}")]
    Store {
        doing: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the Docker daemon at {socket} {problem}")]
    Daemon { socket: String, problem: String },
}

/// A refusal for want of a login, or of rights.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host} did not allow {action} {}{detail}{}", who(login.as_deref()), beside(note.as_deref()))]
pub struct Denied {
    pub host: String,
    pub repository: String,
    pub action: String,
    /// The user whose login was sent; `None` when none was.
    pub login: Option<String>,
    pub detail: Detail,
    /// A credential helper that failed, say.
    pub note: Option<String>,
    /// Ways to log in that the registry offers, when warpdrive knows none of them.
    pub unknown_ways: Vec<String>,
}

fn who(login: Option<&str>) -> String {
    login.map_or_else(
        || "without a login".to_owned(),
        |user| format!("for {user}"),
    )
}

fn time_after(wait: Duration) -> String {
    let time = SystemTime::now()
        .checked_add(wait)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn beside(note: Option<&str>) -> String {
    note.map_or_else(String::new, |note| format!(" ({note})"))
}

/// Why there was no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// The name has no address (or there is no network to ask).
    Name,
    /// Nothing listens there.
    Refused,
    /// The certificate was not accepted.
    Certificate,
    /// The certificate is of another time.
    Expired,
    /// The other side wants a certificate, too.
    ClientCertificate,
    /// The proxy did not let through.
    Proxy,
    /// The user's own limit is over.
    Limit,
    /// The other side does not speak TLS.
    NotTls,
    /// Nothing came back in time.
    Timeout,
    /// The connection broke.
    Broken,
}

/// A registry's own error code and message, bounded and without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail(pub String);

impl fmt::Display for Detail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(formatter, ": {}", self.0)
        }
    }
}

fn list(found: &[String]) -> String {
    if found.is_empty() {
        return "no platform at all".into();
    }
    let mut text = found
        .iter()
        .take(12)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if found.len() > 12 {
        text.push_str(", …");
    }
    text
}

impl RegistryError {
    /// What the user can do about it, for the catalogue of errors in `cli`.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { host, kind, .. } => Some(match kind {
                Unreachable::Proxy => "check that the proxy runs; NO_PROXY=HOST[:PORT],… names registries that are reached without it".into(),
                Unreachable::Limit => "give it more time with --timeout".into(),
                Unreachable::Expired => format!(
                    "the certificate of {host} has to be renewed there; if the date is right, check this machine's clock ({})",
                    time_after(Duration::ZERO)
                ),
                Unreachable::ClientCertificate => format!(
                    "put a certificate and its key into /etc/containers/certs.d/{host}/ or ~/.config/containers/certs.d/{host}/, as client.cert and client.key"
                ),
                _ if is_docker_hub(host) && *kind != Unreachable::Certificate => {
                    "check the network and HTTPS_PROXY; `warpdrive builder build` makes a builder image from Debian's packages without any registry".into()
                }
                Unreachable::Name => "check the registry's name and the network (HTTPS_PROXY is honoured)".into(),
                Unreachable::Refused => "check the host and the port, and that the registry runs".into(),
                Unreachable::Certificate => format!(
                    "give the registry's CA with --ca FILE, in SSL_CERT_FILE or in /etc/containers/certs.d/{host}/ca.crt, or list the host in WARPDRIVE_INSECURE_REGISTRIES"
                ),
                Unreachable::NotTls => format!(
                    "if {host} really speaks plain HTTP, list it: WARPDRIVE_INSECURE_REGISTRIES={host}"
                ),
                Unreachable::Timeout | Unreachable::Broken => {
                    "try again; if it stays so, check the network and HTTPS_PROXY".into()
                }
            }),
            Self::Unauthorized(denied) => Some(if !denied.unknown_ways.is_empty() {
                "warpdrive logs in by Basic and by tokens: ask the registry's operator for a robot account or an access token".into()
            } else if denied.login.is_some() {
                format!("check that this user may use the repository, or log in again: `warpdrive login {0}` (or `podman login`, `docker login`)", denied.host)
            } else {
                format!("log in with `warpdrive login {0}`, `podman login {0}` or `docker login {0}`; check the name too: many registries answer so for a repository that does not exist", denied.host)
            }),
            Self::Busy { .. } => Some("try again after that time; pull, push and copy wait longer with --timeout; a login often has a higher limit".into()),
            Self::Blocked { .. } => Some("take the image from a registry that is allowed, or have the entry `blocked = true` removed".into()),
            Self::OtherPlatform { .. } => Some(
                "the image says so itself: name the platform that you want with `--platform OS/ARCH`, or have the image built for it".into(),
            ),
            Self::Elsewhere { target, .. } => Some(format!(
                "push the builder to the registry of {target} (`warpdrive builder push`), build in that image, and let the login read the builder's repository; or copy the base there: `warpdrive copy`"
            )),
            Self::OtherDigest { .. } => Some("push it under a tag, or take the image of that digest; with --compression or --format the digest is a new one".into()),
            Self::NotFound { .. } => Some("check the name and the tag".into()),
            Self::Status { status: 429, .. } => Some(
                "the registry limits how often it is asked: wait, or log in for a higher limit".into(),
            ),
            Self::Status { status, .. } if *status >= 500 => {
                Some("this is the registry's own trouble: try again later".into())
            }
            Self::Status { status: 404, repository, .. } if !repository.is_empty() => {
                Some("check the repository's name; some registries want it created first".into())
            }
            Self::Status { status: 413, action, .. } if action.contains("of the manifest") => {
                Some("the registry, or a proxy before it, limits the size of manifests: fewer layers or annotations, or fewer images in the index, make it smaller".into())
            }
            Self::Status { status: 413, .. } => {
                Some("the registry, or a proxy before it, limits the size of uploads, even of small chunks; `--chunk-size` sets their size".into())
            }
            Self::Digest { .. } => Some(
                "nothing of it was kept; if it happens again, the registry's storage or a proxy between is damaged: push the image again".into(),
            ),
            Self::Damaged { .. } => Some(
                "the registry's storage was damaged (a full disk, a crash): have the file of this blob removed there, and push again".into(),
            ),
            Self::Lost { .. } => Some(
                "what was pushed cannot be pulled: push again; if it stays so, the registry's storage, or a proxy that answers in its place, has to be looked at".into(),
            ),
            Self::Truncated { .. } => Some("try again; the registry or a proxy cuts the connection".into()),
            Self::Platform { .. } => Some("choose another one with `--platform OS/ARCH`".into()),
            Self::Daemon { .. } => Some(
                "check that Docker runs and that DOCKER_HOST names its socket (unix:///path)".into(),
            ),
            _ => None,
        }
    }

    /// The error of a stream: what a registry did is the registry's, the rest is this machine's.
    pub(super) fn of_stream(error: io::Error, doing: String) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(source) => Self::Local { doing, source },
        }
    }

    /// Whether the registry, the network or a login is to blame (exit code 5), not the local machine.
    pub fn is_remote(&self) -> bool {
        !matches!(
            self,
            Self::Blocked { .. }
                | Self::OtherDigest { .. }
                | Self::File { .. }
                | Self::Local { .. }
                | Self::Store { .. }
        )
    }
}

fn is_docker_hub(host: &str) -> bool {
    matches!(
        host,
        "docker.io" | "registry-1.docker.io" | "auth.docker.io"
    )
}

/// Rounded up, so that a client does not try too early.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// Makes text from outside fit for a message: one line, no control characters, bounded.
pub(crate) fn tame(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        if out.len() >= limit {
            out.push('…');
            break;
        }
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c => out.push_str(&shown(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_tamed() {
        assert_eq!(tame("a\nb\u{1b}[31m", 100), "a b\\u{1b}[31m");
        assert_eq!(tame(&"x".repeat(50), 10), format!("{}…", "x".repeat(10)));
        assert_eq!(tame("\u{202e}evil", 100), "\\u{202e}evil");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let error = RegistryError::Busy {
            host: "r".into(),
            wait: Duration::from_millis(86_399_770),
            limit: Duration::from_mins(10),
        };
        let text = error.to_string();
        assert!(text.contains("asks to wait 1day ("), "{text}");
    }

    #[test]
    fn no_network_to_the_hub_names_the_way_without_a_registry() {
        let error = RegistryError::Unreachable {
            host: "docker.io".into(),
            kind: Unreachable::Name,
            cause: "no address".into(),
        };
        assert!(error.hint().unwrap().contains("warpdrive builder build"));
    }
}
