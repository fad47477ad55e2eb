//! Where words go: results to stdout, progress and build output to stderr.
//!
//! A closed pipe ends output quietly, as in any Unix tool.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub(super) use crate::progress::human_size;
use crate::progress::without_logins;

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
        let _ = writeln!(io::stdout().lock(), "{}", printable(line.as_ref()));
    }

    /// The result as one JSON object on stdout.
    #[expect(
        clippy::unused_self,
        reason = "there is one printer, and what it prints is its business"
    )]
    pub(super) fn json<T: Serialize>(&self, value: &T) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        let _ = writeln!(io::stdout().lock(), "{text}");
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
            let _ = writeln!(io::stderr().lock(), "{}", printable(line.as_ref()));
        }
    }

    /// A warning, on stderr, also with `--quiet`.
    pub(super) fn warning(&self, text: impl AsRef<str>) {
        let word = self.paint("33", "warning");
        let text = printable(text.as_ref());
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

/// Text from outside without the control characters that would move a terminal's cursor.
pub(super) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Text that may have colours in it, ours or a program's, as it goes to a terminal: lines, tabs and
/// SGR sequences (ECMA-48, 8.3.117) stay; whatever else could drive the terminal (its title, its
/// clipboard, its cursor) does not, be it from a file's name, a label or a build's output. Logins in
/// URLs do not either.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    match without_logins(text) {
        Cow::Borrowed(text) => tame(text),
        Cow::Owned(text) => Cow::Owned(tame(&text).into_owned()),
    }
}

fn tame(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or_else(|| {
            if !c.is_control() || c == '\n' || c == '\t' {
                out.push(c);
            }
            0
        });
        out.push_str(&rest[..length]);
        rest = &rest[length.max(c.len_utf8())..];
    }
    Cow::Owned(out)
}

/// The length of the SGR sequence that the text begins with: `ESC [`, numbers, `m`.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    (end <= 64 && numbers[end..].starts_with('m')).then_some(2 + end + 1)
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
    fn of_escape_sequences_only_colours_reach_the_terminal() {
        for (text, shown) in [
            ("plain é\n\tline", "plain é\n\tline"),
            (
                "\u{1b}[1;32mok\u{1b}[0m\u{1b}[m",
                "\u{1b}[1;32mok\u{1b}[0m\u{1b}[m",
            ),
            ("\u{1b}[38:5:1mx", "\u{1b}[38:5:1mx"),
            ("\u{1b}]0;title\u{7}x", "]0;titlex"),
            ("\u{1b}]52;c;eA==\u{1b}\\", "]52;c;eA==\\"),
            ("\u{1b}[2J\u{1b}[31", "[2J[31"),
            ("\u{1b}\u{1b}[31mx", "\u{1b}[31mx"),
            ("\u{9b}2Jx\r\u{8}", "2Jx"),
            ("\u{1b}[?25m", "[?25m"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(visible("a\u{1b}[2J\nb é"), "a\\u{1b}[2J\\nb é");
    }

    #[test]
    fn columns_are_aligned_and_lines_not_padded() {
        let rows = vec![vec!["opal".into(), "1".into()]];
        assert_eq!(table(&["NAME", "N"], &rows), ["NAME  N", "opal  1"]);
    }
}
