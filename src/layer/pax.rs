//! PAX extended headers (POSIX.1-2017, `pax`, "pax Extended Header"): records `LEN KEY=VALUE\n`.

/// One record, borrowed from the header's bytes.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// Splits the body of an extended header into its records; any slack is an error.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes
            .iter()
            .take(20)
            .position(|&byte| byte == b' ')
            .ok_or("a PAX record has no length")?;
        let length: usize =
            decimal(&bytes[..space]).ok_or("a PAX record's length is not a number")?;
        if length <= space + 1 || length > bytes.len() {
            return Err("a PAX record's length is wrong");
        }
        let (record, rest) = bytes.split_at(length);
        let body = record[space + 1..]
            .strip_suffix(b"\n")
            .ok_or("a PAX record has no newline at its end")?;
        let equals = body
            .iter()
            .position(|&byte| byte == b'=')
            .ok_or("a PAX record has no `=`")?;
        if equals == 0 {
            return Err("a PAX record has no key");
        }
        records.push((&body[..equals], &body[equals + 1..]));
        bytes = rest;
    }
    Ok(records)
}

/// Appends one record.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3; // space, equals sign, newline
    let mut length = rest + 1;
    while rest + digits(length) != length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// A number without sign or blanks.
pub(super) fn decimal<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A time as PAX writes it: `-12.345` is 13 seconds before 1970 and 655 ms.
pub(super) fn time(bytes: &[u8]) -> Option<(i64, u32)> {
    let (negative, bytes) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let mut parts = bytes.splitn(2, |&byte| byte == b'.');
    let seconds: i64 = decimal(parts.next()?)?;
    let mut nanos = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for index in 0..9 {
            let digit = fraction.get(index).map_or(0, |byte| u32::from(byte - b'0'));
            nanos = nanos * 10 + digit;
        }
    }
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_that_do_not_add_up_are_refused() {
        for (bytes, good) in [
            (&b""[..], true),
            (b"9 a=bcde\n", true),
            (b"6 a=b\n", true),
            (b"6 a=b\n6 c=d\n", true),
            (b"5 a=\n", true),
            (b"6 a=b", false),
            (b"7 a=b\n", false),
            (b"5 a=b\n", false),
            (b"6 =ab\n", false),
            (b"6 abc\n", false),
            (b"+6 a=b\n", false),
            (b"0 a=b\n", false),
            (b"a=b\n", false),
            (b"99999999999999999999 a=b\n", false),
            (b"18446744073709551615 a=b\n", false),
            (b"6 a=b\n\0\0\0", false),
        ] {
            assert_eq!(parse(bytes).is_ok(), good, "{:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-12.345", Some((-13, 655_000_000))),
            ("-3", Some((-3, 0))),
            ("", None),
            ("-", None),
            ("--1", None),
            ("1.x", None),
            ("1e9", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_parsed(
            records in prop::collection::vec(("[a-zA-Z.]{1,120}", prop::collection::vec(any::<u8>(), 0..1200)), 0..5)
        ) {
            let mut bytes = Vec::new();
            for (key, value) in &records {
                push(&mut bytes, key.as_bytes(), value);
            }
            let parsed = parse(&bytes).unwrap();
            prop_assert_eq!(parsed.len(), records.len());
            for ((key, value), (k, v)) in records.iter().zip(parsed) {
                prop_assert_eq!(key.as_bytes(), k);
                prop_assert_eq!(&value[..], v);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = time(&bytes);
        }
    }
}
