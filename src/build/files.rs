//! The collected source tree, as the application's detection reads it.

use std::path::{Path, PathBuf};

use crate::app::files::Files;
use crate::source::{SourceKind, Tree};

/// Largest file that detection reads, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A [`Tree`] seen through the eyes of `app`.
pub(super) struct TreeFiles<'a> {
    tree: &'a Tree,
}

impl<'a> TreeFiles<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree }
    }
}

impl Files for TreeFiles<'_> {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.tree.read(path, MAX_FILE).ok().flatten()
    }

    fn list(&self) -> Vec<PathBuf> {
        self.tree
            .entries()
            .iter()
            .filter(|entry| matches!(entry.kind, SourceKind::File { .. }))
            .map(|entry| entry.path.clone())
            .collect()
    }
}
