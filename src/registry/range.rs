//! Ranges of bytes, as registries say them: of a download (RFC 9110, section 14.4) and of an upload that
//! is under way (distribution-spec, "Pushing a blob in chunks").

/// `bytes 100-199/200` → 100.
pub(crate) fn first(range: &str) -> Option<u64> {
    let range = range.trim().strip_prefix("bytes")?.trim();
    let (range, _) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first)
}

/// `bytes 0-0/1000` or `bytes */1000` → 1000 bytes in all (RFC 9110, section 14.4).
pub(crate) fn total(range: &str) -> Option<u64> {
    let (_, total) = range.trim().strip_prefix("bytes")?.split_once('/')?;
    total.trim().parse().ok()
}

/// `0-99` or `bytes=0-99` → 100 bytes are there. With `0-0`, registries mean no byte at all.
pub(crate) fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    match (first, last) {
        ("0", 0) => Some(0),
        ("0", last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_uploads_range_is_read() {
        for (range, expected) in [
            ("0-0", Some(0)),
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("5-99", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(received(range), expected, "{range:?}");
        }
    }

    #[test]
    fn a_downloads_range_is_read() {
        for (range, expected) in [
            ("bytes 100-199/200", Some(100)),
            ("bytes 0-0/1", Some(0)),
            ("bytes 5-9/*", Some(5)),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes -5/10", None),
            ("lines 1-2/3", None),
            ("", None),
        ] {
            assert_eq!(first(range), expected, "{range:?}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_read_or_refused(range in "\\PC{0,30}") {
            let _ = (first(&range), received(&range));
        }
    }
}
