//! How the library says what it is doing, without printing.
//!
//! The command line implements [`Progress`]; tests use [`NoProgress`].

mod text;

pub use text::{json, largest_unit, one_line, printable, shown, without_logins};

/// The unit of [`Progress::passing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Things,
}

/// Receives what happens, from any thread.
pub trait Progress: Sync {
    /// A step begins: one of the known lines of a build
    /// (`---> Installing application source`).
    fn step(&self, line: &str);

    /// A warning: the work continues.
    fn warning(&self, text: &str);

    /// A line that a program inside the sandbox printed, without its line feed.
    fn output(&self, line: &str);

    /// The progress of a transfer: `what` names it ("layer 3f0c…"), `total` is set if it is known.
    fn moved(&self, what: &str, done: u64, total: Option<u64>);

    /// The progress of counted items: "installing packages", 12 of 166.
    fn counted(&self, _what: &str, _done: u64, _total: u64) {}

    /// The same for work that is usually short: a terminal shows it, and without a terminal a line is printed only
    /// if it takes long. It has ended when `done` is `total`.
    fn passing(&self, _what: &str, _done: u64, _total: u64, _unit: Unit) {}

    /// The present work within a step, for a terminal. No line is printed for it.
    fn doing(&self, _what: &str) {}

    /// A line of a program outside the sandbox, for an output with all details.
    fn detail(&self, _line: &str) {}
}

/// Prints nothing.
pub struct NoProgress;

impl Progress for NoProgress {
    fn step(&self, _line: &str) {}
    fn warning(&self, _text: &str) {}
    fn output(&self, _line: &str) {}
    fn moved(&self, _what: &str, _done: u64, _total: Option<u64>) {}
}

/// Bytes for people: `512 B`, `1.5 kB`, `34.2 MB` (powers of 1000, as docker and podman count).
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn human_size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    for unit in ["kB", "MB", "GB"] {
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}
