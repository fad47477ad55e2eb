//! How the library says what it is doing, without printing.
//!
//! The command line implements [`Progress`]; tests use [`Silent`].

/// Receives what happens, from any thread.
pub trait Progress: Sync {
    /// A step begins: one of the lines of a build that people know by heart
    /// (`---> Installing application source`).
    fn step(&self, line: &str);

    /// Something that the user should know although the work goes on.
    fn warning(&self, text: &str);

    /// A line that a program inside the sandbox printed, without its line feed.
    fn output(&self, line: &str);

    /// Bytes of something have moved: `what` names it ("layer 3f0c…"), `total` where it is known.
    fn moved(&self, what: &str, done: u64, total: Option<u64>);
}

/// A line that a program printed, as it may be shown: without what moves a terminal's cursor, sets
/// its title or its clipboard. Colours (SGR, ECMA-48 section 8.3.117) and tabs stay; what a carriage
/// return went over (progress bars) goes.
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
            c => shown.push(c),
        }
    }
    if coloured {
        shown.push_str("\u{1b}[0m");
    }
    shown
}

/// Reads what follows an ESC to its end; gives it whole when it only sets a colour.
fn escape(rest: &mut std::str::Chars<'_>) -> Option<String> {
    match rest.next()? {
        // Control sequence: parameters, then one final byte.
        '[' => {
            let mut text = String::from("\u{1b}[");
            for c in rest.by_ref() {
                text.push(c);
                if !matches!(c, ' '..='?') {
                    break;
                }
            }
            let parameters = text.get(2..text.len().checked_sub(1)?)?;
            let colour = parameters
                .chars()
                .all(|c| matches!(c, '0'..='9' | ';' | ':'));
            (text.ends_with('m') && colour).then_some(text)
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
/// For what comes from elsewhere (a server's message, a program's output) and is shown; who knows the
/// secret words themselves takes them out as well.
pub fn without_logins(text: &str) -> std::borrow::Cow<'_, str> {
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

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _line: &str) {}
    fn warning(&self, _text: &str) {}
    fn output(&self, _line: &str) {}
    fn moved(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}

/// Bytes for people: `512 B`, `1.5 kB`, `34.2 MB` (powers of 1000, as docker and podman count).
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn human_size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    for unit in ["kB", "MB", "GB"] {
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::{printable, without_logins};

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
            (
                "\u{1b}[1;38:5:2mx\u{1b}[0m",
                "\u{1b}[1;38:5:2mx\u{1b}[0m\u{1b}[0m",
            ),
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
}
