//! An application's files: where they come from, which of them count, and copies of them.
//!
//! ```text
//! take: what the argument means (`location`) ─► fetch: a directory as it is, or into a temporary one:
//!          git (`clone`), archive or standard input (`unpack`) ─► collect
//! collect: walk (`beneath`) ─► rules (`rules`) ─► what git knows (`git`) ─► Tree
//! Tree:    digest (`digest`, with the memory of `index`) · stage (`stage`) · read · subset
//! ```
//!
//! Not here: what the files mean (`app`), layers (`layer`).
//!
//! **What counts for the digest** is what reaches an image: paths, kinds, contents, whether the owner
//! may execute, link targets. Times, owners, the umask and the order in a directory do not count.
//! [`Tree::stage`] copies exactly the content that was hashed, or fails. So a commit gives the same
//! digest from a clean checkout, from its URL and from an archive of it.

mod clone;
mod collect;
mod digest;
mod enclosed;
mod error;
mod fetch;
mod fetch_options;
mod git;
mod index;
mod location;
mod own_output;
mod remote;
mod rules;
mod secrets;
mod stage;
mod tree;
mod unpack;
pub mod zip_directory;

use std::path::PathBuf;

pub use collect::{CollectOptions, collect};
pub use error::SourceError;
pub use fetch::{FETCH_TIMEOUT, Fetched, SourceRequest, fetch, take};
pub use index::StatIndex;
pub use location::{GitUrl, Origin, redacted};
pub use own_output::OwnOutput;
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
    /// The topmost paths (a directory includes everything below it), and the rule that left them out.
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
    /// The nearest tag with a digit in its name.
    pub tag: Option<String>,
    /// Commits since that tag, or since the first commit.
    pub distance: u64,
    /// Whether a tracked file was changed or deleted.
    pub changed: bool,
}
