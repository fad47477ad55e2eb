//! `warpdrive s2i create`: the files that a new builder image begins with.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::oci::Reference;
use crate::s2i::scaffold;

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};

/// Write the files that a new S2I builder image begins with; nothing is overwritten
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// Name of the builder image
    image: String,
    /// The directory; it is made where there is none
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &CreateArgs, context: &Context) -> Result<u8, CommandError> {
    let name: Reference = args.image.parse()?;
    let failed = |path: &std::path::Path, error: &io::Error| {
        CommandError::new(
            ExitStatus::Failure,
            "scaffold",
            format!("could not write {}: {error}", path.display()),
        )
    };
    let files = scaffold::files(name.as_given());
    // All or nothing.
    for file in &files {
        let path = args.directory.join(file.path);
        if path.symlink_metadata().is_ok() {
            return Err(CommandError::new(
                ExitStatus::Failure,
                "scaffold",
                format!(
                    "{} is there already, and nothing is overwritten",
                    path.display()
                ),
            )
            .with_hint("name a new directory"));
        }
    }
    for file in &files {
        let path = args.directory.join(file.path);
        let parent = path.parent().unwrap_or(&args.directory);
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        let mode = if file.executable { 0o755 } else { 0o644 };
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut out| out.write_all(file.content.as_bytes()))
            .map_err(|error| failed(&path, &error))?;
        context.printer.result(path.display().to_string());
    }
    Ok(0)
}
