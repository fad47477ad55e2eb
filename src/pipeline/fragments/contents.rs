//! What is in the tree of one distribution.

use std::path::{Path, PathBuf};

use crate::builder::FIXED_TIME;
use crate::layer::{self, Entry, Mtime};

use super::super::deferred::Deferred;
use super::super::error::BuildError;
use super::super::locked_wheel::Pin;
use super::super::split::{is_path_configuration, size};
use super::super::tree::{normalize, without_implied_directories};
use super::Fragment;

pub(super) struct Contents {
    /// Of its layer.
    pub(super) entries: Vec<Entry>,
    pub(super) deferred: Vec<Deferred>,
}

impl Contents {
    /// Of a tree whose directory of packages is `site`.
    pub(super) fn of(tree: &Path, site: &Path) -> Result<Self, BuildError> {
        let scan = layer::scan(tree, &[])?;
        let entries = normalize(scan.entries, Mtime::Fixed(FIXED_TIME));
        let (path_configuration, entries): (Vec<Entry>, Vec<Entry>) =
            without_implied_directories(entries)
                .into_iter()
                .partition(|entry| is_path_configuration(&entry.path, site));
        let mut deferred = Vec::new();
        for entry in path_configuration {
            deferred.extend(Deferred::take(entry, tree)?);
        }
        Ok(Self { entries, deferred })
    }

    pub(super) fn fragment(self, pin: &Pin, tree: String) -> Fragment {
        Fragment {
            pin: pin.clone(),
            size: self.entries.iter().map(size).sum(),
            files: self
                .entries
                .into_iter()
                .map(|entry| entry.path)
                .collect::<Vec<PathBuf>>(),
            deferred: self.deferred,
            tree,
        }
    }
}
