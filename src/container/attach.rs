//! How a caller is connected to the container that it runs.

use std::time::Duration;

/// How the caller is connected to the container.
#[derive(Debug, Clone, Copy)]
pub struct Attach {
    /// What it prints is shown, signals are forwarded.
    pub foreground: bool,
    /// Standard input goes to it.
    pub interactive: bool,
    /// The tracebacks of a start that failed are left out where the cause is told.
    pub folded: bool,
    /// How long a client of a published port waits for a server that is not there (yet).
    pub patience: Duration,
}
