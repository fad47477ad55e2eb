//! What layers told, kept in the store: a base's layers are read once, not in every build on it.
//!
//! A record belongs to a layer's diff id, to what the configuration makes the rules look at, and to
//! the release. Layers with tokens or logins in them are not remembered. Whoever changes what `scan` keeps
//! raises [`FORMAT`].

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, sha256_hex};
use crate::store::{Needs, Record, Store, StoreError};

use super::facts::{LayerFacts, PathHasher};
use super::interest::Interest;

const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Key {
    hasher: PathHasher,
}

impl Record for Key {
    const KIND: &'static str = "audit-key";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

impl Record for LayerFacts {
    const KIND: &'static str = "audit-layers";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// The memory of one audit.
pub(super) struct Memory<'a> {
    store: &'a Store,
    hasher: PathHasher,
    context: String,
}

impl<'a> Memory<'a> {
    pub(super) fn new(store: &'a Store, interest: &Interest) -> Result<Self, StoreError> {
        let hasher = if let Some(Key { hasher }) = store.cached::<Key>("key")? {
            hasher
        } else {
            let hasher = PathHasher::default();
            let key = Key { hasher };
            store.remember("key", &key)?;
            key.hasher
        };
        let context = format!(
            "{FORMAT} {} {:016x} {interest:?}",
            env!("CARGO_PKG_VERSION"),
            hasher.hash(b""),
        );
        Ok(Self {
            store,
            hasher,
            context,
        })
    }

    pub(super) fn hasher(&self) -> &PathHasher {
        &self.hasher
    }

    fn key(&self, diff_id: &Digest) -> String {
        sha256_hex(format!("{} {diff_id}", self.context).as_bytes())
    }

    pub(super) fn recall(&self, diff_id: &Digest) -> Option<LayerFacts> {
        self.store.cached(&self.key(diff_id)).ok().flatten()
    }

    /// Keeps it where it may be kept; that it cannot be written is no reason to fail.
    pub(super) fn keep(&self, diff_id: &Digest, facts: &LayerFacts) {
        if facts
            .secrets
            .iter()
            .all(|secret| secret.kind.word().is_some())
        {
            let _ = self.store.remember(&self.key(diff_id), facts);
        }
    }
}
