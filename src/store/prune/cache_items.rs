//! The items of the cache: which there are, how many bytes each costs to keep, and which are removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::unpacked::{directories, last_use};
use super::super::{Store, StoreError, cache};
use super::needed::Live;
use super::{PruneOptions, tree_size};

/// An item of the cache.
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) used: SystemTime,
    pub(super) kind: ItemKind,
}

pub(super) enum ItemKind {
    Record(cache::Needs),
    /// A file that no release with this format has written: it is useless.
    Unreadable,
    Tree {
        key: String,
        bytes: u64,
    },
    Other {
        bytes: u64,
    },
}

impl Store {
    /// Adds the kept items of the cache to `live`; returns the items to remove.
    pub(super) fn choose(
        &self,
        options: &PruneOptions,
        live: &mut Live,
    ) -> Result<Vec<Item>, StoreError> {
        let mut items = self.items(live)?;
        items.sort_by_key(|item| std::cmp::Reverse(item.used));
        let now = SystemTime::now();
        let mut room = options.keep;
        let mut go = Vec::new();
        for item in items {
            let age = now.duration_since(item.used).unwrap_or_default();
            let unreadable = matches!(item.kind, ItemKind::Unreadable);
            if unreadable || options.older_than.is_some_and(|limit| age > limit) {
                go.push(item);
                continue;
            }
            let mut with = Live::default();
            let cost = match &item.kind {
                ItemKind::Record(needs) => {
                    for blob in &needs.blobs {
                        self.need(blob.digest(), &mut with);
                    }
                    with.trees.extend(needs.trees.iter().cloned());
                    self.cost(&with, live)
                }
                ItemKind::Tree { key, bytes } => {
                    with.trees.insert(key.clone());
                    if live.trees.contains(key) { 0 } else { *bytes }
                }
                ItemKind::Other { bytes } => *bytes,
                ItemKind::Unreadable => 0,
            };
            if cost > room {
                go.push(item);
                continue;
            }
            room -= cost;
            live.blobs.extend(with.blobs);
            live.trees.extend(with.trees);
        }
        Ok(go)
    }

    /// Bytes of blobs and trees in `with` that are not live yet.
    fn cost(&self, with: &Live, live: &Live) -> u64 {
        let blobs = with.blobs.difference(&live.blobs).map(|hex| {
            let path = self.root().join("blobs/sha256").join(hex);
            fs::metadata(path).map_or(0, |metadata| metadata.len())
        });
        let trees = with.trees.difference(&live.trees).map(|key| {
            let maps = fs::read_dir(self.root().join("unpacked"));
            maps.map_or(0, |maps| {
                maps.flatten()
                    .map(|map| tree_size(&map.path().join(key)))
                    .sum()
            })
        });
        blobs.sum::<u64>() + trees.sum::<u64>()
    }

    /// Everything in the cache that is not in `live` yet.
    fn items(&self, live: &Live) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        for (_, key, path) in self.trees()? {
            if !live.trees.contains(&key) {
                let bytes = tree_size(&path);
                let used = last_use(&path);
                items.push(Item {
                    path,
                    used,
                    kind: ItemKind::Tree { key, bytes },
                });
            }
        }
        for kind in directories(&self.root().join("cache"))? {
            let records: Vec<PathBuf> = fs::read_dir(&kind)
                .map_err(|e| StoreError::io("read", &kind, e))?
                .flatten()
                .map(|entry| entry.path())
                .collect();
            // A directory of another kind (installers, wheels) is kept or removed as a whole.
            let is_record = |path: &PathBuf| path.extension().is_some_and(|e| e == "json");
            if !records.iter().all(is_record) {
                let used = records.iter().map(|path| modified(path)).max();
                items.push(Item {
                    used: used.unwrap_or(SystemTime::UNIX_EPOCH).max(modified(&kind)),
                    kind: ItemKind::Other {
                        bytes: tree_size(&kind),
                    },
                    path: kind,
                });
                continue;
            }
            for path in records {
                items.push(Item {
                    used: modified(&path),
                    kind: cache::needs_of(&path).map_or(ItemKind::Unreadable, ItemKind::Record),
                    path,
                });
            }
        }
        Ok(items)
    }
}

fn modified(path: &Path) -> SystemTime {
    fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
