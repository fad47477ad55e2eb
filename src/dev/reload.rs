//! How each server is brought to load new code, by the plan of the image.
//!
//! All of it is said from outside: arguments and variables that the executable in the image knows anyway.

use crate::app::plan::{Plan, Start};
use crate::app::server::{CONCURRENCY, Server};

/// By which an image is given more arguments for its server.
const SERVER_ARGS: &str = "WARPDRIVE_SERVER_ARGS";

/// How often uvicorn looks at its files, in seconds. By itself it looks four times a second.
const DELAY: &str = "0.1";

/// What is to be done when Python's files change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// A HUP: the server starts its workers again and holds its socket.
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
        words: "is started again with each change".to_owned(),
    };
    let mut arguments = |more: &str| {
        let own = plan.server_args.as_deref().unwrap_or_default();
        let all = format!("{own} {more}");
        way.env
            .push((SERVER_ARGS.to_owned(), all.trim().to_owned()));
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
            "cd \"$1\" && exec python \"$2\" runserver --noreload{insecure} \"0.0.0.0:${{PORT:-8080}}\""
        );
        way.command = [
            tool, "exec", "/bin/sh", "-c", &line, "sh", &directory, program,
        ]
        .map(str::to_owned)
        .to_vec();
        "Django's own server is started again with each change".clone_into(&mut way.words);
        return way;
    }
    match &plan.start {
        Start::Server {
            server: Server::Gunicorn,
            ..
        } if !says(plan, "--preload") => {
            way.reload = Reload::Signal;
            "gunicorn is told to load it again".clone_into(&mut way.words);
        }
        Start::Server {
            server: Server::Uvicorn,
            ..
        } if !says(plan, "--workers") => {
            arguments(&format!("--reload --reload-delay {DELAY}"));
            way.reload = Reload::Own;
            "uvicorn loads it again (--reload)".clone_into(&mut way.words);
        }
        Start::Command { line } if line.split_whitespace().next() == Some("streamlit") => {
            arguments("--server.fileWatcherType=poll --server.runOnSave=true");
            way.reload = Reload::Own;
            "Streamlit runs the page again".clone_into(&mut way.words);
        }
        Start::Jupyter { .. } => {
            way.reload = Reload::Own;
            "notebooks are opened as they are".clone_into(&mut way.words);
        }
        Start::Server { server, .. } => {
            way.words = format!("{} is started again with each change", server.name());
        }
        _ => {}
    }
    way
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
        assert_eq!(
            of(&server("gunicorn", "--threads 4")).reload,
            Reload::Signal
        );
        assert_eq!(of(&server("gunicorn", "--preload")).reload, Reload::Restart);
        assert_eq!(of(&server("granian", "")).reload, Reload::Restart);
        let uvicorn = of(&server("uvicorn", "--root-path ${X}"));
        assert_eq!(uvicorn.reload, Reload::Own);
        assert!(uvicorn.env.contains(&(
            SERVER_ARGS.to_owned(),
            "--root-path ${X} --reload --reload-delay 0.1".to_owned()
        )));
        assert_eq!(
            of(&server("uvicorn", "--workers 2")).reload,
            Reload::Restart
        );
        let line = "streamlit run app.py --server.fileWatcherType=none";
        let streamlit = of(&json!({"start": {"mode": "command", "line": line}}));
        assert_eq!(streamlit.reload, Reload::Own);
    }

    #[test]
    fn django_has_its_own_server_and_static_files_of_the_source() {
        let mut plan = server("gunicorn", "");
        plan["django"] = json!({"manage": "shop/manage.py"});
        plan["static_files"] = json!([{"url": "/static/", "root": "/x/"}]);
        let way = of(&plan);
        assert_eq!(way.reload, Reload::Restart);
        assert_eq!(way.command[..4], ["/w", "exec", "/bin/sh", "-c"]);
        assert!(way.command[4].contains("--insecure"), "{:?}", way.command);
        assert_eq!(way.command[6..], ["/src/shop", "manage.py"]);
    }
}
