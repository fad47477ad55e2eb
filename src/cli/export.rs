//! `warpdrive export`: writes an image of the store to a file, a directory or another tool.

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use crate::pipeline::Transfers;
use crate::transport::{self, Destination, Format};

use super::context::Context;
use super::copy::{formatted, warn_of_format};
use super::error::CommandError;
use super::images::resolve;
use super::progress::Console;

/// Copy an image of the store to a file, a directory, Docker or podman
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive export opal docker-archive:opal.tar
  warpdrive export opal docker-archive:/dev/stdout | docker load
  warpdrive export opal oci:layout:1.2
  warpdrive export opal docker-daemon:opal:1.2
  warpdrive export opal containers-storage:opal

Equal images give equal new files and directories, on any machine and at any time.")]
pub(super) struct Args {
    /// Name of the image in the store
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    name: String,
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], dir:DIR, docker-daemon:REF,
    /// containers-storage:REF or `docker://REF`
    dest: String,
    /// Media types of the manifest: oci or docker; this changes the digest [default: as it is]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let destination = Destination::parse(&args.dest)?;
    if args.json && destination.is_stdout() {
        return Err(CommandError::usage(
            "the image and --json cannot both go to standard output",
        ));
    }
    let store = context.open_store()?;
    let image = resolve(&store, &args.name)?;
    let console = Console::new(&context.printer);
    let listener = Transfers::new(&console);
    let image = formatted(&store, image, args.format, &listener)?;
    transport::export(&store, &image, &args.name, &destination, &listener)?;
    warn_of_format(&image, &destination, context);
    if args.json {
        context.printer.json(&json!({
            "name": args.name,
            "destination": destination.to_string(),
            "digest": image.digest().to_string(),
        }));
    } else if !destination.is_stdout() {
        context.printer.result(destination.to_string());
    }
    Ok(0)
}
