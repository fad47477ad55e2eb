//! What a layer to be written consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{OPAQUE_NAME, WHITEOUT_PREFIX};

/// One entry of a layer. The path is relative to the image's root, without a leading slash; any
/// bytes but NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: PathBuf,
    pub kind: Kind,
    /// Permission bits, `07777` at most.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Mtime,
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// What an entry is, and where its content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Directory,
    /// A regular file, read when the layer is written.
    File {
        /// Absolute, on this machine; a link there is not followed.
        source: PathBuf,
        size: u64,
    },
    /// A regular file whose content is in memory.
    Bytes(Vec<u8>),
    Symlink(PathBuf),
    /// The path of a file in the same layer, relative to the image's root.
    HardLink(PathBuf),
    /// [`Entry::path`] names what is gone.
    Whiteout,
    /// [`Entry::path`] names a directory of which nothing from lower layers is seen.
    Opaque,
}

/// An entry's modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mtime {
    /// Seconds since 1970.
    Fixed(i64),
    /// The reference less the first 16 bits of the content's SHA-256, in seconds, for files; the
    /// reference for all else. Web servers derive `ETag` and `Last-Modified` from a file's time
    /// and size, so changed content must have another time, and the same content the same.
    OfContent { reference: i64 },
}

impl Entry {
    /// A directory with the given mode that belongs to 0:0.
    pub fn directory(path: impl Into<PathBuf>, mode: u32, mtime: Mtime) -> Self {
        Self {
            path: path.into(),
            kind: Kind::Directory,
            mode,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: BTreeMap::new(),
        }
    }

    /// The path that the entry has in the archive.
    pub(super) fn archived_path(&self) -> PathBuf {
        match self.kind {
            Kind::Whiteout => {
                let mut name = OsString::from(WHITEOUT_PREFIX);
                name.push(self.path.file_name().unwrap_or_default());
                self.path.with_file_name(name)
            }
            Kind::Opaque => self.path.join(OPAQUE_NAME),
            _ => self.path.clone(),
        }
    }
}

/// The order of entries in a layer: the bytes of their paths, so that a directory comes before
/// what is in it.
pub(super) fn by_path(a: &Path, b: &Path) -> std::cmp::Ordering {
    a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes())
}

/// Adds the missing parent directories of `entries`, as `parent` makes them, and sorts.
pub fn with_parents(mut entries: Vec<Entry>, parent: impl Fn(&Path) -> Entry) -> Vec<Entry> {
    let present: BTreeSet<&OsStr> = entries
        .iter()
        .filter(|entry| !matches!(entry.kind, Kind::Whiteout | Kind::Opaque))
        .map(|entry| entry.path.as_os_str())
        .collect();
    let mut missing: BTreeSet<PathBuf> = BTreeSet::new();
    for entry in &entries {
        let first = match entry.kind {
            Kind::Opaque => Some(entry.path.as_path()),
            _ => entry.path.parent(),
        };
        for path in first.into_iter().flat_map(Path::ancestors) {
            if path.as_os_str().is_empty()
                || present.contains(path.as_os_str())
                || missing.contains(path)
            {
                break;
            }
            missing.insert(path.to_owned());
        }
    }
    entries.extend(missing.iter().map(|path| parent(path)));
    entries.sort_by(|a, b| by_path(&a.path, &b.path));
    entries
}

/// Drops opaque marks from directories that do not `exist_below`. Overlayfs marks every directory
/// that it makes, needed or not, and which ones depends on the kernel: without this, digests would.
pub fn retain_opaque(entries: &mut Vec<Entry>, exists_below: impl Fn(&Path) -> bool) {
    entries.retain(|entry| entry.kind != Kind::Opaque || exists_below(&entry.path));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            kind,
            ..Entry::directory(path, 0o755, Mtime::Fixed(0))
        }
    }

    #[test]
    fn missing_parents_are_added_once_and_before_their_children() {
        let entries = vec![
            entry("b/c/d", Kind::Bytes(vec![])),
            entry("b/c/e", Kind::Bytes(vec![])),
            entry("a/x", Kind::Whiteout),
            entry("o/p", Kind::Opaque),
            entry("have", Kind::Directory),
            entry("have/it", Kind::Bytes(vec![])),
            entry("top", Kind::Bytes(vec![])),
        ];
        let all = with_parents(entries, |path| {
            Entry::directory(path, 0o700, Mtime::Fixed(9))
        });
        let made: Vec<_> = all
            .iter()
            .filter(|entry| entry.mode == 0o700)
            .map(|entry| entry.path.to_str().unwrap())
            .collect();
        assert_eq!(made, ["a", "b", "b/c", "o", "o/p"]);
        assert_eq!(all.len(), 12);
        assert!(all.is_sorted_by(|a, b| by_path(&a.path, &b.path).is_le()));
    }

    #[test]
    fn whiteouts_have_names_of_their_own() {
        for (path, kind, expected) in [
            ("a/b", Kind::Whiteout, "a/.wh.b"),
            ("a", Kind::Whiteout, ".wh.a"),
            ("a", Kind::Opaque, "a/.wh..wh..opq"),
            ("a", Kind::Directory, "a"),
        ] {
            assert_eq!(
                entry(path, kind).archived_path().to_str().unwrap(),
                expected
            );
        }
    }
}
