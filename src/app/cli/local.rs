//! The commands of a laptop: `project`, `deactivate`, `destroy`, and `rcfile`, which makes the first
//! two work on the shell itself.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use crate::advice::{Advice, Explain as _, nearest};
use crate::contract;
use crate::process;
use crate::progress::StepProgress as _;
use crate::run::Caller;

use super::output::{Failure, Output};
use super::shells::{Entered, Shell, enter, function, leave};

const PREFIX: &str = "warpdrive+";

#[derive(Debug, clap::Args)]
pub struct ProjectArgs {
    /// Name of the project
    #[arg(default_value = "default", value_parser = name)]
    name: String,
    /// Make its virtual environment if there is none
    #[arg(long)]
    create: bool,
    /// The Python to make it with: a version, a name on PATH or a path
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    python: String,
    /// The shell whose words are printed
    #[arg(long, value_enum, value_name = "SHELL", default_value = "bash")]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub struct ShellArgs {
    /// The shell whose words are printed
    #[arg(long, value_enum, value_name = "SHELL", default_value = "bash")]
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub struct RcfileArgs {
    /// The shell [default: that of $SHELL]
    #[arg(value_enum)]
    shell: Option<Shell>,
}

#[derive(Debug, clap::Args)]
pub struct DestroyArgs {
    /// Name of the project
    #[arg(value_parser = name)]
    name: String,
}

/// The name becomes a part of a path and of the prompt, where shells expand special characters.
fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-' | '+' | '@');
    if text.trim().is_empty() || text.starts_with('-') || !text.chars().all(good) {
        return Err("a project's name has letters, digits, spaces and . _ - + @".to_owned());
    }
    Ok(text.to_owned())
}

/// The directory of all projects' virtual environments.
fn place(variables: &BTreeMap<String, String>) -> Result<PathBuf, Failure> {
    let said = |name| variables.get(name).filter(|value| !value.is_empty());
    match (said("WARPDRIVE_VIRTUALENVS"), said("HOME")) {
        (Some(root), _) => std::path::absolute(root).map_err(Failure::from),
        (None, Some(home)) => Ok(Path::new(home).join(".warpdrive")),
        (None, None) => Err(Failure::new(1, Advice::new("HOME is not set"))),
    }
}

/// The names of all projects.
fn projects(place: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(place)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn none_of_that_name(name: &str, place: &Path) -> Advice {
    let advice = Advice::new(format!("there is no project '{name}'"));
    let known = projects(place);
    match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => advice.remedy(format!("did you mean '{near}'?")),
        None if known.is_empty() => advice,
        None => advice.cause(format!("Projects are: {}", known.join(", "))),
    }
}

/// A path as text: a shell script is text.
fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        let words = format!("the path {} is not UTF-8", path.display());
        Failure::new(1, Advice::new(words))
    })
}

/// Prints commands for a shell; on a terminal, says how to use them.
fn print(words: &str) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        Output::Stderr.warn(
            "these words are for the shell: put eval \"$(warpdrive rcfile)\" into ~/.bashrc or \
             ~/.zshrc (fish: warpdrive rcfile fish | source), and say this again",
        );
    }
    out.write_all(words.as_bytes())?;
    Ok(0)
}

/// Makes the virtual environment if asked to, and prints commands for the shell to evaluate.
pub(super) fn project(args: &ProjectArgs, caller: &Caller) -> Result<u8, Failure> {
    let variables = caller.text_variables();
    let place = place(&variables)?;
    let directory = place.join(format!("{PREFIX}{}", args.name));
    let name = &args.name;
    if directory.join("bin/python").exists() {
        Output::Stderr.note(&format!("Switching to warpdrive project '{name}'."));
    } else if args.create {
        Output::Stderr.note(&format!("Initializing warpdrive project '{name}'."));
        create(&directory, &args.python, caller, &variables)?;
    } else {
        let remedy = format!("warpdrive project --create '{name}'");
        return Err(Failure::new(
            1,
            none_of_that_name(name, &place).remedy(remedy),
        ));
    }
    print(&enter(
        args.shell,
        &Entered {
            name,
            environment: text(&directory)?,
            source: text(&caller.directory)?,
        },
    ))
}

