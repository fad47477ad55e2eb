//! Shortens what a server prints in the foreground when it cannot start: each of its workers prints the
//! same traceback, then the in-image tool prints its diagnosis. The tracebacks are held back for a
//! moment, and left out where the diagnosis contains everything.
//!
//! This happens only in the first minute, and delays only the output after a traceback. The log
//! has everything.

use std::time::{Duration, Instant};

/// A server that ran longer has started.
const EARLY: Duration = Duration::from_mins(1);
/// How long output is held: workers fail together, and the diagnosis imports the application once more.
const HOLD: Duration = Duration::from_secs(5);
/// Most bytes that are held.
const MAX: usize = 512 * 1024;
const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
/// How lines of a diagnosis begin (`app::advice`).
const DIAGNOSIS: &[u8] = b" !";
/// The text between the tracebacks of a chain.
const LINKS: [&[u8]; 2] = [
    b"During handling of the above exception",
    b"The above exception was the direct cause",
];

pub(super) struct Fold {
    begun: Instant,
    held: Vec<u8>,
    since: Option<Instant>,
    /// Output is not held any more.
    over: bool,
}

impl Fold {
    /// Without `wanted`, all output passes at once.
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            begun: Instant::now(),
            held: Vec::new(),
            since: None,
            over: !wanted,
        }
    }

    /// The part of the held bytes and of these bytes to show now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.since.is_some() {
            self.held.extend_from_slice(bytes);
            return if self.held.len() > MAX {
                self.release()
            } else {
                Vec::new()
            };
        }
        self.over = self.over || self.begun.elapsed() > EARLY;
        let found = (!self.over)
            .then(|| {
                bytes
                    .windows(TRACEBACK.len())
                    .position(|it| it == TRACEBACK)
            })
            .flatten();
        let Some(at) = found else {
            return bytes.to_vec();
        };
        self.since = Some(Instant::now());
        self.held.extend_from_slice(&bytes[at..]);
        bytes[..at].to_vec()
    }

    /// How long held bytes may still wait.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(HOLD.saturating_sub(self.since?.elapsed()))
    }

    /// All held bytes: the server continues, so its tracebacks are useful.
    pub(super) fn release(&mut self) -> Vec<u8> {
        self.over = true;
        self.since = None;
        std::mem::take(&mut self.held)
    }

    /// The bytes to show at the end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let held = self.release();
        let is_told = held
            .split(|byte| *byte == b'\n')
            .any(|it| it.starts_with(DIAGNOSIS));
        if is_told {
            without_tracebacks(&held)
        } else {
            held
        }
    }
}

fn without_tracebacks(text: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    let (mut inside, mut left_out, mut told) = (false, 0, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(TRACEBACK) {
            inside = true;
            left_out += 1;
        } else if inside {
            // The first line that is not indented is the exception's own, the last of it.
            inside = line.starts_with(b" ") || line.starts_with(b"\t");
        } else if line.starts_with(DIAGNOSIS) {
            if !told {
                let s = if left_out == 1 { "" } else { "s" };
                let note = format!("({left_out} traceback{s} left out; --verbose shows all)\n");
                shown.extend_from_slice(note.as_bytes());
                told = true;
            }
            shown.extend_from_slice(line);
        } else if line != b"\n" && !LINKS.iter().any(|link| line.starts_with(link)) {
            shown.extend_from_slice(line);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: &str = "Traceback (most recent call last):\n  File \"a\"\nKeyError: 'X'\n\nDuring handling \
        of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  \
        File \"b\"\nHaltServer: 3\n[ERROR] gone\n";

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn tracebacks_go_where_a_diagnosis_comes() {
        let mut fold = Fold::new(true);
        assert_eq!(text(fold.push(b"starting\n")), "starting\n");
        assert_eq!(
            text(fold.push(format!("more\n{CRASH}").as_bytes())),
            "more\n"
        );
        assert!(fold.left().is_some());
        assert_eq!(text(fold.push(b" !     app cannot be imported\n")), "");
        assert_eq!(
            text(fold.finish()),
            "[ERROR] gone\n(2 tracebacks left out; --verbose shows all)\n !     app cannot be imported\n"
        );
    }

    #[test]
    fn nothing_is_lost_without_one_nor_reordered() {
        let mut fold = Fold::new(true);
        assert_eq!(text(fold.push(CRASH.as_bytes())), "");
        assert_eq!(text(fold.push(b"later\n")), "");
        assert_eq!(text(fold.release()), format!("{CRASH}later\n"));
        // From here on all passes at once.
        assert_eq!(text(fold.push(CRASH.as_bytes())), CRASH);
        assert_eq!(fold.left(), None);
        let mut fold = Fold::new(true);
        fold.push(CRASH.as_bytes());
        assert_eq!(text(fold.finish()), CRASH);
        let mut fold = Fold::new(false);
        assert_eq!(text(fold.push(CRASH.as_bytes())), CRASH);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut fold = Fold::new(true);
        fold.push(CRASH.as_bytes());
        let shown = fold.push(&vec![b'x'; MAX]);
        assert_eq!(shown.len(), MAX + CRASH.len());
    }
}
