//! Reads from files how an application is started: `Procfile`, `gunicorn.conf.py`,
//! `[tool.fastapi]`, `.flaskenv`, `[project.scripts]`, files of Railway, Nixpacks, Railpack and App Engine. Each with the line that says it.

use std::collections::BTreeMap;

use ruff_python_ast::Expr;
use serde_json::Value;

use super::super::files::{Below, Files};
use super::super::settings::is_process;
use super::super::setup_cfg;
use super::entry::under;
use super::kinds::FACTORIES;
use super::syntax::{self, Binding};

/// More lines of a `Procfile` are not read.
const MAX_PROCESSES: usize = 64;

/// Something that a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub value: String,
    pub path: String,
    pub line: usize,
}

/// The processes of a `Procfile`, by name.
pub(super) fn procfile(files: &dyn Files, home: &str) -> BTreeMap<String, Said> {
    let path = under(home, "Procfile");
    let text = files.text(&path).unwrap_or_default();
    text.lines()
        .enumerate()
        .filter_map(|(number, line)| {
            let (name, command) = line.split_once(':')?;
            let command = command.trim();
            (is_process(name) && !command.is_empty()).then(|| {
                let said = Said {
                    value: command.to_owned(),
                    path: path.clone(),
                    line: number + 1,
                };
                (name.to_owned(), said)
            })
        })
        .take(MAX_PROCESSES)
        .collect()
}

/// The start command in a file for another platform: App Engine's, Railway's,
/// Nixpacks' and Railpack's.
pub(super) fn platform(files: &dyn Files, home: &str) -> Option<Said> {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    let toml = |text: &str| toml::from_str::<Value>(text).ok();
    let read = |name: &str, text: &str| {
        let (document, keys) = match name {
            "app.yaml" => return app_engine(text),
            "railway.toml" => (toml(text)?, ["deploy", "startCommand"]),
            "nixpacks.toml" => (toml(text)?, ["start", "cmd"]),
            _ => (json(text)?, ["deploy", "startCommand"]),
        };
        let value = document.get(keys[0])?.get(keys[1])?;
        value.as_str().map(str::to_owned)
    };
    let said = [
        ("app.yaml", "entrypoint"),
        ("railway.json", "startCommand"),
        ("railway.toml", "startCommand"),
        ("railpack.json", "startCommand"),
        ("nixpacks.toml", "cmd"),
    ];
    said.into_iter().find_map(|(name, key)| {
        let path = under(home, name);
        let text = files.text(&path)?;
        let value = read(name, &text)?.trim().to_owned();
        (!value.is_empty() && !value.contains('\n')).then(|| Said {
            value,
            line: line_with(&text, key),
            path,
        })
    })
}

/// `entrypoint: gunicorn -b :$PORT main:app`, in one line, of a runtime of Python.
fn app_engine(text: &str) -> Option<String> {
    let value = |key: &str| {
        let mut lines = text.lines();
        let rest = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let rest = rest.trim();
        let quoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| rest.strip_prefix(quote)?.strip_suffix(quote));
        Some(quoted.unwrap_or(rest).to_owned())
    };
    value("runtime").filter(|runtime| runtime.starts_with("python"))?;
    value("entrypoint").filter(|line| !line.starts_with(['|', '>']))
}

/// References to an application in files of tools, the most explicit first.
pub(super) fn references(files: &dyn Files, home: &str) -> Vec<Said> {
    let found = [
        gunicorn(files, home),
        fastapi(files, home),
        flask(files, home),
    ];
    found.into_iter().flatten().collect()
}

/// `wsgi_app` in `gunicorn.conf.py`.
fn gunicorn(files: &dyn Files, home: &str) -> Option<Said> {
    let path = under(home, "gunicorn.conf.py");
    let text = files.text(&path)?;
    let module = syntax::parse(&path, "gunicorn.conf", false, &text).ok()?;
    let (_, Binding::Value(value)) = module.find("wsgi_app", None)? else {
        return None;
    };
    Some(Said {
        value: syntax::string(value)?,
        line: line_with(&text, "wsgi_app"),
        path,
    })
}

/// `[tool.fastapi] entrypoint`.
fn fastapi(files: &dyn Files, home: &str) -> Option<Said> {
    let path = under(home, "pyproject.toml");
    let text = files.text(&path)?;
    let document: toml::Table = toml::from_str(&text).ok()?;
    let value = document.get("tool")?.get("fastapi")?.get("entrypoint")?;
    Some(Said {
        value: value.as_str()?.to_owned(),
        line: line_with(&text, "entrypoint"),
        path,
    })
}

/// `FLASK_APP` in `.flaskenv`: a module, a file, `module:name`, `module:factory()`; without a
/// name, Flask looks for one, and so does warpdrive.
fn flask(files: &dyn Files, home: &str) -> Option<Said> {
    let path = under(home, ".flaskenv");
    let text = files.text(&path)?;
    let (number, value) = text.lines().enumerate().find_map(|(number, line)| {
        let line = line.trim().trim_start_matches("export ");
        let value = line.strip_prefix("FLASK_APP")?.trim_start();
        let value = value.strip_prefix('=')?.trim();
        Some((number, value.trim_matches(['"', '\''])))
    })?;
    let (module, object) = match value.split_once(':') {
        Some((module, object)) => (module, Some(object)),
        None => (value, None),
    };
    let module = module
        .strip_suffix(".py")
        .unwrap_or(module)
        .trim_start_matches("./")
        .replace('/', ".");
    let object = match object {
        Some(object) => object.to_owned(),
        None => flask_object(files, home, &module)?,
    };
    Some(Said {
        value: format!("{module}:{object}"),
        path,
        line: number + 1,
    })
}