/// Makes a virtual environment, with uv if it is installed. The remains of an interrupted attempt
/// are replaced.
fn create(
    directory: &Path,
    python: &str,
    caller: &Caller,
    variables: &BTreeMap<String, String>,
) -> Result<(), Failure> {
    if directory.join("pyvenv.cfg").is_file() {
        std::fs::remove_dir_all(directory)?;
    }
    if let Some(place) = directory.parent() {
        std::fs::create_dir_all(place)?;
    }
    let path = text(directory)?;
    let line: Vec<String> = if process::which("uv", variables).is_some() {
        ["uv", "venv", "--quiet", "--python", python, path]
            .map(str::to_owned)
            .into()
    } else {
        // `--python 3.12`, as uv and virtualenv have it.
        let program = if python.starts_with(|c: char| c.is_ascii_digit()) {
            format!("python{python}")
        } else {
            python.to_owned()
        };
        [program.as_str(), "-m", "venv", path]
            .map(str::to_owned)
            .into()
    };
    // stdout belongs to the commands for the shell.
    let command = process::command(&line, &caller.directory, variables);
    let ended = command.and_then(|mut command| {
        command.stdout(std::process::Stdio::null());
        process::listen(command, &line[0], |_| true)
    });
    match ended {
        Ok(heard) if heard.status == 0 => Ok(()),
        Ok(heard) => {
            let words = format!("{} ended with status {}", line.join(" "), heard.status);
            Err(Failure::new(1, Advice::new(words)))
        }
        Err(error) => {
            let advice = error.advice().remedy("name another: --python PYTHON");
            Err(Failure::new(1, advice))
        }
    }
}

/// Prints the commands that leave the active project.
pub(super) fn deactivate(args: &ShellArgs, caller: &Caller) -> Result<u8, Failure> {
    let variables = caller.text_variables();
    if !variables.contains_key("WARPDRIVE_ENV_NAME") {
        return Err(Failure::new(
            1,
            Advice::new("no warpdrive project is active"),
        ));
    }
    print(&leave(args.shell))
}

/// Removes a project's virtual environment, unless it is active.
pub(super) fn destroy(args: &DestroyArgs, caller: &Caller) -> Result<u8, Failure> {
    let variables = caller.text_variables();
    let place = place(&variables)?;
    let name = &args.name;
    let directory = place.join(format!("{PREFIX}{name}"));
    if !directory.is_dir() {
        return Err(Failure::new(1, none_of_that_name(name, &place)));
    }
    let same = |variable: &str| {
        let path = variables
            .get(variable)
            .map(|path| Path::new(path).canonicalize());
        matches!((path, directory.canonicalize()), (Some(Ok(one)), Ok(other)) if one == other)
    };
    if same(contract::APP_ROOT) || same("VIRTUAL_ENV") {
        let advice = Advice::new(format!("the project '{name}' is active"));
        return Err(Failure::new(1, advice.remedy("warpdrive deactivate")));
    }
    // Only a virtual environment is removed, whatever the name.
    let empty = || std::fs::read_dir(&directory).is_ok_and(|mut list| list.next().is_none());
    if !directory.join("pyvenv.cfg").is_file() && !empty() {
        let words = format!("{} is not a virtual environment", directory.display());
        return Err(Failure::new(1, Advice::new(words)));
    }
    std::fs::remove_dir_all(&directory)?;
    Output::Stderr.note(&format!("Removed warpdrive project '{name}'."));
    Ok(0)
}

/// Prints the function `warpdrive` for a shell.
pub(super) fn rcfile(args: &RcfileArgs, caller: &Caller) -> Result<u8, Failure> {
    let login = || Shell::of(caller.text_variables().get("SHELL").map(String::as_str));
    let shell = args.shell.unwrap_or_else(login);
    let program = std::env::current_exe()?;
    let words = function(shell, text(&program)?);
    io::stdout().lock().write_all(words.as_bytes())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_that_no_shell_expands() {
        for (text, good) in [
            ("default", true),
            ("my app", true),
            ("Übung-2.1", true),
            ("", false),
            ("a/b", false),
            ("$(id)", false),
            ("a'b", false),
            ("-x", false),
        ] {
            assert_eq!(name(text).is_ok(), good, "{text}");
        }
        // `..` cannot lead out: it is part of one component.
        assert!(name("..").is_ok());
    }
}
