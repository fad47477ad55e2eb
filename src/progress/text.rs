//! Text from outside, made safe to show: names of files, messages of servers, output of programs.
//!
//! This is the only place that decides it. Text within a line of ours ([`shown`]) stays one line and
//! shows each control character as an escape; a line of a program ([`printable`]) keeps its colours.
//! Neither can control the terminal, hide text or reverse its direction.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is not visible but affects the terminal or the text around it: it ends the line,
/// moves the cursor, changes the direction (UAX 9) or has no width.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn escaped(c: char, into: &mut String) {
    match c {
        '\n' => into.push_str("\\n"),
        '\r' => into.push_str("\\r"),
        '\t' => into.push_str("\\t"),
        c => into.extend(c.escape_unicode()),
    }
}

/// A line of warpdrive that contains names from outside: deceptive characters and line feeds are
/// escaped. Tabs stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| deceives(c) && c != '\t') {
        return text.into();
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if deceives(c) && c != '\t' {
            escaped(c, &mut line);
        } else {
            line.push(c);
        }
    }
    line.into()
}

/// JSON that is safe on a terminal: the same document, with escapes for deceptive characters.
pub fn json(document: &str) -> Cow<'_, str> {
    let escape = |c: char| deceives(c) && !matches!(c, '\n' | '\t' | '\r');
    if !document.contains(escape) {
        return document.into();
    }
    let mut text = String::with_capacity(document.len() + 8);
    for c in document.chars() {
        if escape(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text.into()
}

/// Joins a message of several lines to one, without a parser's excerpt (lines with a `|` before the text).
pub fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let excerpt = |line: &&str| {
        let text = line.trim_start_matches(|c: char| c.is_ascii_digit());
        line.is_empty() || text.trim_start().starts_with('|')
    };
    let lines: Vec<&str> = lines.filter(|line| !excerpt(line)).collect();
    lines.join(": ")
}

/// A program's output line, made safe: without sequences that move the terminal's cursor, set its title or
/// its clipboard, or conceal text. Text colours (SGR, ECMA-48 section 8.3.117) and tabs stay; text before
/// a carriage return (progress bars) is removed.
pub fn printable(line: &str) -> String {
    let line = line.trim_end_matches(['\n', '\r']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut shown = String::with_capacity(line.len());
    let mut coloured = false;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                if let Some(colour) = escape(&mut rest) {
                    shown.push_str(&colour);
                    coloured = true;
                }
            }
            '\t' => shown.push(c),
            c if c.is_control() => {}
            c if deceives(c) => escaped(c, &mut shown),
            c => shown.push(c),
        }
    }
    if coloured {
        shown.push_str("\u{1b}[0m");
    }
    shown
}

/// The parameters of an SGR sequence that keep the text visible: weight, underline and text colour.
/// Backgrounds and black letters can hide it, as SGR 8 and blinking do.
fn colours(parameters: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut rest = parameters.split(';');
    while let Some(parameter) = rest.next() {
        let number = parameter.split(':').next().unwrap_or_default();
        match number.parse::<u16>() {
            Ok(38 | 48 | 58) if parameter.len() == number.len() => {
                // `38;5;N`, `38;2;R;G;B`
                let further = match rest.next() {
                    Some("5") => 1,
                    Some("2") => 3,
                    _ => return None,
                };
                for _ in 0..further {
                    rest.next()?;
                }
            }
            Ok(0..=4 | 9 | 21..=24 | 29 | 31..=37 | 39 | 91..=97) => kept.push(number),
            // Bright black, which programs use for less important text.
            Ok(90) => kept.push("2"),
            Ok(_) => {}
            Err(_) if parameter.is_empty() => kept.push("0"),
            Err(_) => return None,
        }
    }
    (!kept.is_empty()).then(|| format!("\u{1b}[{}m", kept.join(";")))
}

/// Reads the sequence after an ESC; returns the part that only sets a colour.
fn escape(rest: &mut std::str::Chars<'_>) -> Option<String> {
    match rest.next()? {
        // Control sequence: parameters, then one final byte.
        '[' => {
            let mut parameters = String::new();
            for c in rest.by_ref() {
                if !matches!(c, ' '..='?') {
                    return (c == 'm').then(|| colours(&parameters)).flatten();
                }
                parameters.push(c);
            }
            None
        }
        // Strings (OSC, DCS, SOS, PM, APC) end with BEL or ESC \.
        ']' | 'P' | 'X' | '^' | '_' => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    rest.next();
                    break;
                }
            }
            None
        }
        _ => None,
    }
}

/// A text without the logins in its URLs: `https://me:word@host/` is `https://****@host/`. `git@`, which
/// is everyone's, stays.
///
/// For text from outside (a server's message, a program's output); a caller that knows the secrets
/// themselves removes them as well.
pub fn without_logins(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        let end = behind
            .find(|c: char| c.is_whitespace() || c.is_control() || "/?#\"'`<>\\".contains(c))
            .unwrap_or(behind.len());
        let host = behind[..end].rfind('@').map_or(0, |at| at + 1);
        clean.push_str(before);
        if host > 0 && &behind[..host] != "git@" {
            clean.push_str("****@");
        } else {
            clean.push_str(&behind[..host]);
        }
        rest = &behind[host..];
    }
    if clean.is_empty() {
        return text.into();
    }
    clean.push_str(rest);
    clean.into()
}