/// The name that Flask takes in a module: `app` or `application`, else a factory.
fn flask_object(files: &dyn Files, home: &str, module: &str) -> Option<String> {
    let file = module.replace('.', "/");
    let path = [
        under(home, &format!("{file}.py")),
        under(home, &format!("{file}/__init__.py")),
    ]
    .into_iter()
    .find(|path| files.is_file(path))?;
    let package = path.ends_with("__init__.py");
    let parsed = syntax::parse(&path, module, package, &files.text(&path)?).ok()?;
    let plain = ["app", "application"].into_iter().map(str::to_owned);
    let factories = FACTORIES.iter().map(|name| (*name).to_owned());
    plain
        .chain(factories)
        .find(|name| parsed.find(name, None).is_some())
        .map(|name| {
            if FACTORIES.contains(&name.as_str()) {
                format!("{name}()")
            } else {
                name
            }
        })
}

/// The programs of an installed project: `[project.scripts]`, `[project.gui-scripts]`,
/// Poetry's table; `console_scripts` of `setup.cfg` and `setup.py`.
pub(super) fn scripts(files: &dyn Files, home: &str) -> Vec<Said> {
    let found = scripts_of_pyproject(files, home);
    if found.is_empty() {
        scripts_of_setup(files, home)
    } else {
        found
    }
}

/// `name = module:function`, as setuptools has it.
fn scripts_of_setup(files: &dyn Files, home: &str) -> Vec<Said> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let cfg = setup_cfg::value(
        &Below {
            files,
            directory: home,
        },
        "options.entry_points",
        "console_scripts",
    );
    let cfg = cfg.unwrap_or_default();
    entries.extend(
        cfg.lines()
            .map(|line| (under(home, "setup.cfg"), line.to_owned())),
    );
    let path = under(home, "setup.py");
    let module = files
        .text(&path)
        .and_then(|text| syntax::parse(&path, "setup", false, &text).ok());
    let calls = module
        .iter()
        .flat_map(|module| module.calls.iter().chain(&module.main_calls));
    for call in calls {
        let Expr::Call(call) = call else { continue };
        let points = call.arguments.keywords.iter().find(|keyword| {
            keyword
                .arg
                .as_ref()
                .is_some_and(|name| name == "entry_points")
        });
        let lines: Vec<String> = match points.map(|keyword| &keyword.value) {
            Some(Expr::Dict(dict)) => dict
                .items
                .iter()
                .filter(|item| {
                    let key = item.key.as_ref().and_then(syntax::string);
                    key.as_deref() == Some("console_scripts")
                })
                .flat_map(|item| match &item.value {
                    Expr::List(list) => list.elts.iter().filter_map(syntax::string).collect(),
                    other => syntax::string(other).into_iter().collect::<Vec<String>>(),
                })
                .collect(),
            Some(text) => section(&syntax::string(text).unwrap_or_default(), "console_scripts"),
            None => continue,
        };
        entries.extend(lines.into_iter().map(|line| (path.clone(), line)));
    }
    entries
        .into_iter()
        .filter_map(|(path, line)| {
            let (name, _) = line.split_once('=')?;
            let name = name.trim();
            let text = files.text(&path).unwrap_or_default();
            let at = text.lines().position(|line| line.contains(name));
            is_script(name).then(|| Said {
                value: name.to_owned(),
                line: at.map_or(1, |position| position + 1),
                path,
            })
        })
        .collect()
}

/// The lines of a section of an ini file.
fn section(text: &str, name: &str) -> Vec<String> {
    let header = format!("[{name}]");
    text.lines()
        .map(str::trim)
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .map(str::to_owned)
        .collect()
}

fn is_script(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn scripts_of_pyproject(files: &dyn Files, home: &str) -> Vec<Said> {
    let path = under(home, "pyproject.toml");
    let Some(text) = files.text(&path) else {
        return Vec::new();
    };
    let Ok(document) = toml::from_str::<toml::Table>(&text) else {
        return Vec::new();
    };
    let project = document.get("project");
    let poetry = document.get("tool").and_then(|tool| tool.get("poetry"));
    [
        project.and_then(|project| project.get("scripts")),
        project.and_then(|project| project.get("gui-scripts")),
        poetry.and_then(|poetry| poetry.get("scripts")),
    ]
    .into_iter()
    .flatten()
    .filter_map(toml::Value::as_table)
    .flat_map(toml::Table::keys)
    .filter(|name| is_script(name))
    .map(|name| Said {
        value: name.clone(),
        path: path.clone(),
        line: line_with(&text, name),
    })
    .collect()
}

/// The sections `[app:main]` or `[pipeline:main]` of an ini file for `PasteDeploy`, which Pyramid's
/// projects have.
pub(super) fn paste(files: &dyn Files, home: &str) -> Option<Said> {
    ["production.ini", "development.ini"]
        .into_iter()
        .find_map(|name| {
            let path = under(home, name);
            let text = files.text(&path)?;
            let section = ["[app:main]", "[pipeline:main]", "[composite:main]"]
                .into_iter()
                .find(|section| text.lines().any(|line| line.trim() == *section))?;
            Some(Said {
                value: name.to_owned(),
                line: line_with(&text, section),
                path,
            })
        })
}

/// The number of the first line that begins with a word, for showing it.
fn line_with(text: &str, word: &str) -> usize {
    text.lines()
        .position(|line| line.trim_start().trim_start_matches('"').starts_with(word))
        .map_or(1, |position| position + 1)
}
