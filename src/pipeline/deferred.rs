//! What the dependency phase leaves for the application's layer: `.pth` files, whose order among all
//! distributions matters, and whiteouts of removed files, which in a shared layer would hide other
//! applications' files.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builder::layer::parent_directory;
use crate::builder::{APP_GID, APP_UID, FIXED_TIME};
use crate::layer::{self, ApplyOptions, Compression, Entry, Kind, Mtime};
use crate::rootfs::{Ownership, read_beneath};
use crate::sandbox::IdMode;

use super::error::BuildError;
use super::path_bytes;

/// Largest file that is deferred, in bytes, and all of them together when they are laid out.
const MAX_FILE: u64 = 16 * 1024 * 1024;
const MAX_TREE: u64 = 1024 * 1024 * 1024;

/// One path that the application's layer takes over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Deferred {
    #[serde(with = "path_bytes")]
    pub(super) path: PathBuf,
    what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum What {
    File(Vec<u8>),
    Link(#[serde(with = "path_bytes")] PathBuf),
    /// The path was removed.
    Removed,
    /// Everything below this directory is hidden.
    Opaque,
}

impl Deferred {
    /// Takes over an entry of the upper directory; `None` if it cannot be deferred.
    pub(super) fn take(entry: Entry, upper: &Path) -> Result<Option<Self>, BuildError> {
        let what = match entry.kind {
            Kind::Whiteout => What::Removed,
            Kind::Opaque => What::Opaque,
            Kind::Symlink(target) => What::Link(target),
            Kind::Bytes(contents) => What::File(contents),
            Kind::Directory | Kind::HardLink(_) => return Ok(None),
            Kind::File { .. } => {
                let contents = read_beneath(upper, &entry.path, MAX_FILE).map_err(|source| {
                    BuildError::Read {
                        path: entry.path.clone(),
                        source,
                    }
                })?;
                match contents {
                    Some(contents) => What::File(contents),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Self {
            path: entry.path,
            what,
        }))
    }

    /// Its content, if it is a file.
    pub(super) fn contents(&self) -> Option<&[u8]> {
        match &self.what {
            What::File(contents) => Some(contents),
            What::Link(_) | What::Removed | What::Opaque => None,
        }
    }

    fn entry(&self, mtime: Mtime) -> Entry {
        let (kind, mode) = match &self.what {
            What::File(contents) => (Kind::Bytes(contents.clone()), 0o664),
            What::Link(target) => (Kind::Symlink(target.clone()), 0o777),
            What::Removed => (Kind::Whiteout, 0o644),
            What::Opaque => (Kind::Opaque, 0o644),
        };
        Entry {
            path: self.path.clone(),
            kind,
            mode,
            uid: APP_UID,
            gid: APP_GID,
            mtime,
            xattrs: BTreeMap::new(),
        }
    }

    /// Whether phase 2 has put something at this path, or removed it or a directory above it.
    fn is_replaced(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| match entry.kind {
            Kind::Whiteout | Kind::Opaque => self.path.starts_with(&entry.path),
            Kind::Directory => matches!(self.what, What::Removed) && entry.path == self.path,
            _ => entry.path == self.path,
        })
    }
}

/// Adds the entries that phase 2 has not replaced to the application's layer.
pub(super) fn add(entries: &mut Vec<Entry>, deferred: &[Deferred], mtime: Mtime) {
    let left: Vec<Entry> = deferred
        .iter()
        .filter(|deferred| !deferred.is_replaced(entries))
        .map(|deferred| deferred.entry(mtime))
        .collect();
    entries.extend(left);
}

/// Makes a lower directory with the deferred files, which are not in the dependency layers, for phase 2.
pub(super) fn lay_out(
    deferred: &[Deferred],
    directory: &Path,
    mode: IdMode,
) -> Result<(), BuildError> {
    let time = Mtime::Fixed(FIXED_TIME);
    let entries = deferred
        .iter()
        .map(|deferred| deferred.entry(time))
        .collect();
    let entries = layer::with_parents(entries, parent_directory);
    let mut archive = Vec::new();
    layer::write(&entries, Compression::None, &mut archive)?;
    let ownership = Ownership::from(mode);
    let options = ApplyOptions {
        ownership: ownership.keep,
        userxattr: ownership.userxattr,
        devices: ownership.devices,
        max_bytes: MAX_TREE,
        max_entries: 1_000_000,
        ..ApplyOptions::default()
    };
    layer::apply(&mut Cursor::new(archive), directory, &options)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deferred(path: &str, what: What) -> Deferred {
        Deferred {
            path: path.into(),
            what,
        }
    }

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            kind,
            ..deferred(path, What::Removed).entry(Mtime::Fixed(0))
        }
    }

    #[test]
    fn what_phase_two_replaced_or_removed_is_not_carried() {
        let file = || What::File(b"x".to_vec());
        for (what, entries, kept) in [
            (file(), vec![], true),
            (file(), vec![entry("a", Kind::Directory)], true),
            (
                file(),
                vec![entry("a/b.pth", Kind::Bytes(Vec::new()))],
                false,
            ),
            (file(), vec![entry("a/b.pth", Kind::Whiteout)], false),
            (file(), vec![entry("a", Kind::Whiteout)], false),
            (file(), vec![entry("a", Kind::Opaque)], false),
            (
                What::Removed,
                vec![entry("a/b.pth", Kind::Directory)],
                false,
            ),
            (What::Opaque, vec![entry("a/b.pth", Kind::Directory)], true),
        ] {
            let mut all = entries.clone();
            add(&mut all, &[deferred("a/b.pth", what)], Mtime::Fixed(0));
            assert_eq!(all.len() > entries.len(), kept, "{entries:?}");
        }
    }

    #[test]
    fn the_layers_gaps_are_laid_out_for_phase_two() {
        let place = tempfile::tempdir().unwrap();
        let what = [deferred(
            "opt/app-root/lib/x.pth",
            What::File(b"import x".to_vec()),
        )];
        lay_out(&what, place.path(), IdMode::SingleUid).unwrap();
        let found = std::fs::read(place.path().join("opt/app-root/lib/x.pth")).unwrap();
        assert_eq!(found, b"import x");
    }
}
