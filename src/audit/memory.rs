//! Keeps the facts about layers in the store: a base's layers are read once, not in every build on it.
//!
//! The key of a record is made of the layer's blob and diff ID, of what the configuration makes the rules
//! look at, and of warpdrive's release. Of a secret, a record holds the kind and the file, never a byte. A
//! change of what `scan` keeps raises [`FORMAT`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::oci::sha256_hex;
use crate::store::{Needs, Record, Store, StoreError};

use super::facts::{LayerFacts, PathHasher};
use super::interest::Interest;
use super::report::LayerInfo;

const FORMAT: u32 = 10;

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

/// Facts are mostly bytes and numbers, a megabyte for a base: reading them as JSON would take longer
/// than all rules.
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

    /// It includes the blob, because a configuration may claim any diff id for it.
    fn key(&self, layer: &LayerInfo) -> String {
        let LayerInfo {
            digest, diff_id, ..
        } = layer;
        sha256_hex(format!("{} {diff_id} {digest}", self.context).as_bytes())
    }

    pub(super) fn recall(&self, layer: &LayerInfo) -> Option<LayerFacts> {
        let packed: Option<Packed> = self.store.cached(&self.key(layer)).ok().flatten();
        packed?.facts()
    }

    /// A failed write is not an error.
    pub(super) fn keep(&self, layer: &LayerInfo, facts: &LayerFacts) {
        if let Some(packed) = Packed::of(facts) {
            let _ = self.store.remember(&self.key(layer), &packed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::date::Date;
    use super::super::facts::{Content, Item, ItemKind, Trace};
    use super::super::input::{Image, Layers};
    use super::super::{AuditError, Policy, WORTH_KEEPING, audit, audit_remembering};
    use super::*;
    use crate::layer::Budget;
    use crate::oci::{Digest, ImageConfig};

    struct Counted<'a> {
        layers: &'a [Vec<u8>],
        opened: &'a AtomicUsize,
    }

    impl Layers for Counted<'_> {
        fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
            self.opened.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Cursor::new(&self.layers[index])))
        }
    }

    fn layer(size: u64) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        tar.append_data(&mut header, "srv/file", std::io::repeat(b'a').take(size))
            .unwrap();
        tar.into_inner().unwrap()
    }

    /// How many layers an audit opened.
    fn opened(store: &Store, layers: &[Vec<u8>], digests: &[Digest]) -> usize {
        let opened = AtomicUsize::new(0);
        let ids: Vec<String> = layers
            .iter()
            .map(|tar| format!("sha256:{}", sha256_hex(tar)))
            .collect();
        let config = serde_json::json!({
            "os": "linux", "architecture": "amd64", "config": {"User": "1001"},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = ImageConfig::from_bytes(config.to_string().as_bytes(), "it").unwrap();
        let source = Box::new(Counted {
            layers,
            opened: &opened,
        });
        let image = Image::new("it", None, config, digests, source).unwrap();
        let today = Date::of(std::time::SystemTime::UNIX_EPOCH).unwrap();
        audit_remembering(store, &image, &Policy::default(), today).unwrap();
        opened.load(Ordering::Relaxed)
    }

    /// Reading a layer without an end stops with a signal, and with the time.
    #[test]
    fn a_signal_and_the_time_end_it() {
        struct Endless;
        impl Layers for Endless {
            fn open(&self, _: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
                Ok(Box::new(std::io::repeat(0)))
            }
        }
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn soon() -> bool {
            ASKED.fetch_add(1, Ordering::Relaxed) > 20
        }
        let digest = crate::oci::sha256(b"it");
        let config = serde_json::json!({
            "os": "linux", "architecture": "amd64", "config": {"User": "1001"},
            "rootfs": {"type": "layers", "diff_ids": [digest.to_string()]},
        });
        let config = ImageConfig::from_bytes(config.to_string().as_bytes(), "it").unwrap();
        let judged = |timeout, interrupted| {
            let digests = std::slice::from_ref(&digest);
            let mut image =
                Image::new("it", None, config.clone(), digests, Box::new(Endless)).unwrap();
            image.spending = Budget::new(0, 0, timeout, interrupted).begin();
            let today = Date::of(std::time::SystemTime::UNIX_EPOCH).unwrap();
            audit(&image, &Policy::default(), today).err()
        };
        let late = judged(Some(std::time::Duration::ZERO), || false);
        assert!(matches!(late, Some(AuditError::TimedOut)), "{late:?}");
        let ended = judged(None, soon);
        assert!(matches!(ended, Some(AuditError::Interrupted)), "{ended:?}");
    }

    #[test]
    fn layers_are_read_once_but_for_a_small_uppermost_one() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(Some(place.path())).unwrap();
        let digest = |number: u8| crate::oci::sha256(&[number]);
        let large = [layer(1), layer(WORTH_KEEPING)];
        assert_eq!(opened(&store, &large, &[digest(1), digest(2)]), 2);
        assert_eq!(opened(&store, &large, &[digest(1), digest(2)]), 0);
        // Another blob with the same diff id in its configuration.
        assert_eq!(opened(&store, &large, &[digest(1), digest(3)]), 1);
        let small = [layer(1), layer(2)];
        assert_eq!(opened(&store, &small, &[digest(1), digest(4)]), 1);
        assert_eq!(opened(&store, &small, &[digest(1), digest(4)]), 1);
    }

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
