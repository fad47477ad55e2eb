//! Text of bytes: base64, hexadecimal and decimal numbers, UTF-16 and escapes are taken back, wherever they
//! stand in a file. Nothing here knows of files or secrets.

use std::ops::Range;

/// Shorter text holds nothing that could not be looked for as it is.
const LEAST_RUN: usize = 14;
/// Numbers in a row, or characters of UTF-16.
const LEAST_NUMBERS: usize = 8;
/// Stands between what does not join.
const GAP: u8 = b'\n';

/// Gathers what was decoded, in runs. A short one is dropped.
#[derive(Default)]
struct Runs {
    bytes: Vec<u8>,
    start: usize,
}

impl Runs {
    fn end(&mut self, is_long: bool) {
        if is_long {
            self.bytes.push(GAP);
        } else {
            self.bytes.truncate(self.start);
        }
        self.start = self.bytes.len();
    }
}

const NONE: u8 = 255;
const SKIPPED: u8 = 254;

/// Both alphabets of RFC 4648, and what is left out between their characters: white space, quotation marks.
const BASE64: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut at = 0;
    while at < 26 {
        table[(b'A' + at) as usize] = at;
        table[(b'a' + at) as usize] = at + 26;
        at += 1;
    }
    at = 0;
    while at < 10 {
        table[(b'0' + at) as usize] = at + 52;
        at += 1;
    }
    table[b'+' as usize] = 62;
    table[b'-' as usize] = 62;
    table[b'/' as usize] = 63;
    table[b'_' as usize] = 63;
    let skipped = b" \t\r\n\"'\\";
    let mut at = 0;
    while at < skipped.len() {
        table[skipped[at] as usize] = SKIPPED;
        at += 1;
    }
    table
};

/// What the base64 in a text stands for, for each place in a group of four at which it may begin.
pub(super) fn base64(bytes: &[u8]) -> [Vec<u8>; 4] {
    let mut runs: [Runs; 4] = Default::default();
    let (mut length, mut group) = (0_usize, 0_u32);
    let mut escaped = false;
    let end = |runs: &mut [Runs; 4], length: usize, group: u32| {
        if length >= LEAST_RUN {
            // What is left of a group.
            let [.., low] = (group >> 4).to_be_bytes();
            runs[(length - 2) & 3].bytes.push(low);
            let [.., high, low] = (group >> 2).to_be_bytes();
            runs[(length - 3) & 3].bytes.extend([high, low]);
        }
        for run in runs {
            run.end(length >= LEAST_RUN);
        }
    };
    for &byte in bytes {
        let after_backslash = std::mem::replace(&mut escaped, byte == b'\\');
        match BASE64[usize::from(byte)] {
            NONE if length > 0 => {
                end(&mut runs, length, group);
                length = 0;
            }
            SKIPPED | NONE => {}
            // The end of a line in a string literal.
            _ if after_backslash && matches!(byte, b'n' | b'r') => {}
            value => {
                group = group << 6 | u32::from(value);
                length += 1;
                if length >= 4 {
                    let [_, group @ ..] = group.to_be_bytes();
                    runs[length & 3].bytes.extend_from_slice(&group);
                }
            }
        }
    }
    end(&mut runs, length, group);
    runs.map(|run| run.bytes)
}

/// No digit, and no row goes on with it.
const OTHER: u8 = 255;
/// Stands between digits.
const BETWEEN: u8 = 254;
const X: u8 = 253;

const HEXADECIMAL: [u8; 256] = {
    let mut table = [OTHER; 256];
    let mut at = 0;
    while at < 10 {
        table[(b'0' + at) as usize] = at;
        at += 1;
    }
    at = 0;
    while at < 6 {
        table[(b'a' + at) as usize] = at + 10;
        table[(b'A' + at) as usize] = at + 10;
        at += 1;
    }
    let between = b":-, \t\r\n\"'";
    let mut at = 0;
    while at < between.len() {
        table[between[at] as usize] = BETWEEN;
        at += 1;
    }
    table[b'x' as usize] = X;
    table[b'X' as usize] = X;
    table
};

