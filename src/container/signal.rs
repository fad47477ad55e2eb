//! Signals by name and number, as `StopSignal` and `--signal` write them.

use rustix::process::Signal;

/// The default stop signal.
pub(super) const TERM: i32 = 15;

const NAMES: [(&str, i32); 17] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", TERM),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("WINCH", 28),
    ("PWR", 30),
];

/// Reads `SIGTERM`, `TERM` or `15`. Real-time signals are not supported; only systemd as pid 1 uses them.
pub fn parse(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<i32>() {
        return named(number).map(Signal::as_raw);
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// The signal of that number.
pub(super) fn named(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("sigint", Some(2)),
            ("9", Some(9)),
            ("SIGRTMIN+3", None),
            ("0", None),
            ("65", None),
            ("", None),
            ("SIG", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
