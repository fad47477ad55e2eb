//! What a container prints: from its pipes or its terminal to the log, and to the caller.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::log::{LineSplitter, LogWriter, Stream};

/// Copies until the end on a thread of its own. What cannot be written is dropped: a container must
/// not stop because nobody reads it or the disk is full.
pub(super) fn pump(
    mut from: File,
    stream: Stream,
    log: Option<Arc<LogWriter>>,
    show: bool,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("output".to_owned())
        .spawn(move || {
            let mut log = log.as_deref().map(|log| LineSplitter::new(log, stream));
            let mut shown = show;
            let mut buffer = vec![0_u8; 64 * 1024];
            loop {
                let count = match from.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    // The last process at a terminal has gone (EIO).
                    Err(_) => break,
                };
                let bytes = &buffer[..count];
                shown = shown && write_to(stream, bytes).is_ok();
                if let Some(log) = &mut log {
                    log.push(bytes);
                }
            }
            if let Some(error) = log.and_then(LineSplitter::finish) {
                tracing::warn!(%error, "the log is not complete");
            }
        })
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
