//! `warpdrive s2i generate`: a Dockerfile for a builder image, without any source.

use std::path::PathBuf;

use crate::pipeline::s2i;
use crate::s2i::ScriptsUrl;
use crate::sandbox::Network;
use crate::source::{Origin, SourceRequest};

use super::super::context::Context;
use super::super::error::CommandError;
use super::super::progress::Console;
use super::options::{CommonArgs, EnvArgs, OursArgs};
use super::work;

/// Write a Dockerfile that builds what lies in `upload/src` beside it with an S2I builder image
#[derive(Debug, clap::Args)]
pub(super) struct GenerateArgs {
    /// The S2I builder image, in the store or in a registry
    builder: String,
    /// The Dockerfile to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    env: EnvArgs,
    /// Where the scripts are, if not where the image says
    #[arg(short, long, value_name = "URL")]
    scripts_url: Option<String>,
    /// Where the image has its scripts if it does not say it itself
    #[arg(long, value_name = "URL", default_value = "image:///usr/libexec/s2i")]
    image_scripts_url: String,
    /// Host (and port) from which scripts may be fetched that the image names
    #[arg(long, value_name = "HOST[:PORT]")]
    scripts_host: Vec<String>,
    /// User that assemble runs as
    #[arg(long, value_name = "USER")]
    assemble_user: Option<String>,
    /// Accepted: a Dockerfile has no runtime image
    #[arg(long, value_name = "USER")]
    assemble_runtime_user: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn run(args: &GenerateArgs, context: &Context) -> Result<u8, CommandError> {
    args.common.name_logins()?;
    // As in the `s2i` tool, the image's name may have a transport prefix.
    let builder = args
        .builder
        .strip_prefix("docker://")
        .unwrap_or(&args.builder);
    let scripts = |name: &str, text: &str| {
        ScriptsUrl::parse(text)
            .map_err(|problem| CommandError::usage(format!("{name} {text}: {problem}")))
    };
    let common = OursArgs::default().request(
        None,
        builder,
        None,
        args.env.variables()?,
        Network::Outward,
        SourceRequest::new(Origin::Stdin),
    )?;
    let mut request = s2i::S2iRequest::of_image(&common, builder.to_owned());
    request.pull = args.common.policies();
    request.script_hosts.clone_from(&args.scripts_host);
    request.destination.clone_from(&args.common.destination);
    request.assemble_user.clone_from(&args.assemble_user);
    request.image_scripts_url = Some(scripts("--image-scripts-url", &args.image_scripts_url)?);
    request.scripts_url = args
        .scripts_url
        .as_deref()
        .map(|text| scripts("--scripts-url", text))
        .transpose()?;
    let store = context.open_store()?;
    let console = Console::new(&context.printer);
    let written = s2i::as_dockerfile(&store, &request, None, &args.out, &console)?;
    work::say_how_to_build(&written, context);
    Ok(0)
}
