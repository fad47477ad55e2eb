//! `warpdrive prune`: frees what nothing needs.

use std::time::Duration;

use serde_json::json;

use crate::container::parse_size;
use crate::sandbox;
use crate::store::{PruneOptions, Pruned};

use super::context::Context;
use super::error::CommandError;
use super::printer::human_size;
use super::progress::meanwhile;

/// Free the space in the store that no name and no container needs
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive prune                  all that no name needs, the build cache too
  warpdrive prune --keep 5g        the most recently used 5 GiB of build cache stay
  warpdrive prune --dry-run        only say how much it would be

What makes a rebuild of a named image fast stays as well: it takes no space of its own.")]
pub(super) struct Args {
    /// Keep this much of the build cache, the most recently used part
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0")]
    keep: u64,
    /// Always remove build cache that was not used for this long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "90days")]
    older_than: Duration,
    /// Print what would be freed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait this long for builds that use the store
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    wait: Duration,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    // Unpacked layers have files of other ids, which can be removed only inside the user namespace.
    if let Err(error) = sandbox::enter() {
        context.printer.warning(format!(
            "unpacked layers with files of other users cannot be removed: {error}"
        ));
    }
    let store = context.open_store()?;
    let options = PruneOptions {
        keep: args.keep,
        older_than: Some(args.older_than),
        dry_run: args.dry_run,
        wait: args.wait,
    };
    let pruned = meanwhile(&context.printer, "Looking for what nothing needs", || {
        store.prune(&options)
    })?;
    for (_, error) in &pruned.left {
        context.printer.warning(error.to_string());
    }
    if args.json {
        context.printer.json(&json!({
            "dry_run": args.dry_run,
            "bytes": pruned.bytes(),
            "blobs": {"count": pruned.blobs, "bytes": pruned.blob_bytes},
            "unpacked": {"count": pruned.unpacked, "bytes": pruned.unpacked_bytes},
            "cache": {"count": pruned.records, "bytes": pruned.record_bytes},
            "temporary": {"count": pruned.temporary, "bytes": pruned.temporary_bytes},
            "left": pruned.left.iter().map(|(path, _)| path.to_string_lossy()).collect::<Vec<_>>(),
        }));
    } else {
        for line in lines(&pruned, args.dry_run) {
            context.printer.result(line);
        }
    }
    Ok(u8::from(!pruned.left.is_empty()))
}

fn lines(pruned: &Pruned, dry_run: bool) -> Vec<String> {
    let parts = [
        ("blobs", pruned.blobs, pruned.blob_bytes),
        ("unpacked layers", pruned.unpacked, pruned.unpacked_bytes),
        ("cache entries", pruned.records, pruned.record_bytes),
        (
            "leftovers of killed builds",
            pruned.temporary,
            pruned.temporary_bytes,
        ),
    ];
    let mut lines: Vec<String> = parts
        .into_iter()
        .filter(|(_, count, _)| *count > 0)
        .map(|(what, count, bytes)| format!("{count} {what}, {}", human_size(bytes)))
        .collect();
    let freed = if dry_run { "would be freed" } else { "freed" };
    lines.push(format!("{} {freed}", human_size(pruned.bytes())));
    lines
}
