//! The commands of a laptop: `project`, `wheels`, `env --explain`; and `save-artifacts`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::app::advice::{Advice, Explain};
use crate::app::environment::quote;
use crate::app::files::Directory;
use crate::app::process;
use crate::app::progress::Progress;
use crate::app::project::{Project, Source};
use crate::app::roots::Roots;
use crate::app::run;

use super::{ProjectArguments, Words, print_advice};

/// `project`: makes the environment if asked to, and prints what a shell has to evaluate.
pub(super) fn project(
    arguments: &ProjectArguments,
    environment: &BTreeMap<String, String>,
    words: Words,
) -> i32 {
    let root = environment
        .get("WARPDRIVE_VIRTUALENVS")
        .map(PathBuf::from)
        .or_else(|| {
            environment
                .get("HOME")
                .map(|home| Path::new(home).join(".warpdrive"))
        });
    let Some(root) = root else {
        words.failure("HOME is not set");
        return 1;
    };
    let directory = root.join(format!("warpdrive+{}", arguments.name));
    let exists = directory.join("bin/python").exists();
    if !exists && !arguments.create {
        print_advice(
            &Advice::new(format!("there is no project '{}'", arguments.name))
                .remedy(format!("warpdrive project --create {}", arguments.name)),
        );
        return 1;
    }
    let quiet = Words { to_stderr: true };
    if exists {
        quiet.note(&format!(
            "Switching to warpdrive project '{}'.",
            arguments.name
        ));
    } else {
        quiet.note(&format!(
            "Initializing warpdrive project '{}'.",
            arguments.name
        ));
        let python = arguments
            .python
            .clone()
            .unwrap_or_else(|| "python3".to_owned());
        let path = directory.display().to_string();
        let line: Vec<String> = if process::which("uv", environment).is_some() {
            ["uv", "venv", "--quiet", "--python", &python, &path]
                .map(str::to_owned)
                .to_vec()
        } else {
            [python.as_str(), "-m", "venv", &path]
                .map(str::to_owned)
                .to_vec()
        };
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        match process::run(&line, &here, environment) {
            Ok(0) => {}
            Ok(status) => {
                words.failure(&format!("{} ended with status {status}", line.join(" ")));
                return 1;
            }
            Err(error) => {
                print_advice(&error.advice());
                return error.status();
            }
        }
    }
    let here = std::env::current_dir()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    for (name, value) in [
        ("WARPDRIVE_ENV_NAME", arguments.name.clone()),
        ("WARPDRIVE_APP_ROOT", directory.display().to_string()),
        ("WARPDRIVE_SRC_ROOT", here),
    ] {
        words.out(&format!("export {name}={}", quote(&value)));
    }
    words.out(&format!(
        ". {}",
        quote(&directory.join("bin/activate").display().to_string())
    ));
    0
}

/// `wheels`: wheels of everything that the requirements name.
pub(super) fn wheels(roots: &Roots, environment: &BTreeMap<String, String>, words: Words) -> i32 {
    let project = Directory::open(&roots.source)
        .map_err(|error| Advice::new(error.to_string()))
        .and_then(|files| {
            Project::load(&files, environment, &BTreeMap::new()).map_err(|error| error.advice())
        });
    let project = match project {
        Ok(project) => project,
        Err(advice) => {
            print_advice(&advice);
            return 1;
        }
    };
    let directory = environment
        .get("WARPDRIVE_WHEEL_DIR")
        .cloned()
        .unwrap_or_else(|| ".warpdrive/wheelhouse".to_owned());
    let mut line: Vec<String> = [roots.python().display().to_string()].to_vec();
    line.extend(["-m", "pip", "wheel", "--wheel-dir", &directory].map(str::to_owned));
    match &project.source {
        Source::Requirements(files) => {
            for file in files {
                line.extend(["-r".to_owned(), file.clone()]);
            }
        }
        Source::None => {
            words.note("there are no requirements: nothing to do");
            return 0;
        }
        Source::Static { .. } | Source::Dynamic { .. } => line.push(".".to_owned()),
    }
    match process::run(&line, &roots.source, environment) {
        Ok(status) => status,
        Err(error) => {
            print_advice(&error.advice());
            error.status()
        }
    }
}

/// `env --explain`.
pub(super) fn explain(
    roots: &Roots,
    environment: &BTreeMap<String, String>,
    json: bool,
    words: Words,
) -> i32 {
    let settings = match run::settings(roots, environment) {
        Ok(settings) => settings,
        Err(error) => {
            print_advice(&error.advice());
            return 1;
        }
    };
    if json {
        let object: serde_json::Map<String, serde_json::Value> = settings
            .explain()
            .into_iter()
            .map(|(key, value)| {
                let value = value.map(|value| {
                    serde_json::json!({ "value": value.text, "from": value.origin.to_string() })
                });
                (
                    key.name.to_owned(),
                    value.unwrap_or(serde_json::Value::Null),
                )
            })
            .collect();
        words.out(&serde_json::Value::Object(object).to_string());
        return 0;
    }
    for (key, value) in settings.explain() {
        match value {
            Some(value) => words.out(&format!(
                "{:22} {:24} {}",
                key.name, value.text, value.origin
            )),
            None => words.out(&format!("{:22} {:24} {}", key.name, "-", key.help)),
        }
    }
    0
}

/// `save-artifacts`: a tar stream of the wheelhouse, if there is one, by the image's tar.
pub(super) fn save_artifacts(roots: &Roots) -> i32 {
    let directory = roots.source.join(".warpdrive");
    let names: Vec<String> = ["wheelhouse", "packages"]
        .into_iter()
        .filter(|name| directory.join(name).is_dir())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return 0;
    }
    let mut line = vec!["tar".to_owned(), "-cf".to_owned(), "-".to_owned()];
    line.extend(names);
    match process::run(&line, &directory, &super::process_environment()) {
        Ok(status) => status,
        Err(error) => {
            print_advice(&error.advice());
            error.status()
        }
    }
}
