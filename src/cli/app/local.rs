//! The commands of a laptop: `project` and `wheels`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::app::advice::{Advice, Explain as _};
use crate::app::environment::quote;
use crate::app::files::Directory;
use crate::app::process;
use crate::app::progress::Progress as _;
use crate::app::project::{Project, Source};
use crate::app::run::{Caller, RunError};

use super::words::{Failure, Words, result};

#[derive(Debug, clap::Args)]
pub struct ProjectArgs {
    /// Name of the project
    #[arg(default_value = "default", value_parser = name)]
    name: String,
    /// Make its virtual environment if there is none
    #[arg(long)]
    create: bool,
    /// The Python to make it with
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    python: String,
}

/// It becomes a part of a path.
fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('/') {
        return Err("a project's name has no slash and is not empty".to_owned());
    }
    Ok(text.to_owned())
}

/// Makes the virtual environment if asked to, and prints what a shell has to evaluate.
pub(super) fn project(args: &ProjectArgs, caller: &Caller) -> Result<u8, Failure> {
    let variables = caller.text_variables();
    let root = match (
        variables.get("WARPDRIVE_VIRTUALENVS"),
        variables.get("HOME"),
    ) {
        (Some(root), _) => PathBuf::from(root),
        (None, Some(home)) => Path::new(home).join(".warpdrive"),
        (None, None) => return Err(Failure::new(1, Advice::new("HOME is not set"))),
    };
    let directory = root.join(format!("warpdrive+{}", args.name));
    let name = &args.name;
    if directory.join("bin/python").exists() {
        Words::Stderr.note(&format!("Switching to warpdrive project '{name}'."));
    } else if args.create {
        Words::Stderr.note(&format!("Initializing warpdrive project '{name}'."));
        let path = directory.display().to_string();
        let line: Vec<String> = if process::which("uv", &variables).is_some() {
            ["uv", "venv", "--quiet", "--python", &args.python, &path]
                .map(str::to_owned)
                .into()
        } else {
            [args.python.as_str(), "-m", "venv", &path]
                .map(str::to_owned)
                .into()
        };
        run(&line, &caller.directory, &variables)?;
    } else {
        let remedy = format!("eval \"$(warpdrive project --create {name})\"");
        let advice = Advice::new(format!("there is no project '{name}'")).remedy(remedy);
        return Err(Failure::new(1, advice));
    }
    for (variable, value) in [
        ("WARPDRIVE_ENV_NAME", name.clone()),
        ("WARPDRIVE_APP_ROOT", directory.display().to_string()),
        ("WARPDRIVE_SRC_ROOT", caller.directory.display().to_string()),
    ] {
        result(&format!("export {variable}={}", quote(&value)));
    }
    let activate = directory.join("bin/activate").display().to_string();
    result(&format!(". {}", quote(&activate)));
    Ok(0)
}

/// Builds wheels of everything that the requirements name.
pub(super) fn wheels(caller: &Caller) -> Result<u8, Failure> {
    let variables = caller.text_variables();
    let roots = caller
        .roots()
        .map_err(RunError::from)
        .map_err(|error| Failure::from(error).with_code(1))?;
    let files = Directory::open(&roots.source)?;
    let project = Project::load(&files, &variables, &BTreeMap::new())
        .map_err(|error| Failure::new(1, error.advice()))?;
    let directory = variables
        .get("WARPDRIVE_WHEEL_DIR")
        .map_or(".warpdrive/wheelhouse", String::as_str);
    let mut line: Vec<String> = vec![roots.python().display().to_string()];
    line.extend(["-m", "pip", "wheel", "--wheel-dir", directory].map(str::to_owned));
    match &project.source {
        Source::Requirements(files) => {
            for file in files {
                line.extend(["-r".to_owned(), file.clone()]);
            }
        }
        Source::None => {
            Words::Stderr.note("there are no requirements: nothing to do");
            return Ok(0);
        }
        Source::Static { .. } | Source::Dynamic { .. } => line.push(".".to_owned()),
    }
    run(&line, &roots.source, &variables)?;
    Ok(0)
}

/// Runs a program whose failure is ours.
fn run(
    line: &[String],
    directory: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    match process::run(line, directory, variables) {
        Ok(0) => Ok(()),
        Ok(status) => {
            let text = format!("{} ended with status {status}", line.join(" "));
            Err(Failure::new(1, Advice::new(text)))
        }
        Err(error) => Err(Failure::new(1, error.advice())),
    }
}
