//! `warpdrive import`: reads an image from a file, a directory or another tool into the store.

use serde_json::json;

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::transport::{self, Source};

use super::context::Context;
use super::error::CommandError;
use super::progress::Console;

/// Copy an image from a file, a directory, Docker or podman into the store
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive import docker-archive:opal.tar
  docker save opal | warpdrive import docker-archive:/dev/stdin
  warpdrive import oci:layout:1.2 opal:1.2
  warpdrive import containers-storage:localhost/opal

Archives may be compressed with gzip or zstd. Digests and layers are verified.")]
pub(super) struct Args {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], dir:DIR, docker-daemon:REF,
    /// containers-storage:REF or `docker://REF`
    source: String,
    /// Name in the store [default: the name that the image has there]
    name: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let source = Source::parse(&args.source)?;
    let given: Option<Reference> = args.name.as_deref().map(str::parse).transpose()?;
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let console = Console::new(&context.printer);
    let imported = transport::import(&store, &source, &Transfers::new(&console))?;
    let name = match (given, imported.name) {
        (Some(given), _) => given,
        (None, Some(found)) => found.parse().map_err(|_| no_name(&args.source))?,
        (None, None) => return Err(no_name(&args.source)),
    };
    store.tag(name.as_given(), &imported.descriptor)?;
    if args.json {
        context.printer.json(&json!({
            "name": name.as_given(),
            "source": source.to_string(),
            "digest": imported.descriptor.digest().to_string(),
            "media_type": imported.descriptor.media_type(),
        }));
    } else {
        context
            .printer
            .result(format!("{name}@{}", imported.descriptor.digest()));
    }
    Ok(0)
}

fn no_name(source: &str) -> CommandError {
    CommandError::usage(format!(
        "the image in {source} has no name that could be kept"
    ))
    .with_hint(format!("give it one: `warpdrive import {source} NAME`"))
}
