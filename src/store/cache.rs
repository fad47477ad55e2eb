//! Records of work that need not be done again: `cache/KIND/KEY.json`.
//!
//! A record is JSON of the caller's own shape. What it needs to be of use stands in fields that are
//! found at any depth: `blobs`, a list of descriptors, and `unpacked`, a list of tree keys. A record
//! whose blobs are gone or damaged in size is no record; `prune` keeps what the records that it
//! keeps need. The file's time is the time of last use.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::oci::{Descriptor, sha256_hex, to_canonical_json};

use super::{Store, StoreError, make_private_dir};

/// Largest record that is read.
const MAX_RECORD: u64 = 64 * 1024 * 1024;

impl Store {
    /// The record of this key, if there is one and its blobs are there. What cannot be read as `T`
    /// (another release's record) counts as absent.
    pub fn cached<T: DeserializeOwned>(
        &self,
        kind: &str,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        let path = self.record_path(kind, key)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let mut bytes = Vec::new();
        (&file)
            .take(MAX_RECORD)
            .read_to_end(&mut bytes)
            .map_err(|e| StoreError::io("read", &path, e))?;
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
            return Ok(None);
        };
        let whole = needs(&value)
            .blobs
            .iter()
            .all(|descriptor| self.has_whole_blob(descriptor));
        if !whole {
            return Ok(None);
        }
        let _ = file.set_modified(std::time::SystemTime::now());
        Ok(serde_json::from_value(value).ok())
    }

    /// Keeps a record, replacing the one of the same key. A power cut may take it, which costs the
    /// work once more.
    pub fn remember<T: Serialize>(
        &self,
        kind: &str,
        key: &str,
        value: &T,
    ) -> Result<(), StoreError> {
        let _content = self.lock_shared()?;
        let path = self.record_path(kind, key)?;
        self.replace_unsynced(&path, &to_canonical_json(value)?)
    }

    /// Forgets a record; false when there was none.
    pub fn forget(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        let path = self.record_path(kind, key)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &path, error)),
        }
    }

    /// `cache/KIND/`, for a kind that is not of records: files that their owner names (not `*.json`)
    /// and replaces whole. `prune` keeps it or removes it as a whole.
    pub fn cache_dir(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let harmless = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if kind.is_empty() || kind.len() > 40 || !kind.bytes().all(harmless) {
            return Err(StoreError::Key {
                key: kind.chars().take(300).collect(),
                problem: "the kind of a record may hold lower-case letters, digits and `-`",
            });
        }
        let path = self.root().join("cache").join(kind);
        match make_private_dir(&path) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
            Err(error) => Err(StoreError::io("create", &path, error)),
        }
    }

    fn record_path(&self, kind: &str, key: &str) -> Result<PathBuf, StoreError> {
        let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let name = if !key.is_empty() && key.len() <= 150 && key.bytes().all(harmless) {
            key.to_owned()
        } else {
            sha256_hex(key.as_bytes())
        };
        Ok(self.cache_dir(kind)?.join(format!("{name}.json")))
    }
}

/// What a record names in its fields `blobs` and `unpacked`.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) blobs: Vec<Descriptor>,
    pub(super) trees: Vec<String>,
}

pub(super) fn needs(record: &Value) -> Needs {
    fn walk(value: &Value, found: &mut Needs) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("blobs", Value::Array(items)) => found.blobs.extend(
                            items
                                .iter()
                                .filter_map(|item| serde_json::from_value(item.clone()).ok()),
                        ),
                        ("unpacked", Value::Array(items)) => found
                            .trees
                            .extend(items.iter().filter_map(|i| i.as_str().map(str::to_owned))),
                        _ => walk(value, found),
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Needs::default();
    walk(record, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::{MediaType, descriptor};
    use serde_json::json;

    #[test]
    fn a_record_comes_back_as_long_as_its_blobs_are_there() {
        let (_dir, store) = store();
        let (digest, size) = store.put_blob(b"layer").unwrap();
        let layer = descriptor(MediaType::ImageLayer, digest.clone(), size);
        let record = json!({"deep": {"blobs": [layer]}, "time": 3});
        store
            .remember("app", "key/with: odd\nthings", &record)
            .unwrap();
        let read = || {
            store
                .cached::<Value>("app", "key/with: odd\nthings")
                .unwrap()
        };
        assert_eq!(read().unwrap()["time"], 3);
        assert!(
            store
                .cached::<Vec<u8>>("app", "key/with: odd\nthings")
                .unwrap()
                .is_none()
        );
        assert!(store.cached::<Value>("app", "other").unwrap().is_none());
        fs::write(store.blob_path(&digest), b"lay").unwrap();
        assert!(read().is_none());
        store.put_blob(b"layer").unwrap();
        assert!(read().is_some());
        assert!(store.forget("app", "key/with: odd\nthings").unwrap());
        assert!(read().is_none());
    }

    #[test]
    fn a_damaged_record_is_no_record() {
        let (_dir, store) = store();
        store.remember("app", "k", &json!([1])).unwrap();
        fs::write(store.root().join("cache/app/k.json"), b"[1").unwrap();
        assert!(store.cached::<Value>("app", "k").unwrap().is_none());
        assert!(store.remember("../x", "k", &json!([1])).is_err());
    }
}
