//! Frameworks with their own servers: the command that starts a module which imports one. Each
//! command is a line for the shell, and listens on 0.0.0.0 and `$PORT`, without reload and without
//! debug mode.

use std::collections::BTreeSet;

use super::super::requirement::has;
use super::entry::{Candidate, Read};
use super::kinds::Interface;

/// Our module for frameworks that only have a function for serving (`assemble/launch_own.py`).
pub(super) const LAUNCHER: &str = "python -m warpdrive_serve";

/// What a program of a framework is started with. `{file}` is the program, `{module}` its dotted
/// name, `{object}` what the framework's own program takes from it.
#[derive(Debug)]
pub(super) struct Own {
    /// The package whose import identifies it.
    pub package: &'static str,
    pub framework: &'static str,
    pub line: &'static str,
    /// It listens on a port.
    pub web: bool,
    /// The distribution with the program, if the requirements do not have it.
    pub needs: &'static str,
    /// The endings of the class names that make the object.
    pub makes: &'static [&'static str],
}

const fn web(
    package: &'static str,
    framework: &'static str,
    line: &'static str,
    needs: &'static str,
) -> Own {
    Own {
        package,
        framework,
        line,
        web: true,
        needs,
        makes: &[],
    }
}

const fn worker(package: &'static str, line: &'static str) -> Own {
    Own {
        package,
        framework: package,
        line,
        web: false,
        needs: "",
        makes: &[],
    }
}

/// A worker whose program takes an object as its argument.
const fn worker_of(
    package: &'static str,
    makes: &'static [&'static str],
    line: &'static str,
) -> Own {
    Own {
        makes,
        ..worker(package, line)
    }
}

/// In the order in which they are looked for.
pub(super) const FRAMEWORKS: &[Own] = &[
    web(
        "streamlit",
        "streamlit",
        "streamlit run {file} --server.address=0.0.0.0 --server.port=$PORT --server.headless=true --server.fileWatcherType=none --browser.gatherUsageStats=false",
        "streamlit",
    ),
    web(
        "gradio",
        "gradio",
        "GRADIO_ANALYTICS_ENABLED=False exec python -m warpdrive_serve gradio {file}",
        "gradio",
    ),
    web(
        "nicegui",
        "nicegui",
        "python -m warpdrive_serve nicegui {file}",
        "nicegui",
    ),
    web(
        "shiny.express",
        "shiny",
        "shiny run --host 0.0.0.0 --port $PORT {file}",
        "shiny",
    ),
    web(
        "marimo",
        "marimo",
        "marimo --quiet run {file} --host 0.0.0.0 --port $PORT --headless",
        "marimo",
    ),
    web(
        "panel",
        "panel",
        "panel serve {file} --address 0.0.0.0 --port $PORT --allow-websocket-origin='*'",
        "panel",
    ),
    web(
        "cherrypy",
        "cherrypy",
        "python -m warpdrive_serve cherrypy {file}",
        "cherrypy",
    ),
    web(
        "bottle",
        "bottle",
        "python -m warpdrive_serve bottle {file}",
        "bottle",
    ),
    // Programs without an object that could be served. A requirement alone does not select them.
    web(
        "aiohttp.web",
        "aiohttp",
        "python -m warpdrive_serve aiohttp {file}",
        "",
    ),
    web(
        "tornado.web",
        "tornado",
        "python -m warpdrive_serve tornado {file}",
        "",
    ),
    Own {
        makes: &["http", "cloud_event", "typed"],
        ..web(
            "functions_framework",
            "functions-framework",
            "functions-framework --target={object} --source={file} --host=0.0.0.0 --port=$PORT",
            "functions-framework",
        )
    },
    worker("celery", "celery -A {module} worker --loglevel=INFO"),
    worker(
        "rq",
        "rq worker --url ${RQ_REDIS_URL:-${REDIS_URL:-redis://localhost:6379}}",
    ),
    worker("dramatiq", "dramatiq {module}"),
    worker_of(
        "huey",
        &["Huey"],
        "python -m huey.bin.huey_consumer {module}.{object}",
    ),
    worker_of("arq", &["WorkerSettings"], "arq {module}.{object}"),
    worker_of("taskiq", &["Broker"], "taskiq worker {module}:{object}"),
    worker_of(
        "faststream",
        &["FastStream"],
        "faststream run {module}:{object}",
    ),
    worker("discord", "python {file}"),
    worker("telegram", "python {file}"),
    worker("telebot", "python {file}"),
    worker("aiogram", "python {file}"),
    worker("slack_bolt", "python {file}"),
    worker("apscheduler", "python {file}"),
    worker("schedule", "python {file}"),
];

