//! A minimal pid 1 in front of the command: reaps orphans, forwards signals, returns the status.
//!
//! When it ends, the kernel kills what is left in the pid namespace.

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::command::Prepared;
use super::error::{Doing, Failure};
use super::helper;
use super::to_parent::Descriptors;
use super::wire::{self, Message};
use super::{sys, terminal};

/// Starts the command and stays until it ends.
pub(super) fn supervise(
    command: &Prepared,
    to_parent: &mut Descriptors,
    tty: Option<OwnedFd>,
) -> Result<std::convert::Infallible, Failure> {
    // Signals are blocked, so that none is lost and, for pid 1, none is ignored.
    let signals = sys::Signals::all();
    signals.block_exactly().doing("blocking signals")?;
    let command_pid = match sys::fork().doing("starting the command")? {
        sys::Forked::Child => {
            let _ = rustix::process::setsid();
            let result = match tty {
                Some(tty) => terminal::take(&tty),
                None => Ok(()),
            };
            let failure = match result.and_then(|()| command.execute(to_parent)) {
                Err(failure) => failure,
                Ok(never) => match never {},
            };
            to_parent.report(&failure);
            sys::exit_now(127);
        }
        sys::Forked::Parent(pid) => pid,
    };
    drop(tty);
    // The parent sees the end of the set-up only after the command has closed its end, too.
    to_parent.setup = None;
    helper::quiet_streams();
    loop {
        let Ok((signal, _)) = signals.wait() else {
            continue;
        };
        if signal != libc::SIGCHLD {
            forward(command_pid, signal);
            continue;
        }
        while let Ok(Some((pid, status))) = sys::wait(None, true) {
            if pid == command_pid {
                let _ = wire::send(&to_parent.control, &Message::Status(status), None);
                sys::exit_now(0);
            }
        }
    }
}

/// Only to the command, as every container engine does: the command tells its own children. (If a
/// server's workers got the signal too, they would cut running responses.)
fn forward(command: Pid, signal: i32) {
    let _ = sys::kill(command.as_raw_nonzero().get(), signal);
}
