//! The host tool's commands: parsing and dispatch.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::CompleteEnv;

use super::context::Context;
use super::error::CommandError;
use super::printer::{Printer, Words};
use super::{attach, audit};
use super::{
    builder, complete, completions, container, copy, dev, doctor, export, help, image, images,
    import, index, inspect, laptop, logging, login, prune, pull, push, referrers, rm, run, s2i,
    store, tag, tags, usage, verify_build, version,
};
use crate::app::cli::AppCommand;

/// Turns a Python web application's source tree into a production-ready OCI image
#[derive(Debug, Parser)]
#[command(
    name = "warpdrive",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
A beginning, in the directory of your application:
  warpdrive doctor                                whether this machine is ready
  warpdrive builder build debian-13-python-3.13   a builder image, once
  warpdrive image opal                            build the image `opal`
  warpdrive run -p 8080:8080 opal                 and run it

`warpdrive help COMMAND` has details and examples."
)]
struct Cli {
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "Where images are kept [default: $WARPDRIVE_STORE, else ~/.local/share/warpdrive]"
    )]
    store: Option<PathBuf>,
    /// Print results and warnings only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more: why each step is run, and all that other programs print
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Colours: `auto` (on a terminal, without `NO_COLOR`), `always` or `never`
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Image(Box<image::Args>),
    Run(run::Args),
    Dev(dev::Args),
    /// List containers: `container ls` for short
    Ps(container::Ls),
    /// Show what a container printed: `container logs` for short
    Logs(container::Logs),
    /// Stop containers: `container stop` for short
    Stop(container::Stop),
    Container(container::Args),
    Images(images::Args),
    Inspect(inspect::Args),
    Tag(tag::Args),
    Rm(rm::Args),
    Prune(prune::Args),
    Push(push::Args),
    Pull(pull::Args),
    Copy(copy::Args),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Tags(tags::Args),
    Referrers(referrers::Args),
    Attach(attach::Args),
    Index(index::Args),
    Export(export::Args),
    Import(import::Args),
    Audit(audit::Args),
    VerifyBuild(verify_build::Args),
    Builder(builder::Args),
    S2i(s2i::S2iArgs),
    Store(store::Args),
    Doctor(doctor::Args),
    Help(help::Args),
    Completions(completions::Args),
    Man(completions::ManArgs),
    Version(version::Args),
    #[command(flatten)]
    App(AppCommand),
}

impl Command {
    /// Whether the user asked for JSON, so that an error becomes JSON too.
    fn json(&self) -> bool {
        match self {
            Self::Audit(args) => args.json,
            Self::VerifyBuild(args) => args.json,
            Self::Image(args) => args.json,
            Self::Images(args) => args.json,
            Self::Inspect(args) => args.json,
            Self::Tag(args) => args.json,
            Self::Rm(args) => args.json,
            Self::Prune(args) => args.json,
            Self::Ps(args) => args.json,
            Self::Container(args) => args.json(),
            Self::Builder(args) => args.json(),
            Self::S2i(args) => args.json(),
            Self::Push(args) => args.json,
            Self::Pull(args) => args.json,
            Self::Copy(args) => args.json,
            Self::Login(args) => args.json,
            Self::Logout(args) => args.json,
            Self::Tags(args) => args.json,
            Self::Referrers(args) => args.json,
            Self::Attach(args) => args.json,
            Self::Index(args) => args.json(),
            Self::Export(args) => args.json,
            Self::Import(args) => args.json,
            Self::Store(args) => args.json(),
            Self::Doctor(args) => args.json,
            Self::Run(_)
            | Self::Dev(_)
            | Self::Logs(_)
            | Self::Stop(_)
            | Self::Help(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
            Self::Version(args) => args.json,
            Self::App(command) => command.json(),
        }
    }

    fn run(&self, context: &Context) -> Result<u8, CommandError> {
        match self {
            Self::Audit(args) => audit::run(args, context),
            Self::VerifyBuild(args) => verify_build::run(args, context),
            Self::Image(args) => image::run(args, context),
            Self::Images(args) => images::run(args, context),
            Self::Inspect(args) => inspect::run(args, context),
            Self::Tag(args) => tag::run(args, context),
            Self::Rm(args) => rm::run(args, context),
            Self::Prune(args) => prune::run(args, context),
            Self::Builder(args) => builder::run(args, context),
            Self::S2i(args) => s2i::run(args, context, Cli::command()),
            Self::Push(args) => push::run(args, context),
            Self::Pull(args) => pull::run(args, context),
            Self::Copy(args) => copy::run(args, context),
            Self::Login(args) => login::login(args, context),
            Self::Logout(args) => login::logout(args, context),
            Self::Tags(args) => tags::run(args, context),
            Self::Referrers(args) => referrers::run(args, context),
            Self::Attach(args) => attach::run(args, context),
            Self::Index(args) => index::run(args, context),
            Self::Export(args) => export::run(args, context),
            Self::Import(args) => import::run(args, context),
            Self::Store(args) => store::run(args, context),
            Self::Doctor(args) => Ok(doctor::run(args, context)),
            Self::Run(args) => run::run(args, context),
            Self::Dev(args) => dev::run(args, context),
            Self::Ps(args) => container::list(args, context),
            Self::Logs(args) => container::logs(args, context),
            Self::Stop(args) => container::stop(args, context),
            Self::Container(args) => container::run(args, context),
            Self::Help(args) => help::run(args, Cli::command()),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => completions::man(args, Cli::command(), context),
            Self::Version(args) => Ok(version::run(args, context)),
            Self::App(command) => laptop::run(command, context),
        }
    }
}

/// Parses the arguments, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    CompleteEnv::with_factory(Cli::command)
        .var(complete::VARIABLE)
        .bin("warpdrive")
        .complete();
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let parsed = Cli::command()
        .color(usage::colour(&arguments))
        .try_get_matches()
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(_) if usage::is_only_verbose(&arguments) => {
            CommandError::usage("-v says more of what a command does, and there is no command")
                .with_hint("`warpdrive -V` prints the version, `warpdrive help` lists the commands")
                .report(
                    &Printer::new(Words::Normal, usage::colour(&arguments)),
                    false,
                );
            return ExitCode::from(2);
        }
        Err(error) => {
            let _ = error.print();
            if let Some(hint) = usage::hint(&error, &arguments) {
                let printer = Printer::new(Words::Normal, usage::colour(&arguments));
                let word = printer.paint("1;36", "hint");
                printer.progress("");
                printer.paragraph(&format!("{word}: "), &hint, 6);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    logging::as_asked();
    let words = match (cli.quiet, cli.verbose) {
        (true, _) => Words::Quiet,
        (_, true) => Words::Verbose,
        _ => Words::Normal,
    };
    let context = Context {
        store: cli.store,
        printer: Printer::new(words, cli.color),
    };
    match cli.command.run(&context) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            error.report(&context.printer, cli.command.json());
            ExitCode::from(error.exit.code())
        }
    }
}
