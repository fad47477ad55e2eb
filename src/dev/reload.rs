//! How each server is brought to load new code, by the plan of the image.
//!
//! All of it is said from outside: arguments and variables that the executable in the image knows anyway.

use crate::app::contract::DEFAULT_PORT;
use crate::app::plan::{Plan, Start};
use crate::app::server::{CONCURRENCY, Server};

/// By which an image is given more arguments for its server.
const SERVER_ARGS: &str = "WARPDRIVE_SERVER_ARGS";

/// What the module in the container is told (`warm/sitecustomize.py`): which server, and where the source is.
const WARM_SERVER: &str = "WARPDRIVE_DEV_SERVER";
const WARM_SOURCE: &str = "WARPDRIVE_DEV_SOURCE";

/// Looks for changes itself, and runs the page again without being asked. Its own address it would look for
/// on the Internet, and not find.
const STREAMLIT: &str =
    "--server.fileWatcherType=poll --server.runOnSave=true --browser.serverAddress=localhost";

/// Programs of Python that a line for the shell may begin with, and that can be forked again.
const PROGRAMS: [&str; 8] = [
    "python",
    "python3",
    "flask",
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "daphne",
    "waitress-serve",
];

/// What is to be done when Python's files change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// A HUP: the server is forked again, with its packages loaded, or starts its workers again.
    Signal,
    /// The server watches for itself.
    Own,
    /// The server is stopped and started.
    Restart,
}

/// How an image is run for development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub reload: Reload,
    /// In place of the image's command; empty for that.
    pub command: Vec<String>,
    /// Variables, weaker than the caller's.
    pub env: Vec<(String, String)>,
    /// The server is forked by the module of [`super::Warm`].
    pub warm: bool,
    /// In words, for the caller.
    pub words: String,
}

/// The way for an application with this plan, whose executable lies at `tool` and source at `source`.
pub fn way(plan: &Plan, tool: &str, source: &str) -> Way {
    let one_worker = (CONCURRENCY.to_owned(), "1".to_owned());
    let mut way = Way {
        reload: Reload::Restart,
        command: Vec::new(),
        env: vec![one_worker],
        warm: false,
        words: "it is started again".to_owned(),
    };
    // Its own server serves static files from where they are in the source; what was collected for the
    // image lies where the image's source was.
    if let Some(django) = &plan.django
        && plan.server().is_some()
    {
        let (directory, program) = match django.manage.rsplit_once('/') {
            Some((directory, program)) => (format!("{source}/{directory}"), program),
            None => (source.to_owned(), django.manage.as_str()),
        };
        let insecure = if plan.static_files.is_empty() {
            ""
        } else {
            " --insecure"
        };
        let line = format!(
            "cd \"$1\" && exec python \"$2\" runserver --noreload{insecure} \"0.0.0.0:${{PORT:-{DEFAULT_PORT}}}\""
        );
        way.command = [
            tool, "exec", "/bin/sh", "-c", &line, "sh", &directory, program,
        ]
        .map(str::to_owned)
        .to_vec();
        way.warmly("django", source);
        "Django's own server loads it again, with the packages kept in memory"
            .clone_into(&mut way.words);
        return way;
    }
    let own = "it is loaded again, with the packages kept in memory";
    match &plan.start {
        // It has a reloader of its own, and was told to use it.
        Start::Server {
            server: Server::Uvicorn | Server::Hypercorn | Server::Granian | Server::Gunicorn,
            ..
        } if says(plan, "--reload") => {
            way.reload = Reload::Own;
            "the server sees it by itself (--reload)".clone_into(&mut way.words);
        }
        // Programs of their own, which hold a Python; a HUP has uWSGI start another program than pyuwsgi's.
        Start::Server {
            server: server @ (Server::Uwsgi | Server::ModWsgi),
            ..
        } => way.words = format!("{server} is started again"),
        Start::Server { server, .. } => {
            // With `--preload` a HUP is not enough for it.
            let name = if says(plan, "--preload") {
                "preloaded"
            } else {
                server.name()
            };
            way.warmly(name, source);
            // In its own process, not in one that begins with nothing.
            if *server == Server::Hypercorn && !says(plan, "--workers") && is_at_least(plan, 0, 15)
            {
                way.arguments(plan, "--workers 0");
            }
            own.clone_into(&mut way.words);
        }
        Start::Python { .. } => {
            way.warmly("python", source);
            own.clone_into(&mut way.words);
        }
        Start::Command { line } => match line.split_whitespace().next() {
            Some("streamlit") => {
                way.arguments(plan, STREAMLIT);
                way.reload = Reload::Own;
                "Streamlit runs the page again".clone_into(&mut way.words);
            }
            Some(program)
                if PROGRAMS.contains(&program)
                    && !line.contains(['&', '|', ';', '<', '>', '(', ')', '\n']) =>
            {
                way.warmly(program, source);
                own.clone_into(&mut way.words);
            }
            _ => {}
        },
        Start::Jupyter { .. } => {
            way.reload = Reload::Own;
            "notebooks are opened as they are".clone_into(&mut way.words);
        }
        Start::Shell { .. } => {}
    }
    way
}

