//! `warpdrive completions` and `warpdrive man`: generated from the command line's own description.

use std::io::{self, Write};
use std::path::PathBuf;

use clap_complete::env::Shells;

use super::complete;
use super::context::Context;
use super::error::{CommandError, ExitStatus};

/// Print a completion script for a shell: commands, options, names of images and containers, files
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  warpdrive completions bash > ~/.local/share/bash-completion/completions/warpdrive
  warpdrive completions zsh > ~/.zfunc/_warpdrive     (with fpath+=~/.zfunc before compinit)
  warpdrive completions fish > ~/.config/fish/completions/warpdrive.fish

The script asks warpdrive itself: make it again with another release.")]
pub(super) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Args) -> Result<u8, CommandError> {
    let name = args.shell.to_string();
    let mut script = Vec::new();
    let written = Shells::builtins()
        .completer(&name)
        .ok_or_else(|| io::Error::other(format!("no script for {name}")))
        .and_then(|shell| {
            shell.write_registration(
                complete::VARIABLE,
                "warpdrive",
                "warpdrive",
                "warpdrive",
                &mut script,
            )
        });
    written.map_err(|error| {
        CommandError::new(
            ExitStatus::Failure,
            "completions",
            format!("could not make the script for {name}: {error}"),
        )
    })?;
    // A closed pipe is not a failure.
    let _ = io::stdout().lock().write_all(&script);
    Ok(0)
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
