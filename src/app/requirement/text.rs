//! Bytes of a requirements file → text → logical lines, as pip does it.

use std::collections::BTreeMap;

/// The text of a file that a person or PowerShell wrote.
///
/// A byte order mark decides; then a comment `coding: NAME` in the first two lines; else it is UTF-8.
/// Of the encodings that contain ASCII, only ASCII is read: in these files, other characters are
/// usually in comments. Elsewhere they are refused with their line, because an image has no room for
/// the tables of all encodings.
///
/// # Errors
/// What is wrong, and in which line (from 1) if there is one.
pub fn decode(bytes: &[u8]) -> Result<String, (usize, String)> {
    for (mark, width, little) in [
        (&b"\xef\xbb\xbf"[..], 1, false),
        (b"\xff\xfe\x00\x00", 4, true),
        (b"\x00\x00\xfe\xff", 4, false),
        (b"\xff\xfe", 2, true),
        (b"\xfe\xff", 2, false),
    ] {
        if let Some(rest) = bytes.strip_prefix(mark) {
            return match width {
                1 => utf8(rest),
                2 => utf16(rest, little),
                _ => utf32(rest, little),
            };
        }
    }
    let Some(name) = coding(bytes) else {
        return utf8(bytes);
    };
    let plain = name.to_ascii_lowercase().replace(['-', '_'], "");
    match plain.as_str() {
        "utf8" | "utf8sig" | "u8" => utf8(bytes),
        "latin1" | "iso88591" | "l1" => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        other if other.starts_with("utf") || other.starts_with("ucs") => Err((
            1,
            format!(
                "the comment says that the encoding is {name}, and it is not (there is no byte order mark)"
            ),
        )),
        other if is_superset_of_ascii(other) => ascii_part(bytes, name),
        _ => Err((1, format!("the encoding {name} is not known"))),
    }
}

/// `coding: NAME` or `coding=NAME` in a comment of the first two lines (PEP 263).
fn coding(bytes: &[u8]) -> Option<&str> {
    bytes
        .split(|byte| *byte == b'\n')
        .take(2)
        .filter(|line| line.trim_ascii_start().starts_with(b"#"))
        .find_map(|line| {
            let at = line.windows(6).position(|part| part == b"coding")? + 6;
            let rest = line.get(at..)?;
            let (mark, rest) = rest.split_first()?;
            if !matches!(mark, b':' | b'=') {
                return None;
            }
            let rest = rest.trim_ascii_start();
            let end = rest
                .iter()
                .position(|b| !(b.is_ascii_alphanumeric() || b"-_.".contains(b)))
                .unwrap_or(rest.len());
            std::str::from_utf8(&rest[..end])
                .ok()
                .filter(|name| !name.is_empty())
        })
}

/// Python's names of encodings in which the bytes below 128 are ASCII, without `-` and `_`.
fn is_superset_of_ascii(name: &str) -> bool {
    const STARTS: &[&str] = &[
        "ascii",
        "usascii",
        "cp125",
        "windows125",
        "iso8859",
        "latin",
        "koi8",
        "mac",
        "cp437",
        "cp85",
        "cp86",
        "cp874",
        "cp932",
        "cp936",
        "cp949",
        "cp950",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "euc",
        "shiftjis",
        "sjis",
        "johab",
        "mbcs",
        "ansi",
        "tis620",
        "kz1048",
    ];
    STARTS.iter().any(|start| name.starts_with(start))
}

fn ascii_part(bytes: &[u8], name: &str) -> Result<String, (usize, String)> {
    let mut text = String::with_capacity(bytes.len());
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let mut comment = false;
        let mut before = b'\n';
        for byte in line {
            comment |= *byte == b'#' && before.is_ascii_whitespace();
            if byte.is_ascii() {
                text.push(char::from(*byte));
            } else if comment {
                text.push('\u{fffd}');
            } else {
                return Err((
                    index + 1,
                    format!("it has characters of the encoding {name} outside of a comment"),
                ));
            }
            before = *byte;
        }
    }
    Ok(text)
}

fn utf8(bytes: &[u8]) -> Result<String, (usize, String)> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count()
            - 1;
        let what = "it is not UTF-8, and neither a byte order mark nor a comment such as \
                    `# -*- coding: latin-1 -*-` says what it is";
        (line, what.to_owned())
    })?;
    no_nul(text.to_owned())
}

fn utf16(bytes: &[u8], little: bool) -> Result<String, (usize, String)> {
    let wrong = || (1, "it begins as UTF-16, and is not".to_owned());
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    let units = pairs.iter().map(|pair| {
        if little {
            u16::from_le_bytes(*pair)
        } else {
            u16::from_be_bytes(*pair)
        }
    });
    let text: Result<String, _> = char::decode_utf16(units).collect();
    no_nul(text.map_err(|_| wrong())?)
}

fn utf32(bytes: &[u8], little: bool) -> Result<String, (usize, String)> {
    let wrong = || (1, "it begins as UTF-32, and is not".to_owned());
    let (fours, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(wrong());
    }
    let text: Option<String> = fours
        .iter()
        .map(|four| {
            char::from_u32(if little {
                u32::from_le_bytes(*four)
            } else {
                u32::from_be_bytes(*four)
            })
        })
        .collect();
    no_nul(text.ok_or_else(wrong)?)
}

