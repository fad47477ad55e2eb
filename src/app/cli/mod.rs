//! The commands that know an application. The executable inside images has only these; the host
//! tool has them among its own.

mod build;
mod environment;
mod local;
mod output;
mod settings;
mod shells;

#[cfg(feature = "host")]
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::environment::quote_words;
use crate::fixup::fixup;
use crate::run::{Caller, RunError, commands, smoke};

use output::{Failure, Output, result};

/// Builds and runs a Python web application where it lies
#[derive(Debug, Parser)]
#[command(
    name = "warpdrive",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct App {
    #[command(subcommand)]
    command: AppCommand,
}

#[derive(Debug, Subcommand)]
pub enum AppCommand {
    #[command(
        after_long_help = "Put this into ~/.bashrc or ~/.zshrc:\n  eval \"$(warpdrive rcfile)\"\nor into ~/.config/fish/config.fish:\n  warpdrive rcfile fish | source\n\nExamples:\n  warpdrive project --create shop\n  warpdrive project --create --python 3.12 shop\n  warpdrive project shop"
    )]
    /// Switch to the virtual environment of a project, or make one
    Project(local::ProjectArgs),
    /// Leave the project's virtual environment
    Deactivate(local::ShellArgs),
    /// Remove a project's virtual environment
    Destroy(local::DestroyArgs),
    #[command(
        after_long_help = "Examples:\n  eval \"$(warpdrive rcfile bash)\"\n  eval \"$(warpdrive rcfile zsh)\"\n  warpdrive rcfile fish | source"
    )]
    /// Print the shell function by which `project` and `deactivate` change the shell
    Rcfile(local::RcfileArgs),
    /// Install the dependencies and build the application in its virtual environment
    Build(build::Args),
    /// Load what a start would load, for the build that asks; the answer is JSON
    #[command(hide = true)]
    Smoke,
    /// What an image's `s2i/bin/assemble` calls
    #[command(hide = true)]
    Assemble,
    #[command(
        after_long_help = "Example:\n  warpdrive wheels\n  WARPDRIVE_PIP_NO_INDEX=1 warpdrive build"
    )]
    /// Build wheels of all that a build installs into .warpdrive/wheelhouse
    Wheels(build::Args),
    /// Show the settings of the application and where each was said, or their JSON Schema
    Settings(settings::Args),
    #[command(
        after_long_help = "Examples:\n  warpdrive start\n  PORT=9000 warpdrive start\n  warpdrive start worker\n  warpdrive start --dry-run"
    )]
    /// Start the application: hook `deploy-cfg` once, hook `deploy`, then the server
    Start {
        /// Print the server's command line only
        #[arg(long)]
        dry_run: bool,
        /// A process of the Procfile or of [tool.warpdrive.processes] in place of the server
        process: Option<String>,
    },
    /// Run the hook `setup`: what a new installation needs once, such as database tables
    ///
    /// Without the hook, a Django project migrates, and makes the account that `DJANGO_SUPERUSER_USERNAME`,
    /// `DJANGO_SUPERUSER_PASSWORD` and `DJANGO_SUPERUSER_EMAIL` name.
    Setup,
    /// Run the hook `migrate`: what a new version needs, such as database migrations
    ///
    /// Without the hook, the process `release` is run, else a Django project's `manage.py migrate`.
    Migrate,
    /// Tell whether the application is alive: its hook, else an answer to GET / below 500
    Alive,
    /// Tell whether the application is ready for requests: its hook, else as `alive`
    Ready,
    /// Run the hook `verify`: whether a built image is good
    Verify,
    #[command(
        after_long_help = "Examples:\n  warpdrive exec python manage.py createsuperuser\n  warpdrive container exec -it web warpdrive exec python"
    )]
    /// Run a program in the application's environment
    Exec {
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            required = true,
            value_name = "CMD"
        )]
        command: Vec<OsString>,
    },
    /// Run a shell in the application's environment
    Shell,
    /// Print the application's environment: eval "$(warpdrive env)"
    Env(environment::Args),
    /// Let group 0 read and write everything below PATH and execute what anyone may
    ///
    /// So that the application runs as any user with group 0. Only what needs it is changed; links
    /// are not followed.
    Fixup { path: PathBuf },
}

impl AppCommand {
    /// Whether the user asked for JSON output.
    pub fn json(&self) -> bool {
        match self {
            Self::Env(args) => args.json,
            Self::Settings(args) => args.json,
            _ => false,
        }
    }

    /// The command-line settings of a command that installs packages; the command reports the error.
    #[cfg(feature = "host")]
    pub fn installs_with(&self) -> Option<Result<BTreeMap<String, String>, ()>> {
        match self {
            Self::Build(args) | Self::Wheels(args) => Some(args.settings().map_err(drop)),
            _ => None,
        }
    }
}

/// Parses the arguments and runs the command: the complete in-image executable.
pub fn main() -> ExitCode {
    match App::try_parse() {
        Ok(app) => ExitCode::from(run(&app.command)),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// Runs a command and returns the exit code: that of the program that it ran, else warpdrive's
/// own (docs/reference/exit-codes.md).
pub fn run(command: &AppCommand) -> u8 {
    let caller = Caller::current().map_err(RunError::WorkingDirectory);
    let done = caller.map_err(Failure::from);
    done.and_then(|caller| dispatch(command, &caller))
        .unwrap_or_else(|failure| failure.report())
}

/// The same for another caller than this process.
#[cfg(feature = "host")]
pub fn run_for(command: &AppCommand, caller: &Caller) -> u8 {
    dispatch(command, caller).unwrap_or_else(|failure| failure.report())
}

fn dispatch(command: &AppCommand, caller: &Caller) -> Result<u8, Failure> {
    let output = &Output::Stderr;
    Ok(match command {
        AppCommand::Project(args) => local::project(args, caller)?,
        AppCommand::Deactivate(args) => local::deactivate(args, caller)?,
        AppCommand::Destroy(args) => local::destroy(args, caller)?,
        AppCommand::Rcfile(args) => local::rcfile(args, caller)?,
        AppCommand::Settings(args) => settings::run(args, caller)?,
        AppCommand::Build(args) => build::build(args, caller)?,
        AppCommand::Smoke => {
            result(&smoke::smoke(caller)?.to_string());
            0
        }
        AppCommand::Assemble => build::assemble(caller)?,
        AppCommand::Wheels(args) => build::wheels(args, caller)?,
        AppCommand::Start {
            dry_run: true,
            process,
        } => {
            let line = commands::server_line(process.as_deref(), caller, output)?;
            result(&quote_words(&line));
            0
        }
        AppCommand::Start {
            dry_run: false,
            process,
        } => commands::start(process.as_deref(), caller, output)?,
        AppCommand::Setup => commands::with_database("setup", caller, output)?,
        AppCommand::Migrate => commands::with_database("migrate", caller, output)?,
        AppCommand::Alive => commands::probe("alive", caller, output)?,
        AppCommand::Ready => commands::probe("ready", caller, output)?,
        AppCommand::Verify => commands::verify(caller, output)?,
        AppCommand::Exec { command } => commands::exec(command, caller, output)?,
        AppCommand::Shell => commands::shell(caller, output)?,
        AppCommand::Env(args) => environment::run(args, caller)?,
        AppCommand::Fixup { path } => {
            fixup(path)?;
            0
        }
    })
}
