//! Fitting text into a terminal: no word is broken, no table is wider than the screen.

use rustix::fd::AsFd;
use rustix::termios::tcgetwinsize;

/// Columns of the terminal, else `COLUMNS`. Without either, text is not wrapped.
pub(super) fn of(stream: impl AsFd) -> Option<usize> {
    let terminal = tcgetwinsize(stream).map(|size| usize::from(size.ws_col));
    terminal
        .ok()
        .or_else(|| std::env::var("COLUMNS").ok()?.parse().ok())
        .filter(|columns| *columns >= 20)
}

/// Wraps text to lines of at most this many columns, broken at blanks; those after the first begin with
/// `indent` blanks. A longer word gets its own line.
pub(super) fn wrap(text: &str, columns: Option<usize>, indent: usize) -> String {
    let Some(columns) = columns.filter(|columns| length(text) > *columns) else {
        return text.to_owned();
    };
    let own = text.len() - text.trim_start_matches(' ').len();
    let mut wrapped = " ".repeat(own);
    let mut at = own;
    let mut fresh = true;
    for word in text[own..].split(' ') {
        let long = length(word);
        if !fresh && at + 1 + long > columns {
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            at = indent;
        } else if !fresh {
            wrapped.push(' ');
            at += 1;
        }
        wrapped.push_str(word);
        at += long;
        fresh = false;
    }
    wrapped
}

/// Widths of columns that come to at most `room`, two blanks between them: the widest give way, and first of all
/// those of long texts, which are understood by their beginnings. Digests, sizes and words of one kind are not.
pub(super) fn fit(mut widths: Vec<usize>, room: Option<usize>) -> Vec<usize> {
    /// Wider columns hold texts.
    const WORD: usize = 12;
    /// Less says nothing.
    const LEAST: usize = 8;
    let Some(room) = room else { return widths };
    let between = 2 * widths.len().saturating_sub(1);
    let texts: Vec<bool> = widths.iter().map(|width| *width > WORD).collect();
    while widths.iter().sum::<usize>() + between > room {
        let columns = widths.iter_mut().zip(&texts);
        let text = columns.filter(|(width, is_text)| **is_text && **width > LEAST);
        let widest = match text.map(|(width, _)| width).max() {
            Some(text) => text,
            None => match widths.iter_mut().max() {
                Some(widest) if *widest > LEAST => widest,
                _ => break,
            },
        };
        *widest -= 1;
    }
    widths
}

/// A table cell, cut to the width of its column.
pub(super) fn cut(cell: &str, width: usize) -> String {
    if length(cell) <= width {
        return cell.to_owned();
    }
    let mut cut: String = cell.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The width without colour escapes.
fn length(text: &str) -> usize {
    let mut length = 0;
    let mut escape = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => escape = true,
            'm' if escape => escape = false,
            _ if escape => {}
            _ => length += 1,
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole() {
        let text = "  one two three averyveryverylongwordindeed four";
        assert_eq!(
            wrap(text, Some(20), 4),
            "  one two three\n    averyveryverylongwordindeed\n    four"
        );
        assert_eq!(wrap(text, None, 4), text);
        assert_eq!(wrap(text, Some(80), 4), text);
    }

    #[test]
    fn colours_have_no_width() {
        let text = "\u{1b}[1;31merror\u{1b}[0m: short";
        assert_eq!(wrap(text, Some(12), 2), text);
    }

    #[test]
    fn the_widest_column_gives_way() {
        assert_eq!(fit(vec![4, 50, 30], Some(60)), [4, 26, 26]);
        assert_eq!(fit(vec![4, 50, 30], None), [4, 50, 30]);
        assert_eq!(fit(vec![40, 40], Some(10)), [8, 8]);
        // Digest, size, kind, what made it, names of images.
        assert_eq!(fit(vec![12, 8, 12, 22, 70], Some(60)), [12, 8, 12, 10, 10]);
        assert_eq!(fit(vec![12, 8, 12, 22, 70], Some(52)), [10, 8, 10, 8, 8]);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
