//! `warpdrive build` and `warpdrive wheels` on a laptop, `warpdrive assemble` in an image.

use std::collections::BTreeMap;

use crate::advice::{Advice, Explain as _};
use crate::assemble;
use crate::contract::{BUILD_PHASE, Phase};
use crate::run::{Caller, RunError};
use crate::settings::command_line;

use super::output::{Failure, Output};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A setting of the application, before the environment and the files: `server_type=gunicorn`
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl Args {
    pub(super) fn settings(&self) -> Result<BTreeMap<String, String>, Failure> {
        command_line(&self.set).map_err(|error| Failure::new(2, error.advice()))
    }
}

pub(super) fn build(args: &Args, caller: &Caller) -> Result<u8, Failure> {
    let roots = caller.roots().map_err(RunError::from).map_err(failed)?;
    let variables = caller.text_variables();
    assemble::build(&roots, &variables, &args.settings()?, &Output::Stdout)?;
    Ok(0)
}

pub(super) fn wheels(args: &Args, caller: &Caller) -> Result<u8, Failure> {
    let roots = caller.roots().map_err(RunError::from).map_err(failed)?;
    let variables = caller.text_variables();
    assemble::wheels(&roots, &variables, &args.settings()?, &Output::Stdout)?;
    Ok(0)
}

pub(super) fn assemble(caller: &Caller) -> Result<u8, Failure> {
    let roots = caller.roots().map_err(RunError::from).map_err(failed)?;
    let variables = caller.text_variables();
    let name = variables.get(BUILD_PHASE).filter(|name| !name.is_empty());
    let phase = match name.map(|name| (name, Phase::from_name(name))) {
        None => None,
        Some((_, Some(phase))) => Some(phase),
        Some((name, None)) => {
            let text = format!("{BUILD_PHASE}={name} is neither dependencies nor application");
            return Err(Failure::new(2, Advice::new(text)));
        }
    };
    assemble::assemble(&roots, &variables, phase, &Output::Stdout)?;
    Ok(0)
}

/// If a build cannot begin, the exit code is that of a failed build, not of a program that cannot run.
fn failed(error: RunError) -> Failure {
    Failure::from(error).with_code(1)
}
