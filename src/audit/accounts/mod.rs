//! The files that decide which user may become which other user: passwd, shadow, group, sudoers,
//! doas.conf, PAM's, nsswitch.conf, subordinate ids.
//!
//! Pure functions: they read bytes as the programs of the image would. Where programs differ, the
//! reading that gives an attacker the most counts. Content that no program should have to read is
//! reported as odd, never skipped silently.

pub(super) mod crypt;
pub mod doas;
pub mod group;
pub mod name_service;
pub mod pam;
pub mod pam_files;
#[cfg(test)]
mod pam_tests;
pub mod passwd;
pub mod shadow;
pub mod subordinate;
pub mod sudo_conf;
pub mod sudo_defaults;
pub mod sudoers;
#[cfg(test)]
mod sudoers_tests;
mod yescrypt;

/// A number as written in a field of passwd or group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// Decimal digits without sign, blank or leading zero, at most 2³²−2.
    Plain(u32),
    /// Anything else. Programs differ about it: runc takes text for 0, musl wraps 4294967296 to 0,
    /// glibc takes signs and blanks.
    Odd(String),
}

impl Id {
    pub(crate) fn parse(field: &[u8]) -> Self {
        match strict_decimal(field) {
            Some(value) => Self::Plain(value),
            None => Self::Odd(super::paths::text(field)),
        }
    }

    /// Whether some program reads it as `value`.
    pub fn may_be(&self, value: u32) -> bool {
        match self {
            Self::Plain(own) => *own == value,
            Self::Odd(_) => value == 0,
        }
    }
}

/// Decimal digits only, no leading zero (but for `0` itself), at most 2³²−2: system calls read
/// 2³²−1 as "do not change".
pub(crate) fn strict_decimal(field: &[u8]) -> Option<u32> {
    let leading_zero = field.len() > 1 && field[0] == b'0';
    if field.is_empty() || leading_zero || !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u32 = std::str::from_utf8(field).ok()?.parse().ok()?;
    (value != u32::MAX).then_some(value)
}

/// The lines that are not empty, with their numbers from 1.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_ascii_start()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_numbers() {
        for (field, expected) in [
            ("0", Some(0)),
            ("1001", Some(1001)),
            ("4294967294", Some(4_294_967_294)),
            ("4294967295", None),
            ("4294967296", None),
            ("00", None),
            ("01001", None),
            ("+1", None),
            ("-1", None),
            (" 1", None),
            ("1 ", None),
            ("0x0", None),
            ("١", None),
            ("", None),
        ] {
            assert_eq!(strict_decimal(field.as_bytes()), expected, "{field}");
        }
        assert!(Id::parse(b"text").may_be(0));
        assert!(!Id::parse(b"1").may_be(0));
    }
}
