//! `warpdrive help`: the help of a command, as `--help` shows it.

use clap::Command;

use super::error::CommandError;

/// Show the help of a command
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive help image
  warpdrive help builder build")]
pub(super) struct Args {
    /// The command, and a command of that
    #[arg(value_name = "COMMAND")]
    path: Vec<String>,
}

pub(super) fn run(args: &Args, mut command: Command) -> Result<u8, CommandError> {
    command.build();
    let mut found = &mut command;
    let mut said = String::from("warpdrive help");
    for name in &args.path {
        let Some(next) = position(found, name) else {
            return Err(unknown(found, name, &said));
        };
        said.push(' ');
        said.push_str(name);
        found = match found.get_subcommands_mut().nth(next) {
            Some(next) => next,
            None => return Err(CommandError::usage(format!("there is no command `{name}`"))),
        };
    }
    // A closed pipe is not a failure.
    let _ = found.print_long_help();
    Ok(0)
}

fn position(command: &Command, name: &str) -> Option<usize> {
    command
        .get_subcommands()
        .position(|it| it.get_name() == name || it.get_all_aliases().any(|alias| alias == name))
}

fn unknown(command: &Command, name: &str, said: &str) -> CommandError {
    let error = CommandError::usage(format!("there is no command `{name}`"));
    let closest = command
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
        .map(|it| (strsim::jaro_winkler(it.get_name(), name), it.get_name()))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75);
    error.with_hint(match closest {
        Some((_, closest)) => format!("did you mean `{said} {closest}`? `{said}` lists all"),
        None => format!("`{said}` lists all"),
    })
}
