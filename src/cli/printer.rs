//! Where words go: results to stdout, progress and build output to stderr.
//!
//! A closed pipe ends output quietly, as in any Unix tool.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub(super) use crate::progress::human_size;
use crate::progress::{self, printable, shown, without_logins};

/// Writes results and progress.
pub(super) struct Printer {
    quiet: bool,
    colour: bool,
}

impl Printer {
    pub(super) fn new(quiet: bool) -> Self {
        let colour = io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none()
            && std::env::var("TERM").map_or(true, |term| term != "dumb");
        Self { quiet, colour }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A line of the result, on stdout.
    #[expect(
        clippy::unused_self,
        reason = "there is one printer, and what it prints is its business"
    )]
    pub(super) fn result(&self, line: impl AsRef<str>) {
        let _ = writeln!(io::stdout().lock(), "{}", self::line(line.as_ref()));
    }

    /// The result as one JSON object on stdout.
    #[expect(
        clippy::unused_self,
        reason = "there is one printer, and what it prints is its business"
    )]
    pub(super) fn json<T: Serialize>(&self, value: &T) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        let _ = writeln!(io::stdout().lock(), "{}", progress::json(&text));
    }

    /// A document of the result, on stdout as it is.
    #[expect(
        clippy::unused_self,
        reason = "there is one printer, and what it prints is its business"
    )]
    pub(super) fn bytes(&self, bytes: &[u8]) {
        let _ = io::stdout().lock().write_all(bytes);
    }

    /// A line of progress, on stderr; nothing with `--quiet`.
    pub(super) fn progress(&self, line: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{}", self::line(line.as_ref()));
        }
    }

    /// A step of a build, on stderr; nothing with `--quiet`.
    pub(super) fn step(&self, line: &str) {
        let Some(rest) = line.strip_prefix("---> ") else {
            return self.progress(line);
        };
        if !self.quiet {
            let arrow = self.paint("1;32", "--->");
            let _ = writeln!(io::stderr().lock(), "{arrow} {}", self::line(rest));
        }
    }

    /// A line that a program printed, on stderr; nothing with `--quiet`.
    pub(super) fn output(&self, line: &str) {
        if !self.quiet {
            let line = printable(&without_logins(line));
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// A warning, on stderr, also with `--quiet`.
    pub(super) fn warning(&self, text: impl AsRef<str>) {
        let word = self.paint("33", "warning");
        let text = line(text.as_ref());
        let _ = writeln!(io::stderr().lock(), "{word}: {text}");
    }

    /// Text in a colour (an SGR number) where stderr is a terminal; meaning never hangs on it.
    pub(super) fn paint(&self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A line that may hold names from anywhere, as it goes to a terminal. Logins in URLs do not.
pub(super) fn line(text: &str) -> String {
    shown(&without_logins(text)).into_owned()
}

/// A table with aligned columns, for `images`, `container ls` and the like.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    for row in rows {
        lines.push(line(&mut row.iter().map(String::as_str)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (34_200_000, "34.2 MB"),
            (5_000_000_000, "5.0 GB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_lines_not_padded() {
        let rows = vec![vec!["opal".into(), "1".into()]];
        assert_eq!(table(&["NAME", "N"], &rows), ["NAME  N", "opal  1"]);
    }
}
