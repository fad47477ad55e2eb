//! The connection between the sandbox's own processes and their parent.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

use super::error::{Doing, Failure};
use super::helper::tie_to_parent;
use super::wire::{self, Message};

/// What connects the children with the parent.
pub(super) struct Descriptors {
    pub(super) control: OwnedFd,
    /// `None` when this process has finished the set-up.
    pub(super) setup: Option<File>,
}

impl Descriptors {
    pub(super) fn report(&mut self, failure: &Failure) {
        if let Some(setup) = &mut self.setup {
            wire::report(setup, failure);
        }
    }

    /// Descriptors that must stay open until execve.
    pub(super) fn numbers(&self, terminal: Option<&OwnedFd>) -> Vec<RawFd> {
        let setup = self.setup.as_ref().map(AsRawFd::as_raw_fd);
        let terminal = terminal.map(AsRawFd::as_raw_fd);
        [Some(self.control.as_raw_fd()), setup, terminal]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Leaves the caller's session, so that a key on its terminal reaches only the caller, and ties
/// this process's life to the parent's.
pub(super) fn detach(parent: i32) -> Result<(), Failure> {
    let _ = rustix::process::setsid();
    tie_to_parent()?;
    if rustix::process::getppid() != Pid::from_raw(parent) {
        return Err(Failure::new(
            "the process that asked for the sandbox is gone",
        ));
    }
    Ok(())
}

/// Tells the parent about the process of a pidfd.
pub(super) fn introduce(
    pidfd: &OwnedFd,
    pid: Option<i32>,
    to_parent: &Descriptors,
) -> Result<(), Failure> {
    let pid = pid.ok_or_else(|| Failure::new("looking up the command's process id"))?;
    wire::send(
        &to_parent.control,
        &Message::Started { pid },
        Some(pidfd.as_fd()),
    )
    .doing("reporting the command's process id")
}
