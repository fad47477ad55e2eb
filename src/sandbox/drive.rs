//! `warpdrive __sandbox-run SPEC.json [--terminal|--dial PORT|--join PID|--pid|--probe]`: a hidden command that runs one
//! specification, for tests of the real executable. Not for users.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::SandboxError;
use super::exe;
use super::interrupt;
use super::running::{Io, Sandbox, spawn};
use super::spec::{Defence, Exit, JoinSpec, Spec};
use super::wire::Size;

pub(super) const VERB: &str = "__sandbox-run";

fn specification(path: &Path) -> Result<Spec, SandboxError> {
    // With the command's name: `scripts/check-release` looks for it in a program without symbols.
    let failed = |error| SandboxError::io("__sandbox-run: reading the specification", error);
    let text = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

/// Runs it. The exit status is the command's, 124 after a timeout, 130 if interrupted, otherwise 125
/// to 127 as in docker.
pub(super) fn run(mut arguments: impl Iterator<Item = OsString>) -> i32 {
    let path = arguments.next().unwrap_or_default();
    let how = arguments.next().unwrap_or_default();
    // Joining works from outside: it enters the sandbox's user namespace.
    if how == "--probe" {
        for finding in super::probe() {
            let _ = writeln!(std::io::stdout(), "{finding:?}");
        }
        return 0;
    }
    let outcome = specification(path.as_ref()).and_then(|spec| {
        if spec.without.contains(&Defence::SealedCopy) {
            exe::leave_unsealed()?;
        }
        if how != "--join" {
            super::enter()?;
        }
        interrupt::install_interrupt_handler()
            .map_err(|error| SandboxError::io("installing a signal handler", error))?;
        let argument = |text: Option<OsString>| {
            text.and_then(|text| text.to_str()?.parse::<i32>().ok())
                .unwrap_or(0)
        };
        let size = Size {
            rows: 24,
            columns: 80,
        };
        match how.to_str() {
            Some("--terminal") => in_terminal(spawn(&spec, Io::Terminal(size))?),
            Some("--dial") => dial(spawn(&spec, Io::inherit())?, argument(arguments.next())),
            Some("--join") => super::join(
                &JoinSpec {
                    target: argument(arguments.next()),
                    command: spec.command.clone(),
                    env: spec.env.clone(),
                    cwd: spec.cwd.clone(),
                    uid: spec.uid,
                    gid: spec.gid,
                    umask: spec.umask,
                },
                Io::inherit(),
            )?
            .wait(),
            Some("--pid") => {
                let mut sandbox = spawn(&spec, Io::inherit())?;
                let _ = writeln!(std::io::stderr(), "pid {}", sandbox.pid());
                sandbox.wait()
            }
            _ => {
                let mut sandbox = spawn(&spec, Io::inherit())?;
                for note in sandbox.notes() {
                    let _ = writeln!(std::io::stderr(), "note: {note}");
                }
                sandbox.wait()
            }
        }
    });
    match outcome {
        Ok(Exit::Code(code)) => code,
        Ok(Exit::Signal(signal)) => 128 + signal,
        Ok(Exit::TimedOut) => 124,
        Ok(Exit::WroteTooMuch) => 153,
        Ok(Exit::Interrupted) => 130,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            error.shell_status()
        }
    }
}

/// Copies the terminal's output to standard output.
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

/// Prints the bytes from the port inside, then kills the sandbox.
fn dial(mut sandbox: Sandbox, port: i32) -> Result<Exit, SandboxError> {
    let failed = |error: std::io::Error| SandboxError::io("dialling", error);
    let dialer = sandbox
        .take_dialer()
        .ok_or_else(|| failed(std::io::ErrorKind::NotConnected.into()))?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut connected = loop {
        match dialer.connect(u16::try_from(port).unwrap_or(0)) {
            Ok(connected) => break connected,
            Err(error) if Instant::now() > deadline => return Err(failed(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut text = String::new();
    connected.read_to_string(&mut text).map_err(failed)?;
    let _ = write!(std::io::stdout(), "{text}");
    sandbox.kill().map_err(failed)?;
    sandbox.wait()
}
