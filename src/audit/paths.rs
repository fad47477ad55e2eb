//! Paths as layers have them: bytes, relative, without `.` and `..`; and how they are shown.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

/// Brings a member's name into the one form that the audit compares: no leading slash or `./`, no
/// doubled or trailing slash; the root is empty. `None` for a name with `..`, which no valid archive
/// has.
pub(super) fn normal(name: &OsStr) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len());
    for part in name.as_bytes().split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Some(path)
}

/// The directory and the name of a path; the directory is empty for the root's own.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The path's proper ancestors, the root (empty) first.
pub(super) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = (!path.is_empty()).then_some(&path[..0]);
    let slashes = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| &path[..at]);
    root.into_iter().chain(slashes)
}

/// Whether `path` is `directory` or beneath it.
pub(super) fn is_beneath(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => directory.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// Joins a directory and a name that may be relative or absolute.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    if !name.starts_with(b"/") {
        joined.extend_from_slice(directory);
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    // `..` is taken as text, as a path without symbolic links would be.
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in joined.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// A path for people, on one line: absolute, control characters and invalid UTF-8 escaped.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", text(path))
}

/// Most characters of one text that are shown.
const MOST: usize = 1000;

/// Bytes out of an image for people: one line, at most [`MOST`] characters.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Marks of writing direction can make a path look like another one.
            let hides = matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
            if character.is_control() || hides {
                let _ = write!(shown, "{}", character.escape_unicode());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    if shown.chars().count() > MOST {
        shown = shown.chars().take(MOST).collect();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_brought_into_one_form() {
        for (name, expected) in [
            ("etc/passwd", Some("etc/passwd")),
            ("./etc//passwd/", Some("etc/passwd")),
            ("/etc/./passwd", Some("etc/passwd")),
            ("./", Some("")),
            ("a/../b", None),
            ("..", None),
            ("..a/b..", Some("..a/b..")),
        ] {
            assert_eq!(
                normal(OsStr::new(name)),
                expected.map(|e| e.as_bytes().to_vec()),
                "{name}"
            );
        }
    }

    #[test]
    fn ancestors_begin_with_the_root() {
        let all: Vec<_> = ancestors(b"a/b/c").collect();
        assert_eq!(all, [&b""[..], b"a", b"a/b"]);
        assert_eq!(ancestors(b"").count(), 0);
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }

    #[test]
    fn beneath_is_by_whole_names() {
        assert!(is_beneath(b"opt/app/x", b"opt/app"));
        assert!(is_beneath(b"opt/app", b"opt/app"));
        assert!(!is_beneath(b"opt/application", b"opt/app"));
        assert!(is_beneath(b"opt", b""));
    }

    #[test]
    fn joining_resolves_dots() {
        for (directory, name, expected) in [
            ("etc", "shadow", Some("etc/shadow")),
            ("etc", "/etc/x", Some("etc/x")),
            ("etc", "../opt/x", Some("opt/x")),
            ("etc", "../../x", None),
        ] {
            let joined = join(directory.as_bytes(), name.as_bytes());
            assert_eq!(joined, expected.map(|e| e.as_bytes().to_vec()));
        }
    }

    #[test]
    fn what_is_shown_stays_on_one_line() {
        assert_eq!(shown(b"a\nb\x1b[1m\xff"), "/a\\u{a}b\\u{1b}[1m\\xff");
        assert_eq!(text("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }
}
