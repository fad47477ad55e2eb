//! How many workers or threads a server gets. Pure arithmetic on [`Limits`]; the start prints the
//! result in one line.

use std::collections::BTreeMap;

use super::super::detect::Interface;
use super::{Limits, Server};

/// The user's variable; gunicorn and uvicorn read it too.
pub const VARIABLE: &str = "WEB_CONCURRENCY";

const MIB: u64 = 1 << 20;

/// `WEB_CONCURRENCY` is not a number of workers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{VARIABLE}={0} is not a number of at least 1")]
pub struct ConcurrencyError(pub String);

/// How a server's number follows from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    unit: Unit,
    per_cpu: u64,
    more: u64,
    most: u64,
    /// MiB for the server itself, and for each worker.
    once: u64,
    each: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Processes,
    Threads,
}

impl Unit {
    fn words(self, number: u64) -> &'static str {
        match (self, number) {
            (Unit::Processes, 1) => "worker process",
            (Unit::Processes, _) => "worker processes",
            (Unit::Threads, 1) => "thread",
            (Unit::Threads, _) => "threads",
        }
    }
}

impl Rule {
    fn of(server: Server, interface: Interface) -> Rule {
        let processes = Rule {
            unit: Unit::Processes,
            per_cpu: 1,
            more: 0,
            most: 12,
            once: 64,
            each: 128,
        };
        match server {
            // A process that does one thing at a time waits half of the time.
            Server::Gunicorn if interface != Interface::Asgi => Rule {
                per_cpu: 2,
                more: 1,
                ..processes
            },
            // One process.
            Server::Waitress | Server::Daphne => Rule {
                unit: Unit::Threads,
                per_cpu: 5,
                most: 20,
                once: 128,
                each: 16,
                ..processes
            },
            _ => processes,
        }
    }
}

/// How many, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    /// `None`: the server reads the user's value itself.
    pub number: Option<u64>,
    /// For the user, without a full stop.
    pub words: String,
}

/// Other ways than [`VARIABLE`] to set the number: options in `server_args`, and variables of the
/// server itself or of the table of `MOD_WSGI_*`.
fn said_by(server: Server) -> (&'static [&'static str], &'static [&'static str]) {
    match server {
        Server::Gunicorn | Server::Hypercorn => (&["--workers", "-w"], &[]),
        Server::ModWsgi => (&["--processes"], &["MOD_WSGI_PROCESSES"]),
        Server::Uwsgi => (
            &["--processes", "--workers", "-p"],
            &["UWSGI_PROCESSES", "UWSGI_WORKERS"],
        ),
        Server::Waitress => (&["--threads"], &[]),
        Server::Uvicorn => (&["--workers"], &[]),
        Server::Daphne => (&[], &["ASGI_THREADS"]),
        Server::Granian => (&["--workers"], &["GRANIAN_WORKERS"]),
    }
}

impl Concurrency {
    /// The user's number from `arguments` or a variable, else what the machine allows.
    ///
    /// # Errors
    /// If the user's value is not a number.
    pub fn choose(
        server: Server,
        interface: Interface,
        arguments: &[String],
        environment: &BTreeMap<String, String>,
        limits: &Limits,
    ) -> Result<Concurrency, ConcurrencyError> {
        let rule = Rule::of(server, interface);
        let (options, variables) = said_by(server);
        let says = |who: &str| Concurrency {
            number: None,
            words: format!("{} as {who} says", rule.unit.words(0)),
        };
        if let Some(option) = options.iter().find(|option| {
            arguments.iter().any(|word| {
                let rest = word.strip_prefix(**option);
                // `--workers 4`, `--workers=4`, `-w 4`, `-w4`
                rest.is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('=') || !option.starts_with("--")
                })
            })
        }) {
            return Ok(says(&format!("{option} in server_args")));
        }
        if let Some(variable) = variables.iter().find(|name| {
            environment
                .get(**name)
                .is_some_and(|value| !value.is_empty())
        }) {
            return Ok(says(variable));
        }
        let said = environment
            .get(VARIABLE)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty());
        let Some(text) = said else {
            return Ok(compute(rule, limits));
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=100_000).contains(number))
            .ok_or_else(|| ConcurrencyError(text.to_owned()))?;
        Ok(Concurrency {
            number: Some(number),
            words: format!("{number} {}, as {VARIABLE} says", rule.unit.words(number)),
        })
    }
}

fn compute(rule: Rule, limits: &Limits) -> Concurrency {
    let by_cpu = (rule.per_cpu * limits.cpus).div_ceil(1000) + rule.more;
    let by_memory = limits.memory.map(|bytes| {
        let mebibytes = bytes / MIB;
        (mebibytes, mebibytes.saturating_sub(rule.once) / rule.each)
    });
    let number = by_memory
        .map_or(by_cpu, |(_, number)| number.min(by_cpu))
        .clamp(1, rule.most);
    let cpus = decimal(limits.cpus);
    let plural = if limits.cpus == 1000 { "" } else { "s" };
    let kind = if limits.quota { " (quota)" } else { "" };
    let mut sum = match rule.per_cpu {
        1 => cpus.clone(),
        many => format!("{many} × {cpus}"),
    };
    if rule.more > 0 {
        sum = format!("{sum} + {}", rule.more);
    }
    let sum = if sum == by_cpu.to_string() {
        String::new()
    } else {
        format!(" ({sum})")
    };
    let memory = by_memory.map_or_else(String::new, |(mebibytes, number)| {
        let Rule { once, each, .. } = rule;
        format!(", {mebibytes} MiB allow {number} (({mebibytes} - {once}) / {each})")
    });
    let words = format!(
        "{number} {}: {cpus} CPU{plural}{kind} allow {by_cpu}{sum}{memory}; at least 1, at most {}",
        rule.unit.words(number),
        rule.most
    );
    Concurrency {
        number: Some(number),
        words,
    }
}

