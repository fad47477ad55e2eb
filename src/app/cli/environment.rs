//! `warpdrive env`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use serde_json::json;

use crate::progress::StepProgress as _;
use crate::run::{Caller, Environment, print};

use super::output::{Failure, Output};
use super::settings;
use super::shells::Shell;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say where each variable and setting comes from: environment, file, plan or default
    #[arg(long)]
    explain: bool,
    /// The shell whose words are printed
    #[arg(long, value_enum, value_name = "SHELL", default_value = "bash")]
    shell: Shell,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, caller: &Caller) -> Result<u8, Failure> {
    let environment = Environment::of(caller).map_err(|error| Failure::from(error).with_code(1))?;
    for warning in &environment.warnings {
        Output::Stderr.warn(warning);
    }
    let mut out = io::stdout().lock();
    let written = match (args.explain, args.json) {
        (false, false) => print::for_eval(&environment, args.shell == Shell::Fish, &mut out),
        (false, true) => writeln!(out, "{:#}", print::json(&environment, false)),
        (true, true) => {
            let settings = settings::load(&environment.roots.source, caller, &BTreeMap::new())?;
            let object = json!({
                "variables": print::json(&environment, true),
                "settings": settings::json(&settings),
            });
            writeln!(out, "{object:#}")
        }
        (true, false) => {
            let settings = settings::load(&environment.roots.source, caller, &BTreeMap::new())?;
            print::explain(&environment, &mut out)
                .and_then(|()| writeln!(out))
                .and_then(|()| settings::lines(&settings, &mut out))
        }
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}
