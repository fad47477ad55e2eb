//! Instrumentation without touching the application's code: which packages an agent needs, and how
//! the command that starts the server is wrapped so that the agent is in every Python process.
//!
//! The setting `instrument` chooses the agent; the build installs it ([`Instrument::packages`]),
//! `start` wraps the command ([`Instrument::wrap`], [`Instrument::variables`]). Other commands
//! are not instrumented: no agent watches `warpdrive exec python manage.py shell`.

mod libraries;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::server::Server;

pub(crate) use libraries::release;

/// The agent in the application's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instrument {
    Opentelemetry,
    Newrelic,
    Ddtrace,
    /// Groups of entry points whose post-import hooks `autowrapt` registers (`AUTOWRAPT_BOOTSTRAP`).
    Autowrapt(Vec<String>),
}

impl fmt::Display for Instrument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opentelemetry => out.write_str("opentelemetry"),
            Self::Newrelic => out.write_str("newrelic"),
            Self::Ddtrace => out.write_str("ddtrace"),
            Self::Autowrapt(names) => write!(out, "autowrapt:{}", names.join(",")),
        }
    }
}

impl Instrument {
    /// Reads the setting's value: an agent's name, or `autowrapt:NAME,NAME`.
    pub fn parse(text: &str) -> Option<Instrument> {
        match text {
            "opentelemetry" => return Some(Self::Opentelemetry),
            "newrelic" => return Some(Self::Newrelic),
            "ddtrace" => return Some(Self::Ddtrace),
            _ => {}
        }
        let list = text.strip_prefix("autowrapt:")?;
        let names: Vec<String> = list
            .split(|c: char| c == ',' || c.is_ascii_whitespace())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let good = |name: &String| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        (!names.is_empty() && names.iter().all(good)).then_some(Self::Autowrapt(names))
    }

    /// The packages it consists of (normalized names). Those of OpenTelemetry depend on which
    /// distributions are there, as `opentelemetry-bootstrap` would choose.
    pub fn packages(&self, present: &BTreeSet<String>) -> Vec<&'static str> {
        match self {
            Self::Opentelemetry => libraries::packages(present),
            Self::Newrelic => vec!["newrelic"],
            Self::Ddtrace => vec!["ddtrace"],
            Self::Autowrapt(_) => vec!["autowrapt"],
        }
    }

    /// The program that gets the server's command line as arguments.
    fn wrapper(&self, server: Option<Server>) -> &'static [&'static str] {
        match self {
            Self::Opentelemetry => &["opentelemetry-instrument"],
            // mod_wsgi-express has its own option, which New Relic's variables set.
            Self::Newrelic if server == Some(Server::ModWsgi) => &[],
            Self::Newrelic => &["newrelic-admin", "run-program"],
            Self::Ddtrace => &["ddtrace-run"],
            Self::Autowrapt(_) => &[],
        }
    }

    /// Puts the agent in front of a command line.
    pub fn wrap(&self, line: Vec<String>, server: Option<Server>) -> Vec<String> {
        let before = self.wrapper(server).iter().map(|word| (*word).to_owned());
        before.chain(line).collect()
    }

    /// Variables for the server, each where it is not set: names and values.
    pub fn variables(&self, service: Option<&str>) -> Vec<(&'static str, String)> {
        match self {
            Self::Opentelemetry => {
                // The exporter that is installed; the distribution's own default is gRPC.
                let mut variables =
                    vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned())];
                if let Some(service) = service {
                    variables.push(("OTEL_SERVICE_NAME", service.to_owned()));
                }
                variables
            }
            Self::Newrelic => service
                .map(|service| ("NEW_RELIC_APP_NAME", service.to_owned()))
                .into_iter()
                .collect(),
            Self::Ddtrace => service
                .map(|service| ("DD_SERVICE", service.to_owned()))
                .into_iter()
                .collect(),
            Self::Autowrapt(names) => vec![("AUTOWRAPT_BOOTSTRAP", names.join(","))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_values() {
        for (text, expected) in [
            ("opentelemetry", Some("opentelemetry")),
            ("autowrapt:demo", Some("autowrapt:demo")),
            (
                "autowrapt: one, two\nthree",
                Some("autowrapt:one,two,three"),
            ),
            ("autowrapt:", None),
            ("autowrapt:a;b", None),
            ("opentelemtry", None),
            ("", None),
        ] {
            let found = Instrument::parse(text).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn how_a_line_is_wrapped() {
        let line = || vec!["gunicorn".to_owned(), "x:y".to_owned()];
        for (text, server, expected) in [
            (
                "opentelemetry",
                Server::Gunicorn,
                "opentelemetry-instrument gunicorn x:y",
            ),
            (
                "newrelic",
                Server::Gunicorn,
                "newrelic-admin run-program gunicorn x:y",
            ),
            ("newrelic", Server::ModWsgi, "gunicorn x:y"),
            ("ddtrace", Server::Uwsgi, "ddtrace-run gunicorn x:y"),
            ("autowrapt:a", Server::Gunicorn, "gunicorn x:y"),
        ] {
            let instrument = Instrument::parse(text).unwrap();
            assert_eq!(
                instrument.wrap(line(), Some(server)).join(" "),
                expected,
                "{text}"
            );
        }
        let variables = Instrument::parse("autowrapt:a b")
            .unwrap()
            .variables(Some("x"));
        assert_eq!(variables, [("AUTOWRAPT_BOOTSTRAP", "a,b".to_owned())]);
    }
}
