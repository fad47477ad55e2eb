//! Signals of this process as a queue, for programs that forward them instead of ending.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::pipe::PipeFlags;

use super::sys;

static WRITE_END: AtomicI32 = AtomicI32::new(-1);
static PIPE: OnceLock<(OwnedFd, OwnedFd)> = OnceLock::new();

extern "C" fn enqueue(signal: i32) {
    let number = WRITE_END.load(Ordering::SeqCst);
    if let (0.., Ok(byte)) = (number, u8::try_from(signal)) {
        // SAFETY: the pipe is never closed once it is made; write is async-signal-safe. The pipe
        // does not block; when it is full (after 64 Ki signals), the signal is lost. errno is kept
        // for the interrupted code.
        unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            libc::write(number, [byte].as_ptr().cast(), 1);
            *errno = before;
        }
    }
}

/// Signals that wait to be handled. There is one queue in a process.
#[derive(Debug, Clone, Copy)]
pub struct SignalQueue {
    read_end: BorrowedFd<'static>,
}

impl SignalQueue {
    /// From here on these signals only go into the queue.
    pub fn install(signals: &[i32]) -> io::Result<Self> {
        if PIPE.get().is_none() {
            let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            let _ = PIPE.set(pipe);
        }
        let Some((read_end, write_end)) = PIPE.get() else {
            return Err(io::Error::other("no pipe for signals"));
        };
        WRITE_END.store(write_end.as_raw_fd(), Ordering::SeqCst);
        for signal in signals {
            sys::handle(*signal, enqueue)?;
        }
        Ok(Self {
            read_end: read_end.as_fd(),
        })
    }

    /// The next signal, if one has come.
    pub fn next(&self) -> Option<i32> {
        let mut byte = [0_u8];
        match rustix::io::retry_on_intr(|| rustix::io::read(self.read_end, &mut byte)) {
            Ok(1) => Some(i32::from(byte[0])),
            _ => None,
        }
    }
}

/// Readable while a signal waits.
impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_waits_in_the_queue() {
        let queue = SignalQueue::install(&[libc::SIGURG]).unwrap();
        sys::kill(i32::try_from(std::process::id()).unwrap(), libc::SIGURG).unwrap();
        let mut found = None;
        for _ in 0..500 {
            found = queue.next();
            if found.is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(found, Some(libc::SIGURG));
    }
}
