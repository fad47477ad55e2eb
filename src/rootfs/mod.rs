//! An image's layers as overlay lower directories: joins the store's blobs, the layer applier and
//! the sandbox's way of mapping ids.
//!
//! Each layer is unpacked once per id map (`unpacked/MAP/DIFFID`), its blob's digest and its
//! uncompressed digest verified on the way.

mod merged;
mod stacked;
mod user;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, statat};
use rustix::io::Errno;

use crate::beneath::{Directory, read_bounded};
use crate::layer::{self, ApplyOptions, LayerError};
use crate::oci::{Descriptor, Digest, Sha256Reader};
use crate::parallel::largest_first;
use crate::sandbox::{self, IdMode};
use crate::store::{Image, Store, StoreError};

pub use merged::{Merged, Seen};
pub use stacked::Stacked;
pub use user::{User, UserError, find_user, find_user_in};

/// How files are owned in this process's user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// Names the directory below `unpacked/`.
    pub map_name: &'static str,
    /// Files get the layer's owners; otherwise everything belongs to this process's user.
    pub keep: bool,
    /// Opaque marks are `user.overlay.*` (inside a user namespace) instead of `trusted.overlay.*`.
    pub userxattr: bool,
    /// Device nodes can be made.
    pub devices: bool,
}

impl From<IdMode> for Ownership {
    fn from(mode: IdMode) -> Self {
        Self {
            map_name: mode.map_name(),
            keep: mode.chown_allowed(),
            userxattr: mode.userxattr(),
            devices: mode == IdMode::Root,
        }
    }
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("could not unpack layer {digest}: {source}")]
    Layer { digest: Digest, source: LayerError },
    #[error(
        "layer {digest} of {size} bytes unpacks to more than {limit}, which no program files do"
    )]
    Grows {
        digest: Digest,
        size: u64,
        limit: u64,
    },
    #[error("could not read the marks of an unpacked layer: {0}")]
    Mark(LayerError),
    #[error("could not read layer {digest}: {source}")]
    Read { digest: Digest, source: io::Error },
    #[error("layer {digest} holds {found}, but the image's configuration says {expected}")]
    DiffId {
        digest: Digest,
        expected: Digest,
        found: Digest,
    },
    #[error("the image has {layers} layers and {diff_ids} diff_ids: it is malformed")]
    LayerCount { layers: usize, diff_ids: usize },
}

/// Bounds against decompression bombs: most entries, and how many times its size a blob may unpack to
/// above this number of bytes. Program files unpack to three or four times their size, logs to twenty,
/// zeros to a thousand.
const MAX_LAYER_ENTRIES: u64 = 10_000_000;
const MAX_GROWTH: u64 = 100;
const ALWAYS_ALLOWED: u64 = 1 << 30;
/// The variable for another bound on an unpacked layer, in bytes.
const MAX_UNPACKED: &str = "WARPDRIVE_MAX_UNPACKED";
/// Bytes that unpacking leaves free on the disk.
const RESERVE: u64 = 64 << 20;

/// Most bytes that a blob of this size may unpack to.
fn most_bytes(blob: u64, setting: Option<&str>) -> u64 {
    setting
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_else(|| blob.saturating_mul(MAX_GROWTH).max(ALWAYS_ALLOWED))
}

