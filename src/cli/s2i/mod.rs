//! `warpdrive s2i`: the commands and options of the `s2i` tool, for pipelines that call it.
//!
//! One file per command; `options` has the shared options, `saved` the file of `--use-config`,
//! `work` the build from the checked request to its end.

mod build;
mod create;
mod generate;
mod options;
mod rebuild;
mod saved;
mod usage;
mod work;

use clap::Subcommand;

use super::context::Context;
use super::error::CommandError;
use super::{completions, version};

pub(super) use options::MachineArgs;

/// Build with any S2I builder image: the commands and options of the `s2i` tool, without a daemon
#[derive(Debug, clap::Args)]
#[command(
    name = "s2i",
    after_long_help = "\
Examples:
  warpdrive s2i build . quay.io/sclorg/python-312-c9s my-app
  warpdrive s2i build https://example.com/team/app.git#v1.2 BUILDER my-app --context-dir web
  warpdrive s2i build . BUILDER my-app --as-dockerfile out/Dockerfile
  warpdrive s2i rebuild my-app

Exit codes are warpdrive's: 2 for a wrong command line, 3 for an assemble that failed."
)]
pub(super) struct S2iArgs {
    #[command(flatten)]
    daemon: options::DaemonArgs,
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Build(Box<build::BuildArgs>),
    Rebuild(Box<rebuild::RebuildArgs>),
    Usage(usage::UsageArgs),
    Create(create::CreateArgs),
    Generate(generate::GenerateArgs),
    Version(version::Args),
    Completion(completions::Args),
    Help(HelpArgs),
}

/// Show what a command does and which options it has
#[derive(Debug, clap::Args)]
struct HelpArgs {
    /// The command; without one, all of them
    command: Option<String>,
}

impl S2iArgs {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            Action::Build(args) => args.json(),
            Action::Rebuild(args) => args.json(),
            Action::Version(args) => args.json,
            _ => false,
        }
    }
}

/// `all` is the whole command line's description, and what it found.
pub(super) fn run(
    args: &S2iArgs,
    context: &Context,
    all: clap::Command,
) -> Result<u8, CommandError> {
    args.daemon.say_what_is_ignored(&context.printer);
    match &args.command {
        Action::Build(args) => build::run(args, context, all),
        Action::Rebuild(args) => rebuild::run(args, context),
        Action::Usage(args) => usage::run(args, context),
        Action::Create(args) => create::run(args, context),
        Action::Generate(args) => generate::run(args, context),
        Action::Version(args) => Ok(version::run(args, context)),
        Action::Completion(args) => completions::run(args),
        Action::Help(args) => help(args, all, context),
    }
}

/// `s2i help COMMAND`, as the `s2i` tool has it.
fn help(args: &HelpArgs, mut all: clap::Command, context: &Context) -> Result<u8, CommandError> {
    all.build();
    let mut found = all
        .find_subcommand("s2i")
        .cloned()
        .ok_or_else(|| CommandError::usage("there is no help"))?;
    if let Some(name) = &args.command {
        found = found.find_subcommand(name).cloned().ok_or_else(|| {
            CommandError::usage(format!("there is no command `s2i {name}`"))
                .with_hint("`warpdrive s2i help` lists them")
        })?;
    }
    let text = found.render_long_help();
    for line in text.to_string().trim_end().lines() {
        context.printer.result(line);
    }
    Ok(0)
}
