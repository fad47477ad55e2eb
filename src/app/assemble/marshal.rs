//! Rewrites a serialized code object (Python's `marshal`, the body of a `.pyc` file) to a form that
//! depends on its source alone.
//!
//! `marshal` marks every object that had more than one owner when it was written (`FLAG_REF`), so
//! that a later part can refer to it by number. How many owners a string or a number has depends
//! on what else the interpreter has seen; which objects are in fact referred to does not. This
//! module removes the unused marks and numbers the others again.
//!
//! `marshal` also records whether a string was interned. A string of one character exists once in the
//! whole interpreter, so another file may have interned one that this file only mentions. Here such a
//! string counts as not interned unless it is a name; a code object interns its names when it is
//! loaded, whatever the file says. Lengths and positions do not change.
//!
//! The format is that of `Python/marshal.c`, versions 4 and 5, as `CPython` 3.7 to 3.14 write it.

/// The mark of an object that can be referred to.
const FLAG_REF: u8 = 0x80;

/// Strings that were interned: of any characters, and of up to 255 of ASCII.
const INTERNED: u8 = b't';
const SHORT_ASCII_INTERNED: u8 = b'Z';

/// As deep as `marshal` itself goes.
const MAX_DEPTH: u32 = 2000;

/// What a code object consists of; it differs between releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Numbers of four bytes before the first object.
    numbers: usize,
    /// Objects up to the number of the first line.
    objects: usize,
    /// Objects after it.
    tables: usize,
}

impl Layout {
    /// The layout of `CPython` 3.MINOR, if `compile.py` lists that release as known.
    pub(super) fn of(minor: u8) -> Option<Self> {
        let (numbers, objects, tables) = match minor {
            7 => (5, 8, 1),
            8..=10 => (6, 8, 1),
            11 | 13 => (5, 8, 2),
            _ => return None,
        };
        Some(Self {
            numbers,
            objects,
            tables,
        })
    }
}

