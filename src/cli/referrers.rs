//! `warpdrive referrers`: what refers to an image of a registry.

use serde_json::{Value, json};

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::progress::shown;
use crate::registry::Client;

use super::access::RegistryArgs;
use super::context::Context;
use super::error::CommandError;
use super::printer::{human_size, table};
use super::progress::Console;

/// List what refers to an image of a registry: signatures, attestations, lists of parts
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive referrers registry.example.com/team/opal:1.2
  warpdrive referrers registry.example.com/team/opal:1.2 --artifact-type application/spdx+json
")]
pub(super) struct Args {
    /// Name of the image: [REGISTRY/]PATH[:TAG][@DIGEST]
    name: String,
    /// Those of this type only
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let name = args.name.strip_prefix("docker://").unwrap_or(&args.name);
    let reference: Reference = name.parse()?;
    let console = Console::new(&context.printer);
    let listener = Transfers::new(&console);
    let client = Client::new(args.registry.options())?;
    let subject = match reference.digest() {
        Some(digest) => digest,
        None => match client.head(&reference, &listener)? {
            Some(found) => found.digest().clone(),
            None => client
                .resolve(&reference, &listener)?
                .descriptor
                .digest()
                .clone(),
        },
    };
    let found: Vec<Value> = client
        .referrers(&reference, &subject, &listener)?
        .iter()
        .filter_map(|entry| serde_json::to_value(entry).ok())
        .filter(|entry| {
            args.artifact_type
                .as_deref()
                .is_none_or(|wanted| entry["artifactType"] == *wanted)
        })
        .collect();
    if args.json {
        context
            .printer
            .json(&json!({"subject": subject, "referrers": found}));
        return Ok(0);
    }
    let text = |value: &Value| shown(value.as_str().unwrap_or_default()).into_owned();
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|entry| {
            vec![
                text(&entry["digest"]),
                text(&entry["artifactType"]),
                human_size(entry["size"].as_u64().unwrap_or(0)),
            ]
        })
        .collect();
    for line in table(
        &["DIGEST", "TYPE", "SIZE"],
        &rows,
        super::width::of(std::io::stdout()),
    ) {
        context.printer.result(line);
    }
    Ok(0)
}
