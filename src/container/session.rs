//! The caller's side of a running command: standard streams, terminal, signals, and the wait.

use std::io;
use std::os::fd::OwnedFd;

use super::ContainerError;
use super::supervise::Attach;
use super::terminal::{self, RawTerminal};
use crate::sandbox::{Exit, Io, Sandbox, Stream};

pub(super) struct Session {
    attach: Attach,
    terminal: bool,
    raw: Option<RawTerminal>,
    master: Option<OwnedFd>,
}

impl Session {
    pub(super) fn new(terminal: bool, attach: Attach) -> Result<Self, ContainerError> {
        // Before anything starts: a missing terminal is the caller's mistake.
        let raw = if terminal && attach.foreground && attach.interactive {
            Some(RawTerminal::enter()?)
        } else {
            None
        };
        Ok(Self {
            attach,
            terminal,
            raw,
            master: None,
        })
    }
}

pub(super) fn io_failed(doing: &'static str, source: io::Error) -> ContainerError {
    ContainerError::System { doing, source }
}

/// The status as a shell has it: 128 and the signal's number for one that was killed.
pub(super) fn exit_status(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::TimedOut => 124,
        Exit::Interrupted => 130,
    }
}
