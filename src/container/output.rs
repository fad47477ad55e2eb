//! What a container prints: from its pipes or its terminal to the log, and to the caller.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::fold::Fold;
use super::log::{LineSplitter, LogWriter, Stream};

/// What the caller sees of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Nothing,
    Everything,
    /// Without the tracebacks of a failed start, if the cause is printed below them.
    Folded,
}

/// Most bytes in a pipe (`/proc/sys/fs/pipe-max-size`), and in a copier's buffer.
const MAX_PIPE: u64 = (1 << 20) + 64 * 1024;

/// A thread that copies output, and its progress.
pub(super) struct Pump {
    thread: JoinHandle<()>,
    progress: Arc<Copied>,
}

#[derive(Default)]
struct Copied {
    copied: AtomicU64,
    /// What has been read is on its way to a reader that may be slow.
    writing: AtomicBool,
}

impl Pump {
    /// Waits for the end of the stream.
    pub(super) fn finish(self) {
        let _ = self.thread.join();
    }

    /// Waits until everything that is in the stream now is copied, however slow its reader is.
    /// Processes that continue after the command may keep the stream open, and even write to it.
    pub(super) fn finish_what_is_there(self, linger: Duration) {
        let before = self.progress.copied.load(Ordering::SeqCst);
        let mut idle_since = Instant::now();
        while !self.thread.is_finished() {
            let copied = self.progress.copied.load(Ordering::SeqCst);
            if copied.saturating_sub(before) > MAX_PIPE {
                return;
            }
            if self.progress.writing.load(Ordering::SeqCst) {
                idle_since = Instant::now();
            } else if idle_since.elapsed() > linger {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.finish();
    }
}

/// Copies until the end on a thread of its own. Output that cannot be written is dropped: a
/// container must not stop because its output is not read or the disk is full.
pub(super) fn pump(
    mut from: File,
    stream: Stream,
    log: Option<Arc<LogWriter>>,
    show: Show,
) -> io::Result<Pump> {
    let progress = Arc::new(Copied::default());
    let told = Arc::clone(&progress);
    let thread = std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            let mut log = log.as_deref().map(|log| LineSplitter::new(log, stream));
            let mut shown = show != Show::Nothing;
            let mut fold = Fold::new(show == Show::Folded && stream == Stream::Stderr);
            let mut buffer = vec![0_u8; 64 * 1024];
            loop {
                if let Some(left) = fold.left()
                    && !readable(&from, left)
                {
                    shown = shown && write_to(stream, &fold.release()).is_ok();
                }
                let count = match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // The last process at a terminal has gone (EIO).
                    Err(_) => break,
                };
                told.writing.store(true, Ordering::SeqCst);
                let bytes = &buffer[..count];
                shown = shown && write_to(stream, &fold.push(bytes)).is_ok();
                if let Some(log) = &mut log {
                    log.push(bytes);
                }
                told.copied.fetch_add(count as u64, Ordering::SeqCst);
                told.writing.store(false, Ordering::SeqCst);
            }
            if shown {
                let _ = write_to(stream, &fold.finish());
            }
            if let Some(error) = log.and_then(LineSplitter::finish) {
                tracing::warn!(%error, "the log is not complete");
            }
        })?;
    Ok(Pump { thread, progress })
}

/// Waits until there is something to read, or the end; `false` when there is not in time.
fn readable(from: &File, limit: Duration) -> bool {
    let Ok(limit) = Timespec::try_from(limit) else {
        return true;
    };
    let mut polled = [PollFd::new(from, PollFlags::IN)];
    !matches!(poll(&mut polled, Some(&limit)), Ok(0))
}

fn write_to(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr => io::stderr().lock().write_all(bytes),
    }
}
