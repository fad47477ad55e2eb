//! Writes docs/reference/recognised.md from the code: every decision with an example that is run
//! through detection, and the tables of names. `UPDATE=1 cargo test -p warpdrive-app detect::page` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::super::files::Memory;
use super::choose::PROGRAMS;
use super::entry::MODULES;
use super::tests::line;
use super::*;

const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n";
const MANAGE: &str =
    "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n";

/// What is decided, the files that decide it. In the order of `Finder::choose`; the test below holds
/// each before all that follow.
const DECISIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "The setting `deploy_mode`, where it is not `auto`",
        &[
            (".warpdrive/deploy_mode", "python"),
            ("app.py", "print(1)\n"),
        ],
    ),
    (
        "The setting `application` (on OpenShift: `APP_MODULE`), or the original's `wsgi_*`",
        &[
            (".warpdrive/application", "shop:api"),
            ("shop.py", "from flask import Flask\napi = Flask('x')\n"),
        ],
    ),
    (
        "`APP_SCRIPT`, `APP_FILE` in `.s2i/environment` or `-e`: OpenShift's names for `shell_file` and `python_file`",
        &[],
    ),
    (
        "The process `web` of `[tool.warpdrive.processes]`",
        &[(
            "pyproject.toml",
            "[tool.warpdrive.processes]\nweb = \"python serve.py\"\n",
        )],
    ),
    ("An executable `app.sh`", &[("app.sh", "#!/bin/sh\n")]),
    (
        "The process `web` of a `Procfile`",
        &[("Procfile", "web: gunicorn shop.web:app\n")],
    ),
    (
        "The start command of `app.yaml` (App Engine), `railway.json`, `railway.toml`, `railpack.json` or `nixpacks.toml`",
        &[(
            "app.yaml",
            "runtime: python313\nentrypoint: gunicorn -b :$PORT shop:app\n",
        )],
    ),
    (
        "`wsgi_app` in `gunicorn.conf.py`",
        &[
            ("gunicorn.conf.py", "wsgi_app = 'entry:api'\n"),
            ("entry.py", "from flask import Flask\napi = Flask('x')\n"),
        ],
    ),
    (
        "`[tool.fastapi] entrypoint`",
        &[
            (
                "pyproject.toml",
                "[tool.fastapi]\nentrypoint = \"depot:api\"\n",
            ),
            ("depot.py", "from fastapi import FastAPI\napi = FastAPI()\n"),
        ],
    ),
    (
        "`FLASK_APP` in `.flaskenv`",
        &[(".flaskenv", "FLASK_APP=hello\n"), ("hello.py", FLASK)],
    ),
    (
        "Django: a `manage.py` that names the settings",
        &[
            ("manage.py", MANAGE),
            ("mysite/settings.py", ""),
            ("mysite/wsgi.py", ""),
        ],
    ),
    (
        "An application object, or a factory, in `wsgi.py`, `asgi.py`, `app.py`, `main.py`, also those of packages",
        &[("wsgi.py", FLASK)],
    ),
    (
        "The same in any module of the root or of a package",
        &[("coolapi.py", FLASK)],
    ),
    (
        "A framework with a server of its own",
        &[("streamlit_app.py", "import streamlit as st\n")],
    ),
    (
        "An object of aiohttp or Tornado",
        &[(
            "main.py",
            "from aiohttp import web\napp = web.Application()\n",
        )],
    ),
    (
        "An ini file of PasteDeploy (Pyramid)",
        &[
            ("production.ini", "[app:main]\nuse = egg:shop\n"),
            ("setup.py", ""),
        ],
    ),
    (
        "Another process of the `Procfile` or the setting: `worker`, or the only one; there is no port then",
        &[("Procfile", "worker: python bot.py --loop\n")],
    ),
    (
        "A worker's or a bot's module",
        &[(
            "jobs.py",
            "from celery import Celery\nqueue = Celery('x')\n",
        )],
    ),
    (
        "The program `app.py` (setting `python_file`)",
        &[("app.py", "print(1)\n")],
    ),
    (
        "A program by its name, or the only module with a main block",
        &[("main.py", "if __name__ == '__main__':\n    print(1)\n")],
    ),
    (
        "The only program of `[project.scripts]` (`console_scripts` of `setup.cfg` and `setup.py`), or one that is called `serve`, `server`, `start`, `web` or `run`",
        &[(
            "pyproject.toml",
            "[project]\nname = \"depot\"\n[project.scripts]\nserve = \"depot.cli:main\"\n",
        )],
    ),
    (
        "The only package that has a `__main__.py`",
        &[
            ("ledger/__init__.py", ""),
            ("ledger/__main__.py", "print(1)\n"),
        ],
    ),
    (
        "An executable `start.sh`, `run.sh` or `entrypoint.sh`",
        &[("start.sh", "#!/bin/sh\n")],
    ),
    ("Notebooks, for Jupyter", &[("week 1/a.ipynb", "")]),
    (
        "One directory below that is an application: it is the home",
        &[
            ("backend/app.py", FLASK),
            ("backend/requirements.txt", "flask\n"),
        ],
    ),
];