fn no_nul(text: String) -> Result<String, (usize, String)> {
    match text.find('\0') {
        None => Ok(text),
        Some(at) => Err((
            1 + text[..at].matches('\n').count(),
            "it has a NUL character: it is not text, or in UTF-16 without a byte order mark".into(),
        )),
    }
}

/// Splits text into logical lines: continuations joined, comments removed, empty ones dropped.
pub(super) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let (first, mut joined) = pending.take().unwrap_or((index + 1, String::new()));
        // A comment begins at the start of a line or after white space (pip's COMMENT_RE).
        let comment = raw
            .char_indices()
            .find(|(at, c)| {
                *c == '#' && (*at == 0 || raw[..*at].ends_with(|b: char| b.is_whitespace()))
            })
            .map(|(at, _)| at);
        let body = comment.map_or(raw, |at| &raw[..at]);
        if comment.is_none() && body.ends_with('\\') {
            joined.push_str(body[..body.len() - 1].trim_end());
            joined.push(' ');
            pending = Some((first, joined));
            continue;
        }
        joined.push_str(body);
        if !joined.trim().is_empty() {
            lines.push((first, joined.trim().to_owned()));
        }
    }
    if let Some((first, joined)) = pending
        && !joined.trim().is_empty()
    {
        lines.push((first, joined.trim().to_owned()));
    }
    lines
}

/// Replaces `${NAME}` with its value, if there is one: pip knows only this form, with capitals.
/// Also returns the names without a value.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> (String, Vec<String>) {
    let mut out = String::with_capacity(text.len());
    let mut unset = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let inner = &rest[at + 2..];
        let end = inner.find('}').filter(|end| {
            *end > 0
                && inner[..*end]
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        });
        let Some(end) = end else {
            out.push_str(&rest[..at + 2]);
            rest = inner;
            continue;
        };
        let name = &inner[..end];
        out.push_str(&rest[..at]);
        match variables.get(name).filter(|value| !value.is_empty()) {
            Some(value) => out.push_str(value),
            // The project's directory, as pdm and uv write it.
            None if name == "PROJECT_ROOT" => out.push('.'),
            None => {
                out.push_str(&rest[at..at + end + 3]);
                unset.push(name.to_owned());
            }
        }
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    (out, unset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_of(text: &str, little: bool) -> Vec<u8> {
        let mark = "\u{feff}";
        let units = mark.encode_utf16().chain(text.encode_utf16());
        units
            .flat_map(|unit| {
                if little {
                    unit.to_le_bytes()
                } else {
                    unit.to_be_bytes()
                }
            })
            .collect()
    }

    #[test]
    fn encodings() {
        let text = "flask\r\n# Müller\r\n";
        let utf32: Vec<u8> = "\u{feff}"
            .chars()
            .chain(text.chars())
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        let latin = b"# -*- coding: latin-1 -*-\nflask # M\xfcller\n";
        for (bytes, expected) in [
            (text.as_bytes().to_vec(), text),
            (format!("\u{feff}{text}").into_bytes(), text),
            (utf16_of(text, true), text),
            (utf16_of(text, false), text),
            (utf32, text),
            (
                latin.to_vec(),
                "# -*- coding: latin-1 -*-\nflask # Müller\n",
            ),
            (
                b"# vim: set fileencoding=cp1251 :\nflask # \xd4\n".to_vec(),
                "# vim: set fileencoding=cp1251 :\nflask # \u{fffd}\n",
            ),
        ] {
            assert_eq!(decode(&bytes).as_deref(), Ok(expected));
        }
        for (bytes, line, word) in [
            (&b"flask\nx # M\xfcller\n"[..], 2, "not UTF-8"),
            (b"# coding: cp1251\n./\xd4\n", 2, "cp1251"),
            (b"# coding: klingon\nx\n", 1, "klingon"),
            (b"# coding: utf-16\nx\n", 1, "utf-16"),
            (b"\xff\xfex", 1, "UTF-16"),
            (b"f\0l\0", 1, "NUL"),
        ] {
            let (at, message) = decode(bytes).unwrap_err();
            assert_eq!(at, line, "{message}");
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn variables_are_those_of_pip() {
        let variables = BTreeMap::from([("A_1".to_owned(), "x".to_owned())]);
        for (text, expected, unset) in [
            (
                "--index-url https://u:${A_1}@h/",
                "--index-url https://u:x@h/",
                vec![],
            ),
            ("${B}/${A_1}", "${B}/x", vec!["B"]),
            ("$A_1 ${a} ${} ${A", "$A_1 ${a} ${} ${A", vec![]),
            ("file:///${PROJECT_ROOT}/lib", "file:///./lib", vec![]),
        ] {
            assert_eq!(
                expand(text, &variables),
                (
                    expected.to_owned(),
                    unset.into_iter().map(str::to_owned).collect()
                ),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            if let Ok(text) = decode(&bytes) {
                logical_lines(&text);
            }
        }
    }
}