/// What hexadecimal digits stand for, in pairs from the first and from the second one of a row. Colons,
/// commas, white space, quotation marks and `0x` may stand between them.
pub(super) fn hexadecimal(bytes: &[u8]) -> [Vec<u8>; 2] {
    let mut runs: [Runs; 2] = Default::default();
    let digit = |byte: u8| Some(HEXADECIMAL[usize::from(byte)]).filter(|value| *value < 16);
    let mut digits = Vec::new();
    rows(
        bytes,
        |byte| digit(byte).is_some(),
        |byte| HEXADECIMAL[usize::from(byte)] != OTHER,
        2 * LEAST_NUMBERS,
        |row| {
            digits.clear();
            for (at, byte) in row.iter().enumerate() {
                match digit(*byte) {
                    Some(value) => digits.push(value),
                    // That was not a digit.
                    None if matches!(byte, b'x' | b'X') && row[..at].ends_with(b"0") => {
                        digits.pop();
                    }
                    None => {}
                }
            }
            for (run, from) in runs.iter_mut().zip(0..) {
                let pairs = digits.get(from..).unwrap_or_default().chunks_exact(2);
                run.bytes.extend(pairs.map(|pair| pair[0] << 4 | pair[1]));
                run.end(digits.len() >= 2 * LEAST_NUMBERS);
            }
        },
    );
    runs.map(|run| run.bytes)
}

/// Bytes that are written as decimal numbers, as lists of Python and buffers of JavaScript are.
pub(super) fn decimal(bytes: &[u8]) -> Vec<u8> {
    let mut runs = Runs::default();
    rows(
        bytes,
        |byte| byte.is_ascii_digit(),
        |byte| matches!(byte, b'0'..=b'9' | b',' | b' ' | b'\t' | b'\r' | b'\n'),
        LEAST_NUMBERS,
        |row| {
            let mut count = 0;
            for number in row.split(|byte| !byte.is_ascii_digit()) {
                let text = std::str::from_utf8(number).unwrap_or_default();
                match text.parse::<u8>() {
                    Ok(value) => {
                        runs.bytes.push(value);
                        count += 1;
                    }
                    // Something between two numbers.
                    Err(_) if text.is_empty() => {}
                    Err(_) => {
                        runs.end(count >= LEAST_NUMBERS);
                        count = 0;
                    }
                }
            }
            runs.end(count >= LEAST_NUMBERS);
        },
    );
    runs.bytes
}

/// Gives rows in which so many digits stand, with what may stand between them.
fn rows(
    bytes: &[u8],
    is_digit: impl Fn(u8) -> bool,
    goes_on: impl Fn(u8) -> bool,
    least: usize,
    mut take: impl FnMut(&[u8]),
) {
    let mut rest = bytes;
    while let Some(start) = rest.iter().position(|byte| is_digit(*byte)) {
        rest = &rest[start..];
        let mut digits = 0;
        let end = rest.iter().position(|byte| {
            digits += usize::from(is_digit(*byte));
            !goes_on(*byte)
        });
        let (row, after) = rest.split_at(end.unwrap_or(rest.len()));
        if digits >= least {
            take(row);
        }
        rest = after;
    }
}

/// Text of UTF-16 and UTF-32 in one byte for each character, where it has Latin ones alone.
pub(super) fn narrow(bytes: &[u8]) -> Vec<u8> {
    let mut runs = Runs::default();
    let (mut count, mut zeros) = (0_usize, 0);
    for &byte in bytes {
        if byte == 0 {
            zeros += 1;
            continue;
        }
        // One zero between two bytes, or three.
        if count > 0 && zeros != 1 && zeros != 3 {
            runs.end(count >= LEAST_NUMBERS);
            count = 0;
        }
        runs.bytes.push(byte);
        count += 1;
        zeros = 0;
    }
    if count > 0 {
        runs.end(count >= LEAST_NUMBERS);
    }
    runs.bytes
}

