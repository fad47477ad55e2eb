//! `warpdrive push`: an image of the store goes to a registry.

use clap_complete::engine::ArgValueCandidates;

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::registry::{Client, ClientOptions};

use super::context::Context;
use super::error::CommandError;
use super::images::resolve;
use super::printer::human_size;
use super::progress::Console;

/// Push an image of the store to a registry
///
/// What the registry has already is not sent again; layers of a base image on the same registry are
/// mounted. The login is the one that `podman login` or `docker login` left.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive push registry.example.com/team/opal:1.2
  warpdrive push opal registry.example.com/team/opal:1.2
  warpdrive push opal localhost:5000/opal              plain HTTP is tried on this machine only
")]
pub(super) struct Args {
    /// Name of the image in the store
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    name: String,
    /// Name in the registry, where it is another: REGISTRY/PATH[:TAG]
    dest: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// How a registry is reached and logged in to.
#[derive(Debug, clap::Args)]
pub(super) struct RegistryArgs {
    /// Auth file to look at first, as `podman login --authfile` writes it
    #[arg(long, value_name = "FILE")]
    authfile: Option<std::path::PathBuf>,
    /// Registry that may speak plain HTTP or have any certificate; also `WARPDRIVE_INSECURE_REGISTRIES`
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
}

impl RegistryArgs {
    pub(super) fn options(&self) -> ClientOptions {
        ClientOptions {
            auth_files: self.authfile.iter().cloned().collect(),
            insecure_registries: self.insecure_registry.clone(),
            ..ClientOptions::default()
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let target = args.dest.as_deref().unwrap_or(&args.name);
    let target: Reference = target.strip_prefix("docker://").unwrap_or(target).parse()?;
    if !target.has_host() {
        return Err(
            CommandError::usage(format!("`{target}` names no registry")).with_hint(format!(
                "for example `warpdrive push {} registry.example.com/team/{}`",
                args.name,
                target.short_name()
            )),
        );
    }
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let image = resolve(&store, &args.name)?;
    let console = Console::new(&context.printer);
    let report = Client::new(args.registry.options())?.push(
        &image,
        &store,
        &target,
        &Transfers::new(&console),
    )?;
    if args.json {
        context.printer.json(&report);
        return Ok(0);
    }
    context.printer.progress(format!(
        "{} blobs sent ({}), {} mounted, {} there already",
        report.uploaded,
        human_size(report.uploaded_bytes),
        report.mounted,
        report.existing
    ));
    context
        .printer
        .result(format!("{}@{}", report.reference, report.digest));
    Ok(0)
}
