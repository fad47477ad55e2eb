//! A container's output on disk: one JSON object a line, in the keys of docker's `json-file`
//! (`log`, `stream`, `time`), bounded: a full file becomes `log.1`, and a new one begins.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Size at which a new log file begins; together with the previous one, the bound is twice this (64 MiB).
const MAX_LOG: u64 = 32 * 1024 * 1024;

/// A longer line is written in pieces.
const MAX_LINE: usize = 16 * 1024;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// One line of output, its line feed included where it had one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub log: String,
    pub stream: Stream,
    /// RFC 3339 with nanoseconds.
    pub time: String,
}

/// Appends to a log, from several threads.
pub(super) struct LogWriter {
    path: PathBuf,
    limit: u64,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    written: u64,
}

impl LogWriter {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, MAX_LOG)
    }

    fn with_limit(path: &Path, limit: u64) -> io::Result<Self> {
        let file = append(path)?;
        let written = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            limit,
            inner: Mutex::new(Inner { file, written }),
        })
    }

    /// Writes one line (or a piece of one). Bytes that are not UTF-8 become U+FFFD.
    fn write(&self, stream: Stream, line: &[u8]) -> io::Result<()> {
        let line = Line {
            log: String::from_utf8_lossy(line).into_owned(),
            stream,
            time: super::record::now(),
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.written > 0 && inner.written + bytes.len() as u64 > self.limit {
            fs::rename(&self.path, rotated(&self.path))?;
            *inner = Inner {
                file: append(&self.path)?,
                written: 0,
            };
        }
        // One write for a line: a reader never sees half a line, unless the disk is full.
        inner.file.write_all(&bytes)?;
        inner.written += bytes.len() as u64;
        Ok(())
    }
}

/// The file that a full log becomes.
pub(super) fn rotated(path: &Path) -> PathBuf {
    path.with_extension("1")
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Cuts one stream into lines on its way to the log.
pub(super) struct LineSplitter<'a> {
    log: &'a LogWriter,
    stream: Stream,
    rest: Vec<u8>,
    /// The first failure; the container goes on without a log (a full disk is not a reason to stop it).
    failed: Option<io::Error>,
}

impl<'a> LineSplitter<'a> {
    pub(super) fn new(log: &'a LogWriter, stream: Stream) -> Self {
        Self {
            log,
            stream,
            rest: Vec::new(),
            failed: None,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.rest.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let (taken, full) = match end {
                Some(end) => (end + 1, true),
                None => (bytes.len().min(room), bytes.len() >= room),
            };
            self.rest.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if full {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        if !self.rest.is_empty() {
            if let Err(error) = self.log.write(self.stream, &self.rest) {
                self.failed.get_or_insert(error);
            }
            self.rest.clear();
        }
    }

    /// Writes what is left, without a line feed; gives the first failure.
    pub(super) fn finish(mut self) -> Option<io::Error> {
        self.flush();
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(path: &Path) -> Vec<Line> {
        fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn lines_arrive_whole_whatever_the_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = LogWriter::open(&path).unwrap();
        let mut out = LineSplitter::new(&log, Stream::Stdout);
        let mut err = LineSplitter::new(&log, Stream::Stderr);
        for piece in ["on", "e\ntw", "o\n\n", "three"] {
            out.push(piece.as_bytes());
        }
        err.push(b"\xff\n");
        assert!(out.finish().is_none() && err.finish().is_none());
        let got: Vec<(String, Stream)> = lines(&path)
            .into_iter()
            .map(|l| (l.log, l.stream))
            .collect();
        let expected = [
            ("one\n", Stream::Stdout),
            ("two\n", Stream::Stdout),
            ("\n", Stream::Stdout),
            ("\u{fffd}\n", Stream::Stderr),
            ("three", Stream::Stdout),
        ]
        .map(|(text, stream)| (text.to_owned(), stream));
        assert_eq!(got, expected);
    }

    #[test]
    fn a_full_log_starts_anew_and_keeps_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = LogWriter::with_limit(&path, 400).unwrap();
        for number in 0..20 {
            log.write(Stream::Stdout, format!("{number}\n").as_bytes())
                .unwrap();
        }
        let mut kept = lines(&rotated(&path));
        kept.extend(lines(&path));
        assert_eq!(kept.last().unwrap().log, "19\n");
        assert!(kept.len() >= 5 && kept.len() < 15);
        assert!(fs::metadata(&path).unwrap().len() <= 400);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(pieces in proptest::collection::vec("[a\n]{0,9}", 0..20), long in 0usize..40_000) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            let log = LogWriter::open(&path).unwrap();
            let mut splitter = LineSplitter::new(&log, Stream::Stdout);
            let all = pieces.concat() + &"x".repeat(long);
            for piece in &pieces {
                splitter.push(piece.as_bytes());
            }
            splitter.push("x".repeat(long).as_bytes());
            prop_assert!(splitter.finish().is_none());
            let got: String = lines(&path).into_iter().map(|line| line.log).collect();
            prop_assert_eq!(got, all);
        }
    }
}