/// Stretches of text among other bytes, long enough to be text of bytes again.
pub(super) fn texts(bytes: &[u8]) -> Vec<u8> {
    let mut runs = Runs::default();
    for chunk in bytes.utf8_chunks() {
        // A zero may be a half of a character in UTF-16.
        let is_other = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n' | '\0');
        for text in chunk.valid().split(is_other) {
            if text.len() >= LEAST_RUN {
                runs.bytes.extend_from_slice(text.as_bytes());
                runs.end(true);
            }
        }
    }
    runs.bytes
}

/// Text without its escapes: of string literals (C, Python, JavaScript, JSON, shells), of HTML and XML, of
/// URLs. Only what stands around escapes is given, up to `reach` bytes before and after each of them;
/// nothing where there are none.
pub(super) fn without_escapes(bytes: &[u8], reach: usize) -> Vec<u8> {
    undone(
        bytes,
        reach,
        memchr::memchr3_iter(b'\\', b'&', b'%', bytes),
        escape,
    )
}

/// Text without the escapes of quoted-printable (RFC 2045, 6.7), as [`without_escapes`].
pub(super) fn without_quoting(bytes: &[u8], reach: usize) -> Vec<u8> {
    undone(
        bytes,
        reach,
        memchr::memchr_iter(b'=', bytes),
        |rest, into| match rest {
            [b'=', b'\n', ..] => Some(2),
            [b'=', b'\r', b'\n', ..] => Some(3),
            [b'=', digits @ ..] => {
                into.push(u8::try_from(digits_of(digits, 16, 2, 2)?.0).ok()?);
                Some(3)
            }
            _ => None,
        },
    )
}

fn undone(
    bytes: &[u8],
    reach: usize,
    places: impl Iterator<Item = usize>,
    escape: impl Fn(&[u8], &mut Vec<u8>) -> Option<usize>,
) -> Vec<u8> {
    let mut out = Vec::new();
    // What is written so far, and how far it goes after the last escape.
    let mut written = 0..0;
    let copy = |out: &mut Vec<u8>, range: Range<usize>| {
        out.extend_from_slice(bytes.get(range).unwrap_or_default());
    };
    let mut decoded = Vec::new();
    for at in places {
        if at < written.start {
            continue;
        }
        decoded.clear();
        let Some(length) = escape(&bytes[at..], &mut decoded) else {
            continue;
        };
        if out.is_empty() || at.saturating_sub(reach) > written.end {
            copy(&mut out, written.clone());
            if !out.is_empty() {
                out.push(GAP);
            }
            copy(&mut out, at.saturating_sub(reach)..at);
        } else {
            copy(&mut out, written.start..at);
        }
        out.append(&mut decoded);
        // An escape of nothing is there, too.
        if out.is_empty() {
            out.push(GAP);
        }
        written = at + length..(at + length + reach).min(bytes.len());
    }
    copy(&mut out, written);
    out
}

/// A number of so many digits, and how many it has.
fn digits_of(bytes: &[u8], base: u32, least: usize, most: usize) -> Option<(u32, usize)> {
    let mut value = 0_u32;
    let mut count = 0;
    for byte in bytes.iter().take(most) {
        let Some(digit) = char::from(*byte).to_digit(base) else {
            break;
        };
        value = value.checked_mul(base)?.checked_add(digit)?;
        count += 1;
    }
    (count >= least).then_some((value, count))
}

