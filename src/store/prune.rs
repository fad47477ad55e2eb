//! Freeing space: what no name, no container and no record that is kept needs.
//!
//! 1. What the names in `index.json` and the files in `containers/` need is kept: manifests, configs,
//!    layers, and the unpacked trees of their diff IDs.
//! 2. The rest is cache: records, trees that nothing named needs, other files below `cache/`. The
//!    most recently used of it is kept up to `keep` bytes; a record that needs no byte more than is
//!    kept anyway (also one that names no blob at all, such as a resolution of requirements) stays
//!    until nobody used it for `older_than`.
//! 3. Everything else goes, damaged blobs and what killed processes left in `tmp/` too.
//!
//! All under the exclusive lock, so that nothing vanishes under a build.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use walkdir::WalkDir;

use crate::oci::{Digest, MAX_METADATA, parse_digest};

use super::unpacked::{directories, drop_tree, last_use};
use super::{Store, StoreError, cache, names, remove_tree};

/// What to keep.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// Bytes of cache to keep, the most recently used first.
    pub keep: u64,
    /// Cache that was not used for this long goes in any case.
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

/// What was freed, or with `dry_run` would be.
#[derive(Debug, Default)]
pub struct Pruned {
    pub blobs: u64,
    pub blob_bytes: u64,
    pub unpacked: u64,
    pub unpacked_bytes: u64,
    pub records: u64,
    pub record_bytes: u64,
    /// What killed processes had left.
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

/// What is needed: blobs by their hexadecimal digits, trees by their keys.
#[derive(Debug, Default, Clone)]
struct Live {
    blobs: HashSet<String>,
    trees: HashSet<String>,
}

/// A thing of the cache.
struct Item {
    path: PathBuf,
    used: SystemTime,
    kind: ItemKind,
}

enum ItemKind {
    Record(cache::Needs),
    Tree { key: String, bytes: u64 },
    Other { bytes: u64 },
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

    /// What names and containers need.
    fn rooted(&self) -> Result<Live, StoreError> {
        let mut live = Live::default();
        for entry in self.read_index()?.manifests() {
            if names::ref_name(entry).is_some() {
                self.need(entry.digest(), &mut live);
            }
        }
        for file in WalkDir::new(self.containers_dir()).max_depth(2) {
            let Ok(file) = file else { continue };
            let is_record = file.path().extension().is_some_and(|e| e == "json");
            if !is_record || !file.file_type().is_file() {
                continue;
            }
            if let Some(value) = read_json(file.path(), 4 * MAX_METADATA) {
                for text in strings(&value) {
                    let last = text.rsplit('/').next().unwrap_or(text);
                    live.trees.insert(last.to_owned());
                    if let Ok(digest) = parse_digest(text) {
                        live.trees.insert(digest.digest().to_owned());
                        self.need(&digest, &mut live);
                    }
                }
            }
        }
        Ok(live)
    }

    /// Adds a blob and, where it is an index, a manifest or a configuration, what that names: every
    /// `digest` and everything in `diff_ids`. Labels and annotations need nothing.
    fn need(&self, digest: &Digest, live: &mut Live) {
        if !live.blobs.insert(digest.digest().to_owned()) {
            return;
        }
        let Some(document) = read_json(&self.blob_path(digest), MAX_METADATA) else {
            return;
        };
        let mut found = (Vec::new(), Vec::new());
        named(&document, &mut found);
        let (digests, diff_ids) = found;
        live.trees
            .extend(diff_ids.iter().map(|id| id.digest().to_owned()));
        for digest in digests {
            self.need(&digest, live);
        }
    }