/// Changes the bytes in place. Returns false, and changes nothing, if they are malformed.
pub(super) fn normalize(code: &mut [u8], layout: Layout) -> bool {
    let mut walk = Walk {
        bytes: code,
        at: 0,
        layout,
        marked: Vec::new(),
        references: Vec::new(),
        characters: Vec::new(),
    };
    if walk.object(0).is_none() || walk.at != walk.bytes.len() {
        return false;
    }
    let Walk {
        marked,
        references,
        characters,
        ..
    } = walk;
    for position in characters {
        let byte = code[position];
        let plain = match byte & !FLAG_REF {
            INTERNED => b'u',
            SHORT_ASCII_INTERNED => b'z',
            other => other,
        };
        code[position] = plain | byte & FLAG_REF;
    }
    let mut numbers: Vec<Option<u32>> = vec![None; marked.len()];
    for (_, number) in &references {
        numbers[*number] = Some(0);
    }
    let mut next = 0;
    for (number, position) in numbers.iter_mut().zip(&marked) {
        if number.is_some() {
            *number = Some(next);
            next += 1;
        } else {
            code[*position] &= !FLAG_REF;
        }
    }
    for (position, number) in references {
        let number = numbers[number].unwrap_or_default();
        code[position..position + 4].copy_from_slice(&number.to_le_bytes());
    }
    true
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    layout: Layout,
    /// Where the objects that can be referred to begin, by their numbers.
    marked: Vec<usize>,
    /// The position of a number, and the number.
    references: Vec<(usize, usize)>,
    /// Where strings begin whose one character cannot be in a name.
    characters: Vec<usize>,
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<i32> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(4)?)?;
        self.at += 4;
        Some(i32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// The bytes of a string that begins at `start`.
    fn string(&mut self, start: usize, length: usize) -> Option<()> {
        let text = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        let mut characters = std::str::from_utf8(text).unwrap_or_default().chars();
        if let (Some(only), None) = (characters.next(), characters.next())
            && !(only.is_ascii_alphanumeric() || only == '_')
        {
            self.characters.push(start);
        }
        self.skip(length)
    }

    fn objects(&mut self, count: usize, depth: u32) -> Option<()> {
        for _ in 0..count {
            self.object(depth)?;
        }
        Some(())
    }

    fn object(&mut self, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let depth = depth + 1;
        let start = self.at;
        let byte = self.byte()?;
        if byte & FLAG_REF != 0 {
            self.marked.push(start);
        }
        match byte & !FLAG_REF {
            b'N' | b'F' | b'T' | b'S' | b'.' => Some(()),
            b'i' => self.skip(4),
            b'I' | b'g' => self.skip(8),
            b'y' => self.skip(16),
            // Digits of 15 bits; the sign is the length's.
            b'l' => {
                let digits = usize::try_from(self.number()?.unsigned_abs()).ok()?;
                self.skip(digits.checked_mul(2)?)
            }
            b's' | INTERNED | b'u' | b'a' | b'A' => {
                let length = self.length()?;
                self.string(start, length)
            }
            b'z' | SHORT_ASCII_INTERNED | b'f' => {
                let length = self.byte()?;
                self.string(start, length.into())
            }
            b'r' => {
                let position = self.at;
                let number = self.length()?;
                if number >= self.marked.len() {
                    return None;
                }
                self.references.push((position, number));
                Some(())
            }
            b')' => {
                let count = self.byte()?;
                self.objects(count.into(), depth)
            }
            b'(' | b'[' | b'<' | b'>' => {
                let count = self.length()?;
                self.objects(count, depth)
            }
            b':' => self.objects(3, depth),
            b'c' => {
                self.skip(self.layout.numbers * 4)?;
                self.objects(self.layout.objects, depth)?;
                self.skip(4)?;
                self.objects(self.layout.tables, depth)
            }
            // A code object has neither dictionaries nor the numbers of old formats.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        numbers: 0,
        objects: 1,
        tables: 1,
    };

    /// A tuple of 4 with some marks.
    fn tuple(marks: [u8; 5], reference: u8) -> Vec<u8> {
        let mut bytes = vec![b')' | marks[0], 4];
        bytes.extend([b'Z' | marks[1], 1, b'a']);
        bytes.extend([b'i' | marks[2], 7, 0, 0, 0]);
        bytes.extend([b'z' | marks[3], 1, b'b']);
        bytes.extend([b'r', reference, 0, 0, 0]);
        bytes
    }

    #[test]
    fn marks_that_nobody_refers_to_go() {
        let expected = tuple([0, 0, 0x80, 0, 0], 0);
        for (marks, reference) in [
            ([0x80, 0x80, 0x80, 0x80, 0], 2),
            ([0, 0x80, 0x80, 0, 0], 1),
            ([0x80, 0, 0x80, 0x80, 0], 1),
            ([0, 0, 0x80, 0, 0], 0),
        ] {
            let mut bytes = tuple(marks, reference);
            assert!(normalize(&mut bytes, LAYOUT));
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn a_code_object_is_its_parts() {
        let mut bytes = vec![
            b'c' | FLAG_REF,
            b'N',
            1,
            2,
            3,
            4,
            b's' | FLAG_REF,
            0,
            0,
            0,
            0,
        ];
        assert!(normalize(&mut bytes, LAYOUT));
        assert_eq!((bytes[0], bytes[6]), (b'c', b's'));
    }

    #[test]
    fn characters_that_are_no_names_are_not_interned() {
        for (text, expected) in [
            (&b"Z\x01{"[..], &b"z\x01{"[..]),
            (b"z\x01{", b"z\x01{"),
            (b"Z\x01a", b"Z\x01a"),
            (b"Z\x01_", b"Z\x01_"),
            (b"Z\x02{}", b"Z\x02{}"),
            (b"t\x02\0\0\0\xc3\xa9", b"u\x02\0\0\0\xc3\xa9"),
            (b"s\x01\0\0\0{", b"s\x01\0\0\0{"),
        ] {
            let mut bytes = text.to_vec();
            assert!(normalize(&mut bytes, LAYOUT));
            assert_eq!(bytes, expected);
        }
        // It is referred to.
        let mut bytes = [&[b')', 2][..], &[b'Z' | FLAG_REF, 1, b'{'], b"r\0\0\0\0"].concat();
        assert!(normalize(&mut bytes, LAYOUT));
        assert_eq!(bytes[2], b'z' | FLAG_REF);
    }

    #[test]
    fn what_is_no_code_is_left_alone() {
        let deep = [b')' | FLAG_REF, 1].repeat(3000);
        for bad in [
            &b""[..],
            b"\xe9",
            b"N\xce",
            b"r\0\0\0\0",
            b"(\xff\xff\xff\xff",
            b"(\xff\xff\xff\x7f",
            b"s\xff\xff\xff\x7f",
            b"l\0\0\0\x80",
            b"\xfb",
            &deep,
        ] {
            let mut bytes = bad.to_vec();
            assert!(!normalize(&mut bytes, LAYOUT), "{bad:?}");
            assert_eq!(bytes, bad);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(0u8.., 0..200)) {
            normalize(&mut bytes, LAYOUT);
        }
    }
}
