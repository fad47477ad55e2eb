//! The facts about one layer: the entries that a rule may need, and a trace of all others.
//!
//! A layer has tens of thousands of entries; the rules look at some hundreds. The others matter
//! only because they hide what lower layers have at the same path. For that, a 64-bit keyed hash
//! of each path is enough ([`Traces`]): 8 bytes, however long the path is. The key is drawn at
//! random (for each audit, or for each store that remembers facts), so that an attacker cannot
//! make a path that collides with another.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::acl::Acl;
use super::capability::Capability;
use super::dpkg::Md5;
use super::elf::Links;
use super::secrets::SecretKind;

/// How an entry affects the lower layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trace {
    /// A directory: joins the one below, with its own owner and mode.
    Directory = 0,
    /// A directory that hides all that lower layers have in it.
    Opaque = 1,
    /// Anything else: hides the entries at this path and beneath it.
    Other = 2,
    /// Removes the entries at this path and beneath it.
    Whiteout = 3,
    /// A directory without an entry: something lies in it. It joins the one below and replaces anything else.
    Implied = 4,
}

const KIND_BITS: u64 = 0b111;

/// Makes the hashes; one per audit, shared by all layers.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PathHasher {
    key: [u8; 32],
}

impl Default for PathHasher {
    /// With a random, secret key.
    fn default() -> Self {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            // The state's own key comes from the system's source of randomness.
            part.copy_from_slice(&RandomState::new().hash_one(0).to_ne_bytes());
        }
        Self { key }
    }
}

impl PathHasher {
    pub(super) fn hash(&self, path: &[u8]) -> u64 {
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update(path);
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first) & !KIND_BITS
    }
}

/// Which paths a layer has, as sorted hashes with the [`Trace`] in the lowest three bits.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Traces {
    sorted: Vec<u64>,
}

impl Traces {
    pub(super) fn add(&mut self, hash: u64, trace: Trace) {
        self.sorted.push(hash | trace as u64);
    }

    /// To be called once, after the last [`Traces::add`].
    pub(super) fn finish(&mut self) {
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.sorted.shrink_to_fit();
    }

    pub(super) fn has(&self, hash: u64, trace: Trace) -> bool {
        self.sorted.binary_search(&(hash | trace as u64)).is_ok()
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ItemKind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// A hard link to a file whose facts are not known here.
    HardLink(Vec<u8>),
    Fifo,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

/// The content of the few files that rules read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Content {
    #[default]
    NotRead,
    Bytes(Vec<u8>),
    TooLarge,
}

/// An entry that a rule may care about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) capability: Option<Capability>,
    /// The access control list, if it lets more users write than owner and mode do.
    pub(super) acl: Option<Acl>,
    /// Of setuid and setgid files, of those with capabilities, and of what these load.
    pub(super) md5: Option<Md5>,
    /// Of the same files, where they are ELF files.
    pub(super) links: Option<Links>,
    pub(super) content: Content,
}

impl Item {
    pub(super) fn is_directory(&self) -> bool {
        self.kind == ItemKind::Directory
    }

    /// A file, or a further name of one, that runs with its owner's id.
    pub(super) fn is_setuid(&self) -> bool {
        self.is_file() && self.mode & 0o4000 != 0
    }

    /// A file that runs with its group's id. Without the group's execute bit, setgid on a file
    /// means mandatory locking and gives nothing.
    pub(super) fn is_setgid(&self) -> bool {
        self.is_file() && self.mode & 0o2010 == 0o2010
    }

    /// A user who runs it is root, or can become root by it.
    pub(super) fn gives_root(&self) -> bool {
        let capable = self.capability.is_some_and(Capability::is_dangerous);
        (self.is_setuid() && self.uid == 0) || capable
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, ItemKind::File | ItemKind::HardLink(_))
    }
}

/// A secret in a layer, whether or not the flattened image still has the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Secret {
    pub(super) path: Vec<u8>,
    pub(super) kind: SecretKind,
}

/// The facts about one layer.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct LayerFacts {
    pub(super) traces: Traces,
    #[serde(with = "pairs")]
    pub(super) items: BTreeMap<Vec<u8>, Item>,
    pub(super) secrets: Vec<Secret>,
    /// Package database files, with their digests of known setuid programs and of libraries.
    #[serde(with = "pairs")]
    pub(super) md5sums: BTreeMap<Vec<u8>, Vec<(Vec<u8>, Md5)>>,
    /// Member names that no valid archive has.
    pub(super) odd_names: Vec<String>,
    /// Entries that engines unpack differently, and how.
    pub(super) odd_entries: Vec<(Vec<u8>, String)>,
    /// There were more unusable app files than are kept.
    pub(super) app_files_cut: bool,
    /// Bytes of the uncompressed tar stream.
    pub(super) bytes: u64,
}

/// Maps whose keys are bytes, which JSON's objects do not take.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Map<V> = BTreeMap<Vec<u8>, V>;

    pub(super) fn serialize<V: Serialize, S: Serializer>(
        map: &Map<V>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Map<V>, D::Error> {
        Ok(Vec::<(Vec<u8>, V)>::deserialize(from)?
            .into_iter()
            .collect())
    }
}
