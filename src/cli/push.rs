//! `warpdrive push`: sends an image of the store to registries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use crate::container::parse_size;
use crate::layer::Compression;
use crate::oci::{Descriptor, Reference};
use crate::pipeline::{self, OnBase, Request, Transfers};
use crate::pod::BaseFile;
use crate::registry::{Blobs, Client, ClientOptions, PushReport};
use crate::store::Store;
use crate::transport::{self, Format, Location, Shape};

use super::access::RegistryArgs;
use super::cache::CacheToArgs;
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::image::request_of;
use super::images::resolve;
use super::printer::human_size;
use super::progress::Console;
use super::results::{ResultFile, Values, reporting};

/// Push an image of the store to a registry
///
/// What the registry has already is not sent again; layers of a base image on the same registry are
/// mounted. Layers without compression, as `docker save` writes them, are compressed. The login is the
/// one that `warpdrive login`, `podman login` or `docker login` left.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive push registry.example.com/team/opal:1.2
  warpdrive push opal registry.example.com/team/opal:1.2
  warpdrive push opal registry.example.com/team/opal:1.2 registry.example.com/team/opal:latest
  warpdrive push opal localhost:5000/opal              plain HTTP is tried on this machine only
  warpdrive push opal registry.example.com/opal --compression zstd --digestfile digest.txt
")]
pub(super) struct Args {
    /// Name of the image in the store; with --from, where the image goes
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    name: String,
    /// Name in the registry, where it is another: REGISTRY/PATH[:TAG]; several are pushed one after
    /// the other
    dest: Vec<String>,
    /// Push an image of an OCI layout, which another step of a pipeline wrote: `oci:DIR[:TAG]`, or of a
    /// directory as skopeo writes it: `dir:DIR`. In an image of `builder push` it has to lie on that image's
    /// base, whose layers the registry mounts
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["compression", "format"])]
    from: Option<String>,
    /// With --from: the dependencies as the dependency step of the pipeline wrote them; an image with
    /// others is refused
    #[arg(long, value_name = "DIR", requires = "from")]
    dependencies: Option<PathBuf>,
    /// With --from: wheels that the step which built the image has fetched (`image --wheels`). What is written to
    /// the cache is made of them here, and of nothing else that the other step made
    #[arg(long, value_name = "DIR", requires = "from")]
    wheels: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheToArgs,
    /// Write a result to a file: digest, url, size, commit, source-url, error-reason or error-message;
    /// may be given more than once
    #[arg(long, value_name = "NAME=FILE")]
    result: Vec<ResultFile>,
    /// Compress all layers so: gzip or zstd, with a level if need be, for example zstd:9. Layers that are
    /// compressed so already stay as they are, unless a level is named
    #[arg(long, value_name = "NAME[:LEVEL]")]
    compression: Option<Wanted>,
    /// Media types of the manifest: oci or docker [default: as it is]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Send blobs in pieces of this size, as in 16m; without it, in pieces only where the registry or
    /// a proxy does not take them whole
    #[arg(long, value_name = "BYTES", value_parser = chunk_size)]
    chunk_size: Option<u64>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// What `--compression` asks for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    compression: Compression,
    /// A level is named, which layers that are compressed so already need not have.
    anew: bool,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self {
            compression: text.parse()?,
            anew: text.contains(':'),
        })
    }
}

fn chunk_size(text: &str) -> Result<u64, String> {
    let size = parse_size(text)?;
    if size < 4096 {
        return Err("a piece has 4096 bytes at the least".into());
    }
    Ok(size)
}

/// Where a push goes.
pub(super) fn target(text: &str, command: &str) -> Result<Reference, CommandError> {
    let target: Reference = text.strip_prefix("docker://").unwrap_or(text).parse()?;
    if target.has_host() {
        return Ok(target);
    }
    Err(
        CommandError::usage(format!("`{target}` names no registry")).with_hint(format!(
            "for example `warpdrive {command} registry.example.com/team/{}`",
            target.short_name()
        )),
    )
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    reporting(&args.result, || push(args, context))?;
    Ok(0)
}

