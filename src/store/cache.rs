//! Records of finished work, so that it is not repeated: `cache/KIND/KEY.json`.
//!
//! The type of a record defines its kind and what it needs to be useful: blobs, and unpacked trees. In
//! the file, an envelope around the record lists these needs, so that `prune` knows the needs of every
//! kind of record. A record whose blobs are missing or have a wrong size does not count. The file's time
//! is the time of last use.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::oci::{Descriptor, sha256_hex, to_canonical_json};

use super::{Store, StoreError, make_private_dir};

/// Largest record that is read.
const MAX_RECORD: u64 = 64 * 1024 * 1024;

/// The format of the envelope; raised when it changes. A file of another format is not a record, and
/// `prune` removes it.
const FORMAT: u32 = 1;

/// What the store remembers under one kind.
pub trait Record: Serialize + DeserializeOwned {
    /// The directory below `cache`.
    const KIND: &'static str;

    /// What the store must have so that this record is useful.
    fn needs(&self) -> Needs;
}

/// Blobs, and the keys of unpacked trees.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub blobs: Vec<Descriptor>,
    pub trees: Vec<String>,
}

impl Needs {
    /// For a record that needs nothing else.
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn blobs<'d>(blobs: impl IntoIterator<Item = &'d Descriptor>) -> Self {
        Self {
            blobs: blobs.into_iter().cloned().collect(),
            trees: Vec::new(),
        }
    }
}

/// A record in its file.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    needs: Needs,
    record: T,
}

impl Store {
    /// The record of this key, if it and its blobs exist. A record that cannot be read as `T`
    /// (from another release) counts as absent.
    pub fn cached<T: Record>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let path = self.record_path(T::KIND, key)?;
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
        let Some(Envelope { needs, record, .. }) = opened::<T>(&bytes) else {
            return Ok(None);
        };
        let whole = needs
            .blobs
            .iter()
            .all(|descriptor| self.has_whole_blob(descriptor));
        if !whole {
            return Ok(None);
        }
        let _ = file.set_modified(std::time::SystemTime::now());
        Ok(Some(record))
    }

    /// Keeps a record, replacing the one of the same key. A power cut may lose it; then the work
    /// is done again.
    pub fn remember<T: Record>(&self, key: &str, record: &T) -> Result<(), StoreError> {
        let _content = self.lock_shared()?;
        let path = self.record_path(T::KIND, key)?;
        let envelope = Envelope {
            format: FORMAT,
            needs: record.needs(),
            record,
        };
        self.replace_unsynced(&path, &to_canonical_json(&envelope)?)
    }

    /// Forgets a record; false when there was none.
    pub fn forget<T: Record>(&self, key: &str) -> Result<bool, StoreError> {
        let path = self.record_path(T::KIND, key)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &path, error)),
        }
    }

    /// `cache/KIND/`, for a kind without records: files that their owner names (not `*.json`) and
    /// replaces completely. `prune` keeps or removes the whole directory.
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

/// The content of these bytes, if they are a record of this format.
fn opened<T: DeserializeOwned>(bytes: &[u8]) -> Option<Envelope<T>> {
    let envelope: Envelope<T> = serde_json::from_slice(bytes).ok()?;
    (envelope.format == FORMAT).then_some(envelope)
}

/// What the record in this file needs; `None` if it is not a record of this format.
pub(super) fn needs_of(path: &Path) -> Option<Needs> {
    let bytes = fs::read(path).ok()?;
    Some(opened::<IgnoredAny>(&bytes)?.needs)
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::{MediaType, descriptor};

    #[derive(Serialize, Deserialize)]
    struct App {
        layer: Descriptor,
        time: u32,
    }

    impl Record for App {
        const KIND: &'static str = "app";

        fn needs(&self) -> Needs {
            Needs::blobs([&self.layer])
        }
    }

    /// Another release's, of the same kind.
    #[derive(Serialize, Deserialize)]
    struct Other(Vec<u8>);

    impl Record for Other {
        const KIND: &'static str = "app";

        fn needs(&self) -> Needs {
            Needs::nothing()
        }
    }

    #[test]
    fn a_record_comes_back_as_long_as_its_blobs_are_there() {
        let (_dir, store) = store();
        let (digest, size) = store.put_blob(b"layer").unwrap();
        let layer = descriptor(MediaType::ImageLayer, digest.clone(), size);
        let key = "key/with: odd\nthings";
        store.remember(key, &App { layer, time: 3 }).unwrap();
        let read = || store.cached::<App>(key).unwrap();
        assert_eq!(read().unwrap().time, 3);
        assert!(store.cached::<Other>(key).unwrap().is_none());
        assert!(store.cached::<App>("other").unwrap().is_none());
        fs::write(store.blob_path(&digest), b"lay").unwrap();
        assert!(read().is_none());
        store.put_blob(b"layer").unwrap();
        assert!(read().is_some());
    }

    #[test]
    fn a_damaged_record_and_one_of_another_format_are_none() {
        let (_dir, store) = store();
        let path = store.root().join("cache/app/k.json");
        store.remember("k", &Other(vec![1])).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let before = format!("\"format\":{FORMAT}");
        for damaged in [
            text[..text.len() - 2].to_owned(),
            text.replace(&before, "\"format\":0"),
            // Without an envelope, as in old releases.
            "[1]".to_owned(),
        ] {
            assert_ne!(damaged, text);
            fs::write(&path, &damaged).unwrap();
            assert!(store.cached::<Other>("k").unwrap().is_none(), "{damaged}");
            assert_eq!(needs_of(&path), None, "{damaged}");
        }
        fs::write(&path, &text).unwrap();
        assert!(store.cached::<Other>("k").unwrap().is_some());
    }
}
