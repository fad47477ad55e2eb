//! The servers: which packages bring them, what they can serve, and how they are started.

mod command;
mod concurrency;
mod limits;
mod mod_wsgi;
#[cfg(test)]
mod page;
pub mod pins;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::detect::Interface;
use super::requirement::has;

pub use command::{Context, SOCKET_IO, command, extra, shell_line};
pub use concurrency::{Concurrency, ConcurrencyError, VARIABLE as CONCURRENCY};
pub use limits::Limits;

/// The variable for how many seconds running requests get after the server is told to stop.
pub const GRACE: &str = "WARPDRIVE_GRACEFUL_TIMEOUT";
/// The default: the time that Kubernetes gives a pod.
pub const DEFAULT_GRACE: u32 = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Server {
    Gunicorn,
    ModWsgi,
    Uwsgi,
    Waitress,
    Uvicorn,
    Hypercorn,
    Daphne,
    Granian,
}

use Server::{Daphne, Granian, Gunicorn, Hypercorn, ModWsgi, Uvicorn, Uwsgi, Waitress};

impl Server {
    pub const ALL: [Server; 8] = [
        Gunicorn, ModWsgi, Uwsgi, Waitress, Uvicorn, Hypercorn, Daphne, Granian,
    ];

    /// The name in `.warpdrive/server_type`.
    pub fn name(self) -> &'static str {
        match self {
            Gunicorn => "gunicorn",
            ModWsgi => "mod_wsgi",
            Uwsgi => "uwsgi",
            Waitress => "waitress",
            Uvicorn => "uvicorn",
            Hypercorn => "hypercorn",
            Daphne => "daphne",
            Granian => "granian",
        }
    }

    pub fn from_name(name: &str) -> Option<Server> {
        Server::ALL.into_iter().find(|server| server.name() == name)
    }

    /// Whether it can serve applications of this kind.
    pub fn serves(self, interface: Interface) -> bool {
        match interface {
            Interface::Wsgi => !matches!(self, Uvicorn | Daphne),
            Interface::Asgi => !matches!(self, ModWsgi | Uwsgi | Waitress),
            Interface::Own => false,
        }
    }

    /// Made for ASGI, even if it serves WSGI too: if an application has both interfaces, the
    /// server gets the ASGI one.
    pub fn is_asynchronous(self) -> bool {
        matches!(self, Uvicorn | Hypercorn | Daphne | Granian)
    }

    /// Serves static files itself; the others get `WhiteNoise` around the application.
    pub fn serves_static_files(self) -> bool {
        matches!(self, ModWsgi | Uwsgi)
    }

    /// The build's module that starts it instead of its own program, because that program would
    /// cut responses when it is told to stop.
    pub fn launcher(self) -> Option<&'static str> {
        match self {
            Waitress => Some("warpdrive_waitress"),
            Hypercorn => Some("warpdrive_hypercorn"),
            Daphne => Some("warpdrive_daphne"),
            Gunicorn | ModWsgi | Uwsgi | Uvicorn | Granian => None,
        }
    }

    /// The variable, besides the command line, that sets its number of workers or threads.
    pub fn reads_concurrency(self) -> Option<&'static str> {
        match self {
            Gunicorn | Uvicorn => Some(CONCURRENCY),
            Daphne => Some("ASGI_THREADS"),
            ModWsgi | Uwsgi | Waitress | Hypercorn | Granian => None,
        }
    }

    /// Packages that contain it; warpdrive installs the first one.
    pub(crate) fn packages(self) -> &'static [&'static str] {
        match self {
            Gunicorn => &["gunicorn"],
            ModWsgi => &["mod-wsgi", "mod-wsgi-standalone"],
            Uwsgi => &["uwsgi", "pyuwsgi"],
            Waitress => &["waitress"],
            Uvicorn => &["uvicorn"],
            Hypercorn => &["hypercorn"],
            Daphne => &["daphne"],
            Granian => &["granian"],
        }
    }

    /// The server for this kind of application that `names` (normalized) contain.
    pub fn brought_by(names: &BTreeSet<String>, interface: Interface) -> Option<Server> {
        let order: &[Server] = match interface {
            Interface::Wsgi => &[Gunicorn, Uwsgi, Waitress, ModWsgi, Granian, Hypercorn],
            Interface::Asgi => &[Uvicorn, Hypercorn, Granian, Daphne],
            Interface::Own => &[],
        };
        order
            .iter()
            .copied()
            .find(|server| server.packages().iter().any(|package| has(names, package)))
    }

    /// The packages to install for it (normalized names), if `names` do not have them.
    /// `wrapped`: `WhiteNoise` is needed.
    pub fn missing_packages(
        self,
        names: &BTreeSet<String>,
        interface: Interface,
        wrapped: bool,
    ) -> Vec<String> {
        let mut missing = Vec::new();
        if !self.packages().iter().any(|package| has(names, package)) {
            missing.extend(self.packages().first().map(|name| (*name).to_owned()));
        }
        let mut more: Vec<&str> = Vec::new();
        if self == Gunicorn && interface == Interface::Asgi {
            more.extend(["uvicorn", "uvicorn-worker"]);
        }
        if wrapped && !self.serves_static_files() {
            more.push("whitenoise");
        }
        missing.extend(
            more.into_iter()
                .filter(|package| !has(names, package))
                .map(str::to_owned),
        );
        missing
    }
}

impl fmt::Display for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_requirements_bring() {
        let names = |list: &str| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        for (list, interface, expected) in [
            ("flask gunicorn waitress", Interface::Wsgi, Some(Gunicorn)),
            ("flask waitress", Interface::Wsgi, Some(Waitress)),
            ("flask pyuwsgi", Interface::Wsgi, Some(Uwsgi)),
            ("flask", Interface::Wsgi, None),
            ("fastapi gunicorn uvicorn", Interface::Asgi, Some(Uvicorn)),
            ("fastapi daphne", Interface::Asgi, Some(Daphne)),
            ("flask uvicorn", Interface::Wsgi, None),
        ] {
            assert_eq!(
                Server::brought_by(&names(list), interface),
                expected,
                "{list}"
            );
        }
        assert_eq!(
            Gunicorn.missing_packages(&names("gunicorn"), Interface::Wsgi, true),
            ["whitenoise"]
        );
        assert_eq!(
            Uwsgi.missing_packages(&names("pyuwsgi"), Interface::Wsgi, true),
            Vec::<String>::new()
        );
        assert_eq!(
            Gunicorn.missing_packages(&names(""), Interface::Asgi, false),
            ["gunicorn", "uvicorn", "uvicorn-worker"]
        );
    }
}
