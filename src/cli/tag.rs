//! `warpdrive tag A B`: another name for an image.

use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use crate::oci::Reference;

use super::context::Context;
use super::error::CommandError;
use super::images::resolve;

/// Give an image in the store another name
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive tag opal opal:1.2
  warpdrive tag opal registry.example.com/team/opal:1.2

An image that had the new name loses it, and stays in the store until `warpdrive prune`.")]
pub(super) struct Args {
    /// Name or digest of an image in the store
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(super::complete::images))]
    from: String,
    /// The new name
    #[arg(value_name = "NEW")]
    to: String,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let new: Reference = args.to.parse()?;
    if new.digest().is_some() {
        return Err(CommandError::usage(format!(
            "`{new}` has a digest in it, which a new name cannot have"
        ))
        .with_hint(
            "a name looks like `opal`, `opal:1.2` or `registry.example.com/team/opal:1.2`",
        ));
    }
    let store = context.open_store()?;
    let descriptor = resolve(&store, &args.from)?;
    store.tag(new.as_given(), &descriptor)?;
    if args.json {
        context.printer.json(&json!({
            "name": new.as_given(),
            "digest": descriptor.digest(),
        }));
    } else {
        context.printer.result(new.as_given());
    }
    Ok(0)
}
