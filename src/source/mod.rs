//! Where an application's files come from: which of them count, what they are, and copies of them.
//!
//! ```text
//! collect: walk (`beneath`) ─► rules (`rules`) ─► what git knows (`git`) ─► Tree
//! Tree:    digest (`digest`, with the memory of `index`) · stage (`stage`) · read · subset
//! ```
//!
//! Here: directories. A git URL or an archive, when they come, are fetched into a scratch directory
//! and collected from there, each in a file of its own beside `collect`. Not here: what the files
//! mean (`app`), layers (`layer`).
//!
//! **What counts for the digest** is what reaches an image: paths, kinds, contents, whether the owner
//! may execute, link targets. Times, owners, the umask and the order in a directory do not count.
//! What [`Tree::stage`] copies is what was hashed, or an error.

mod beneath;
mod collect;
mod digest;
mod error;
mod git;
mod index;
mod remote;
mod rules;
mod secrets;
mod stage;
mod tree;

use std::path::PathBuf;

pub use collect::{CollectOptions, collect};
pub use error::SourceError;
pub use index::StatIndex;
pub use tree::Tree;

/// One file, directory or link of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// Relative to the source's root; not necessarily UTF-8.
    pub path: PathBuf,
    pub kind: SourceKind,
    /// Whether git knows it.
    pub tracked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    Directory,
    File {
        size: u64,
        /// The owner may execute it.
        executable: bool,
    },
    Symlink(PathBuf),
}

/// What stays out of the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub files: u64,
    pub bytes: u64,
    /// The topmost paths (a directory stands for all below it), and which rule left them out.
    pub paths: Vec<(PathBuf, String)>,
}

/// The commit that the source was checked out from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub id: String,
    /// `Name <mail>`.
    pub author: String,
    /// The committer's time, in seconds since 1970.
    pub time: i64,
    /// The subject line.
    pub message: String,
    /// The branch, when one is checked out.
    pub reference: Option<String>,
    /// Whether the image's files differ from the commit's: a tracked file was changed or deleted, or
    /// a file that git does not know is in the image.
    pub dirty: bool,
    /// `origin` as a URL without credentials.
    pub remote: Option<String>,
}
