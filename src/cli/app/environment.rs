//! `warpdrive env`.

use std::io::{self, Write as _};

use super::words::{Words, tell};
use crate::app::run::{Caller, Environment, print};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say where each value comes from: environment, file, plan or default
    #[arg(long)]
    explain: bool,
    /// One JSON object
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, caller: &Caller) -> Result<u8, Words> {
    let environment = Environment::of(caller).map_err(|error| Words {
        code: 1,
        ..Words::from(error)
    })?;
    for warning in &environment.warnings {
        tell(&format!("warning: {warning}"));
    }
    let mut out = io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{:#}", print::json(&environment, args.explain))
    } else if args.explain {
        print::explain(&environment, &mut out)
    } else {
        print::for_eval(&environment, &mut out)
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}
