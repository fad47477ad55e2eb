//! SIGINT, SIGTERM and SIGHUP of this process: remembered, and a descriptor to poll for them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::pipe::PipeFlags;

use super::sys;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static WRITE_END: AtomicI32 = AtomicI32::new(-1);
static PIPE: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

extern "C" fn note(_signal: i32) {
    INTERRUPTED.store(true, Ordering::SeqCst);
    let number = WRITE_END.load(Ordering::SeqCst);
    if number >= 0 {
        // SAFETY: the pipe is never closed once it is made; write is async-signal-safe. A full pipe
        // (it does not block) is readable already.
        unsafe { libc::write(number, [1_u8].as_ptr().cast(), 1) };
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP set the flag of [`interrupted`] instead of ending the process.
/// Sandboxes that are waited for are then killed, with [`super::Exit::Interrupted`].
pub fn install_interrupt_handler() -> io::Result<()> {
    if PIPE.get().is_none() {
        let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (_, write_end) = PIPE.get_or_init(|| pipe);
        WRITE_END.store(write_end.as_raw_fd(), Ordering::SeqCst);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        sys::handle(signal, note)?;
    }
    Ok(())
}

/// Whether one of these signals has come.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Becomes readable, and stays it, when one of these signals has come.
pub fn interrupt_fd() -> Option<BorrowedFd<'static>> {
    PIPE.get().map(|(read_end, _)| read_end.as_fd())
}
