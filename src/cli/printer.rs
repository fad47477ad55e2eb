//! Where output goes: results to stdout, progress and build output to stderr.
//!
//! A closed pipe ends output quietly, as in any Unix tool.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use clap::ColorChoice;
use indicatif::MultiProgress;
use serde::Serialize;

pub(super) use crate::progress::human_size;
use crate::progress::{self, printable, shown, without_logins};

use super::width;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Results and warnings only.
    Quiet,
    Normal,
    /// Also why each step was run, and all that other programs print.
    Verbose,
}

/// Writes results and progress.
pub(super) struct Printer {
    words: Words,
    colour: bool,
    /// Columns of stdout and stderr.
    out: Option<usize>,
    err: Option<usize>,
    /// Bars on the terminal; lines are printed above them.
    bars: Mutex<Option<MultiProgress>>,
}

impl Printer {
    pub(super) fn new(words: Words, colour: ColorChoice) -> Self {
        let colour = match colour {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var("TERM").map_or(true, |term| term != "dumb")
            }
        };
        Self {
            words,
            colour,
            out: width::of(io::stdout()),
            err: width::of(io::stderr()),
            bars: Mutex::new(None),
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.words == Words::Quiet
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.words == Words::Verbose
    }

    /// From here on lines go above these bars.
    pub(super) fn print_beside(&self, bars: MultiProgress) {
        if let Ok(mut own) = self.bars.lock() {
            *own = Some(bars);
        }
    }

    pub(super) fn print_alone(&self) {
        if let Ok(mut own) = self.bars.lock() {
            *own = None;
        }
    }

    fn beside(&self, print: impl FnOnce()) {
        let bars = self.bars.lock().ok().and_then(|bars| bars.clone());
        match bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// A line of warpdrive on stderr, wrapped to the terminal.
    fn err(&self, text: &str, indent: usize) {
        let text = width::wrap(text, self.err, indent);
        self.beside(|| {
            let _ = writeln!(io::stderr().lock(), "{text}");
        });
    }

    /// A paragraph of an error, with a prefix on its first line.
    pub(super) fn paragraph(&self, before: &str, text: &str, indent: usize) {
        self.err(&format!("{before}{}", line(text)), indent);
    }

    /// A table of the result, as wide as stdout at most.
    pub(super) fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        for line in table(header, rows, self.out) {
            self.result(line);
        }
    }

    /// A table of progress, as wide as stderr at most.
    pub(super) fn progress_table(&self, header: &[&str], rows: &[Vec<String>]) {
        for line in table(header, rows, self.err) {
            self.progress(line);
        }
    }

    /// Lines of the result that are text for people.
    pub(super) fn prose(&self, text: &str, indent: usize) {
        self.beside(|| {
            let text = width::wrap(&line(text), self.out, indent);
            let _ = writeln!(io::stdout().lock(), "{text}");
        });
    }

    /// A line of the result, on stdout.
    pub(super) fn result(&self, line: impl AsRef<str>) {
        self.beside(|| {
            let _ = writeln!(io::stdout().lock(), "{}", self::line(line.as_ref()));
        });
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
        if !self.is_quiet() {
            let line = self::line(line.as_ref());
            let indent = line.len() - line.trim_start_matches(' ').len();
            self.err(&line, indent + 2);
        }
    }

    /// A step of a build, on stderr; nothing with `--quiet`.
    pub(super) fn step(&self, line: &str) {
        let Some(rest) = line.strip_prefix("---> ") else {
            return self.progress(line);
        };
        if !self.is_quiet() {
            let arrow = self.paint("1;32", "--->");
            self.err(&format!("{arrow} {}", self::line(rest)), 5);
        }
    }

    /// A line that a program printed, on stderr; nothing with `--quiet`.
    pub(super) fn output(&self, line: &str) {
        if !self.is_quiet() {
            let line = printable(&without_logins(line));
            self.beside(|| {
                let _ = writeln!(io::stderr().lock(), "{line}");
            });
        }
    }

    /// A warning, on stderr, also with `--quiet`.
    pub(super) fn warning(&self, text: impl AsRef<str>) {
        let word = self.paint("33", "warning");
        self.err(&format!("{word}: {}", line(text.as_ref())), 2);
    }

    /// Text in a colour (an SGR number) if stderr is a terminal; the meaning never depends on it.
    pub(super) fn paint(&self, sgr: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{sgr}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether stderr is a terminal that does more than write one line below the other.
pub(super) fn is_drawn_on() -> bool {
    io::stderr().is_terminal() && std::env::var("TERM").map_or(true, |term| term != "dumb")
}

/// Makes a line with names from outside safe for a terminal, and removes logins from URLs.
pub(super) fn line(text: &str) -> String {
    shown(&without_logins(text)).into_owned()
}

/// A table with aligned columns, for `images`, `container ls` and the like, as wide as `room` at most.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], room: Option<usize>) -> Vec<String> {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let widths = width::fit(widths, room);
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            let cell = width::cut(cell, *width);
            text.push_str(&cell);
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
        assert_eq!(table(&["NAME", "N"], &rows, None), ["NAME  N", "opal  1"]);
    }
}
