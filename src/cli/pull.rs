//! `warpdrive pull`: fetches an image of a registry into the store.

use serde_json::json;

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::registry::{Client, ClientOptions};

use super::access::RegistryArgs;
use super::context::Context;
use super::error::CommandError;
use super::progress::Console;

/// Pull an image from a registry into the store
///
/// Layers that are in the store already are not fetched. The image is stored under the name that
/// you give.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive pull docker.io/library/python:3.13-slim
  warpdrive pull registry.example.com/team/opal@sha256:…
")]
pub(super) struct Args {
    /// Name of the image: [REGISTRY/]PATH[:TAG][@DIGEST]
    name: String,
    /// Platform to choose where there are several, OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let name = args.name.strip_prefix("docker://").unwrap_or(&args.name);
    let reference: Reference = name.parse()?;
    if let Some(platform) = &args.platform
        && platform.split('/').filter(|part| !part.is_empty()).count() < 2
    {
        return Err(CommandError::usage(format!(
            "`{platform}` is not a platform of the form OS/ARCH[/VARIANT]"
        )));
    }
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let console = Console::new(&context.printer);
    let client = Client::new(ClientOptions {
        platform: args.platform.clone(),
        ..args.registry.options()
    })?;
    let descriptor = client.pull(&reference, &store, &Transfers::new(&console))?;
    store.tag(reference.as_given(), &descriptor)?;
    if args.json {
        context.printer.json(&json!({
            "name": reference.as_given(),
            "reference": reference.canonical(),
            "digest": descriptor.digest().to_string(),
            "media_type": descriptor.media_type(),
        }));
    } else {
        let given = reference.as_given();
        context.printer.result(match reference.digest() {
            Some(_) => given.to_owned(),
            None => format!("{given}@{}", descriptor.digest()),
        });
    }
    Ok(0)
}
