//! How a caller is connected to the container that it runs.

use std::time::Duration;

/// How the caller is connected to the container.
#[derive(Debug, Clone, Copy)]
pub struct Attach {
    /// Its output is shown, and signals are forwarded.
    pub foreground: bool,
    /// Standard input goes to it.
    pub interactive: bool,
    /// The tracebacks of a failed start are left out if the cause is printed.
    pub folded: bool,
    /// How long a client of a published port waits for a server that does not listen yet.
    pub patience: Duration,
}
