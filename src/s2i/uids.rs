//! `--allowed-uids`: which users may run.

use std::fmt;

/// Ranges of uids, each inclusive: `1-`, `1-10001`, `5`, `-100`, or a comma-separated list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUids {
    text: String,
    ranges: Vec<(u32, u32)>,
}

/// What is wrong with an image's or a script's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No user is given, which means root.
    Empty,
    /// A name, whose number the image could change.
    NotNumeric,
    /// A number outside of the ranges.
    OutOfRange(u32),
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("it names no user, which means root"),
            Self::NotNumeric => {
                formatter.write_str("it is a name, and only a number can be checked")
            }
            Self::OutOfRange(uid) => {
                write!(formatter, "uid {uid} is outside of the allowed ranges")
            }
        }
    }
}

impl AllowedUids {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut ranges = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                text.parse::<u32>()
                    .ok()
                    .filter(|_| digits)
                    .ok_or_else(|| format!("`{text}` is not a uid"))
            };
            let range = match part.split_once('-') {
                None => {
                    let uid = number(part)?;
                    (uid, uid)
                }
                Some(("", "")) => return Err("`-` is not a range".into()),
                Some((first, "")) => (number(first)?, u32::MAX - 1),
                Some(("", last)) => (0, number(last)?),
                Some((first, last)) => (number(first)?, number(last)?),
            };
            if range.0 > range.1 {
                return Err(format!("`{part}` ends before it begins"));
            }
            ranges.push(range);
        }
        if ranges.is_empty() {
            return Err("there is no range in it".into());
        }
        Ok(Self {
            text: text.trim().to_owned(),
            ranges,
        })
    }

    pub fn contains(&self, uid: u32) -> bool {
        self.ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&uid))
    }

    /// Checks the `USER` of an image's configuration: `1001`, `1001:0`, `app`, or nothing.
    pub fn check(&self, user: &str) -> Result<(), Refused> {
        let user = user.split(':').next().unwrap_or_default().trim();
        if user.is_empty() {
            return Err(Refused::Empty);
        }
        if !user.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refused::NotNumeric);
        }
        match user.parse::<u32>() {
            Ok(uid) if self.contains(uid) => Ok(()),
            Ok(uid) => Err(Refused::OutOfRange(uid)),
            Err(_) => Err(Refused::NotNumeric),
        }
    }
}

impl fmt::Display for AllowedUids {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_say() {
        for (text, user, expected) in [
            ("1-", "1001", Ok(())),
            ("1-", "1001:0", Ok(())),
            ("1-", "0", Err(Refused::OutOfRange(0))),
            ("1-", "00", Err(Refused::OutOfRange(0))),
            ("1-", "", Err(Refused::Empty)),
            ("1-", ":0", Err(Refused::Empty)),
            ("1-", "app", Err(Refused::NotNumeric)),
            ("1-", "-1", Err(Refused::NotNumeric)),
            ("1-", "99999999999", Err(Refused::NotNumeric)),
            ("5,10-20", "5", Ok(())),
            ("5,10-20", "15", Ok(())),
            ("5,10-20", "6", Err(Refused::OutOfRange(6))),
            ("-100", "0", Ok(())),
        ] {
            let allowed = AllowedUids::parse(text).unwrap();
            assert_eq!(allowed.check(user), expected, "{text} {user}");
        }
        for bad in ["", "-", "a", "5-1", "1-2-3", "+1", "1;2", "4294967296"] {
            assert!(AllowedUids::parse(bad).is_err(), "{bad}");
        }
    }
}
