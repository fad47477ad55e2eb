//! Stopping and removing containers, from any process.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ContainerError;
use super::process::Process;
use super::record::{Record, State, Status};
use super::signal;
use crate::store::Store;

/// How long a killed container's supervisor gets to write down how it ended.
const SETTLE: Duration = Duration::from_secs(10);

/// Sends the container's stop signal, and after `grace` a KILL. Does nothing if the container is
/// not running. Returns when the container has ended and its state says so (with `--rm`: when it
/// is removed).
pub fn stop(record: &Record, grace: Duration) -> Result<(), ContainerError> {
    let wanted = signal::named(record.config.stop_signal).unwrap_or(Signal::TERM);
    if let Some(state) = running(record)? {
        if let Some(process) = &state.process {
            send(process, wanted)?;
            wait_ended(record, grace)?;
        }
        if running(record)?.is_some() {
            return kill(record);
        }
    }
    settle(record)
}

/// Sends the command a HUP, so that a server loads its code again.
pub fn hang_up(process: &Process) -> Result<(), ContainerError> {
    send(process, Signal::HUP)
}

/// Ends this run of a container, as [`stop`] does, but not a later run.
/// The process that holds the container writes down how it ended.
pub fn end(record: &Record, process: &Process, grace: Duration) -> Result<(), ContainerError> {
    let wanted = signal::named(record.config.stop_signal).unwrap_or(Signal::TERM);
    send(process, wanted)?;
    if process.wait_gone(grace) {
        return Ok(());
    }
    send(process, Signal::KILL)
}

/// Ends it at once.
pub fn kill(record: &Record) -> Result<(), ContainerError> {
    let (status, state) = record.status()?;
    if let Some(process) = &state.process {
        send(process, Signal::KILL)?;
        process.wait_gone(SETTLE);
    } else if status == Status::Created
        && let Some(supervisor) = &state.supervisor
    {
        send(supervisor, Signal::KILL)?;
    }
    if !wait_ended(record, SETTLE)?
        && let Some(supervisor) = &state.supervisor
    {
        // The supervisor should have seen the end by now: without it, the container counts as dead.
        send(supervisor, Signal::KILL)?;
        supervisor.wait_gone(SETTLE);
    }
    settle(record)
}

/// Makes sure that nothing of a container runs, before [`remove`]. Kills a running container with
/// `force`, and refuses without it. Also kills processes that a dead supervisor may have left.
///
/// In the process that the user started, *before* `sandbox::enter`: from inside a user namespace of
/// its own a process cannot signal those of the container's.
pub fn release(record: &Record, force: bool) -> Result<(), ContainerError> {
    let (status, state) = record.status()?;
    match status {
        Status::Running | Status::Created if force => kill(record),
        Status::Running | Status::Created => Err(ContainerError::Running {
            name: record.config.name.clone(),
        }),
        Status::Dead => {
            if let Some(process) = &state.process {
                send(process, Signal::KILL)?;
                process.wait_gone(SETTLE);
            }
            Ok(())
        }
        Status::Exited(_) => Ok(()),
    }
}

/// Removes a container that does not run.
///
/// In a process that may remove files of subordinate ids, *after* `sandbox::enter`.
pub fn remove(store: &Store, record: &Record) -> Result<(), ContainerError> {
    match record.status()?.0 {
        Status::Running | Status::Created => Err(ContainerError::Running {
            name: record.config.name.clone(),
        }),
        Status::Dead | Status::Exited(_) => record.remove(store),
    }
}

/// The state, if it runs (or is about to).
fn running(record: &Record) -> Result<Option<State>, ContainerError> {
    let end = Instant::now() + SETTLE;
    loop {
        match record.status()? {
            (Status::Running, state) => return Ok(Some(state)),
            (Status::Created, _) if Instant::now() < end => pause(),
            _ => return Ok(None),
        }
    }
}

fn wait_ended(record: &Record, limit: Duration) -> Result<bool, ContainerError> {
    let end = Instant::now() + limit;
    while matches!(record.status()?.0, Status::Running | Status::Created) {
        if Instant::now() >= end {
            return Ok(false);
        }
        pause();
    }
    Ok(true)
}

/// Waits until the supervisor has removed the container.
fn settle(record: &Record) -> Result<(), ContainerError> {
    if record.config.remove {
        let end = Instant::now() + SETTLE;
        while record.directory().exists() && Instant::now() < end {
            let alive = |process: Option<Process>| process.is_some_and(|it| it.is_alive());
            if !alive(record.status()?.1.supervisor) {
                break;
            }
            pause();
        }
    }
    Ok(())
}

fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn send(process: &Process, signal: Signal) -> Result<(), ContainerError> {
    match process.signal(signal) {
        Ok(_) => Ok(()),
        Err(source) => Err(ContainerError::System {
            doing: if source.kind() == io::ErrorKind::PermissionDenied {
                "signal the container, which another user started"
            } else {
                "signal the container"
            },
            source,
        }),
    }
}
