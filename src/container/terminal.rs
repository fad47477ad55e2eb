//! The caller's terminal while a container uses it: raw mode, its size, and the bytes both ways.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{
    OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use super::ContainerError;

/// The terminal on standard input in raw mode; dropping it restores the terminal.
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    pub(super) fn enter() -> Result<Self, ContainerError> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(ContainerError::NoTerminal);
        }
        let failed = |error: rustix::io::Errno| ContainerError::System {
            doing: "set the terminal to raw mode",
            source: error.into(),
        };
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// The size of the terminal on standard input.
pub(super) fn size() -> Option<Winsize> {
    tcgetwinsize(io::stdin())
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)
}

/// Gives the container's terminal the size of the caller's.
pub(super) fn follow_size(master: impl AsFd) {
    if let Some(size) = size() {
        let _ = tcsetwinsize(master, size);
    }
}

/// Copies standard input to the command (its terminal, or a pipe), on a thread that runs as long as the
/// process: a read cannot be stopped while the user types nothing.
pub(super) fn feed(mut to: File) -> io::Result<()> {
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = [0_u8; 4096];
            while let Ok(count @ 1..) = stdin.read(&mut buffer) {
                if to.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        })
        .map(drop)
}
