//! `--use-config`: the flags of a build in `.s2ifile`, for the next build in the same directory.
//!
//! The file is the `s2i` tool's: `{"source", "builderImage", "tag", "flags": {"NAME": "VALUE"}}`. An
//! option that may be given several times has a list here; the `s2i` tool keeps only one of its
//! values.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};

use super::super::error::{CommandError, ExitStatus};

const FILES: [&str; 2] = [".s2ifile", ".stifile"];
const MAX: u64 = 1024 * 1024;
/// The option itself, and options that belong to one run.
const NEVER: [&str; 4] = ["use-config", "store", "quiet", "json"];

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(default)]
    source: String,
    #[serde(rename = "builderImage", default)]
    builder: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tag: String,
    #[serde(default)]
    flags: BTreeMap<String, Values>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Saved {
    /// The content of the file in `directory`; empty if it is missing.
    pub(super) fn read(directory: &Path) -> Result<Self, CommandError> {
        for name in FILES {
            let path = directory.join(name);
            let failed = |problem: String| {
                CommandError::new(
                    ExitStatus::Usage,
                    "saved-options",
                    format!("{}: {problem}", path.display()),
                )
                .with_hint("remove the file, and give the options again")
            };
            let file = match std::fs::File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error.to_string())),
            };
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX), &mut bytes)
                .map_err(|error| failed(error.to_string()))?;
            return serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()));
        }
        Ok(Self::default())
    }

    /// The command line, including positional arguments, comes first.
    pub(super) fn and(mut self, command: &clap::Command, given: &ArgMatches) -> Self {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            if given.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            let values: Vec<String> = given
                .get_raw(id)
                .into_iter()
                .flatten()
                .map(|value| value.to_string_lossy().into_owned())
                .collect();
            let first = values.first().cloned().unwrap_or_default();
            match argument.get_long() {
                None => match id {
                    "source" => self.source = first,
                    "builder" => self.builder = first,
                    "tag" => self.tag = first,
                    _ => {}
                },
                Some(long) if NEVER.contains(&long) => {}
                Some(long) => {
                    let value = match values.len() {
                        0 => Values::One("true".into()),
                        1 => Values::One(first),
                        _ => Values::Many(values),
                    };
                    self.flags.insert(long.to_owned(), value);
                }
            }
        }
        self
    }

    /// The command-line arguments with the same meaning.
    pub(super) fn arguments(&self, command: &clap::Command) -> Result<Vec<String>, CommandError> {
        let mut arguments = vec!["build".to_owned()];
        for (name, values) in &self.flags {
            let values = match values {
                Values::One(value) => std::slice::from_ref(value),
                Values::Many(values) => values.as_slice(),
            };
            let known = command.get_arguments().find(|argument| {
                argument.get_long() == Some(name.as_str())
                    || argument
                        .get_all_aliases()
                        .is_some_and(|aliases| aliases.contains(&name.as_str()))
            });
            let Some(argument) = known else {
                return Err(CommandError::usage(format!(
                    ".s2ifile has the option `{name}`, which `s2i build` has not"
                )));
            };
            let takes_value = argument.get_action().takes_values();
            for value in values {
                match (takes_value, value.as_str()) {
                    // The Go tool keeps options with an empty value; for one of them, an empty
                    // value has a meaning here.
                    (true, "") if name != "exclude" => {}
                    (true, value) => arguments.push(format!("--{name}={value}")),
                    (false, "false") => {}
                    (false, _) => arguments.push(format!("--{name}")),
                }
            }
        }
        arguments.push("--".into());
        for positional in [&self.source, &self.builder, &self.tag] {
            if !positional.is_empty() {
                arguments.push(positional.clone());
            }
        }
        Ok(arguments)
    }

    /// Writes the file with a mode that only its owner may read, because it contains values of variables.
    pub(super) fn write(&self, directory: &Path) -> Result<(), CommandError> {
        let path = directory.join(FILES[0]);
        let failed = |error: std::io::Error| {
            CommandError::new(
                ExitStatus::Failure,
                "saved-options",
                format!("could not write {}: {error}", path.display()),
            )
        };
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed)
    }
}