impl Way {
    fn warmly(&mut self, server: &str, source: &str) {
        self.reload = Reload::Signal;
        self.warm = true;
        self.env.push((WARM_SERVER.to_owned(), server.to_owned()));
        self.env.push((WARM_SOURCE.to_owned(), source.to_owned()));
    }

    /// More arguments for the server than the plan has.
    fn arguments(&mut self, plan: &Plan, more: &str) {
        let own = plan.server_args.as_deref().unwrap_or_default();
        let all = format!("{own} {more}");
        self.env
            .push((SERVER_ARGS.to_owned(), all.trim().to_owned()));
    }
}

/// Whether the server's release is known, and this or a later one.
fn is_at_least(plan: &Plan, major: u32, minor: u32) -> bool {
    let said = plan.server_version.as_deref().unwrap_or_default();
    let mut numbers = said.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

fn says(plan: &Plan, option: &str) -> bool {
    let said = plan.server_args.as_deref().unwrap_or_default();
    said.split_whitespace()
        .any(|word| word.split('=').next() == Some(option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(plan: &serde_json::Value) -> Way {
        let mut whole = json!({"version": 1, "installer": "uv"});
        for (key, value) in plan.as_object().unwrap() {
            whole[key] = value.clone();
        }
        way(&serde_json::from_value(whole).unwrap(), "/w", "/src")
    }

    fn server(name: &str, args: &str) -> serde_json::Value {
        json!({"start": {"mode": "server", "server": name}, "server_args": args})
    }

    #[test]
    fn each_server_has_its_way() {
        for name in [
            "gunicorn",
            "uvicorn",
            "hypercorn",
            "daphne",
            "waitress",
            "granian",
        ] {
            let way = of(&server(name, "--threads 4"));
            assert!(way.warm && way.reload == Reload::Signal, "{name}");
            let told = (WARM_SERVER.to_owned(), name.to_owned());
            assert!(way.env.contains(&told), "{name}");
        }
        let preloaded = of(&server("gunicorn", "--preload"));
        assert!(
            preloaded
                .env
                .contains(&(WARM_SERVER.to_owned(), "preloaded".to_owned()))
        );
        let hypercorn = |version: &str| {
            let mut plan = server("hypercorn", "");
            plan["server_version"] = json!(version);
            of(&plan)
                .env
                .iter()
                .any(|(_, value)| value == "--workers 0")
        };
        assert!(hypercorn("0.18.0") && !hypercorn("0.14.4") && !hypercorn(""));
        let own = of(&server("uvicorn", "--reload"));
        assert!(!own.warm && own.reload == Reload::Own);
        for name in ["uwsgi", "mod_wsgi"] {
            let way = of(&server(name, ""));
            assert!(!way.warm && way.reload == Reload::Restart, "{name}");
        }
        let line = |line: &str| of(&json!({"start": {"mode": "command", "line": line}}));
        let streamlit = line("streamlit run app.py --server.fileWatcherType=none");
        assert_eq!(streamlit.reload, Reload::Own);
        assert!(line("python bot.py").warm);
        for other in [
            "node server.js",
            "python a.py & python b.py",
            "PORT=1 python a.py",
        ] {
            let way = line(other);
            assert!(!way.warm && way.reload == Reload::Restart, "{other}");
        }
    }

    #[test]
    fn django_has_its_own_server_and_static_files_of_the_source() {
        let mut plan = server("gunicorn", "");
        plan["django"] = json!({"manage": "shop/manage.py"});
        plan["static_files"] = json!([{"url": "/static/", "root": "/x/"}]);
        let way = of(&plan);
        assert!(way.warm && way.reload == Reload::Signal);
        assert_eq!(way.command[..4], ["/w", "exec", "/bin/sh", "-c"]);
        assert!(way.command[4].contains("--insecure"), "{:?}", way.command);
        assert_eq!(way.command[6..], ["/src/shop", "manage.py"]);
    }
}
