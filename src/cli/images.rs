//! `warpdrive images`: what is in the store.

use serde_json::{Value, json};

use crate::oci::Descriptor;
use crate::progress::shown;
use crate::store::{Image, Named, Store};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::printer::human_size;

/// List the images in the store
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive images
  warpdrive images registry.example.com/team/
  warpdrive images --json | jq -r '.images[].name'

The size is that of the layers as they are pushed, compressed. Images share layers: all of them
together take less space in the store than the sum.")]
pub(super) struct Args {
    /// Only names with this prefix
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let prefix = args.prefix.as_deref().unwrap_or_default();
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for named in store.images()? {
        if !named.name.starts_with(prefix) {
            continue;
        }
        let image = match store.image_at(&named.descriptor) {
            Ok(image) => Some(image),
            Err(error) => {
                context.printer.warning(format!("{}: {error}", named.name));
                None
            }
        };
        rows.push(row(&named, image.as_ref()));
        objects.push(object(&named, image.as_ref()));
    }
    if args.json {
        context.printer.json(&json!({"images": objects}));
        return Ok(0);
    }
    if rows.is_empty() {
        context
            .printer
            .progress("No images; `warpdrive image NAME` builds one, `warpdrive pull` fetches one");
        return Ok(0);
    }
    context
        .printer
        .table(&["NAME", "DIGEST", "CREATED", "SIZE"], &rows);
    Ok(0)
}

fn row(named: &Named, image: Option<&Image>) -> Vec<String> {
    let digest = named.descriptor.digest().digest();
    let unknown = || "?".to_owned();
    vec![
        shown(&named.name).into_owned(),
        digest.get(..12).unwrap_or(digest).to_owned(),
        image.and_then(created).map_or_else(unknown, |created| {
            shown(&created).chars().take(10).collect()
        }),
        image.map_or_else(unknown, |image| human_size(size(image))),
    ]
}

fn object(named: &Named, image: Option<&Image>) -> Value {
    json!({
        "name": named.name,
        "digest": named.descriptor.digest(),
        "media_type": named.descriptor.media_type().to_string(),
        "config_digest": image.map(|image| image.manifest.config().digest()),
        "platform": image.map(platform),
        "created": image.and_then(created),
        "size": image.map(size),
    })
}

/// The size of an image when it is pushed.
pub(super) fn size(image: &Image) -> u64 {
    let layers: u64 = image.manifest.layers().iter().map(Descriptor::size).sum();
    layers + image.manifest.config().size() + image.manifest_bytes.len() as u64
}

pub(super) fn platform(image: &Image) -> String {
    format!("{}/{}", image.config.os(), image.config.architecture())
}

/// The image's own creation time (RFC 3339).
pub(super) fn created(image: &Image) -> Option<String> {
    let config: Value = serde_json::from_slice(&image.config_bytes).ok()?;
    Some(config.get("created")?.as_str()?.to_owned())
}

/// The image of a name, or an error that suggests one.
pub(super) fn find(store: &Store, name: &str) -> Result<Image, CommandError> {
    match store.image(name)? {
        Some(image) => Ok(image),
        None => Err(missing(store, name)),
    }
}

/// The descriptor under a name, or an error that suggests another name.
pub(super) fn resolve(store: &Store, name: &str) -> Result<Descriptor, CommandError> {
    match store.resolve(name)? {
        Some(descriptor) => Ok(descriptor),
        None => Err(missing(store, name)),
    }
}

/// The error for an unknown name; suggests a similar one.
pub(super) fn missing(store: &Store, name: &str) -> CommandError {
    let error = CommandError::new(
        ExitStatus::Failure,
        "image-missing",
        format!("there is no image `{name}` in the store"),
    );
    let names = store.images().unwrap_or_default();
    let closest = names
        .iter()
        .map(|named| (strsim::jaro_winkler(&named.name, name), &named.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8);
    error.with_hint(match closest {
        Some((_, closest)) => format!("did you mean `{closest}`? `warpdrive images` lists all"),
        None => "`warpdrive images` lists what there is, `warpdrive pull` fetches an image".into(),
    })
}
