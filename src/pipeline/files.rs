//! The collected source tree, as the application's detection reads it.

use std::path::Path;

use crate::app::files::{Entry, EntryKind, Files, MAX_FILE};
use crate::source::{SourceKind, Tree};

/// A [`Tree`] with the interface that `app` uses.
pub(super) struct TreeFiles<'a> {
    tree: &'a Tree,
}

impl<'a> TreeFiles<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree }
    }
}

impl Files for TreeFiles<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.tree.read(Path::new(path), MAX_FILE).ok().flatten()
    }

    fn list(&self, directory: &str) -> Vec<Entry> {
        let mut directory = Path::new(directory);
        // A link to a directory is one.
        if !directory.as_os_str().is_empty() {
            match self.tree.follow(directory) {
                Some(entry) => directory = &entry.path,
                None => return Vec::new(),
            }
        }
        let mut entries: Vec<Entry> = self
            .tree
            .entries()
            .iter()
            .filter(|entry| entry.path.parent() == Some(directory))
            .filter_map(|entry| {
                let target = self.tree.follow(&entry.path);
                let kind = match target.map_or(&entry.kind, |target| &target.kind) {
                    SourceKind::Directory => EntryKind::Directory,
                    SourceKind::File { executable, .. } => EntryKind::File {
                        executable: *executable,
                    },
                    SourceKind::Symlink(_) => EntryKind::Other,
                };
                let name = entry.path.file_name()?.to_str()?.to_owned();
                Some(Entry { name, kind })
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }
}
