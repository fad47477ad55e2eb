//! The host tool's commands: parsing and dispatch.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::audit;
use super::context::Context;
use super::error::CommandError;
use super::printer::Printer;
use super::version;

/// Turns a Python web application's source tree into a production-ready OCI image
#[derive(Debug, Parser)]
#[command(
    name = "warpdrive",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    /// Directory of the content store [default: $XDG_DATA_HOME/warpdrive]
    #[arg(
        long,
        global = true,
        env = "WARPDRIVE_STORE",
        value_name = "DIR",
        hide_env_values = true
    )]
    store: Option<PathBuf>,
    /// Print results and warnings only
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(audit::Args),
    Version(version::Args),
}

impl Command {
    /// Whether the user asked for JSON, so that an error becomes JSON too.
    fn json(&self) -> bool {
        match self {
            Self::Audit(args) => args.json,
            Self::Version(args) => args.json,
        }
    }

    fn run(&self, context: &Context) -> Result<u8, CommandError> {
        match self {
            Self::Audit(args) => audit::run(args, context),
            Self::Version(args) => version::run(args, context),
        }
    }
}

/// Parses the arguments, carries the command out, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let context = Context {
        store: cli.store,
        printer: Printer::new(cli.quiet),
    };
    match cli.command.run(&context) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.report(&context.printer, cli.command.json());
            ExitCode::from(error.exit.code())
        }
    }
}
