//! `warpdrive __sandbox-run SPEC.json [--terminal|--join PID]`: a hidden command that runs one
//! specification, for tests of the real executable. Not for users.

use std::ffi::OsString;
use std::io::Write;

use super::error::SandboxError;
use super::interrupt;
use super::running::{Io, Sandbox, spawn};
use super::spec::{Exit, Spec};
use super::wire::Size;

pub(super) const VERB: &str = "__sandbox-run";

/// Runs it; the exit status is the command's, 124 after a timeout, 130 if interrupted, 125 to 127 as
/// docker's otherwise.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> i32 {
    let outcome = super::enter().and_then(|()| {
        let path = arguments.next().unwrap_or_default();
        let text = std::fs::read(&path)
            .map_err(|error| SandboxError::io("reading the specification", error))?;
        let spec: Spec = serde_json::from_slice(&text)
            .map_err(|error| SandboxError::io("reading the specification", error))?;
        interrupt::install_interrupt_handler()
            .map_err(|error| SandboxError::io("installing a signal handler", error))?;
        match arguments.next() {
            None => spawn(&spec, Io::inherit())?.wait(),
            Some(_) => in_terminal(spawn(
                &spec,
                Io::Terminal(Size {
                    rows: 24,
                    columns: 80,
                }),
            )?),
        }
    });
    match outcome {
        Ok(Exit::Code(code)) => code,
        Ok(Exit::Signal(signal)) => 128 + signal,
        Ok(Exit::TimedOut) => 124,
        Ok(Exit::Interrupted) => 130,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            error.shell_status()
        }
    }
}

/// Copies what the terminal shows to standard output.
fn in_terminal(mut sandbox: Sandbox) -> Result<Exit, SandboxError> {
    let master = sandbox.take_terminal();
    let copier = std::thread::spawn(move || {
        if let Some(mut master) = master {
            // EIO is a terminal's end of file.
            let _ = std::io::copy(&mut master, &mut std::io::stdout());
        }
    });
    let exit = sandbox.wait();
    let _ = copier.join();
    exit
}