fn tree(files: &[(&str, &str)]) -> Memory {
    files.iter().fold(Memory::new(), |tree, (path, text)| {
        if matches!(*path, "app.sh" | "start.sh") {
            tree.with_program(path, text)
        } else {
            tree.with(path, text)
        }
    })
}

fn decisions() -> String {
    let mut text = String::new();
    for (number, (words, files)) in DECISIONS.iter().enumerate() {
        writeln!(text, "{}. {words}.", number + 1).unwrap();
        if files.is_empty() {
            continue;
        }
        let tree = tree(files);
        let found = detect(&tree, &Options::default()).unwrap();
        assert!(!found.because.is_empty(), "{words}");
        let started = line(&tree);
        let started = started.strip_prefix("sh ").unwrap_or(&started);
        let home = match found.plan.home.as_str() {
            "" => String::new(),
            home => format!(", in `{home}`"),
        };
        let names: Vec<String> = files.iter().map(|(path, _)| format!("`{path}`")).collect();
        writeln!(
            text,
            "   With {}: `{}`{home}; because *{}*.",
            names.join(", "),
            started.replace(" Wsgi", "").replace(" Asgi", ""),
            found.because
        )
        .unwrap();
    }
    text
}

fn constructors() -> String {
    let mut by_framework: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, interface, framework) in kinds::constructors() {
        let framework = if framework.is_empty() {
            "any"
        } else {
            framework
        };
        by_framework
            .entry(format!(
                "{framework} | {}",
                format!("{interface:?}").to_uppercase()
            ))
            .or_default()
            .push(format!("`{name}`"));
    }
    let mut text = "| framework | interface | what makes it |\n|---|---|---|\n".to_owned();
    for (framework, names) in by_framework {
        writeln!(text, "| {framework} | {} |", names.join(", ")).unwrap();
    }
    text
}

fn own_servers() -> String {
    let mut text = "| a module imports | is started with | port |\n|---|---|---|\n".to_owned();
    for own in own::FRAMEWORKS {
        let port = if own.web { "yes" } else { "no" };
        writeln!(text, "| `{}` | `{}` | {port} |", own.package, own.line).unwrap();
    }
    text
}

fn names() -> String {
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    format!(
        "- modules that are read first: {}\n- factories: {}\n- programs, in this order: `app.py`, {}\n\
         - directories that are not packages: {}\n",
        list(MODULES),
        list(kinds::FACTORIES),
        list(PROGRAMS),
        list(entry::NOT_PACKAGES),
    )
}

#[test]
fn the_page_is_what_detection_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/recognised.md");
    let written = std::fs::read_to_string(&file).unwrap();
    let mut page = written.clone();
    for (name, text) in [
        ("decisions", decisions()),
        ("constructors", constructors()),
        ("own servers", own_servers()),
        ("names", names()),
    ] {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end {name} -->"));
        let (before, rest) = page.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        page = format!("{before}{begin}\n{text}\n{end}{after}");
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    } else {
        assert!(
            page == written,
            "docs/reference/recognised.md is out of date: UPDATE=1 cargo test -p warpdrive-app detect::page"
        );
    }
}

#[test]
fn decisions_are_in_their_order() {
    let because = |files: &[(&str, &str)]| match detect(&tree(files), &Options::default()) {
        Ok(found) => found.because,
        Err(error) => error.to_string(),
    };
    for (index, (words, files)) in DECISIONS.iter().enumerate() {
        for (later, others) in &DECISIONS[index + 1..] {
            // A file that is in both examples has only one content.
            let both = others
                .iter()
                .any(|(path, _)| files.iter().any(|(mine, _)| mine == path));
            if files.is_empty() || others.is_empty() || both {
                continue;
            }
            let union: Vec<(&str, &str)> = files.iter().chain(*others).copied().collect();
            assert_eq!(because(&union), because(files), "{words}; {later}");
        }
    }
}
