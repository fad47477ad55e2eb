//! `warpdrive completions` and `warpdrive man`: generated from the command line's own description.

use std::io::{self, Write};
use std::path::PathBuf;

use super::context::Context;
use super::error::{CommandError, ExitStatus};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For example: warpdrive completions bash > ~/.local/share/bash-completion/completions/warpdrive"
)]
pub(super) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args, mut command: clap::Command) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "warpdrive", &mut script);
    // A closed pipe is no failure.
    let _ = io::stdout().lock().write_all(&script);
    0
}

/// Write the manual pages into a directory
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// It is made where there is none
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn man(
    args: &ManArgs,
    command: clap::Command,
    context: &Context,
) -> Result<u8, CommandError> {
    let failed = |error: io::Error| {
        CommandError::new(
            ExitStatus::Failure,
            "man-pages",
            format!("could not write to {}: {error}", args.directory.display()),
        )
    };
    std::fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(command, &args.directory).map_err(failed)?;
    context
        .printer
        .result(format!("manual pages are in {}", args.directory.display()));
    Ok(0)
}
