//! What layers told, kept in the store: a base's layers are read once, not in every build on it.
//!
//! A record belongs to a layer's diff id, to what the configuration makes the rules look at, and to
//! the release. Layers with tokens or logins in them are not remembered. Whoever changes what `scan` keeps
//! raises [`FORMAT`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::oci::{Digest, sha256_hex};
use crate::store::{Needs, Record, Store, StoreError};

use super::facts::{LayerFacts, PathHasher};
use super::interest::Interest;

const FORMAT: u32 = 4;

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

/// Facts are mostly bytes and numbers, a megabyte of them for a base: as JSON they take longer to read
/// than all that is done with them.
#[derive(Serialize, Deserialize)]
struct Packed {
    postcard: String,
}

impl Packed {
    fn of(facts: &LayerFacts) -> Option<Self> {
        let bytes = postcard::to_stdvec(facts).ok()?;
        Some(Self {
            postcard: STANDARD.encode(bytes),
        })
    }

    fn facts(&self) -> Option<LayerFacts> {
        let bytes = STANDARD.decode(&self.postcard).ok()?;
        postcard::from_bytes(&bytes).ok()
    }
}

impl Record for Packed {
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
        let packed: Option<Packed> = self.store.cached(&self.key(diff_id)).ok().flatten();
        packed?.facts()
    }

    /// Keeps it where it may be kept; that it cannot be written is no reason to fail.
    pub(super) fn keep(&self, diff_id: &Digest, facts: &LayerFacts) {
        if facts
            .secrets
            .iter()
            .all(|secret| secret.kind.word().is_some())
            && let Some(packed) = Packed::of(facts)
        {
            let _ = self.store.remember(&self.key(diff_id), &packed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Content, Item, ItemKind, Trace};
    use super::*;

    #[test]
    fn what_is_kept_is_recalled_whole() {
        let mut facts = LayerFacts::default();
        facts.traces.add(0x8000_0000_0000_0000, Trace::Whiteout);
        facts.traces.finish();
        let item = Item {
            kind: ItemKind::Symlink(b"\xff/other".to_vec()),
            mode: 0o777,
            uid: u32::MAX,
            gid: 0,
            capability: None,
            acl: None,
            md5: None,
            links: None,
            content: Content::Bytes(vec![0, 255]),
        };
        facts.items.insert(b"etc/\xfe".to_vec(), item.clone());
        facts.bytes = u64::MAX;
        let packed = Packed::of(&facts).unwrap();
        let read = packed.facts().unwrap();
        assert_eq!(read.items, facts.items);
        assert!(read.traces.has(0x8000_0000_0000_0000, Trace::Whiteout));
        assert_eq!(read.bytes, u64::MAX);
        for broken in [&packed.postcard[..8], "no base64!"] {
            let postcard = broken.to_owned();
            assert!(Packed { postcard }.facts().is_none(), "{broken}");
        }
    }
}
