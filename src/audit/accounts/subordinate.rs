//! `/etc/subuid` and `/etc/subgid` (subuid(5), subgid(5)): which ids a user may map into a user namespace.

use super::{lines, lossy, strict_decimal};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub line: usize,
    /// A name or a number.
    pub owner: String,
    /// It holds 0, or its numbers cannot be read.
    pub holds_root: bool,
}

/// Reads the file; root's own ranges are left out.
pub fn parse(bytes: &[u8]) -> Vec<Range> {
    lines(bytes)
        .filter_map(|(line, text)| {
            let fields: Vec<&[u8]> = text
                .split(|&byte| byte == b':')
                .map(<[u8]>::trim_ascii)
                .collect();
            let owner = lossy(fields[0]);
            if owner == "root" || owner == "0" {
                return None;
            }
            let number = |at: usize| fields.get(at).and_then(|field| strict_decimal(field));
            let holds_root = match (number(1), number(2)) {
                (Some(_), Some(0)) => false,
                (Some(start), Some(count)) => {
                    // Past the last id it begins again.
                    start == 0 || start.checked_add(count - 1).is_none()
                }
                _ => true,
            };
            Some(Range {
                line,
                owner,
                holds_root,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_that_hold_root() {
        for (text, holds) in [
            ("app:0:1", Some(true)),
            ("1001:0:65536", Some(true)),
            ("app:4294967290:100", Some(true)),
            ("app:00:1", Some(true)),
            ("app:x", Some(true)),
            ("app:100000:65536", Some(false)),
            ("app:0:0", Some(false)),
            ("root:0:65536", None),
            ("# app:0:1", None),
        ] {
            let found = parse(text.as_bytes());
            assert_eq!(found.first().map(|range| range.holds_root), holds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
