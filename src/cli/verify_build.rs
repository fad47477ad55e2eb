//! `warpdrive verify-build`: makes an image again from its own record and compares.

use std::path::PathBuf;
use std::time::Duration;

use crate::build::{self, Judgement, Request, Verification};
use crate::oci::Reference;
use crate::sandbox::{self, Network};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::image::{host_env, name_and_value, secret};
use super::images::find;
use super::limits::LimitArgs;
use super::progress::Console;

/// Differences that are shown; `--json` has them all.
const SHOWN: usize = 30;

/// Make an image again from its own record, and compare
///
/// The image says what it was made of: the commit, the builder's digest, the resolved packages and the
/// options. What it does not say are build variables and secrets: give them again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive verify-build opal --source ~/opal
  warpdrive verify-build opal --json

Exits with 0 when both have one digest, and with 4, telling which file differs and how, when they do
not.")]
pub(super) struct Args {
    /// Name of an image in the store
    image: String,
    /// The source tree, at the commit that the image was made from
    #[arg(long, value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// Variable for the build only, as it was when the image was made
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    build_env: Vec<(String, String)>,
    /// File for the build only, at /run/secrets/ID, as it was when the image was made
    #[arg(long, value_name = "id=ID,src=FILE")]
    secret: Vec<String>,
    /// Network of the build: host or none
    #[arg(long, value_name = "MODE", default_value = "host", value_parser = ["host", "none"])]
    network: String,
    /// Stop a phase that takes longer, for example 90s or 15m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    limits: LimitArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let request = request(args)?;
    sandbox::enter()?;
    sandbox::install_interrupt_handler().map_err(|error| {
        CommandError::new(
            ExitStatus::Failure,
            "signals",
            format!("could not catch signals: {error}"),
        )
    })?;
    let store = context.open_store()?;
    let image = find(&store, &args.image)?;
    let console = Console::new(&context.printer);
    let source = args.source.clone();
    let verification = build::verify(&store, &args.image, &image, source, request, &console)?;
    if args.json {
        context.printer.json(&verification);
    } else {
        show(&verification, context);
    }
    Ok(if verification.verified {
        0
    } else {
        ExitStatus::Refused.code()
    })
}

/// What the record does not decide.
fn request(args: &Args) -> Result<Request, CommandError> {
    let name: Reference = args.image.parse()?;
    Ok(Request {
        name,
        path: args.source.clone(),
        builder: None,
        runtime_image: None,
        env: Vec::new(),
        build_env: args.build_env.clone(),
        secrets: args
            .secret
            .iter()
            .map(|text| secret(text))
            .collect::<Result<_, _>>()?,
        outputs: Vec::new(),
        push: false,
        no_cache: true,
        upgrade: false,
        network: if args.network == "none" {
            Network::None
        } else {
            Network::Host
        },
        harden: false,
        audit: Judgement::default(),
        pinned: None,
        limits: args.limits.limits(args.timeout),
        source_date_epoch: None,
        host_env: host_env(),
    })
}

fn show(verification: &Verification, context: &Context) {
    let printer = &context.printer;
    for difference in verification.differences.iter().take(SHOWN) {
        printer.result(difference.to_string());
    }
    if verification.differences.len() > SHOWN {
        let more = verification.differences.len() - SHOWN;
        printer.result(format!("and {more} more; --json has them"));
    }
    let (name, digest) = (&verification.name, &verification.digest);
    printer.result(if verification.verified {
        format!("verified: {name}@{digest}")
    } else {
        let rebuilt = &verification.rebuilt;
        format!("not verified: {name}@{digest}, rebuilt: {rebuilt}")
    });
}
