//! Text as it was before it was wrapped or percent-encoded, piece by piece.

use std::borrow::Cow;

/// What is left out of text before base64 is looked for in it: white space, quotation marks, and
/// the line ends of string literals.
#[derive(Default)]
pub(super) struct Unwrapper {
    backslash: bool,
}

impl Unwrapper {
    pub(super) fn feed(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        for &byte in bytes {
            let escaped = std::mem::replace(&mut self.backslash, byte == b'\\');
            match byte {
                b'\n' | b'\r' | b' ' | b'\t' | b'"' | b'\'' | b'\\' => {}
                b'n' | b'r' if escaped => {}
                _ => into.push(byte),
            }
        }
    }
}

/// The same of a whole text.
pub(super) fn joined(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    Unwrapper::default().feed(bytes, &mut text);
    text
}

/// Takes percent-encoding back, also where a piece ends within one.
#[derive(Default)]
pub(super) struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    pub(super) fn feed<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.pending.is_empty() && !bytes.contains(&b'%') {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 2);
        for &byte in bytes {
            match (self.pending.len(), byte) {
                (0, b'%') => self.pending.push(byte),
                (0, _) => out.push(byte),
                (1, _) if byte.is_ascii_hexdigit() => self.pending.push(byte),
                (2, _) if byte.is_ascii_hexdigit() => {
                    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
                    let value = digit(self.pending[1]) * 16 + digit(byte);
                    out.push(u8::try_from(value).unwrap_or(0));
                    self.pending.clear();
                }
                _ => {
                    out.append(&mut self.pending);
                    if byte == b'%' {
                        self.pending.push(byte);
                    } else {
                        out.push(byte);
                    }
                }
            }
        }
        Cow::Owned(out)
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}
