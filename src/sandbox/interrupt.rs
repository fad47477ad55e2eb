//! Signals that this process gets while a sandbox runs: either they end the sandbox
//! ([`interrupted`]), or they are forwarded to the command ([`forward_signals`], for programs in
//! the foreground).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::pipe::PipeFlags;

use super::sys;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static INTERRUPTS: SelfPipe = SelfPipe::new();
static FORWARDED: SelfPipe = SelfPipe::new();

/// A pipe to this process itself, by which a signal handler wakes a poll.
struct SelfPipe {
    write_end: AtomicI32,
    pipe: OnceLock<(OwnedFd, OwnedFd)>,
}

impl SelfPipe {
    const fn new() -> Self {
        Self {
            write_end: AtomicI32::new(-1),
            pipe: OnceLock::new(),
        }
    }

    fn open(&self) -> io::Result<()> {
        if self.pipe.get().is_none() {
            let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            let (_, write_end) = self.pipe.get_or_init(|| pipe);
            self.write_end
                .store(write_end.as_raw_fd(), Ordering::SeqCst);
        }
        Ok(())
    }

    /// Async-signal-safe.
    fn note(&self, signal: i32) {
        let number = self.write_end.load(Ordering::SeqCst);
        let byte = u8::try_from(signal).unwrap_or(0);
        if number >= 0 {
            // SAFETY: the pipe is never closed once it is made; write is async-signal-safe. The
            // pipe does not block; a full pipe is readable already.
            unsafe { libc::write(number, [byte].as_ptr().cast(), 1) };
        }
    }

    fn read_end(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.get().map(|(read_end, _)| read_end.as_fd())
    }
}

extern "C" fn interrupt(signal: i32) {
    INTERRUPTED.store(true, Ordering::SeqCst);
    INTERRUPTS.note(signal);
}

extern "C" fn forward(signal: i32) {
    FORWARDED.note(signal);
}

/// Makes SIGINT, SIGTERM and SIGHUP set the flag of [`interrupted`] instead of ending the process.
/// Waiting sandboxes are then killed, with [`super::Exit::Interrupted`].
pub fn install_interrupt_handler() -> io::Result<()> {
    INTERRUPTS.open()?;
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP]
        .into_iter()
        .try_for_each(|signal| sys::handle(signal, interrupt))
}

/// Whether one of these signals has come.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Becomes and stays readable when one of these signals has come.
pub fn interrupt_fd() -> Option<BorrowedFd<'static>> {
    INTERRUPTS.read_end()
}

/// Makes the usual signals, and a change of the terminal's size, wake
/// [`super::Sandbox::wait_forwarding`] instead of ending the process. Replaces
/// [`install_interrupt_handler`]'s handlers.
pub fn forward_signals() -> io::Result<()> {
    FORWARDED.open()?;
    [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGWINCH,
    ]
    .into_iter()
    .try_for_each(|signal| sys::handle(signal, forward))
}

pub(super) fn forwarded_fd() -> Option<BorrowedFd<'static>> {
    FORWARDED.read_end()
}

/// Signals that have come and are to be forwarded.
pub(super) fn take_forwarded() -> Vec<i32> {
    let mut bytes = [0_u8; 64];
    let read = forwarded_fd().map_or(0, |pipe| rustix::io::read(pipe, &mut bytes).unwrap_or(0));
    bytes
        .iter()
        .take(read)
        .map(|byte| i32::from(*byte))
        .collect()
}
