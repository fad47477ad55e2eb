//! What can go wrong with a layer.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::progress::shown;

/// Paths are shown quoted and escaped: they come from archives, and end on terminals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A system call on a file of this machine failed.
    #[error("cannot {action} {}: {source}", quoted(path))]
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
    /// The incoming stream is not a tar archive, or one that programs read differently.
    #[error("the layer is not a valid tar archive: {problem} (at byte {offset})")]
    Malformed { problem: String, offset: u64 },
    /// One entry of the incoming stream asks for something that is never done.
    #[error("the layer's entry {} is refused: {problem}", quoted(path))]
    Refused { path: PathBuf, problem: String },
    /// The incoming stream is larger than allowed.
    #[error("the layer has more than {limit} {unit}, which is the limit")]
    Limit { limit: u64, unit: &'static str },
    /// What is to be written is more than a build may write.
    #[error("the {what} is larger than {limit} bytes, which is the limit of a {what}")]
    TooLarge { limit: u64, what: &'static str },
    /// The file system has too little room for what is unpacked.
    #[error(
        "there is no room for the layer: {free} bytes are free, and {reserve} are to stay free"
    )]
    NoSpace { free: u64, reserve: u64 },
    /// The process was asked to end while it wrote the layer.
    #[error("interrupted while a layer was written")]
    Interrupted,
    /// Writing took longer than a step of the build may.
    #[error("a layer was not written within the time limit")]
    TimedOut,
    /// A file is not what it was when it was looked at.
    #[error("{} changed while it was read", quoted(path))]
    Changed { path: PathBuf },
    /// An entry that cannot stand in a layer.
    #[error("{} cannot be written into a layer: {problem}", quoted(path))]
    Entry { path: PathBuf, problem: String },
}

/// A name from an archive, fit for a terminal.
pub(super) fn quoted(name: impl AsRef<OsStr>) -> String {
    format!("`{}`", shown(&name.as_ref().to_string_lossy()))
}

impl LayerError {
    pub(crate) fn io(
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
