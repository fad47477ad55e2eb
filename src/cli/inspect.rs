//! `warpdrive inspect NAME`: what an image of the store or of a registry is made of.

mod tree;

use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::inspection::{self, Inspection, InspectionError};
use crate::oci::{ImageConfig, Reference};
use crate::pipeline::Transfers;
use crate::progress::shown;
use crate::registry::{self, Client, ClientOptions};
use crate::store::{Image, Store};
use crate::transport::{self, Location, TransportError};

use super::access::RegistryArgs;
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::images::{created, find, platform, size};
use super::platform::platform as platform_given;
use super::printer::human_size;
use super::progress::{Console, meanwhile};
use super::width;

/// Show what an image is made of
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(after_long_help = "Examples:
  warpdrive inspect opal                            a tree of its layers
  warpdrive inspect opal --packages                 distributions with size and licence
  warpdrive inspect opal --html opal.html           a page for the browser
  warpdrive inspect opal --html opal.html --against opal:1.1
  warpdrive inspect opal --json | jq -r .digest
  warpdrive inspect opal --plan --json | jq .start
  warpdrive inspect docker://docker.io/library/python:3.13-slim
  warpdrive inspect oci:layout:1.2
  warpdrive inspect opal --raw=config | jq .config.Env")]
pub(super) struct Args {
    /// Name or digest of an image in the store, or where else an image is: `docker://REF`, oci:DIR[:TAG],
    /// oci-archive:FILE[:TAG], docker-archive:FILE[:REF], dir:DIR, docker-daemon:REF, containers-storage:REF
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    name: String,
    /// Platform to choose outside the store where there are several, OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = platform_given)]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long, conflicts_with = "raw")]
    pub(super) json: bool,
    /// The document itself, to the byte
    #[arg(long, value_name = "DOCUMENT", value_enum)]
    raw: Option<Document>,
    /// The layers, with the images that share them
    #[arg(long, group = "part", conflicts_with = "raw")]
    layers: bool,
    /// The Python distributions, with version, size and licence
    #[arg(long, group = "part", conflicts_with = "raw")]
    packages: bool,
    /// How the app is started: what the build recorded; with --json the record itself
    #[arg(long, group = "part", conflicts_with = "raw")]
    plan: bool,
    /// The configuration: user, command, ports, variables, labels
    #[arg(long, group = "part", conflicts_with = "raw")]
    config: bool,
    /// Write a page for the browser: layers, distributions, plan, audit, files. One file that loads
    /// nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "part", "json"])]
    html: Option<PathBuf>,
    /// An earlier image: the page says what changed against it
    #[arg(long, value_name = "NAME", requires = "html", add = ArgValueCandidates::new(super::complete::images))]
    against: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Document {
    Manifest,
    Config,
}

const READING: &str = "Reading what is in the layers";

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let printer = &context.printer;
    if let Some(name) = args.name.strip_prefix("docker://") {
        check_store_only(args, &format!("`warpdrive pull {name}` fetches it"))?;
        let (image, names) = remote(name, args, context)?;
        show(args, &names, &image, None, context)?;
        return Ok(0);
    }
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    // An image of the store may be called `oci:1` or `dir:1`.
    if let Some(place) = outside(&args.name)
        && store.image(&args.name)?.is_none()
    {
        check_store_only(
            args,
            &format!("`warpdrive import {} NAME` brings it there", args.name),
        )?;
        let console = Console::new(printer);
        let listener = Transfers::new(&console);
        let image = transport::look(&store, &place?, args.platform.as_deref(), &listener)?;
        show(args, &[], &image, None, context)?;
        return Ok(0);
    }
    let image = find(&store, &args.name)?;
    if let Some(file) = &args.html {
        let against = match &args.against {
            None => None,
            Some(name) => {
                let other = find(&store, name)?;
                let read = || Inspection::of(&store, name, other, true);
                Some(meanwhile(printer, READING, read)?)
            }
        };
        let page = meanwhile(printer, READING, || {
            let whole = Inspection::of(&store, &args.name, image, against.is_some())?;
            inspection::page(&whole, against.as_ref())
        })?;
        write(file, &page)?;
        printer.progress(format!("wrote {}", file.display()));
        return Ok(0);
    }
    let names = names(&store, &image)?;
    show(args, &names, &image, Some(&store), context)?;
    Ok(0)
}

fn check_store_only(args: &Args, hint: &str) -> Result<(), CommandError> {
    if args.html.is_none() && !args.packages {
        return Ok(());
    }
    Err(CommandError::usage(format!(
        "{}: what is in its layers is known of images in the store only",
        args.name
    ))
    .with_hint(hint.to_owned()))
}

/// A place outside the store; `None` if the text does not have such a prefix.
fn outside(text: &str) -> Option<Result<Location, TransportError>> {
    let transports = [
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "dir:",
        "docker-daemon:",
        "containers-storage:",
    ];
    let is_place = transports.iter().any(|begin| text.starts_with(begin));
    is_place.then(|| Location::parse(text))
}

/// Prints the requested part on stdout.
fn show(
    args: &Args,
    names: &[String],
    image: &Image,
    store: Option<&Store>,
    context: &Context,
) -> Result<(), CommandError> {
    let printer = &context.printer;
    match args.raw {
        Some(Document::Manifest) => {
            printer.bytes(&image.manifest_bytes);
            return Ok(());
        }
        Some(Document::Config) => {
            printer.bytes(&image.config_bytes);
            return Ok(());
        }
        None => {}
    }
    if args.packages
        && let Some(store) = store
    {
        return tree::packages(store, &args.name, image, args.json, printer);
    }
    if args.plan {
        let plan = plan(image, &args.name)?;
        if args.json {
            printer.json(&plan);
        } else {
            tree::plan(&inspection::plan(image), printer);
        }
        return Ok(());
    }
    if args.json {
        printer.json(&object(&args.name, names, image));
        return Ok(());
    }
    let layers = match store {
        Some(store) => inspection::layers(store, &args.name, image)?,
        None => tree::layers_of_registry(image, &history(image)),
    };
    if args.layers {
        tree::layers(&layers, printer);
    } else if args.config {
        let columns = width::of(std::io::stdout());
        for line in prose(names, image) {
            // Documents of a label are for `--json`; here they would be screens of broken words.
            let room = columns.filter(|_| line.starts_with("label"));
            printer.result(room.map_or_else(|| line.clone(), |room| width::cut(&line, room)));
        }
    } else {
        tree::whole(names, image, &layers, printer);
    }
    Ok(())
}

/// Replaces the file atomically. It is readable for all, because the image has the same content.
fn write(path: &Path, page: &str) -> Result<(), CommandError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let written = tempfile::Builder::new()
        .prefix(".warpdrive-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(parent.unwrap_or(Path::new(".")))
        .and_then(|mut file| {
            file.write_all(page.as_bytes())?;
            file.persist(path).map_err(|error| error.error)
        });
    written.map(|_| ()).map_err(|error| {
        CommandError::new(
            ExitStatus::Failure,
            "write",
            format!("could not write {}: {error}", path.display()),
        )
        .with_hint("name a file in a directory that is there and that you may write to")
    })
}

impl From<InspectionError> for CommandError {
    fn from(error: InspectionError) -> Self {
        match error {
            InspectionError::Store(error) => error.into(),
            InspectionError::Audit(error) => error.into(),
            InspectionError::Layer { ref source, .. } => {
                let cause = source.to_string();
                let mut told = Self::new(ExitStatus::Failure, "layer", error.to_string());
                told.causes.push(cause);
                told
            }
            InspectionError::Page { .. } => {
                Self::new(ExitStatus::Failure, "page", error.to_string())
            }
        }
    }
}

/// An image of a registry, of which nothing is stored and no layer fetched.
fn remote(
    name: &str,
    args: &Args,
    context: &Context,
) -> Result<(Image, Vec<String>), CommandError> {
    let console = Console::new(&context.printer);
    let listener = Transfers::new(&console);
    let reference: Reference = name.parse()?;
    let client = Client::new(ClientOptions {
        platform: args.platform.clone(),
        ..args.registry.options()
    })?;
    let resolved = client.resolve(&reference, &listener)?;
    let claimed = resolved.descriptor.media_type().to_string();
    let (_, document) = registry::Document::parse(&resolved.bytes, Some(&claimed), name)?;
    let registry::Document::Manifest(manifest) = document else {
        return Err(CommandError::new(
            ExitStatus::Network,
            "registry",
            format!("{name} is an index of indexes"),
        ));
    };
    let config_bytes = client.config(&reference, &manifest, &listener)?;
    // Where none is asked for, an image of any platform may be looked at.
    if let Some(platform) = &args.platform {
        registry::check_platform(name, Some(platform), &config_bytes)?;
    }
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
        .label(crate::app::contract::PLAN_LABEL)
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

/// Quotes words for a shell.
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
