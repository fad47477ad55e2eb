//! `warpdrive version`.

use super::context::Context;

/// Show the version
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    if args.json {
        context
            .printer
            .json(&serde_json::json!({"version": version}));
    } else {
        context.printer.result(format!("warpdrive {version}"));
    }
    0
}
