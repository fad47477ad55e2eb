//! `warpdrive verify-build`: makes an image again from its own record and compares.

use std::path::PathBuf;
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;

use crate::layer::Compression;
use crate::oci::Reference;
use crate::pipeline::{self, AuditGate, BuildRecord, Request, Verification};
use crate::source::{GitUrl, Origin, SourceRequest};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::image::{build_variable, host_env, secret};
use super::images::find;
use super::limits::{BuildNetwork, LimitArgs, WriteArgs};
use super::progress::Console;
use super::s2i::MachineArgs;
use super::source;

/// Differences that are shown; `--json` has them all.
const SHOWN: usize = 30;

/// Make an image again from its own record, and compare
///
/// The image says what it was made of: the commit, the builder's digest, the resolved packages and the
/// options. What it does not say are build variables and secrets, and with an S2I builder what was injected
/// or mounted: give them again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive verify-build opal --source ~/opal
  warpdrive verify-build opal --git https://git.example.com/team/opal.git
  warpdrive verify-build opal --json

Exits with 0 when both have one digest, and with 4, telling which file differs and how, when they do
not.")]
pub(super) struct Args {
    /// Name of an image in the store
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    image: String,
    /// The source tree, at the commit that the image was made from; without it, the repository that
    /// the image names
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Another repository that has the commit
    #[arg(long, value_name = "URL", conflicts_with = "source")]
    git: Option<String>,
    /// Variable for the build only, as it was when the image was made
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = build_variable)]
    build_env: Vec<(String, String)>,
    /// File for the build only, at /run/secrets/ID, as it was when the image was made
    #[arg(long, value_name = "id=ID,src=FILE")]
    secret: Vec<String>,
    /// Let the build's code see the logins of the host's package indexes, as when the image was made
    #[arg(long)]
    expose_index_credentials: bool,
    /// Network of the app's and its packages' code: private (leads outward only), host or none
    #[arg(long, value_name = "MODE", value_enum, default_value_t = BuildNetwork::Private, hide_possible_values = true)]
    network: BuildNetwork,
    /// Stop a phase that takes longer, for example 90s or 15m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(
        flatten,
        next_help_heading = "With an S2I builder, as it was when the image was made"
    )]
    machine: MachineArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    written: WriteArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let console = Console::new(&context.printer);
    let record = {
        let store = context.open_store()?;
        BuildRecord::of(&find(&store, &args.image)?.config)?
    };
    let mut request = request(args, &record)?;
    source::enter(&mut request.source, context, &console)?;
    let store = context.open_store()?;
    let image = find(&store, &args.image)?;
    let given = args.machine.given()?;
    let verification = pipeline::verify(&store, &args.image, &image, request, &given, &console)?;
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

/// The given directory, or the commit in a repository.
fn origin(args: &Args, record: &BuildRecord) -> Result<Origin, CommandError> {
    if let Some(directory) = &args.source {
        return Ok(Origin::local(directory));
    }
    let url = args.git.as_ref().or(record.source.remote.as_ref());
    let (Some(url), Some(commit)) = (url, &record.source.commit) else {
        return Err(
            CommandError::usage("the image does not say where its source is")
                .with_hint("--source names the directory"),
        );
    };
    if record.source.dirty {
        return Err(CommandError::usage(
            "the image was made from files that differ from those of its commit",
        )
        .with_hint("--source names a directory that has them"));
    }
    Ok(Origin::Git(GitUrl::parse(url)?).at(commit)?)
}

/// The options that the record does not decide.
fn request(args: &Args, record: &BuildRecord) -> Result<Request, CommandError> {
    let name: Reference = args.image.parse()?;
    let mut limits = args.limits.limits(args.timeout);
    let budget = args.written.bound(&mut limits);
    Ok(Request {
        name,
        source: {
            let mut source = SourceRequest::new(origin(args, record)?);
            source.context_dir = record.source.context_dir.as_ref().map(PathBuf::from);
            source.submodules = !record.source.without_submodules;
            source
        },
        builder: None,
        allowed_builders: Vec::new(),
        runtime_image: None,
        twin: false,
        auto_apt: false,
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
        cache: crate::remote_cache::RemoteCache::default(),
        sandbox: crate::pipeline::SandboxUse::Always,
        byte_code: true,
        upgrade: false,
        incremental: false,
        compression: Compression::default(),
        network: args.network.into(),
        smoke: false,
        harden: false,
        audit: AuditGate::default(),
        pull: pipeline::Pull::Missing,
        pinned: None,
        budget,
        unsearched: crate::pipeline::Unsearched::default(),
        limits,
        source_date_epoch: None,
        host_env: host_env(),
        expose_index_credentials: args.expose_index_credentials,
        handover: pipeline::Handover::Nothing,
        wheels: None,
        place: pipeline::Place::Sandbox,
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
