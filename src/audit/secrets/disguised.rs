//! Text as programs write it into other text: percent-encoded (RFC 3986, and forms of web pages), with the
//! escapes of JSON and programs, with HTML's character references, as hexadecimal digits.

/// What is read of one text, in bytes; a key is known by less.
const MOST: usize = 2048;

/// A text without such escapes. Where `has_plus`, a plus sign is a space, as in forms of web pages.
pub(super) fn plain(text: &[u8], has_plus: bool) -> Vec<u8> {
    let text = &text[..text.len().min(MOST)];
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let (letter, length) = match byte {
            b'%' => (digits(rest.get(1..3), 16), 3),
            b'\\' if rest.get(1) == Some(&b'x') => (digits(rest.get(2..4), 16), 4),
            b'\\' if rest.get(1) == Some(&b'u') => (digits(rest.get(2..6), 16), 6),
            b'&' => reference(rest).unwrap_or((None, 1)),
            b'+' if has_plus => (Some(b' '), 1),
            _ => (None, 1),
        };
        plain.push(letter.unwrap_or(byte));
        at += if letter.is_some() { length } else { 1 };
    }
    plain
}

/// The bytes of which these are the hexadecimal digits, as far as they are.
pub(super) fn of_hex(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(MOST)];
    text.chunks_exact(2)
        .map_while(|pair| digits(Some(pair), 16))
        .collect()
}

/// `&#45;` or `&#x2d;`: the letter and the length.
fn reference(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let end = text.iter().take(8).position(|byte| *byte == b';')?;
    let number = text[..end].strip_prefix(b"&#")?;
    let letter = match number.strip_prefix(b"x").or(number.strip_prefix(b"X")) {
        Some(hex) => digits(Some(hex), 16),
        None => digits(Some(number), 10),
    };
    Some((letter, end + 1))
}

fn digits(text: Option<&[u8]>, radix: u32) -> Option<u8> {
    let text = std::str::from_utf8(text?).ok()?;
    u8::from_str_radix(text, radix).ok().filter(u8::is_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_programs_write_is_read() {
        for (text, expected) in [
            ("%2D%2dA%20B%0a", "--A B\n"),
            ("50%; a%zz", "50%; a%zz"),
            (r"\u002d\x2d\n", "--\\n"),
            ("&#45;&#x2D;&amp;&#999;&#", "--&amp;&#999;&#"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(plain(text.as_bytes(), false), expected.as_bytes(), "{text}");
        }
        assert_eq!(plain(b"a+b%2Bc", true), b"a b+c");
        assert_eq!(of_hex(b"2d2D41zz"), b"--A");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (plain(&bytes, true), of_hex(&bytes));
        }
    }
}
