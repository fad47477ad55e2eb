//! The host tool's commands: parsing and dispatch.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::audit;
use super::context::Context;
use super::error::CommandError;
use super::printer::Printer;
use super::{
    builder, completions, container, copy, doctor, export, image, images, import, inspect, login,
    prune, pull, push, referrers, rm, run, s2i, tag, tags, verify_build, version,
};
use crate::app::cli::{self as app, AppCommand};

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

`warpdrive COMMAND --help` has details and examples."
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
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Image(image::Args),
    Run(run::Args),
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
    Export(export::Args),
    Import(import::Args),
    Audit(audit::Args),
    VerifyBuild(verify_build::Args),
    Builder(builder::Args),
    S2i(s2i::S2iArgs),
    Doctor(doctor::Args),
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
            Self::Export(args) => args.json,
            Self::Import(args) => args.json,
            Self::Doctor(args) => args.json,
            Self::Run(_) | Self::Completions(_) | Self::Man(_) => false,
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
            Self::Export(args) => export::run(args, context),
            Self::Import(args) => import::run(args, context),
            Self::Doctor(args) => Ok(doctor::run(args, context)),
            Self::Run(args) => run::run(args, context),
            Self::Container(args) => container::run(args, context),
            Self::Completions(args) => Ok(completions::run(args, Cli::command())),
            Self::Man(args) => completions::man(args, Cli::command(), context),
            Self::Version(args) => Ok(version::run(args, context)),
            Self::App(command) => Ok(app::run(command)),
        }
    }
}

/// What parts of the program that nobody watches (a container's supervisor) have to say, on stderr,
/// where `WARPDRIVE_LOG` asks for it (`warn`, `debug`, `warpdrive::container=debug`).
fn log() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("WARPDRIVE_LOG") {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .finish();
        // Nobody else sets one.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

/// As `WARPDRIVE_LOG=debug` asks for; what that variable says is stronger.
pub(super) fn log_all() {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("debug")
        .with_writer(std::io::stderr)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
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
    log();
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
