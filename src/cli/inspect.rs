//! `warpdrive inspect NAME`: what an image of the store or of a registry is made of.

use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};

use crate::oci::{ImageConfig, Reference};
use crate::progress::shown;
use crate::registry::{self, Client, ClientOptions};
use crate::store::{Image, Store};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::images::{created, find, platform, size};
use super::printer::{human_size, table};
use super::push::RegistryArgs;

/// Show what an image is made of
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive inspect opal
  warpdrive inspect opal --json | jq -r .digest
  warpdrive inspect docker://docker.io/library/python:3.13-slim
  warpdrive inspect opal --raw=config | jq .config.Env")]
pub(super) struct Args {
    /// Name or digest of an image in the store, or `docker://REF` for one in a registry
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    name: String,
    /// Platform to choose in a registry where there are several, OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long, conflicts_with = "raw")]
    pub(super) json: bool,
    /// The document itself, to the byte
    #[arg(long, value_name = "DOCUMENT", value_enum)]
    raw: Option<Document>,
    /// How the app is started: what the build recorded, as JSON
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    plan: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Document {
    Manifest,
    Config,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let (image, names) = if let Some(name) = args.name.strip_prefix("docker://") {
        remote(name, args)?
    } else {
        let store = context.open_store()?;
        let image = find(&store, &args.name)?;
        let names = names(&store, &image)?;
        (image, names)
    };
    let printer = &context.printer;
    if args.plan {
        printer.json(&plan(&image, &args.name)?);
        return Ok(0);
    }
    match args.raw {
        Some(Document::Manifest) => printer.bytes(&image.manifest_bytes),
        Some(Document::Config) => printer.bytes(&image.config_bytes),
        None if args.json => printer.json(&object(&args.name, &names, &image)),
        None => {
            for line in prose(&names, &image) {
                printer.result(line);
            }
        }
    }
    Ok(0)
}

/// An image of a registry, of which nothing is stored and no layer fetched.
fn remote(name: &str, args: &Args) -> Result<(Image, Vec<String>), CommandError> {
    let reference: Reference = name.parse()?;
    let client = Client::new(ClientOptions {
        platform: args.platform.clone(),
        ..args.registry.options()
    })?;
    let resolved = client.resolve(&reference)?;
    let claimed = resolved.descriptor.media_type().to_string();
    let (_, document) = registry::Document::parse(&resolved.bytes, Some(&claimed), name)?;
    let registry::Document::Manifest(manifest) = document else {
        return Err(CommandError::new(
            ExitStatus::Network,
            "registry",
            format!("{name} is an index of indexes"),
        ));
    };
    let config_bytes = client.config(&reference, &manifest)?;
    let config = ImageConfig::from_bytes(&config_bytes, "the configuration")?;
    let image = Image {
        descriptor: resolved.descriptor,
        manifest: *manifest,
        manifest_bytes: resolved.bytes,
        config,
        config_bytes,
    };
    Ok((image, vec![reference.canonical()]))
}

/// The start plan of an image that warpdrive built.
fn plan(image: &Image, name: &str) -> Result<Value, CommandError> {
    image
        .config
        .label(crate::pipeline::LABEL_PLAN)
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| {
            CommandError::new(
                ExitStatus::Failure,
                "plan-missing",
                format!("`{name}` has no start plan: it was not built by `warpdrive image`"),
            )
        })
}

/// All names of the image's manifest.
fn names(store: &Store, image: &Image) -> Result<Vec<String>, CommandError> {
    let images = store.images()?.into_iter();
    Ok(images
        .filter(|named| named.descriptor.digest() == image.descriptor.digest())
        .map(|named| named.name)
        .collect())
}

fn annotation<'a>(image: &'a Image, key: &str) -> Option<&'a str> {
    let annotations = image.manifest.annotations().as_ref()?;
    annotations
        .get(&format!("org.opencontainers.image.{key}"))
        .map(String::as_str)
}

