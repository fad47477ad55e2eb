//! `warpdrive copy`: copies an image from one place to another.

use serde_json::json;

use crate::oci::{Descriptor, Reference, docker};
use crate::pipeline::Transfers;
use crate::registry::{Client, ClientOptions, CopyOptions, Platforms};
use crate::store::Store;
use crate::transport::{self, Destination, Format, Location, Shape, Source, TransportError};

use super::access::RegistryArgs;
use super::context::Context;
use super::error::CommandError;
use super::platform::{platform, platforms};
use super::printer::human_size;
use super::progress::Console;
use super::push::with_digest;

/// Copy an image from one place to another
///
/// From registry to registry nothing is stored, and what the other has is not sent; within one registry
/// layers are mounted, so that no byte moves. Other copies go through the store, without a name there.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive copy docker://docker.io/library/python:3.13-slim docker://registry.example.com/python:3.13
  warpdrive copy docker://r.example.com/team/opal:1 docker://r.example.com/prod/opal:1 --referrers
  warpdrive copy docker-archive:opal.tar docker://registry.example.com/team/opal:1.2
  warpdrive copy docker://registry.example.com/team/opal:1.2 oci:layout:1.2
  warpdrive copy docker://registry.example.com/team/opal:1.2 oci:layout:1.2 --format oci
  warpdrive copy docker://r.example.com/opal:1 oci:layout:1 --platform linux/amd64,linux/arm64
  warpdrive copy docker://registry.example.com/team/opal:1.2 dir:opal --all
")]
pub(super) struct Args {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], dir:DIR, docker-daemon:REF,
    /// containers-storage:REF or `docker://REF`
    source: String,
    /// The same
    dest: String,
    /// Platform to choose where there are several, OS/ARCH[/VARIANT]; with several of them, separated by
    /// commas, the index of these images is copied [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', value_parser = platform, conflicts_with = "all")]
    platform: Vec<String>,
    /// The index as it is, with all its images
    #[arg(long)]
    all: bool,
    /// What refers to the image as well: signatures, attestations (from registry to registry)
    #[arg(long)]
    referrers: bool,
    /// Media types of the manifest: oci or docker; this changes the digest [default: as it is]
    #[arg(long, value_name = "FORMAT", conflicts_with = "referrers")]
    format: Option<Format>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let source = Source::parse(&args.source)?;
    let destination = Destination::parse(&args.dest)?;
    if args.json && destination.is_stdout() {
        return Err(CommandError::usage(
            "the image and --json cannot both go to standard output",
        ));
    }
    let platforms = platforms(&args.platform, args.all);
    let options = ClientOptions {
        platform: match &platforms {
            Platforms::One(one) => one.clone(),
            _ => None,
        },
        ..args.registry.options()
    };
    if let (Location::Registry(from), Location::Registry(to), None) =
        (&source, &destination, args.format)
    {
        return between(args, context, (from, to), &platforms, options);
    }
    if args.referrers {
        return Err(CommandError::usage(
            "--referrers is for copies from registry to registry",
        ));
    }
    crate::registry::set_defaults(options);
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let console = Console::new(&context.printer);
    let listener = Transfers::new(&console);
    let imported = transport::import_of(&store, &source, &platforms, &listener)?;
    let name = imported.name.unwrap_or_default();
    let image = formatted(&store, imported.descriptor, args.format, &listener)?;
    transport::export(&store, &image, &name, &destination, &listener)?;
    warn_of_format(&image, &destination, context);
    if args.json {
        context.printer.json(&json!({
            "source": source.to_string(),
            "destination": destination.to_string(),
            "digest": image.digest().to_string(),
        }));
    } else if !destination.is_stdout() {
        context.printer.result(destination.to_string());
    }
    Ok(0)
}

/// The image with the media types that were asked for.
pub(super) fn formatted(
    store: &Store,
    image: Descriptor,
    format: Option<Format>,
    listener: &Transfers<'_>,
) -> Result<Descriptor, TransportError> {
    if format.is_none() {
        return Ok(image);
    }
    let shape = Shape {
        format,
        ..Shape::default()
    };
    transport::shaped(store, &image, shape, listener)
}

/// Warns that other tools cannot read this format.
pub(super) fn warn_of_format(image: &Descriptor, to: &Destination, context: &Context) {
    let is_layout = matches!(to, Location::Oci { .. } | Location::OciArchive { .. });
    let kind = image.media_type().to_string();
    if is_layout && (kind == docker::MANIFEST || kind == docker::MANIFEST_LIST) {
        context.printer.warning(format!(
            "{to}: the image has Docker's media types, with which skopeo finds no tag in an OCI layout, and umoci \
             no image; `--format oci` changes them, and the digest"
        ));
    }
}

fn between(
    args: &Args,
    context: &Context,
    (from, to): (&Reference, &Reference),
    platforms: &Platforms,
    options: ClientOptions,
) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let console = Console::new(&context.printer);
    let client = Client::new(options)?;
    let (report, referrers) = client.copy(
        from,
        &client,
        to,
        CopyOptions {
            platforms,
            referrers: args.referrers,
            store: &store,
        },
        &Transfers::new(&console),
    )?;
    if args.json {
        context.printer.json(&json!({
            "source": args.source,
            "destination": args.dest,
            "digest": report.digest,
            "uploaded": report.uploaded,
            "uploaded_bytes": report.uploaded_bytes,
            "mounted": report.mounted,
            "existing": report.existing,
            "referrers": referrers,
        }));
        return Ok(0);
    }
    context.printer.progress(format!(
        "{} blobs sent ({}), {} mounted, {} there already",
        report.uploaded,
        human_size(report.uploaded_bytes),
        report.mounted,
        report.existing
    ));
    if args.referrers {
        let words = format!("{referrers} manifests that refer to it are copied");
        context.printer.progress(words);
    }
    context
        .printer
        .result(with_digest(&report.reference, &report.digest));
    Ok(0)
}
