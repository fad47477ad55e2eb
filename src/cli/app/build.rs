//! `warpdrive build` and `warpdrive assemble`.

use super::words::{Words, tell};
use crate::app::advice::Explain;
use crate::app::assemble::{self, Phase};
use crate::app::progress::Progress;
use crate::app::roots::Roots;
use crate::app::run::Caller;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// The lines of a build, as people know them from S2I.
struct Lines;

impl Progress for Lines {
    fn stage(&self, text: &str) {
        tell(&format!("---> {text}"));
    }

    fn step(&self, text: &str) {
        tell(&format!(" -----> {text}"));
    }

    fn note(&self, text: &str) {
        tell(&format!("        {text}"));
    }

    fn warn(&self, text: &str) {
        tell(&format!("warning: {text}"));
    }
}

/// What a failure prints, with the status to end with.
fn failure(status: i32, error: &dyn Explain) -> Words {
    tell(&error.advice().to_string());
    Words::said(u8::try_from(status).unwrap_or(1))
}

/// `assemble`, in an image: one phase (`WARPDRIVE_BUILD_PHASE`), or both where S2I calls it.
pub(super) fn assemble(caller: &Caller) -> Result<u8, Words> {
    let environment = caller.environment();
    let roots = Roots::find(&environment).map_err(|error| Words::new(1, error.to_string()))?;
    let phase = environment
        .get("WARPDRIVE_BUILD_PHASE")
        .and_then(|name| Phase::from_name(name));
    assemble::assemble(&roots, &environment, phase, &Lines)
        .map(|()| 0)
        .map_err(|error| failure(error.status(), &error))
}

/// `build`, wherever the application lies.
pub(super) fn build(_args: &Args, caller: &Caller) -> Result<u8, Words> {
    let environment = caller.environment();
    let roots = Roots::find(&environment).map_err(|error| Words::new(1, error.to_string()))?;
    assemble::build(&roots, &environment, &Lines)
        .map(|()| 0)
        .map_err(|error| failure(error.status(), &error))
}
