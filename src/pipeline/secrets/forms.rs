//! How a secret may be written.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// How a secret was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Form {
    Plain,
    Base64,
    Hex,
    Utf16,
    UrlEncoded,
}

impl Form {
    pub(in super::super) fn words(self) -> &'static str {
        match self {
            Self::Plain => "as it is",
            Self::Base64 => "in base64",
            Self::Hex => "in hexadecimal",
            Self::Utf16 => "in UTF-16",
            Self::UrlEncoded => "percent-encoded",
        }
    }
}

/// All forms of a secret. Percent-encoding can be written in too many ways: it is given in the usual one,
/// for output; a search decodes it instead.
pub(in super::super) fn forms(secret: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut found = Vec::new();
    for variant in variants(secret) {
        found.extend(
            encoded(&variant)
                .into_iter()
                .map(|text| (Form::Base64, text)),
        );
        for upper in [false, true] {
            found.push((Form::Hex, hex(&variant, upper)));
            found.push((Form::UrlEncoded, percent(&variant, upper, b"")));
        }
        if let Ok(text) = std::str::from_utf8(&variant) {
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                let units = text.encode_utf16().flat_map(bytes);
                found.push((Form::Utf16, units.collect()));
            }
        }
        found.push((Form::Plain, variant));
    }
    found.sort();
    found.dedup();
    found
}

fn hex(bytes: &[u8], upper: bool) -> Vec<u8> {
    let digits = if upper {
        b"0123456789ABCDEF"
    } else {
        b"0123456789abcdef"
    };
    bytes
        .iter()
        .flat_map(|byte| {
            [
                digits[usize::from(byte >> 4)],
                digits[usize::from(byte & 15)],
            ]
        })
        .collect()
}

/// How programs print a secret, besides [`forms`]: byte by byte, and percent-encoded in other ways than the usual
/// one (of `urllib.parse`: `quote` leaves `/` alone, `quote_plus` writes a blank as `+`).
pub(super) fn printed(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut each = |before: &str, between: &str, of: &dyn Fn(u8) -> String| {
        let words: Vec<String> = bytes
            .iter()
            .map(|byte| format!("{before}{}", of(*byte)))
            .collect();
        found.push(words.join(between).into_bytes());
    };
    let digits: [&dyn Fn(u8) -> String; 2] =
        [&|byte| format!("{byte:02x}"), &|byte| format!("{byte:02X}")];
    for hex in digits {
        for (before, between) in [
            ("%", ""),
            ("\\x", ""),
            ("", " "),
            ("", ":"),
            ("", "-"),
            ("0x", ", "),
            ("0x", ","),
            ("0x", " "),
        ] {
            each(before, between, hex);
        }
    }
    for between in [", ", ",", " "] {
        each("", between, &|byte| byte.to_string());
    }
    each("&#", "", &|byte| format!("{byte};"));
    each("&#x", "", &|byte| format!("{byte:x};"));
    for upper in [false, true] {
        let quoted = percent(bytes, upper, b"/");
        let plus = percent(bytes, upper, b" ");
        let plus = plus
            .iter()
            .map(|byte| if *byte == b' ' { b'+' } else { *byte });
        found.push(plus.collect());
        found.push(quoted);
    }
    found
}

/// `kept`: what is left as it is, besides the characters of RFC 3986, section 2.3.
fn percent(bytes: &[u8], upper: bool, kept: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte) {
            text.push(*byte);
        } else {
            text.push(b'%');
            text.extend(hex(&[*byte], upper));
        }
    }
    text
}

/// The secret as it may stand in a text: with line feeds, with CR LF, and as string literals of JSON,
/// Python and shells have it.
fn variants(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut variants = vec![secret.to_vec()];
    if let Ok(text) = std::str::from_utf8(secret) {
        let unix = text.replace("\r\n", "\n");
        variants.push(unix.replace('\n', "\r\n").into_bytes());
        variants.push(unix.replace('\n', "\\n").into_bytes());
        // Python's repr escapes ' only where the text has both quotation marks.
        let repr = unix.replace('\\', "\\\\").replace('\n', "\\n");
        variants.push(repr.replace('\'', "\\'").into_bytes());
        variants.push(repr.into_bytes());
        let html = unix.replace('&', "&amp;").replace('<', "&lt;");
        let html = html.replace('>', "&gt;");
        // Python's html.escape, MarkupSafe, and what leaves ' alone.
        for [double, single] in [
            ["&quot;", "&#x27;"],
            ["&#34;", "&#39;"],
            ["&quot;", "&#39;"],
        ] {
            variants.push(html.replace('"', double).into_bytes());
            variants.push(html.replace('"', double).replace('\'', single).into_bytes());
        }
        variants.push(html.into_bytes());
        if let Ok(json) = serde_json::to_string(&unix) {
            variants.extend(escaped(&json[1..json.len() - 1]));
        }
        variants.push(unix.into_bytes());
    }
    variants.sort();
    variants.dedup();
    variants
}

/// A string of JSON as writers of it have it: some escape `/` (PHP), all that is not ASCII (Python), or what
/// means something in HTML (Go, Django).
fn escaped(json: &str) -> Vec<Vec<u8>> {
    let coded = |wanted: &dyn Fn(char) -> bool, upper: bool| {
        let mut units = [0; 2];
        json.chars().fold(String::new(), |mut text, c| {
            if !wanted(c) {
                text.push(c);
                return text;
            }
            for unit in c.encode_utf16(&mut units) {
                let _ = if upper {
                    write!(text, "\\u{unit:04X}")
                } else {
                    write!(text, "\\u{unit:04x}")
                };
            }
            text
        })
    };
    let other = |c: char| !c.is_ascii();
    let mut found = vec![json.to_owned()];
    for upper in [false, true] {
        found.push(coded(&other, upper));
        for html in ["<>&", "<>&'"] {
            found.push(coded(&|c| html.contains(c), upper));
            found.push(coded(&|c| other(c) || html.contains(c), upper));
        }
    }
    let slashes: Vec<String> = found.iter().map(|text| text.replace('/', "\\/")).collect();
    found.extend(slashes);
    found.into_iter().map(String::into_bytes).collect()
}

/// What of the secret's base64 does not depend on the bytes around it, for each of the three places
/// in a group of three bytes where it may begin.
fn encoded(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for before in 0..3_usize {
        let mut padded = vec![0; before];
        padded.extend_from_slice(secret);
        // Characters that hold a bit of what stands before; whole ones before what comes after.
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            found.push(text.as_bytes()[first..last].to_vec());
        }
    }
    found.sort();
    found.dedup();
    found
}