fn push(into: &mut Vec<u8>, code: u32) -> Option<()> {
    let c = char::from_u32(code)?;
    into.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Takes one escape back; gives its length.
fn escape(rest: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    match rest {
        [b'%', b'u' | b'U', digits @ ..] => {
            let (code, _) = digits_of(digits, 16, 4, 4)?;
            push(into, code)?;
            Some(6)
        }
        [b'%', digits @ ..] => {
            into.push(u8::try_from(digits_of(digits, 16, 2, 2)?.0).ok()?);
            Some(3)
        }
        [b'&', b'#', b'x' | b'X', digits @ ..] => {
            let (code, count) = digits_of(digits, 16, 1, 8)?;
            push(into, code)?;
            Some(3 + count + usize::from(digits.get(count) == Some(&b';')))
        }
        [b'&', b'#', digits @ ..] => {
            let (code, count) = digits_of(digits, 10, 1, 9)?;
            push(into, code)?;
            Some(2 + count + usize::from(digits.get(count) == Some(&b';')))
        }
        [b'&', name @ ..] => {
            let (name, c) = ENTITIES
                .iter()
                .find(|(known, _)| name.starts_with(known.as_bytes()))?;
            into.push(*c);
            Some(1 + name.len())
        }
        [b'\\', letter, more @ ..] => backslash(*letter, more, into).map(|length| 1 + length),
        _ => None,
    }
}

fn backslash(letter: u8, more: &[u8], into: &mut Vec<u8>) -> Option<usize> {
    let one = |into: &mut Vec<u8>, byte| {
        into.push(byte);
        Some(1)
    };
    match letter {
        b'x' => {
            let (value, count) = digits_of(more, 16, 1, 2)?;
            into.push(u8::try_from(value).ok()?);
            Some(1 + count)
        }
        b'u' if more.first() == Some(&b'{') => {
            let (code, count) = digits_of(&more[1..], 16, 1, 8)?;
            push(into, code)?;
            (more.get(1 + count) == Some(&b'}')).then_some(3 + count)
        }
        b'u' => {
            let (unit, _) = digits_of(more, 16, 4, 4)?;
            if !(0xd800..0xdc00).contains(&unit) {
                push(into, unit)?;
                return Some(5);
            }
            // The second half of a pair.
            let low = more.get(4..).and_then(|rest| rest.strip_prefix(b"\\u"))?;
            let (low, _) = digits_of(low, 16, 4, 4)?;
            let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
            push(into, 0x1_0000 + ((unit - 0xd800) << 10) + low)?;
            Some(11)
        }
        b'U' => {
            let (code, _) = digits_of(more, 16, 8, 8)?;
            push(into, code)?;
            Some(9)
        }
        b'0'..=b'7' => {
            let value = u32::from(letter - b'0');
            let (value, count) = digits_of(more, 8, 1, 2).map_or((value, 0), |(rest, count)| {
                (value << (3 * count) | rest, count)
            });
            into.push(u8::try_from(value & 255).ok()?);
            Some(1 + count)
        }
        b'n' => one(into, b'\n'),
        b'r' => one(into, b'\r'),
        b't' => one(into, b'\t'),
        b'a' => one(into, 7),
        b'b' => one(into, 8),
        b'v' => one(into, 11),
        b'f' => one(into, 12),
        b'e' => one(into, 27),
        // The line goes on.
        b'\n' => Some(1),
        b' ' => one(into, b' '),
        _ if letter.is_ascii_punctuation() => one(into, letter),
        _ => None,
    }
}

/// Names of ASCII's characters in HTML.
const ENTITIES: &[(&str, u8)] = &[
    ("quot;", b'"'),
    ("amp;", b'&'),
    ("lt;", b'<'),
    ("gt;", b'>'),
    ("apos;", b'\''),
    ("nbsp;", b' '),
    ("Tab;", b'\t'),
    ("NewLine;", b'\n'),
    ("excl;", b'!'),
    ("num;", b'#'),
    ("dollar;", b'$'),
    ("percnt;", b'%'),
    ("lpar;", b'('),
    ("rpar;", b')'),
    ("ast;", b'*'),
    ("midast;", b'*'),
    ("plus;", b'+'),
    ("comma;", b','),
    ("period;", b'.'),
    ("sol;", b'/'),
    ("colon;", b':'),
    ("semi;", b';'),
    ("equals;", b'='),
    ("quest;", b'?'),
    ("commat;", b'@'),
    ("lsqb;", b'['),
    ("lbrack;", b'['),
    ("bsol;", b'\\'),
    ("rsqb;", b']'),
    ("rbrack;", b']'),
    ("Hat;", b'^'),
    ("lowbar;", b'_'),
    ("grave;", b'`'),
    ("lcub;", b'{'),
    ("lbrace;", b'{'),
    ("verbar;", b'|'),
    ("vert;", b'|'),
    ("rcub;", b'}'),
    ("rbrace;", b'}'),
    ("quot", b'"'),
    ("amp", b'&'),
    ("lt", b'<'),
    ("gt", b'>'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_taken_back_with_what_stands_around_them() {
        for (text, expected) in [
            (r"a\x62\u0063\u{64}\U00000065\146g", "abcdefg"),
            (r#"\"\\n\/\$"#, "\"\\n/$"),
            (r"\ud83d\ude00!", "😀!"),
            ("a&quot;&#98;&#x63;&amp;", "a\"bc&"),
            ("a%62%u0063", "abc"),
            ("on\\\ne", "one"),
        ] {
            let found = without_escapes(text.as_bytes(), 100);
            assert_eq!(String::from_utf8_lossy(&found), expected, "{text}");
        }
        for text in ["", "plain", r"\d \ud83d 100% &copy; \U1"] {
            assert_eq!(without_escapes(text.as_bytes(), 100), b"", "{text}");
        }
        assert_eq!(without_quoting(b"p=61ss=\nword=3D", 100), b"password=");
        // Far from escapes there is nothing to take back.
        let far = [
            &[b'x'; 50][..],
            b"1\\n2",
            &[b'y'; 50],
            b"3\\t4",
            &[b'z'; 50],
        ]
        .concat();
        assert_eq!(without_escapes(&far, 3), b"xx1\n2yy\nyy3\t4zz");
    }

    #[test]
    fn text_of_bytes_is_read_from_wherever_it_begins() {
        let is_in = |found: &[Vec<u8>]| {
            let found = found.iter();
            found
                .clone()
                .any(|bytes| memchr::memmem::find(bytes, b"correct horse").is_some())
        };
        for text in [
            "key = Y29ycmVjdCBob3JzZQ==",
            "aKeyY29ycmVjdCBob3JzZQ==",
            "a Y29ycmVj\n  'dCBob3J'\n  \"zZQ\"",
            r"abY29ycmVj\ndCBob3JzZQ",
        ] {
            assert!(is_in(&base64(text.as_bytes())), "{text}");
        }
        for text in [
            "63:6F:72:72:65:63:74:20:68:6F:72:73:65",
            "0x63, 0x6f, 0x72, 0x72, 0x65, 0x63, 0x74, 0x20, 0x68, 0x6f, 0x72, 0x73, 0x65",
            "a636f72726563 7420686f727365",
        ] {
            assert!(is_in(&hexadecimal(text.as_bytes())), "{text}");
        }
        let numbers = b"[1, 99, 111,114,114,101,99,116,32,104,111,114,115,101]";
        assert!(is_in(&[decimal(numbers)]));
        for zeros in [&b"\0"[..], b"\0\0\0"] {
            let wide: Vec<u8> = b"correct horse"
                .iter()
                .flat_map(|byte| [&[*byte][..], zeros].concat())
                .collect();
            assert!(is_in(&[narrow(&wide)]));
        }
        assert!(
            base64(b"a few words, and no more")
                .iter()
                .all(Vec::is_empty)
        );
        let bytes = b"\x01short\x02\x03long enough to be it\xff\xfeshort";
        assert_eq!(texts(bytes), b"long enough to be it\n");
    }
}
