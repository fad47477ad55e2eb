//! `warpdrive s2i usage`: prints the usage text of a builder image.

use crate::pipeline::s2i;
use crate::s2i::ScriptsUrl;
use crate::sandbox;

use super::super::context::Context;
use super::super::error::CommandError;
use super::super::progress::Console;
use super::options::{CommonArgs, OursArgs};

/// Run a builder image's `usage` script
#[derive(Debug, clap::Args)]
pub(super) struct UsageArgs {
    /// The S2I builder image
    builder: String,
    /// Where the scripts are, if not in the image
    #[arg(short, long, visible_alias = "scripts", value_name = "URL")]
    scripts_url: Option<String>,
    /// Host (and port) from which scripts may be fetched that the image names
    #[arg(long, value_name = "HOST[:PORT]")]
    scripts_host: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn run(args: &UsageArgs, context: &Context) -> Result<u8, CommandError> {
    args.common.name_logins()?;
    let scripts_url = args
        .scripts_url
        .as_deref()
        .map(|text| {
            ScriptsUrl::parse(text)
                .map_err(|problem| CommandError::usage(format!("--scripts-url {text}: {problem}")))
        })
        .transpose()?;
    sandbox::enter()?;
    let store = context.open_store()?;
    let console = Console::new(&context.printer);
    let common = OursArgs::default().request(
        None,
        &args.builder,
        None,
        Vec::new(),
        sandbox::Network::None,
        crate::source::SourceRequest::new(crate::source::Origin::Stdin),
    )?;
    let mut request = s2i::S2iRequest::of_image(&common, args.builder.clone());
    request.pull = args.common.policies();
    request.scripts_url = scripts_url;
    request.script_hosts.clone_from(&args.scripts_host);
    // Only the script has no network.
    request.offline = false;
    let said = s2i::usage(&store, &request, &console)?;
    context.printer.bytes(&said);
    Ok(0)
}
