//! `warpdrive settings`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::advice::Explain as _;
use crate::files::Directory;
use crate::run::Caller;
use crate::settings::{Settings, command_line, schema};

use super::output::Failure;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The JSON Schema of [tool.warpdrive] in pyproject.toml
    #[arg(long)]
    schema: bool,
    /// A setting of the command line, as `build` takes it
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "schema")]
    set: Vec<String>,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, caller: &Caller) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    let written = if args.schema {
        writeln!(out, "{:#}", schema())
    } else {
        // Settings belong to the source: no virtual environment is needed to read them.
        let source = caller
            .roots()
            .map_or_else(|_| caller.directory.clone(), |roots| roots.source);
        let said = command_line(&args.set).map_err(|error| Failure::new(2, error.advice()))?;
        let settings = load(&source, caller, &said)?;
        if args.json {
            writeln!(out, "{:#}", json(&settings))
        } else {
            lines(&settings, &mut out)
        }
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}

/// The settings of a source tree; a missing tree has none.
pub(super) fn load(
    source: &Path,
    caller: &Caller,
    said: &BTreeMap<String, String>,
) -> Result<Settings, Failure> {
    let Ok(files) = Directory::open(source) else {
        return Ok(Settings::default());
    };
    Settings::load(&files, &caller.text_variables(), said)
        .map_err(|error| Failure::new(2, error.advice()))
}

/// A line for each setting: its value and where it comes from.
pub(super) fn lines(settings: &Settings, out: &mut dyn io::Write) -> io::Result<()> {
    for (key, value) in settings.explain() {
        match value {
            Some(value) => writeln!(out, "{} = {}  # {}", key.name, value.text, value.origin)?,
            None => writeln!(out, "# {} is not set: {}", key.name, key.help)?,
        }
    }
    for (name, text) in &settings.server_args {
        writeln!(out, "server_args.{name} = {text}  # file")?;
    }
    Ok(())
}

pub(super) fn json(settings: &Settings) -> Value {
    let object: Map<String, Value> = settings
        .explain()
        .into_iter()
        .map(|(key, value)| {
            let value =
                value.map(|value| json!({"value": value.text, "origin": value.origin.to_string()}));
            (key.name.to_owned(), value.unwrap_or(Value::Null))
        })
        .collect();
    Value::Object(object)
}
