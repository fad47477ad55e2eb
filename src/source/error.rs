//! What can go wrong with a source tree, with the remedy in the text.

use std::io;
use std::path::{Path, PathBuf};

/// Why a source tree could not be read or copied.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{} is not a directory that can be read: {source}", path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error("could not {doing} `{}`: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "`{}` cannot be read: permission denied; make it readable (`chmod u+r`, for a directory `u+rx`), or name it in .s2iignore if the app does not need it",
        path.display()
    )]
    Unreadable { path: PathBuf },
    #[error(
        "`{}` is a link to `{}`, which lies outside of the source and would be missing in the image: copy what it points to, or name the link in .s2iignore",
        path.display(), target.display()
    )]
    LinkLeadsOut { path: PathBuf, target: PathBuf },
    #[error(
        "`{}` is a link to `{}`, a path of this machine: make it relative (`ln -snr`), or name the link in .s2iignore",
        path.display(), target.display()
    )]
    LinkIsLocal { path: PathBuf, target: PathBuf },
    #[error("`{}` changed while it was being read; try again when nothing writes to the source", path.display())]
    Changed { path: PathBuf },
    #[error("the ignore file `{}` has {size} bytes, more than the {limit} allowed", path.display())]
    IgnoreFileTooLarge {
        path: PathBuf,
        size: u64,
        limit: u64,
    },
    #[error("line {line} of `{}` is not a pattern: {problem}", path.display())]
    Pattern {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("`{}` has {size} bytes, more than the {limit} allowed", path.display())]
    TooLarge {
        path: PathBuf,
        size: u64,
        limit: u64,
    },
    #[error("git said no to `git {command}` in {}: {message}", path.display())]
    Git {
        command: String,
        path: PathBuf,
        message: String,
    },
    #[error("could not keep the index of file hashes: {0}")]
    Store(#[from] crate::store::StoreError),
}

impl SourceError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Unreadable {
                path: path.to_owned(),
            },
            _ => Self::Io {
                doing,
                path: path.to_owned(),
                source,
            },
        }
    }
}
