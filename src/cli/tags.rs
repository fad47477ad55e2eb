//! `warpdrive tags`: the tags of a repository of a registry.

use serde_json::json;

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::progress::shown;
use crate::registry::Client;

use super::access::RegistryArgs;
use super::context::Context;
use super::error::CommandError;
use super::progress::Console;

/// List the tags of a repository of a registry
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive tags docker.io/library/python
  warpdrive tags registry.example.com/team/opal --json | jq -r '.tags[]'
")]
pub(super) struct Args {
    /// Name of the repository: [REGISTRY/]PATH
    name: String,
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
    let tags = Client::new(args.registry.options())?.tags(&reference, &listener)?;
    if args.json {
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        context
            .printer
            .json(&json!({"repository": repository, "tags": tags}));
        return Ok(0);
    }
    for tag in tags {
        context.printer.result(shown(&tag));
    }
    Ok(0)
}
