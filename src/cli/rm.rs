//! `warpdrive rm NAME…`: removes names; the content stays until `prune`.

use serde_json::json;

use crate::store::{Named, Store};

use super::context::Context;
use super::error::CommandError;
use super::images::missing;

/// Remove names of images from the store
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive rm opal:1.1
  warpdrive rm opal beryl && warpdrive prune

The content stays until `warpdrive prune`, and as long as another name or a container needs it. A
digest removes the image's name if it has only one.")]
pub(super) struct Args {
    /// Names of images, as `warpdrive images` lists them
    #[arg(required = true, value_name = "NAME", add = clap_complete::engine::ArgValueCandidates::new(super::complete::images))]
    names: Vec<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    // All or nothing: a typing error in the third name does not remove the first two.
    let mut found = Vec::new();
    for name in &args.names {
        let named = stored(&store, name)?;
        if !found.contains(&named) {
            found.push(named);
        }
    }
    for named in &found {
        store.untag(&named.name)?;
    }
    if args.json {
        let removed: Vec<_> = found
            .iter()
            .map(|named| json!({"name": named.name, "digest": named.descriptor.digest()}))
            .collect();
        context.printer.json(&json!({"removed": removed}));
        return Ok(0);
    }
    for named in &found {
        context.printer.result(&named.name);
    }
    context
        .printer
        .progress("`warpdrive prune` frees the space that nothing needs any more");
    Ok(0)
}

/// The name under which an image is stored, for a name, its `:latest` form, or a digest.
fn stored(store: &Store, wanted: &str) -> Result<Named, CommandError> {
    let Some(descriptor) = store.resolve(wanted)? else {
        return Err(missing(store, wanted));
    };
    let images = store.images()?;
    let other = match wanted.strip_suffix(":latest") {
        Some(bare) => bare.to_owned(),
        None => format!("{wanted}:latest"),
    };
    let by_name = |name: &str| images.iter().find(|named| named.name == name);
    if let Some(named) = by_name(wanted).or_else(|| by_name(&other)) {
        return Ok(named.clone());
    }
    let of_digest: Vec<&Named> = images
        .iter()
        .filter(|named| named.descriptor.digest() == descriptor.digest())
        .collect();
    match of_digest.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(
            CommandError::usage(format!("{} has no name to remove", descriptor.digest()))
                .with_hint("`warpdrive prune` removes images without a name"),
        ),
        several => {
            let names: Vec<&str> = several.iter().map(|named| named.name.as_str()).collect();
            Err(CommandError::usage(format!(
                "{} has several names: {}",
                descriptor.digest(),
                names.join(", ")
            ))
            .with_hint(format!(
                "say which of them to remove, for example `{}`",
                names[0]
            )))
        }
    }
}
