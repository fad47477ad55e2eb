//! What a transfer tells its caller. Nothing here prints.

use std::time::Duration;

use crate::oci::Digest;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a registry or a file into the store.
    In,
    /// Out of the store.
    Out,
}

/// How a blob got to where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// Its bytes went over the wire.
    Transferred,
    /// It was there already.
    Existing,
    /// The registry took it from another of its repositories.
    Mounted,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A blob's transfer begins.
    Start {
        digest: &'a Digest,
        size: u64,
        direction: Direction,
    },
    /// This many of its bytes are through by now (counted from its beginning; a retry may count back).
    Advance { digest: &'a Digest, bytes: u64 },
    /// A blob is done.
    Done {
        digest: &'a Digest,
        outcome: Transfer,
    },
    /// Something failed that may pass; it is tried again after `wait`.
    Retry {
        what: &'a str,
        reason: &'a str,
        wait: Duration,
    },
    /// Nothing has come from the other side for so long; the wait goes on.
    Quiet { what: &'a str, waited: Duration },
    /// What the user should know although the work goes on.
    Warning(&'a str),
}

/// Receives events, from several threads.
pub trait TransferListener: Sync {
    fn event(&self, event: &Event<'_>);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl TransferListener for Silent {
    fn event(&self, _event: &Event<'_>) {}
}