/// The lower directories of an image, the uppermost layer first, as overlayfs wants them.
pub fn lowers(
    store: &Store,
    image: &Image,
    ownership: Ownership,
) -> Result<Vec<PathBuf>, RootfsError> {
    let layers = image.manifest.layers();
    let diff_ids = image.config.diff_ids();
    if layers.len() != diff_ids.len() {
        return Err(RootfsError::LayerCount {
            layers: layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    // An image can have the same layer twice (an empty one, for example), and overlayfs does not take a
    // directory twice. The upper copy contains everything of the lower one, above all layers between
    // them.
    let mut seen = HashSet::new();
    let layers: Vec<(&Descriptor, &Digest)> = layers
        .iter()
        .zip(&diff_ids)
        .rev()
        .filter(|(_, diff_id)| seen.insert(*diff_id))
        .collect();
    let mut lowers = largest_first(
        &layers,
        layer::threads(),
        |(layer, _)| layer.size(),
        |(layer, diff_id)| unpacked_layer(store, layer, diff_id, ownership),
    )?;
    // The kernel ignores an opaque mark on a lower directory's own root: so such a layer must be the last.
    for (index, lower) in lowers.iter().enumerate() {
        if layer::hides_all_below(lower).map_err(RootfsError::Mark)? {
            lowers.truncate(index + 1);
            break;
        }
    }
    Ok(lowers)
}

/// The directory of one unpacked layer; unpacks it when it is not there yet.
pub fn unpacked_layer(
    store: &Store,
    layer: &Descriptor,
    diff_id: &Digest,
    ownership: Ownership,
) -> Result<PathBuf, RootfsError> {
    store.unpacked(ownership.map_name, diff_id, |directory| {
        let digest = layer.digest().clone();
        let mut blob = store.open_verified(&digest)?;
        let setting = std::env::var(MAX_UNPACKED).ok();
        let bounds = Bounds {
            size: layer.size(),
            most: most_bytes(layer.size(), setting.as_deref()),
            reserve: RESERVE,
        };
        let laid_out = lay_out(&mut blob, bounds, directory, ownership, &digest);
        // Damaged bytes can cause any error: the digest error is clearer, and sets the blob aside.
        blob.finish()?;
        let found = laid_out?;
        if found != *diff_id {
            return Err(RootfsError::DiffId {
                digest,
                expected: diff_id.clone(),
                found,
            });
        }
        Ok(())
    })
}

/// The bound on a blob's unpacked size.
#[derive(Clone, Copy)]
struct Bounds {
    /// The blob's own.
    size: u64,
    most: u64,
    /// The bytes that stay free on the disk.
    reserve: u64,
}

/// Unpacks a layer's blob; returns the digest of the uncompressed content.
fn lay_out(
    blob: impl Read + Send,
    bounds: Bounds,
    directory: &Path,
    ownership: Ownership,
    digest: &Digest,
) -> Result<Digest, RootfsError> {
    let plain = layer::decompressor(BufReader::with_capacity(1 << 20, blob));
    let mut plain = Sha256Reader::new(plain);
    let options = ApplyOptions {
        ownership: ownership.keep,
        userxattr: ownership.userxattr,
        devices: ownership.devices,
        max_bytes: bounds.most,
        max_entries: MAX_LAYER_ENTRIES,
        reserve: bounds.reserve,
        interrupted: sandbox::interrupted,
    };
    let failed = |source| match source {
        LayerError::Limit {
            limit,
            unit: "bytes",
        } => RootfsError::Grows {
            digest: digest.clone(),
            size: bounds.size,
            limit,
        },
        source => RootfsError::Layer {
            digest: digest.clone(),
            source,
        },
    };
    let place = File::open(directory).map_err(|source| RootfsError::Read {
        digest: digest.clone(),
        source,
    })?;
    // It unpacks to at least its own size.
    layer::check_space(&place, bounds.size, bounds.reserve).map_err(failed)?;
    layer::apply(&mut plain, directory, &options).map_err(failed)?;
    // Bytes after the archive's end count for the digests too.
    io::copy(&mut plain, &mut io::sink()).map_err(|source| RootfsError::Read {
        digest: digest.clone(),
        source,
    })?;
    let (_, found, _) = plain.finish();
    Ok(found)
}

/// The names in a directory of an unpacked tree, without following any link; nothing when there is
/// no such directory, or something else is in its place.
pub fn names_beneath(root: &Path, path: &Path) -> io::Result<Vec<OsString>> {
    match Directory::open(root)?.names(path) {
        Ok((_, mut names)) => {
            names.sort();
            Ok(names)
        }
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Vec::new()),
            _ => Err(error),
        },
    }
}

/// Whether an unpacked tree has anything at this path, reached without following any link.
pub fn exists_beneath(root: &Path, path: &Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let parent = path.parent().unwrap_or(Path::new(""));
    Directory::open(root)
        .and_then(|root| Ok(root.open_at(parent, OFlags::PATH | OFlags::DIRECTORY)?))
        .is_ok_and(|parent| statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
}

/// Reads a file of an unpacked tree, of at most `max` bytes, without following any link.
///
/// `None` when there is no such file, or something else is in its place.
pub fn read_beneath(root: &Path, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match Directory::open(root)?.open_at(path, flags) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    read_bounded(file, max).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A gzip layer of a sparse file of 40 MiB: some forty kilobytes.
    fn of_zeros() -> Vec<u8> {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("zeros");
        File::create(&source).unwrap().set_len(40 << 20).unwrap();
        let entry = layer::Entry {
            path: "zeros".into(),
            kind: layer::Kind::File {
                source,
                size: 40 << 20,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: layer::Mtime::Fixed(0),
            xattrs: std::collections::BTreeMap::new(),
        };
        let mut blob = Vec::new();
        layer::write(&[entry], layer::Compression::default(), &mut blob).unwrap();
        assert!(blob.len() < 1 << 20);
        blob
    }

    #[test]
    fn a_small_blob_does_not_fill_the_disk() {
        let blob = of_zeros();
        let digest = crate::oci::sha256(&blob);
        let unpack = |most, reserve| {
            let place = tempfile::tempdir().unwrap();
            let bounds = Bounds {
                size: blob.len() as u64,
                most,
                reserve,
            };
            let ownership = Ownership {
                keep: false,
                ..Ownership::from(IdMode::current())
            };
            lay_out(blob.as_slice(), bounds, place.path(), ownership, &digest).map(drop)
        };
        unpack(1 << 30, 0).unwrap();
        assert!(matches!(
            unpack(20 << 20, 0),
            Err(RootfsError::Grows { limit, .. }) if limit == 20 << 20
        ));
        assert!(matches!(
            unpack(1 << 30, 1 << 60),
            Err(RootfsError::Layer {
                source: LayerError::NoSpace { .. },
                ..
            })
        ));
    }

    #[test]
    fn a_blob_may_come_to_a_hundred_times_its_size() {
        const MIB: u64 = 1 << 20;
        // A blob of 2 MiB that unpacks to 2 GiB exceeds this bound.
        assert_eq!(most_bytes(2 * MIB, None), 1024 * MIB);
        assert_eq!(most_bytes(100 * MIB, None), 10_000 * MIB);
        assert_eq!(most_bytes(2 * MIB, Some("4000000000")), 4_000_000_000);
        assert_eq!(most_bytes(2 * MIB, Some("much")), 1024 * MIB);
        assert_eq!(most_bytes(u64::MAX, None), u64::MAX);
    }

    #[test]
    fn links_in_a_tree_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("evil-1.dist-info")).unwrap();
        std::fs::write(outside.path().join("evil-1.dist-info/RECORD"), "x").unwrap();
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        std::fs::create_dir_all(root.join("lib/inside")).unwrap();
        std::fs::write(root.join("lib/file"), "x").unwrap();
        symlink(outside.path(), root.join("lib/site")).unwrap();
        symlink("file", root.join("lib/link")).unwrap();
        let names = |path: &str| names_beneath(root, Path::new(path)).unwrap();
        assert_eq!(names("lib"), ["file", "inside", "link", "site"]);
        for path in [
            "lib/site",
            "lib/site/evil-1.dist-info",
            "lib/file",
            "nothing",
        ] {
            assert!(names(path).is_empty(), "{path}");
        }
        assert!(names_beneath(root, Path::new("../..")).is_err());
        let exists = |path: &str| exists_beneath(root, Path::new(path));
        for path in ["lib", "lib/file", "lib/site", "lib/link"] {
            assert!(exists(path), "{path}");
        }
        for path in ["lib/site/evil-1.dist-info", "lib/nothing", "nothing/x", ""] {
            assert!(!exists(path), "{path}");
        }
        let record = Path::new("lib/site/evil-1.dist-info/RECORD");
        assert_eq!(read_beneath(root, record, 10).unwrap(), None);
    }
}
