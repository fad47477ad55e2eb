//! The app commands, in the host tool and in the in-image executable alike.

mod local;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::app::advice::Explain;
use crate::app::assemble::{self, Phase};
use crate::app::environment::quote;
use crate::app::progress::Progress as _;
use crate::app::roots::{Roots, RootsError};
use crate::app::{Plan, fixup, run};

pub use words::{Words, print_advice};

/// Commands of an app, on a laptop in a virtual environment and in the image alike.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    /// Create a virtual environment for an app, or show how to switch to it
    Project(ProjectArguments),
    /// Install the dependencies, collect static files and record how to start the app
    Build,
    /// Build wheels of the dependencies into .warpdrive/wheelhouse
    Wheels,
    /// Start the app's server
    Start {
        /// Print the server's command line and end
        #[arg(long)]
        dry_run: bool,
    },
    /// Run the hook `setup`: prepare a new deployment (database, admin account)
    Setup,
    /// Run the hook `migrate`: bring a deployment up to date
    Migrate,
    /// Tell by the exit status whether the app is alive
    Alive,
    /// Tell by the exit status whether the app takes requests
    Ready,
    /// Run the hook `verify`
    Verify,
    /// Run a command in the app's environment
    #[command(disable_help_flag = true)]
    Exec {
        /// The command and its arguments
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "COMMAND"
        )]
        command: Vec<String>,
    },
    /// Start a shell in the app's environment
    Shell,
    /// Print the app's environment, as `eval` wants it
    Env {
        /// Show every setting and where its value comes from
        #[arg(long)]
        explain: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let the group do what the owner may, below PATH
    Fixup {
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// What s2i/bin/assemble calls
    #[command(hide = true)]
    Assemble,
    /// What s2i/bin/save-artifacts calls
    #[command(hide = true)]
    SaveArtifacts,
}

#[derive(Debug, Args)]
pub struct ProjectArguments {
    /// The environment's name
    #[arg(default_value = "default")]
    pub name: String,
    /// Create it if it does not exist
    #[arg(long)]
    pub create: bool,
    /// The Python to create it with
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
}

/// This process's environment, as far as it is text.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        })
        .collect()
}

/// Runs a command and returns the process's exit status.
pub fn run(command: AppCommand, words: Words) -> i32 {
    let environment = process_environment();
    let roots = match (&command, Roots::find(&environment)) {
        (AppCommand::Fixup { path }, _) => return fix(path),
        (AppCommand::Project(arguments), _) => {
            return local::project(arguments, &environment, words);
        }
        (_, Ok(roots)) => roots,
        (_, Err(error)) => {
            let mut advice = crate::app::advice::Advice::new(error.to_string());
            if let RootsError::NoEnvironment = error {
                advice = advice
                    .remedy("python3 -m venv .venv && . .venv/bin/activate")
                    .remedy("or: warpdrive project --create NAME");
            }
            print_advice(&advice);
            return 1;
        }
    };
    let result = match command {
        AppCommand::Build => return report(assemble::build(&roots, &environment, &words)),
        AppCommand::Assemble => {
            let name = environment
                .get("WARPDRIVE_BUILD_PHASE")
                .filter(|name| !name.is_empty());
            let phase = match name.map(|name| (name, Phase::from_name(name))) {
                None => None,
                Some((_, Some(phase))) => Some(phase),
                Some((name, None)) => {
                    words.failure(&format!(
                        "WARPDRIVE_BUILD_PHASE={name} is neither dependencies nor application"
                    ));
                    return 2;
                }
            };
            return report(assemble::assemble(&roots, &environment, phase, &words));
        }
        AppCommand::Wheels => return local::wheels(&roots, &environment, words),
        AppCommand::SaveArtifacts => return local::save_artifacts(&roots),
        AppCommand::Env {
            explain: true,
            json,
        } => return local::explain(&roots, &environment, json, words),
        AppCommand::Env {
            explain: false,
            json,
        } => {
            run::environment_for(&roots, run::plan_of(&roots).as_ref(), &environment).map(|after| {
                print_environment(&environment, &after, json, words);
                0
            })
        }
        AppCommand::Start { dry_run: true } => {
            Plan::load(&roots.app).map_err(Into::into).and_then(|plan| {
                let after = run::environment_for(&roots, Some(&plan), &environment)?;
                let line = run::server_line(&roots, &plan, &after)?;
                words.out(&line.join(" "));
                Ok(0)
            })
        }
        AppCommand::Start { dry_run: false } => run::start(&roots, &environment, &words),
        AppCommand::Setup => run::action("setup", &roots, &environment, &words),
        AppCommand::Migrate => run::action("migrate", &roots, &environment, &words),
        AppCommand::Alive => run::check("alive", &roots, &environment, &words),
        AppCommand::Ready => run::check("ready", &roots, &environment, &words),
        AppCommand::Verify => run::check("verify", &roots, &environment, &words),
        AppCommand::Exec { command } => run::exec(&command, &roots, &environment),
        AppCommand::Shell => run::shell(&roots, &environment),
        AppCommand::Fixup { .. } | AppCommand::Project(_) => Ok(0),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            print_advice(&error.advice());
            error.status()
        }
    }
}

fn report(result: Result<(), assemble::BuildError>) -> i32 {
    match result {
        Ok(()) => 0,
        // Not the end of the build: whoever started it goes on with the code of packages.
        Err(error @ assemble::BuildError::NeedsSdists { .. }) => {
            Words { to_stderr: true }.note(&error.to_string());
            error.status()
        }
        Err(error) => {
            print_advice(&error.advice());
            error.status()
        }
    }
}

fn fix(path: &std::path::Path) -> i32 {
    match fixup::fixup(path) {
        Ok(_) => 0,
        Err(error) => {
            print_advice(
                &crate::app::advice::Advice::new(error.to_string()).cause(error.source.to_string()),
            );
            1
        }
    }
}

/// What is new or different, quoted for a shell.
fn print_environment(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    json: bool,
    words: Words,
) {
    let changed = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value));
    if json {
        let object: BTreeMap<_, _> = changed.collect();
        words.out(&serde_json::to_string(&object).unwrap_or_default());
    } else {
        for (name, value) in changed {
            words.out(&format!("export {name}={}", quote(value)));
        }
    }
}
