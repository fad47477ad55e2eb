//! Finds what changed: walks the upper directory of an overlay.
//!
//! What overlayfs left there (kernel, `Documentation/filesystems/overlayfs.rst`) is turned into
//! entries: a character device 0:0 is a whiteout, an `overlay.opaque` attribute an opaque mark, and
//! all `overlay.*` attributes are dropped. Owners are those that this process sees: in a user
//! namespace, those inside. The tree must be at rest: nothing runs in it any more. Names and
//! attributes are read beneath its descriptor all the same; contents are opened later, by their path.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::beneath::Directory;

use super::entry::by_path;
use super::xattr::{self, Class};
use super::{Entry, Kind, LayerError, Mtime};

/// The changes in an upper directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Sorted by path.
    pub entries: Vec<Entry>,
    /// Sockets, pipes and devices: they have no place in a layer that a build makes.
    pub skipped: Vec<PathBuf>,
}

/// Walks `root`. The paths in `skip`, relative to it, and all that is below them are left out.
///
/// Overlayfs marks every directory that it makes as opaque, needed or not: see
/// [`super::retain_opaque`].
pub fn scan(root: &Path, skip: &[&Path]) -> Result<Scan, LayerError> {
    let failed = |path: &Path, error: io::Error| {
        let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        LayerError::io("read the directory", path, error)
    };
    let top = Directory::open(root).map_err(|error| failed(root, error))?;
    let mut found = Vec::new();
    let mut result = Scan::default();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        let on_disk = root.join(&directory);
        let (fd, names) = top
            .names(&directory)
            .map_err(|error| failed(&on_disk, error))?;
        let here = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        for name in names {
            let path = directory.join(&name);
            if skip.contains(&path.as_path()) {
                continue;
            }
            let child = Child::read(&here.join(&name), on_disk.join(&name))?;
            if child.metadata.is_dir() {
                pending.push(path.clone());
            }
            found.push((path, child));
        }
    }
    found.sort_by(|a, b| by_path(&a.0, &b.0));
    let mut links = HashMap::new();
    for (path, child) in found {
        add(&mut result, &mut links, path, child)?;
    }
    Ok(result)
}

/// What is known of a name in an open directory.
struct Child {
    /// To read its content from.
    source: PathBuf,
    metadata: Metadata,
    /// Of a link.
    target: Option<PathBuf>,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

impl Child {
    /// `at` is the name in the directory's descriptor: it follows no link.
    fn read(at: &Path, source: PathBuf) -> Result<Self, LayerError> {
        let metadata =
            fs::symlink_metadata(at).map_err(|error| LayerError::io("examine", &source, error))?;
        let kind = metadata.file_type();
        let target = kind.is_symlink().then(|| fs::read_link(at)).transpose();
        let target = target.map_err(|error| LayerError::io("read the link", &source, error))?;
        let attributes = if kind.is_dir() || kind.is_file() || kind.is_symlink() {
            xattr::read_all_at(at, &source)?
        } else {
            BTreeMap::new()
        };
        Ok(Self {
            source,
            metadata,
            target,
            attributes,
        })
    }
}

fn add(
    result: &mut Scan,
    links: &mut HashMap<(u64, u64), PathBuf>,
    path: PathBuf,
    child: Child,
) -> Result<(), LayerError> {
    let Child {
        source,
        metadata,
        target,
        attributes,
    } = child;
    let kind = metadata.file_type();
    let mut entry = Entry {
        path,
        kind: Kind::Directory,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: Mtime::Fixed(metadata.mtime()),
        xattrs: std::collections::BTreeMap::new(),
    };
    if kind.is_char_device() && metadata.rdev() == 0 {
        result.entries.push(whiteout(entry));
        return Ok(());
    }
    if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
        result.skipped.push(entry.path);
        return Ok(());
    }
    let has = |name: &str| attributes.contains_key(OsStr::new(name));
    if has("trusted.overlay.metacopy") || has("trusted.overlay.redirect") {
        return Err(LayerError::entry(
            &entry.path,
            "its content is elsewhere: the overlay was mounted with metacopy or redirect_dir",
        ));
    }
    let marked = attributes
        .keys()
        .any(|name| xattr::is_overlay(name, "whiteout"));
    if kind.is_file() && metadata.len() == 0 && marked {
        result.entries.push(whiteout(entry));
        return Ok(());
    }
    // The value `x` only says that whiteouts inside are attributes.
    let opaque = kind.is_dir()
        && attributes
            .iter()
            .any(|(key, value)| xattr::is_overlay(key, "opaque") && value == b"y");
    entry.kind = if kind.is_dir() {
        Kind::Directory
    } else if let Some(target) = target {
        Kind::Symlink(target)
    } else {
        let first = if metadata.nlink() > 1 {
            match links.entry((metadata.dev(), metadata.ino())) {
                Slot::Occupied(slot) => Some(slot.get().clone()),
                Slot::Vacant(slot) => {
                    slot.insert(entry.path.clone());
                    None
                }
            }
        } else {
            None
        };
        match first {
            Some(first) => Kind::HardLink(first),
            None => Kind::File {
                source,
                size: metadata.len(),
            },
        }
    };
    if !matches!(entry.kind, Kind::HardLink(_)) {
        entry.xattrs = attributes
            .into_iter()
            .filter_map(|(name, value)| match xattr::classify(&name) {
                Class::User => Some((name, value)),
                Class::Capability => Some((name, xattr::portable_capability(value))),
                Class::Overlay | Class::Foreign => None,
            })
            .collect::<std::collections::BTreeMap<OsString, Vec<u8>>>();
    }
    let mark = opaque.then(|| Entry {
        kind: Kind::Opaque,
        ..whiteout(entry.clone())
    });
    result.entries.push(entry);
    result.entries.extend(mark);
    Ok(())
}

/// Whiteouts have no metadata of their own (image-spec: empty files); 0:0, 0644.
fn whiteout(entry: Entry) -> Entry {
    Entry {
        kind: Kind::Whiteout,
        mode: 0o644,
        uid: 0,
        gid: 0,
        xattrs: std::collections::BTreeMap::new(),
        ..entry
    }
}
