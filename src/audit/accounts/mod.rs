//! The files that decide which user may become which other user: passwd, shadow, group, sudoers,
//! doas.conf, PAM's, nsswitch.conf, subordinate ids.
//!
//! Pure functions: they read bytes as the programs of the image would. Where programs differ, the
//! reading that gives an attacker the most counts. Content that no program should have to read is
//! reported as odd, never skipped silently.

pub(super) mod crypt;
pub mod doas;
pub mod group;
pub mod name_service;
pub mod pam;
pub mod pam_files;
#[cfg(test)]
mod pam_tests;
pub mod passwd;
pub mod shadow;
pub mod subordinate;
pub mod sudo_conf;
pub mod sudo_defaults;
pub mod sudoers;
#[cfg(test)]
mod sudoers_tests;
mod yescrypt;

/// A number as written in a field of passwd or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// Decimal digits without sign, blank or leading zero, at most 2³²−2.
    Plain(u32),
    /// Anything else. Programs differ about it: runc takes text for 0, musl wraps 4294967296 to 0,
    /// glibc takes signs and blanks.
    Odd(String),
}

impl Id {
    pub(crate) fn parse(field: &[u8]) -> Self {
        match strict_decimal(field) {
            Some(value) => Self::Plain(value),
            None => Self::Odd(super::paths::text(field)),
        }
    }

    /// Whether some program reads it as `value`.
    pub fn may_be(&self, value: u32) -> bool {
        match self {
            Self::Plain(own) => *own == value,
            Self::Odd(_) => value == 0 || self.number() == Some(value),
        }
    }

    /// The number as glibc reads it: behind blanks and a sign, with leading zeros.
    pub fn number(&self) -> Option<u32> {
        match self {
            Self::Plain(own) => Some(*own),
            Self::Odd(text) => loose_decimal(text.as_bytes()),
        }
    }
}

/// Decimal digits only, no leading zero (but for `0` itself), at most 2³²−2: system calls read
/// 2³²−1 as "do not change".
pub(crate) fn strict_decimal(field: &[u8]) -> Option<u32> {
    let leading_zero = field.len() > 1 && field[0] == b'0';
    if field.is_empty() || leading_zero || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u32 = std::str::from_utf8(field).ok()?.parse().ok()?;
    (value != u32::MAX).then_some(value)
}

/// As `strtoul` reads a number: blanks, a sign, digits; too large ones wrap, as ids have 32 bits.
pub(crate) fn loose_decimal(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    let number: i128 = text.trim_start_matches(is_space).trim_end().parse().ok()?;
    u32::try_from(number.rem_euclid(1 << 32)).ok()
}

/// What C's `isspace` takes for a blank: Rust's own functions leave out the vertical tab.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

/// Lines with their numbers from 1: those that end with a backslash joined with the next. A comment goes up
/// to the end of its own line and is never continued; `skips`: the next line continues what stood before it.
fn joined(bytes: &[u8], skips: bool) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (index, line) in lossy(bytes).split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let (text, continues) = match (line.split_once('#'), line.strip_suffix('\\')) {
            (Some((before, _)), _) => {
                let is_skipped = skips && before.trim().is_empty();
                (before, is_skipped && is_open)
            }
            (None, Some(before)) => (before, true),
            (None, None) => (line, false),
        };
        match joined.last_mut() {
            Some((_, last)) if is_open => {
                last.push(' ');
                last.push_str(text);
            }
            _ => joined.push((index + 1, text.to_owned())),
        }
        is_open = continues;
    }
    joined.retain(|(_, text)| !text.trim_matches(is_space).is_empty());
    joined
}

/// The lines that are not empty, with their numbers from 1.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let is_blank = |byte: &u8| is_space(char::from(*byte));
    bytes
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(move |(index, line)| {
            let start = line.iter().position(|byte| !is_blank(byte));
            (index + 1, &line[start.unwrap_or(line.len())..])
        })
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_not_continued() {
        let read = |skips| -> Vec<String> {
            let text = b"a \\\n# c \\\nb # d \\\ne\n# f \\\ng";
            let joined = joined(text, skips).into_iter();
            joined
                .map(|(_, text)| text.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect()
        };
        assert_eq!(read(true), ["a b", "e", "g"]);
        assert_eq!(read(false), ["a", "b", "e", "g"]);
    }

    #[test]
    fn strict_numbers() {
        for (field, expected) in [
            ("0", Some(0)),
            ("1001", Some(1001)),
            ("4294967294", Some(4_294_967_294)),
            ("4294967295", None),
            ("4294967296", None),
            ("00", None),
            ("01001", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1 ", None),
            ("0x0", None),
            ("١", None),
            ("", None),
        ] {
            assert_eq!(strict_decimal(field.as_bytes()), expected, "{field}");
        }
        assert!(Id::parse(b"text").may_be(0));
        for (field, number) in [
            ("+27", Some(27)),
            (" 027", Some(27)),
            ("-1", Some(u32::MAX)),
            ("x", None),
        ] {
            assert_eq!(Id::parse(field.as_bytes()).number(), number, "{field}");
        }
        let tab: Vec<_> = lines(b"\x0broot::1").collect();
        assert_eq!(tab, [(1, &b"root::1"[..])]);
        assert!(!Id::parse(b"1").may_be(0));
    }
}