impl Own {
    /// A module with its own RQ worker is a program; modules with only jobs need RQ's worker.
    pub(super) fn line_of(&self, program: bool) -> &'static str {
        if program && self.package == "rq" {
            "python {file}"
        } else {
            self.line
        }
    }
}

impl Own {
    /// The name of the object in a module; empty where none is needed.
    pub(super) fn object_in<'m>(&self, module: &'m Read) -> Option<&'m str> {
        if self.makes.is_empty() {
            return Some("");
        }
        let made = |class: &str| self.makes.iter().any(|end| class.ends_with(end));
        let mut objects = module.objects.iter().filter(|(_, class)| made(class));
        let (name, _) = objects.next()?;
        // With several functions, it is not known which one to use.
        let alone = !self.web || objects.next().is_none();
        alone.then_some(name.as_str())
    }

    /// It never makes a module the application, but changes how one that was chosen as a program is started.
    pub(super) fn only_programs(&self) -> bool {
        self.web && self.needs.is_empty()
    }

    /// Whether a module is one of this framework's. Arq's settings need no import of it.
    pub(super) fn is_of(&self, module: &Read, names: &BTreeSet<String>) -> bool {
        let required = !self.makes.is_empty() && has(names, self.package);
        !self.only_programs()
            && (imports(module, self.package) || required)
            && self.object_in(module).is_some()
    }
}

/// The framework that serves in a program.
pub(super) fn of_program(module: &Read) -> Option<&'static Own> {
    FRAMEWORKS
        .iter()
        .find(|own| own.only_programs() && imports(module, own.package))
}

/// Whether a module makes Celery's application, and does not only have tasks for it.
pub(super) fn makes_celery(module: &Read) -> bool {
    module.imports.contains("celery.Celery")
        || module.imports.contains("celery.app.Celery")
        || (module.imports.contains("celery")
            && !module
                .imports
                .iter()
                .any(|name| name.starts_with("celery.")))
}

/// The module that makes Celery's application.
pub(super) fn celery(modules: &[Read]) -> Option<&str> {
    let made = modules.iter().find(|module| makes_celery(module));
    made.map(|module| module.module.as_str())
}

/// A required framework with its own server, and the line that starts it.
pub(super) fn required(names: &BTreeSet<String>) -> Option<(&'static str, &'static str)> {
    FRAMEWORKS
        .iter()
        .find(|own| own.web && has(names, own.needs))
        .map(|own| (own.needs, own.line))
}

/// The line for an object of a framework that is not an application for other servers: its program
/// where it has one, with the address changed, because more than the object may be made there.
pub(super) fn object(candidate: &Candidate, modules: &[Read]) -> Option<String> {
    let known = matches!(candidate.framework.as_str(), "aiohttp" | "tornado");
    if candidate.interface != Interface::Own || !known {
        return None;
    }
    let program = modules
        .iter()
        .find(|module| module.path == candidate.path)
        .is_some_and(|module| module.has_main && module.in_home);
    let reference = candidate.reference();
    let target = match candidate.path.rsplit('/').next() {
        Some(file) if program => file,
        _ => reference.trim_end_matches("()"),
    };
    Some(format!("{LAUNCHER} {} {target}", candidate.framework))
}

/// Whether a module imports a package: `shiny.express` is more than `shiny`.
pub(super) fn imports(module: &Read, package: &str) -> bool {
    let within = |name: &str| {
        name == package
            || name
                .strip_prefix(package)
                .is_some_and(|rest| rest.starts_with('.'))
    };
    let mut all = module.imports.iter().chain(&module.imported);
    all.any(|name| within(name))
}
