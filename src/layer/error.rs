//! What can go wrong with a layer.

use std::io;
use std::path::{Path, PathBuf};

/// Paths are shown quoted and escaped: they come from archives, and end on terminals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A system call on a file of this machine failed.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// The incoming stream ended early, is corrupt, or its source failed.
    #[error("the layer cannot be read: {source}")]
    Read { source: io::Error },
    /// The outgoing stream's destination failed.
    #[error("the layer cannot be written: {source}")]
    Output { source: io::Error },
    /// The incoming stream is no tar archive, or one that programs read differently.
    #[error("the layer is not a valid tar archive: {problem} (at byte {offset})")]
    Malformed { problem: String, offset: u64 },
    /// One entry of the incoming stream asks for something that is never done.
    #[error("the layer's entry {path:?} is refused: {problem}")]
    Refused { path: PathBuf, problem: String },
    /// The incoming stream is larger than allowed.
    #[error("the layer has more than {limit} {unit}, which is the limit")]
    Limit { limit: u64, unit: &'static str },
    /// A file is not what it was when it was looked at.
    #[error("{path:?} changed while it was read")]
    Changed { path: PathBuf },
    /// An entry that cannot stand in a layer.
    #[error("{path:?} cannot be written into a layer: {problem}")]
    Entry { path: PathBuf, problem: String },
}

impl LayerError {
    pub(super) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        }
    }

    pub(super) fn refused(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Refused {
            path: path.as_ref().to_owned(),
            problem: problem.into(),
        }
    }

    pub(super) fn entry(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::Entry {
            path: path.as_ref().to_owned(),
            problem: problem.into(),
        }
    }
}