fn object(name: &str, names: &[String], image: &Image) -> Value {
    let config: Value = serde_json::from_slice(&image.config_bytes).unwrap_or_default();
    let layers: Vec<Value> = image
        .manifest
        .layers()
        .iter()
        .zip(image.config.diff_ids())
        .map(|(layer, diff_id)| {
            json!({
                "digest": layer.digest(),
                "diff_id": diff_id,
                "size": layer.size(),
                "media_type": layer.media_type().to_string(),
                "annotations": layer.annotations(),
            })
        })
        .collect();
    json!({
        "name": name,
        "names": names,
        "digest": image.descriptor.digest(),
        "config_digest": image.manifest.config().digest(),
        "media_type": image.descriptor.media_type().to_string(),
        "platform": platform(image),
        "created": created(image),
        "size": size(image),
        "user": image.config.user(),
        "base": {
            "reference": annotation(image, "base.name"),
            "digest": annotation(image, "base.digest"),
        },
        "config": config.get("config"),
        "annotations": image.manifest.annotations(),
        "layers": layers,
        "history": config.get("history"),
    })
}

fn prose(names: &[String], image: &Image) -> Vec<String> {
    let config = &image.config;
    let mut lines = Vec::new();
    let mut say = |key: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("{key:<12}{}", shown(value)));
        }
    };
    say("names", &names.join(", "));
    say("digest", image.descriptor.digest().as_ref());
    say("platform", &platform(image));
    say("created", &created(image).unwrap_or_default());
    say("size", &human_size(size(image)));
    say("base", annotation(image, "base.name").unwrap_or_default());
    say(
        "revision",
        annotation(image, "revision").unwrap_or_default(),
    );
    say("source", annotation(image, "source").unwrap_or_default());
    say("user", config.user());
    say("directory", config.working_dir());
    say("entrypoint", &shell_words(&config.words("Entrypoint")));
    say("command", &shell_words(&config.words("Cmd")));
    let ports = config.get("ExposedPorts").and_then(Value::as_object);
    let ports: Vec<_> = ports
        .into_iter()
        .flatten()
        .map(|(port, _)| port.as_str())
        .collect();
    say("ports", &ports.join(", "));
    for (name, value) in config.env() {
        say("env", &format!("{name}={value}"));
    }
    for (name, value) in config.labels() {
        say("label", &format!("{name}={value}"));
    }
    lines.push(String::new());
    let history = history(image);
    let mut rows = Vec::new();
    for (index, layer) in image.manifest.layers().iter().enumerate() {
        let digest = layer.digest().digest();
        rows.push(vec![
            digest.get(..12).unwrap_or(digest).to_owned(),
            human_size(layer.size()),
            history.get(index).cloned().unwrap_or_default(),
        ]);
    }
    lines.extend(table(
        &["LAYER", "SIZE", "MADE BY"],
        &rows,
        super::width::of(std::io::stdout()),
    ));
    lines
}

/// What made each layer, in one short line.
fn history(image: &Image) -> Vec<String> {
    let config: Value = serde_json::from_slice(&image.config_bytes).unwrap_or_default();
    let history = config.get("history").and_then(Value::as_array);
    history
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("empty_layer") != Some(&Value::Bool(true)))
        .map(|entry| {
            let text = entry.get("created_by").and_then(Value::as_str);
            let words: Vec<_> = text.unwrap_or_default().split_whitespace().collect();
            let line = shown(&words.join(" ")).into_owned();
            match line.char_indices().nth(70) {
                Some((end, _)) => format!("{}…", &line[..end]),
                None => line,
            }
        })
        .collect()
}

/// Words as a shell would want them.
fn shell_words(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let quoted: Vec<String> = words
        .iter()
        .map(|word| {
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        for (words, expected) in [
            (
                &["/opt/app-root/s2i/bin/run"][..],
                "/opt/app-root/s2i/bin/run",
            ),
            (&["sh", "-c", "echo it's"], r"sh -c 'echo it'\''s'"),
            (&[""], "''"),
            (&[], ""),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(shell_words(&words), expected);
        }
    }
}