/// Thousandths as `2`, `1.5`, `0.25`.
fn decimal(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(server: Server, interface: Interface, cpus: u64, mebibytes: Option<u64>) -> String {
        let limits = Limits {
            cpus,
            quota: cpus != 2000,
            memory: mebibytes.map(|number| number * MIB),
        };
        Concurrency::choose(server, interface, &[], &BTreeMap::new(), &limits)
            .unwrap()
            .words
    }

    #[test]
    fn the_arithmetic_is_told() {
        use Interface::{Asgi, Wsgi};
        use Server::{Daphne, Gunicorn, ModWsgi, Uvicorn, Waitress};
        for (server, interface, cpus, memory, expected) in [
            (
                Gunicorn,
                Wsgi,
                2000,
                None,
                "5 worker processes: 2 CPUs allow 5 (2 × 2 + 1); at least 1, at most 12",
            ),
            (
                Gunicorn,
                Wsgi,
                1500,
                Some(512),
                "3 worker processes: 1.5 CPUs (quota) allow 4 (2 × 1.5 + 1), 512 MiB allow 3 ((512 - 64) / 128); at least 1, at most 12",
            ),
            (
                Gunicorn,
                Wsgi,
                64000,
                None,
                "12 worker processes: 64 CPUs (quota) allow 129 (2 × 64 + 1); at least 1, at most 12",
            ),
            (
                Gunicorn,
                Asgi,
                2000,
                None,
                "2 worker processes: 2 CPUs allow 2; at least 1, at most 12",
            ),
            (
                Uvicorn,
                Asgi,
                250,
                Some(100),
                "1 worker process: 0.25 CPUs (quota) allow 1 (0.25), 100 MiB allow 0 ((100 - 64) / 128); at least 1, at most 12",
            ),
            (
                ModWsgi,
                Wsgi,
                1000,
                Some(4096),
                "1 worker process: 1 CPU (quota) allow 1, 4096 MiB allow 31 ((4096 - 64) / 128); at least 1, at most 12",
            ),
            (
                Waitress,
                Wsgi,
                2000,
                None,
                "10 threads: 2 CPUs allow 10 (5 × 2); at least 1, at most 20",
            ),
            (
                Daphne,
                Asgi,
                2000,
                Some(256),
                "8 threads: 2 CPUs allow 10 (5 × 2), 256 MiB allow 8 ((256 - 128) / 16); at least 1, at most 20",
            ),
        ] {
            assert_eq!(words(server, interface, cpus, memory), expected);
        }
    }

    #[test]
    fn the_user_has_the_last_word() {
        let limits = Limits {
            cpus: 2000,
            quota: false,
            memory: Some(0),
        };
        let choose = |text: &str| {
            let environment = BTreeMap::from([(VARIABLE.to_owned(), text.to_owned())]);
            Concurrency::choose(
                Server::Gunicorn,
                Interface::Wsgi,
                &[],
                &environment,
                &limits,
            )
        };
        let found = choose(" 40 ").unwrap();
        assert_eq!(found.number, Some(40));
        assert_eq!(found.words, "40 worker processes, as WEB_CONCURRENCY says");
        assert_eq!(choose("").unwrap().number, Some(1));
        for text in ["0", "-1", "many", "1.5", "100001"] {
            assert_eq!(choose(text), Err(ConcurrencyError(text.to_owned())));
        }
    }

    #[test]
    fn the_servers_own_options_and_variables_come_first() {
        for (server, arguments, variables, expected) in [
            (
                Server::Gunicorn,
                "-w4 --preload",
                "",
                Some("-w in server_args"),
            ),
            (
                Server::Gunicorn,
                "--workers=4",
                "",
                Some("--workers in server_args"),
            ),
            (Server::Gunicorn, "--worker-class gthread", "", None),
            (Server::Gunicorn, "", "MOD_WSGI_PROCESSES", None),
            (
                Server::ModWsgi,
                "",
                "MOD_WSGI_PROCESSES",
                Some("MOD_WSGI_PROCESSES"),
            ),
            (
                Server::Uwsgi,
                "--processes 2",
                "",
                Some("--processes in server_args"),
            ),
            (Server::Uwsgi, "", "UWSGI_WORKERS", Some("UWSGI_WORKERS")),
            (
                Server::Granian,
                "",
                "GRANIAN_WORKERS",
                Some("GRANIAN_WORKERS"),
            ),
            (Server::Daphne, "", "ASGI_THREADS", Some("ASGI_THREADS")),
            (
                Server::Waitress,
                "--threads=9",
                "",
                Some("--threads in server_args"),
            ),
        ] {
            let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
            let environment = BTreeMap::from([
                (variables.to_owned(), "3".to_owned()),
                (VARIABLE.to_owned(), "7".to_owned()),
            ]);
            let limits = Limits {
                cpus: 2000,
                quota: false,
                memory: None,
            };
            let interface = Interface::Wsgi;
            let found =
                Concurrency::choose(server, interface, &arguments, &environment, &limits).unwrap();
            match expected {
                Some(who) => {
                    assert_eq!(found.number, None);
                    assert!(
                        found.words.ends_with(&format!("as {who} says")),
                        "{found:?}"
                    );
                }
                None => assert_eq!(found.number, Some(7), "{arguments:?}"),
            }
        }
    }
}
