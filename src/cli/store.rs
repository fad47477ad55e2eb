//! `warpdrive store`: the store itself.

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use crate::container::{self, ContainerError, Status};
use crate::sandbox;
use crate::store::Store;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::progress::meanwhile;

/// How long the removal waits for builds that use the store.
const WAIT: Duration = Duration::from_secs(10);
/// Tells the process in the user namespace that the user has agreed.
const AGREED: &str = "WARPDRIVE_STORE_RM_AGREED";

/// Print the store's path, or remove the store
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive store path
  warpdrive store rm
  warpdrive --store /srv/old store rm --yes

Unpacked layers of a user with subordinate ids belong to these: `rm -rf` cannot remove them.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the directory where images are kept
    Path,
    /// Remove the whole store: images, builders, containers, volumes and the build cache
    Rm {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Kill containers that run
        #[arg(short, long)]
        force: bool,
        /// One JSON object on stdout
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn json(&self) -> bool {
        matches!(&self.command, Action::Rm { json: true, .. })
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    match &args.command {
        Action::Path => {
            context.printer.result(store.root().display().to_string());
            Ok(0)
        }
        Action::Rm { yes, force, json } => remove(store, *yes, *force, *json, context),
    }
}

fn remove(
    store: Store,
    yes: bool,
    force: bool,
    json: bool,
    context: &Context,
) -> Result<u8, CommandError> {
    if sandbox::handed_over(AGREED).is_none() {
        if !yes && !agreed(&store)? {
            context.printer.progress("nothing was removed");
            return Ok(1);
        }
        // Before entering: inside a user namespace, no process of a container can be signalled.
        release(&store, force)?;
    }
    sandbox::enter_with(&[(AGREED, "1".as_ref())], || ())?;
    let root = store.root().to_owned();
    meanwhile(&context.printer, "Removing the store", || {
        store.destroy(WAIT)
    })?;
    if json {
        context.printer.json(&json!({"removed": root}));
    } else {
        context
            .printer
            .result(format!("removed {}", root.display()));
    }
    Ok(0)
}

/// Asks on the terminal; without a terminal, it is an error.
fn agreed(store: &Store) -> Result<bool, CommandError> {
    let root = store.root().display().to_string();
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CommandError::usage(format!(
            "`store rm` removes all of {root}, and there is no terminal to ask at"
        ))
        .with_hint("say `warpdrive store rm --yes` if that is what you want"));
    }
    let volumes = std::fs::read_dir(store.root().join("volumes"))
        .map_or(0, |entries| entries.flatten().count());
    let mut out = io::stderr().lock();
    let _ = write!(
        out,
        "Remove {root} with {}, {} and {}? [y/N] ",
        several(store.images()?.len(), "image"),
        several(container::list(store)?.len(), "container"),
        several(volumes, "volume"),
    );
    let _ = out.flush();
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn several(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Makes sure that no container runs.
fn release(store: &Store, force: bool) -> Result<(), CommandError> {
    let mut running = Vec::new();
    for record in container::list(store)? {
        let Ok((status, _)) = record.status() else {
            continue;
        };
        if force || !matches!(status, Status::Running | Status::Created) {
            match container::release(&record, force) {
                Err(ContainerError::Running { name }) => running.push(name),
                other => other?,
            }
        } else {
            running.push(record.config.name);
        }
    }
    if running.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(
        ExitStatus::Failure,
        "running",
        format!("containers of this store run: {}", running.join(", ")),
    )
    .with_hint(format!(
        "stop them first: `warpdrive container stop {}`; or use `store rm --force`",
        running.join(" ")
    )))
}