fn push(args: &Args, context: &Context) -> Result<Values, CommandError> {
    let own = std::slice::from_ref(&args.name);
    let destinations = if args.dest.is_empty() {
        own
    } else {
        &args.dest
    };
    let targets: Vec<Reference> = destinations
        .iter()
        .map(|text| target(text, &format!("push {}", args.name)))
        .collect::<Result<_, _>>()?;
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let console = Console::new(&context.printer);
    let listener = Transfers::new(&console);
    let base = BaseFile::of_this_image()?;
    let cache = args.cache.cache()?;
    if cache.is_written() && (args.wheels.is_none() || base.is_none()) {
        return Err(CommandError::usage(
            "--cache-to writes what wheels give on the base of an image of `builder push`, in a container \
             of that image",
        )
        .with_hint(
            "name the wheels that the build step wrote, `--wheels DIR`; elsewhere, `warpdrive image \
             --cache-to` writes the cache",
        ));
    }
    let on_base = match &base {
        Some(base) => Some(OnBase::new(&store, base)?),
        None => None,
    };
    let image = match &args.from {
        Some(from) => layout(
            from,
            args.dependencies.as_deref(),
            &store,
            base.as_ref(),
            on_base.as_ref(),
            &listener,
        )?,
        None => resolve(&store, &args.name)?,
    };
    if let (true, Some(wheels), Some(base)) = (cache.is_written(), &args.wheels, &base) {
        crate::registry::set_defaults(args.registry.options());
        let request = Request {
            cache,
            ..request_of(std::slice::from_ref(&args.name))?
        };
        pipeline::share_wheels(&store, &request, &image, base, wheels, &console)?;
    }
    let shape = Shape {
        compression: args.compression.map(|wanted| wanted.compression),
        anew: args.compression.is_some_and(|wanted| wanted.anew),
        format: args.format,
    };
    let shaped = match (&args.from, &on_base) {
        // Layers of the base may not be here, and are not changed.
        (Some(_), Some(_)) => image,
        _ => transport::shaped(&store, &image, shape, &listener)?,
    };
    let blobs: &dyn Blobs = match &on_base {
        Some(on_base) => on_base,
        None => &store,
    };
    let client = Client::new(ClientOptions {
        chunk_size: args.chunk_size,
        ..args.registry.options()
    })?;
    let mut reports = Vec::new();
    for target in &targets {
        let report = client
            .push(&shaped, blobs, target, &listener)
            .map_err(|error| {
                let mut error = CommandError::from(error);
                if !reports.is_empty() {
                    error.done = Some(("pushed", json!(reports)));
                }
                error
            })?;
        if !args.json {
            tell(&report, context);
        }
        reports.push(report);
    }
    if let Some(path) = &args.digestfile {
        std::fs::write(path, shaped.digest().to_string()).map_err(|error| {
            CommandError::new(
                ExitStatus::Failure,
                "digestfile",
                format!(
                    "the digest could not be written to {}: {error}",
                    path.display()
                ),
            )
            .with_hint("the image was pushed; name a file that may be written")
        })?;
    }
    if args.json {
        match reports.as_slice() {
            [only] => context.printer.json(only),
            several => context.printer.json(&json!({
                "digest": shaped.digest().to_string(),
                "pushed": several,
            })),
        }
    }
    if args.result.is_empty() {
        return Ok(Values::default());
    }
    let url = targets
        .first()
        .map(Reference::canonical)
        .unwrap_or_default();
    Ok(Values::of(&store.image_at(&shaped)?, &url))
}

/// Loads another step's image into the store; it may be hostile.
fn layout(
    from: &str,
    dependencies: Option<&Path>,
    store: &Store,
    base: Option<&BaseFile>,
    on_base: Option<&OnBase<'_>>,
    listener: &Transfers<'_>,
) -> Result<Descriptor, CommandError> {
    let place = Location::parse(from)?;
    if !matches!(place, Location::Oci { .. } | Location::Dir(_)) {
        return Err(CommandError::usage(format!(
            "--from takes an OCI layout, `oci:DIR`, or `dir:DIR`, and this is `{from}`"
        ))
        .with_hint("`warpdrive copy` has other forms"));
    }
    let nothing = BTreeSet::new();
    let elsewhere = on_base.map_or(&nothing, OnBase::elsewhere);
    let imported = transport::import_without(store, &place, elsewhere, listener)?;
    pipeline::check_on_base(store, &imported.descriptor, base)?;
    if let (Some(directory), Some(base)) = (dependencies, base) {
        pipeline::check_dependencies(store, &imported.descriptor, base, directory)?;
    }
    Ok(imported.descriptor)
}

/// The name of what was pushed, with its digest, which it may have already.
pub(super) fn with_digest(name: &str, digest: &str) -> String {
    if name.contains('@') {
        name.to_owned()
    } else {
        format!("{name}@{digest}")
    }
}

pub(super) fn tell(report: &PushReport, context: &Context) {
    context.printer.progress(format!(
        "{} blobs sent ({}), {} mounted, {} there already",
        report.uploaded,
        human_size(report.uploaded_bytes),
        report.mounted,
        report.existing
    ));
    let name = &report.reference;
    context.printer.result(with_digest(name, &report.digest));
}