    /// Adds what is kept of the cache to `live`; gives what goes.
    fn choose(&self, options: &PruneOptions, live: &mut Live) -> Result<Vec<Item>, StoreError> {
        let mut items = self.items(live)?;
        items.sort_by_key(|item| std::cmp::Reverse(item.used));
        let now = SystemTime::now();
        let mut room = options.keep;
        let mut go = Vec::new();
        for item in items {
            let age = now.duration_since(item.used).unwrap_or_default();
            if options.older_than.is_some_and(|limit| age > limit) {
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

    /// Everything of the cache that `live` does not hold already.
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
            // A directory of something else (installers, wheels) stays or goes as a whole.
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
                let value = read_json(&path, u64::MAX).unwrap_or_default();
                items.push(Item {
                    used: modified(&path),
                    kind: ItemKind::Record(cache::needs(&value)),
                    path,
                });
            }
        }
        Ok(items)
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

fn modified(path: &Path) -> SystemTime {
    fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The document of a file, if it is a JSON object or list of at most `max` bytes.
fn read_json(path: &Path, max: u64) -> Option<Value> {
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > max {
        return None;
    }
    let mut first = [0];
    file.read_exact(&mut first).ok()?;
    if !matches!(first, [b'{' | b'[']) {
        return None; // a layer
    }
    let mut bytes = first.to_vec();
    file.read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The values of all `digest` fields, and of all `diff_ids` lists.
fn named(value: &Value, found: &mut (Vec<Digest>, Vec<Digest>)) {
    let digest = |value: &Value| parse_digest(value.as_str()?).ok();
    match value {
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("digest", Value::String(_)) => found.0.extend(digest(value)),
                    ("diff_ids", Value::Array(ids)) => {
                        found.1.extend(ids.iter().filter_map(digest));
                    }
                    ("annotations" | "Labels", _) => {}
                    _ => named(value, found),
                }
            }
        }
        _ => {}
    }
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// The disk space of a tree or file, hard links counted once; what cannot be read counts nothing.
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

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::{Descriptor, MediaType, descriptor, sha256};
    use serde_json::json;

    /// An image of one layer, whose diff ID is the digest of `content` and `"diff"`.
    fn image(store: &Store, content: &str) -> (Descriptor, Descriptor) {
        let put = |media_type: MediaType, bytes: &[u8]| {
            let (digest, size) = store.put_blob(bytes).unwrap();
            descriptor(media_type, digest, size)
        };
        let layer = put(MediaType::ImageLayerGzip, content.repeat(1000).as_bytes());
        let config = json!({"os": "linux", "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [diff_id(content)]}});
        let config = put(MediaType::ImageConfig, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer],
            "annotations": {"org.opencontainers.image.base.digest": sha256(b"base").to_string()}});
        let manifest = put(MediaType::ImageManifest, manifest.to_string().as_bytes());
        (manifest, layer)
    }

    fn diff_id(content: &str) -> Digest {
        sha256(format!("{content}diff").as_bytes())
    }

    fn unpack(store: &Store, key: &str) {
        let made = store.tree("root", key, |root| {
            fs::write(root.join("f"), vec![1; 8192]).unwrap();
            Ok::<_, StoreError>(())
        });
        made.unwrap();
    }

    fn prune(store: &Store, keep: u64) -> Pruned {
        let options = PruneOptions {
            keep,
            wait: Duration::ZERO,
            ..PruneOptions::default()
        };
        store.prune(&options).unwrap()
    }

    #[test]
    fn what_a_name_needs_stays_and_the_rest_goes() {
        let (_dir, store) = store();
        let (opal, opal_layer) = image(&store, "opal");
        let (beryl, beryl_layer) = image(&store, "beryl");
        store.put_blob(b"base").unwrap(); // named by an annotation only
        store.put_blob(b"stray").unwrap();
        for content in ["opal", "beryl"] {
            unpack(&store, diff_id(content).digest());
        }
        store.tag("opal", &opal).unwrap();
        store.tag("opal:again", &opal).unwrap();
        store.tag("beryl", &beryl).unwrap();
        store.untag("beryl").unwrap();
        store.untag("opal").unwrap();
        let dry = PruneOptions {
            dry_run: true,
            ..PruneOptions::default()
        };
        let would = store.prune(&dry).unwrap();
        let pruned = prune(&store, 0);
        assert_eq!((would.blobs, would.bytes()), (pruned.blobs, pruned.bytes()));
        assert_eq!((pruned.blobs, pruned.unpacked), (5, 1));
        assert!(pruned.left.is_empty());
        store.verify_blob(&opal_layer).unwrap();
        assert!(store.image("opal:again").unwrap().is_some());
        assert!(!store.has_blob(beryl_layer.digest()));
        assert!(
            store
                .find_unpacked("root", diff_id("opal").digest())
                .is_some()
        );
        assert!(
            store
                .find_unpacked("root", diff_id("beryl").digest())
                .is_none()
        );
        assert_eq!(prune(&store, 0).bytes(), 0);
    }

    #[test]
    fn the_most_recently_used_cache_stays_within_keep() {
        let (_dir, store) = store();
        let day = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        let mut layers = Vec::new();
        for (age, content) in [(1, "aa"), (2, "bb"), (3, "cc"), (100, "")] {
            let (digest, size) = store.put_blob(content.repeat(5000).as_bytes()).unwrap();
            let layer = descriptor(MediaType::ImageLayer, digest, size);
            let blobs = if content.is_empty() {
                vec![]
            } else {
                vec![layer.clone()]
            };
            store
                .remember("dependencies", content, &json!({"blobs": blobs}))
                .unwrap();
            layers.push(layer);
            let newest = fs::read_dir(store.root().join("cache/dependencies")).unwrap();
            let path = newest
                .map(|entry| entry.unwrap().path())
                .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
                .unwrap();
            File::open(path).unwrap().set_modified(day(age)).unwrap();
        }
        store
            .remember("resolution", "r", &json!({"pins": ["flask==3"]}))
            .unwrap();
        let pruned = prune(&store, 25_000);
        // 10,000 bytes each: two fit. The record without blobs that nobody used for long goes.
        assert_eq!(pruned.records, 2);
        let kept: Vec<_> = layers.iter().map(|l| store.has_blob(l.digest())).collect();
        assert_eq!(kept, [true, true, false, false]);
        assert!(store.cached::<Value>("resolution", "r").unwrap().is_some());
        prune(&store, 0);
        assert!(
            store
                .cached::<Value>("dependencies", "aa")
                .unwrap()
                .is_none()
        );
        assert!(store.cached::<Value>("resolution", "r").unwrap().is_some());
    }

    #[test]
    fn a_record_of_a_named_image_costs_nothing() {
        let (_dir, store) = store();
        let (opal, _) = image(&store, "opal");
        store.tag("opal", &opal).unwrap();
        store
            .remember("application", "k", &json!({"blobs": [opal]}))
            .unwrap();
        prune(&store, 0);
        assert!(store.cached::<Value>("application", "k").unwrap().is_some());
        store.untag("opal").unwrap();
        prune(&store, 0);
        assert!(store.cached::<Value>("application", "k").unwrap().is_none());
        assert!(!store.has_blob(opal.digest()));
    }

    #[test]
    fn a_container_keeps_its_image_and_its_trees() {
        let (_dir, store) = store();
        let (opal, layer) = image(&store, "opal");
        unpack(&store, diff_id("opal").digest());
        unpack(&store, "builder-layer-1");
        let lower = store.root().join("unpacked/root/builder-layer-1");
        let record = json!({"image": opal.digest(), "lowers": [lower]});
        fs::create_dir(store.containers_dir().join("c1")).unwrap();
        let path = store.containers_dir().join("c1/container.json");
        fs::write(&path, record.to_string()).unwrap();
        assert_eq!(prune(&store, 0).bytes(), 0);
        assert!(store.has_blob(layer.digest()));
        fs::remove_file(path).unwrap();
        let pruned = prune(&store, 0);
        assert_eq!((pruned.blobs, pruned.unpacked), (3, 2));
        assert!(
            fs::read_dir(store.root().join("unpacked/root"))
                .unwrap()
                .next()
                .is_none()
        );
    }

    #[test]
    fn a_build_at_work_is_not_pruned_under() {
        let (_dir, store) = store();
        let _building = store.lock_shared().unwrap();
        let options = PruneOptions {
            wait: Duration::ZERO,
            ..PruneOptions::default()
        };
        assert!(matches!(
            store.prune(&options),
            Err(StoreError::Locked { .. })
        ));
    }

    #[test]
    fn a_directory_that_is_no_list_of_records_goes_as_a_whole() {
        let (_dir, store) = store();
        let tools = store.root().join("cache/tools-uv-1");
        fs::create_dir_all(tools.join("bin")).unwrap();
        fs::write(tools.join("bin/uv"), vec![0; 20_000]).unwrap();
        prune(&store, 100_000);
        assert!(tools.join("bin/uv").exists());
        prune(&store, 0);
        assert!(!tools.exists());
    }

    #[test]
    fn damaged_blobs_go() {
        let (_dir, store) = store();
        let (digest, _) = store.put_blob(b"hello").unwrap();
        fs::write(store.blob_path(&digest), b"jello").unwrap();
        assert!(store.read_blob(&digest, 5).is_err());
        assert_eq!(prune(&store, 0).blobs, 1);
    }
}
