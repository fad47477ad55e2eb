//! `warpdrive env`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use serde_json::{Map, Value, json};

use crate::app::advice::Explain as _;
use crate::app::files::Directory;
use crate::app::progress::Progress as _;
use crate::app::run::{Caller, Environment, print};
use crate::app::settings::Settings;

use super::words::{Failure, Words};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say where each variable and setting comes from: environment, file, plan or default
    #[arg(long)]
    explain: bool,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, caller: &Caller) -> Result<u8, Failure> {
    let environment = Environment::of(caller).map_err(|error| Failure::from(error).with_code(1))?;
    for warning in &environment.warnings {
        Words::Stderr.warn(warning);
    }
    let mut out = io::stdout().lock();
    let written = match (args.explain, args.json) {
        (false, false) => print::for_eval(&environment, &mut out),
        (false, true) => writeln!(out, "{:#}", print::json(&environment, false)),
        (true, true) => {
            let settings = settings(caller, &environment)?;
            let object = json!({
                "variables": print::json(&environment, true),
                "settings": settings_json(&settings),
            });
            writeln!(out, "{object:#}")
        }
        (true, false) => {
            let settings = settings(caller, &environment)?;
            print::explain(&environment, &mut out).and_then(|()| {
                writeln!(out)?;
                for (key, value) in settings.explain() {
                    match value {
                        Some(value) => {
                            writeln!(out, "{} = {}  # {}", key.name, value.text, value.origin)?;
                        }
                        None => writeln!(out, "# {} is not set: {}", key.name, key.help)?,
                    }
                }
                Ok(())
            })
        }
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}

fn settings(caller: &Caller, environment: &Environment) -> Result<Settings, Failure> {
    let Ok(files) = Directory::open(&environment.roots.source) else {
        return Ok(Settings::default());
    };
    Settings::load(&files, &caller.text_variables(), &BTreeMap::new())
        .map_err(|error| Failure::new(1, error.advice()))
}

fn settings_json(settings: &Settings) -> Value {
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