/// A length of time in the largest unit that fits, and this unit: 3 and `minute`.
pub fn largest_unit(seconds: u64) -> (u64, &'static str) {
    [("day", 86_400), ("hour", 3600), ("minute", 60)]
        .into_iter()
        .find(|(_, length)| seconds >= *length)
        .map_or((seconds, "second"), |(unit, length)| {
            (seconds / length, unit)
        })
}

#[cfg(test)]
mod tests {
    use super::{json, largest_unit, one_line, printable, shown, without_logins};

    #[test]
    fn times_have_the_largest_unit_that_fits() {
        for (seconds, expected) in [
            (0, (0, "second")),
            (59, (59, "second")),
            (119, (1, "minute")),
            (7200, (2, "hour")),
            (86_400 * 9, (9, "day")),
        ] {
            assert_eq!(largest_unit(seconds), expected);
        }
    }

    #[test]
    fn urls_are_shown_without_logins() {
        for (text, shown) in [
            ("no url, me@example.com", "no url, me@example.com"),
            ("https://host/a@b", "https://host/a@b"),
            (
                "get https://me:p@ss@host/x: 401",
                "get https://****@host/x: 401",
            ),
            ("https://token@host", "https://****@host"),
            (
                "'http://a:b@h/' and http://c:d@i?x",
                "'http://****@h/' and http://****@i?x",
            ),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("ssh://git:word@host/x", "ssh://****@host/x"),
            (
                "git+https://oauth2:tok@host/x.git@v1",
                "git+https://****@host/x.git@v1",
            ),
            ("http://:word@proxy:8080", "http://****@proxy:8080"),
            ("http://é:ü@h", "http://****@h"),
            ("a://://u:p@h", "a://://****@h"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(without_logins(text), shown, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_shown(text in ".*(://.*@?.*){0,3}") {
            let once = without_logins(&text).into_owned();
            proptest::prop_assert_eq!(without_logins(&once).into_owned(), once.clone());
        }
    }

    #[test]
    fn a_program_cannot_drive_the_terminal() {
        for (printed, shown) in [
            ("plain\twords", "plain\twords"),
            ("a\x00b\x07c\u{9b}2Jd", "abc2Jd"),
            ("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[1;38:5:2mx\u{1b}[0m", "\u{1b}[1mx\u{1b}[0m\u{1b}[0m"),
            ("\u{1b}[mx", "\u{1b}[0mx\u{1b}[0m"),
            ("\u{1b}[8mx", "x"),
            ("\u{1b}[1;8;31mx", "\u{1b}[1;31mx\u{1b}[0m"),
            ("\u{1b}[30;40mx", "x"),
            ("\u{1b}[38;2;0;0;0mx", "x"),
            ("\u{1b}[38;5;0;4mx", "\u{1b}[4mx\u{1b}[0m"),
            ("\u{1b}[90mx", "\u{1b}[2mx\u{1b}[0m"),
            ("\u{1b}[38mx\u{1b}[38;2;1mx", "xx"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("up\u{1b}[2A\u{1b}[Jdown", "updown"),
            ("\u{1b}[?25lhidden", "hidden"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]52;c;QQ==\u{1b}\\x", "x"),
            ("\u{1b}cx", "x"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}[é", ""),
            ("10%\r50%\r100%\r\n", "100%"),
        ] {
            assert_eq!(printable(printed), shown, "{printed:?}");
        }
    }

    #[test]
    fn a_line_of_ours_stays_one_line_and_hides_nothing() {
        for (text, line) in [
            (
                "a name\twith é, 名 and 👩\u{200d}💻",
                "a name\twith é, 名 and 👩\u{200d}💻",
            ),
            ("a\nerror: forged", "a\\nerror: forged"),
            ("a\r\u{1b}[2K\u{1b}[8mb", "a\\r\\u{1b}[2K\\u{1b}[8mb"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("a\u{2028}b\u{85}c", "a\\u{2028}b\\u{85}c"),
            ("x\u{200b}\u{e0041}", "x\\u{200b}\\u{e0041}"),
        ] {
            assert_eq!(shown(text), line, "{text:?}");
        }
    }

    #[test]
    fn json_means_what_it_meant() {
        let name = "a\u{202e}\u{e0041}\u{9b}\u{7f}é\n";
        let document = serde_json::to_string_pretty(&[name]).unwrap();
        assert!(document.contains('\u{202e}'));
        let safe = json(&document);
        assert!(
            safe.contains("\\u202e\\udb40\\udc41\\u009b\\u007fé"),
            "{safe}"
        );
        assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), [name]);
    }

    #[test]
    fn an_excerpt_is_left_out() {
        let text =
            "TOML parse error at line 1, column 5\n  |\n1 | x = [\n  |     ^\nunclosed array\n";
        assert_eq!(
            one_line(text),
            "TOML parse error at line 1, column 5: unclosed array"
        );
    }
}
