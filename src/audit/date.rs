//! A calendar day, for exceptions that expire.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

/// A day, as `2026-12-31`; days compare as they follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day of a time, in UTC.
    pub fn of(time: SystemTime) -> Option<Self> {
        let text = humantime::format_rfc3339_seconds(time).to_string();
        text.get(..10)?.parse().ok()
    }
}

impl FromStr for Date {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Result<u16, ()> {
            let digits = bytes.get(from..to).ok_or(())?;
            if !digits.iter().all(u8::is_ascii_digit) {
                return Err(());
            }
            text.get(from..to).ok_or(())?.parse().map_err(|_| ())
        };
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(());
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(()),
        };
        if !(1..=days).contains(&day) {
            return Err(());
        }
        Ok(Self {
            year,
            month: u8::try_from(month).map_err(|_| ())?,
            day: u8::try_from(day).map_err(|_| ())?,
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:04}-{:02}-{:02}",
            self.year, self.month, self.day
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_calendar() {
        for (text, good) in [
            ("2026-12-31", true),
            ("2024-02-29", true),
            ("2025-02-29", false),
            ("2000-02-29", true),
            ("1900-02-29", false),
            ("2026-13-01", false),
            ("2026-00-01", false),
            ("2026-04-31", false),
            ("2026-1-1", false),
            ("2026-12-31x", false),
            ("+026-12-31", false),
            ("", false),
        ] {
            let date: Result<Date, ()> = text.parse();
            assert_eq!(date.is_ok(), good, "{text}");
            if let Ok(date) = date {
                assert_eq!(date.to_string(), text);
            }
        }
        let day = |text: &str| text.parse::<Date>().unwrap();
        assert!(day("2025-12-31") < day("2026-01-01"));
        assert_eq!(Date::of(SystemTime::UNIX_EPOCH), Some(day("1970-01-01")));
    }
}
