//! The executable at `/opt/app-root/bin/warpdrive` in every image: the app commands, nothing else.
//! Static, small, without a resolver or TLS.

use std::process::ExitCode;

use clap::Parser;
use warpdrive::cli::app::{AppCommand, Words, run};

/// Builds and runs the Python web application of this image.
#[derive(Debug, Parser)]
#[command(
    name = "warpdrive",
    bin_name = "warpdrive",
    version,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: AppCommand,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let to_stderr = !matches!(arguments.command, AppCommand::Assemble | AppCommand::Build);
    let status = run(arguments.command, Words { to_stderr });
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
