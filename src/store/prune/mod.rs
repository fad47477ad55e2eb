//! Frees space: removes what no name, no container and no kept record needs.
//!
//! 1. What the names in `index.json` and the files in `containers/` need is kept: manifests, configs,
//!    layers, and the unpacked trees of their diff IDs.
//! 2. The rest is cache: records, trees that nothing named needs, other files below `cache/`. The
//!    most recently used of it is kept up to `keep` bytes; a record that needs no byte more than is
//!    kept anyway (also one that names no blob at all, such as a resolution of requirements) stays
//!    until it has not been used for `older_than`.
//! 3. Everything else is removed, including records of another format, damaged blobs and what killed
//!    processes left in `tmp/`.
//!
//! All this happens under the exclusive lock, so that nothing disappears during a build.

mod cache_items;
mod needed;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use walkdir::WalkDir;

use crate::oci::parse_digest;

use super::unpacked::drop_tree;
use super::{Store, StoreError, remove_tree};
use cache_items::ItemKind;
use needed::Live;

/// What to keep.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Bytes of cache to keep, the most recently used first.
    pub keep: u64,
    /// Cache items that were not used for this long are always removed.
    pub older_than: Option<Duration>,
    /// Count only.
    pub dry_run: bool,
    /// How long to wait for builds that use the store.
    pub wait: Duration,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            keep: 0,
            older_than: Some(Duration::from_hours(90 * 24)),
            dry_run: false,
            wait: Duration::from_secs(10),
        }
    }
}

/// What was freed, or would be freed with `dry_run`.
#[derive(Debug, Default)]
pub struct Pruned {
    pub blobs: u64,
    pub blob_bytes: u64,
    pub unpacked: u64,
    pub unpacked_bytes: u64,
    pub records: u64,
    pub record_bytes: u64,
    /// The remains of killed processes.
    pub temporary: u64,
    pub temporary_bytes: u64,
    /// What could not be removed, and why.
    pub left: Vec<(PathBuf, StoreError)>,
}

impl Pruned {
    pub fn bytes(&self) -> u64 {
        self.blob_bytes + self.unpacked_bytes + self.record_bytes + self.temporary_bytes
    }

    fn note(&mut self, path: &Path, result: Result<(), StoreError>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                self.left.push((path.to_owned(), error));
                false
            }
        }
    }
}

impl Store {
    /// Frees space; see the module's text for the rules.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned, StoreError> {
        let _alone = self.lock_exclusive(options.wait)?;
        let mut pruned = Pruned::default();
        if !options.dry_run {
            let swept = self.sweep()?;
            pruned.temporary = swept.removed;
            pruned.temporary_bytes = swept.bytes;
            pruned.left = swept.failed;
            self.drop_nameless()?;
        }
        let mut live = self.rooted()?;
        let go = self.choose(options, &mut live)?;
        for item in go {
            if let ItemKind::Tree { .. } = item.kind {
                continue; // below, where all trees are gone through
            }
            let bytes = tree_size(&item.path);
            let done = options.dry_run || {
                let result = remove_tree(&item.path);
                pruned.note(&item.path, result)
            };
            if done {
                pruned.records += 1;
                pruned.record_bytes += bytes;
            }
        }
        self.prune_trees(options, &live, &mut pruned)?;
        self.prune_blobs(options, &live, &mut pruned)?;
        Ok(pruned)
    }

    fn prune_trees(
        &self,
        options: &PruneOptions,
        live: &Live,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        for (_, key, path) in self.trees()? {
            if live.trees.contains(&key) {
                continue;
            }
            let bytes = tree_size(&path);
            if options.dry_run || pruned.note(&path, drop_tree(&path)) {
                pruned.unpacked += 1;
                pruned.unpacked_bytes += bytes;
            }
        }
        Ok(())
    }

    fn prune_blobs(
        &self,
        options: &PruneOptions,
        live: &Live,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let dir = self.root().join("blobs/sha256");
        for file in fs::read_dir(&dir).map_err(|e| StoreError::io("read", &dir, e))? {
            let file = file.map_err(|e| StoreError::io("read", &dir, e))?;
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            let hex = name.strip_suffix(".corrupt").unwrap_or(name);
            let is_blob = parse_digest(&format!("sha256:{hex}")).is_ok();
            if !is_blob || live.blobs.contains(name) {
                continue;
            }
            let path = file.path();
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            let done = options.dry_run || {
                let result = fs::remove_file(&path);
                pruned.note(
                    &path,
                    result.map_err(|e| StoreError::io("remove", &path, e)),
                )
            };
            if done {
                pruned.blobs += 1;
                pruned.blob_bytes += bytes;
            }
        }
        Ok(())
    }
}

/// The disk space of a tree or file; hard links count once, unreadable files do not count.
pub(super) fn tree_size(path: &Path) -> u64 {
    let mut linked = HashSet::new();
    WalkDir::new(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(|metadata| {
            metadata.nlink() < 2
                || metadata.is_dir()
                || linked.insert((metadata.dev(), metadata.ino()))
        })
        .map(|metadata| metadata.blocks() * 512)
        .sum()
}
