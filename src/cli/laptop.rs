//! The application's commands on a developer's machine. Commands that install get the packages of the
//! project's lock; the others are the same as in an image.

use crate::app::cli::{self as app, AppCommand};
use crate::app::run::Caller;
use crate::pipeline;

use super::context::Context;
use super::error::CommandError;
use super::progress::Console;

pub(super) fn run(command: &AppCommand, context: &Context) -> Result<u8, CommandError> {
    let Some(settings) = command.installs_with() else {
        return Ok(app::run(command));
    };
    // The command itself reports problems of the caller's environment.
    let (Ok(mut caller), Ok(settings)) = (Caller::current(), settings) else {
        return Ok(app::run(command));
    };
    let Ok(roots) = caller.roots() else {
        return Ok(app::run(command));
    };
    let variables = caller.text_variables();
    if variables.contains_key(crate::app::contract::LISTED) {
        return Ok(app::run(command));
    }
    let console = Console::new(&context.printer);
    let store = context.open_store()?;
    let ready = pipeline::local::ready(&store, &roots, &variables, &settings, &console)?;
    for (name, value) in ready.iter().flat_map(|ready| &ready.variables) {
        caller.variables.insert(name.into(), value.into());
    }
    let code = app::run_for(command, &caller);
    if let Some(ready) = &ready {
        ready.forget_place(&roots);
    }
    Ok(code)
}
