//! `warpdrive index`: writes indexes of images that are in registries.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::progress::shown;
use crate::registry::Client;

use super::access::RegistryArgs;
use super::context::Context;
use super::error::CommandError;
use super::progress::Console;
use super::push::{target, tell};

/// Make an index of images for several platforms, in a registry
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive index create registry.example.com/team/opal:1.2 \\
    registry.example.com/team/opal:1.2-amd64 registry.example.com/team/opal:1.2-arm64")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an index of images that are in registries, under one name
    ///
    /// Nothing is fetched but manifests and configurations. Images of the same repository stay where they
    /// are, those of other repositories of the registry are mounted, and those of other registries are sent.
    /// The platform of each is what its configuration says. The digest is printed.
    #[command(after_long_help = "\
Examples:
  warpdrive index create registry.example.com/team/opal:1.2 \\
    registry.example.com/team/opal:1.2-amd64 registry.example.com/team/opal:1.2-arm64
  warpdrive index create registry.example.com/team/opal:all registry.example.com/team/opal:all \\
    other.example.com/opal:s390x          the images of an index, and one more")]
    Create(Create),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Name of the index: REGISTRY/PATH[:TAG]
    #[arg(value_name = "REF")]
    name: String,
    /// Images, or indexes of which all images are taken: [REGISTRY/]PATH[:TAG][@DIGEST]
    #[arg(value_name = "MANIFEST", required = true)]
    manifests: Vec<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        let Action::Create(args) = &self.command;
        args.json
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let Action::Create(args) = &args.command;
    let name = target(&args.name, "index create")?;
    let sources: Vec<Reference> = args
        .manifests
        .iter()
        .map(|text| text.strip_prefix("docker://").unwrap_or(text).parse())
        .collect::<Result<_, _>>()?;
    let store = context.open_store()?;
    let _in_use = store.lock_shared()?;
    let console = Console::new(&context.printer);
    let client = Client::new(args.registry.options())?;
    let listener = Transfers::new(&console);
    let report = client.create_index(&name, &sources, &store, &listener)?;
    if args.json {
        context.printer.json(&json!({
            "reference": report.pushed.reference,
            "digest": report.pushed.digest,
            "media_type": report.index.media_type(),
            "manifests": report.manifests,
            "uploaded": report.pushed.uploaded,
            "uploaded_bytes": report.pushed.uploaded_bytes,
            "mounted": report.pushed.mounted,
            "existing": report.pushed.existing,
        }));
        return Ok(0);
    }
    for entry in &report.manifests {
        let text = |value: &Value| shown(value.as_str().unwrap_or_default()).into_owned();
        let platform = &entry["platform"];
        let mut words = vec![text(&platform["os"]), text(&platform["architecture"])];
        words.extend(platform.get("variant").map(text));
        let platform = match entry.get("platform") {
            Some(_) => words.join("/"),
            None => "no platform".into(),
        };
        let line = format!("{} {platform}", text(&entry["digest"]));
        context.printer.progress(line);
    }
    tell(&report.pushed, context);
    Ok(0)
}
