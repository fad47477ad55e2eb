//! The local store: an OCI image layout that several processes share, and the caches of builds.
//!
//! ```text
//! oci-layout, index.json   names (`names`)          ┐ an OCI image layout: skopeo and crane read
//! blobs/sha256/HEX         content (`blobs`)        ┘ it as it stands
//! unpacked/MAP/KEY/        overlay lower directories, per way of mapping ids (`unpacked`)
//! cache/KIND/KEY.json      records of finished work (`cache`)
//! cache/downloads/, cache/repositories/   parts of downloads (`partial`), where blobs were seen (`repositories`)
//! volumes/NAME/            what containers keep (written by `container`)
//! containers/              the records of running containers (written by `container`)
//! tmp/                     work in progress, swept when its process is gone (`scratch`)
//! salt                     makes hashes of secret things this store's own (`salt`)
//! lock                     held shared while working, exclusively by `prune` (`locks`)
//! ```
//!
//! Everything that appears under its final name is complete: it is written to `tmp/` (the same file
//! system), verified, synced and renamed. Nothing here knows tar, registries or Python; unpacking is
//! a closure that the caller gives.
//!
//! **Removing trees** is done by `layer::remove_tree`, the only function used from there. Layers hold
//! files of other ids, so commands that remove trees run after `sandbox::enter()`.

mod blobs;
mod cache;
mod destroy;
mod error;
mod image;
mod locks;
mod names;
mod partial;
mod prune;
mod repositories;
mod salt;
mod scratch;
mod unpacked;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use blobs::{BlobWriter, VerifiedBlob};
pub use cache::{Needs, Record};
pub use error::StoreError;
pub use image::Image;
pub use locks::Lock;
pub use names::Named;
pub use partial::PartialBlob;
pub use prune::{PruneOptions, Pruned};
pub use scratch::Scratch;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const DIRECTORIES: [&str; 6] = [
    "blobs",
    "blobs/sha256",
    "unpacked",
    "cache",
    "containers",
    "tmp",
];

/// A handle of the store; cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store, making it if need be, and sweeps what killed processes left in it.
    ///
    /// The place is `root`, else `$WARPDRIVE_STORE`, else `$XDG_DATA_HOME/warpdrive`, else
    /// `~/.local/share/warpdrive`. A directory that holds anything else is refused.
    pub fn open(root: Option<&Path>) -> Result<Self, StoreError> {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let root = match root {
            Some(root) => root.to_owned(),
            None => place(variable).ok_or(StoreError::NoPlace)?,
        };
        let root = std::path::absolute(&root).map_err(|e| StoreError::io("find", &root, e))?;
        let store = Self { root };
        store.prepare()?;
        // `prune` removes what cannot be removed here (files of other ids, before `sandbox::enter`).
        let _ = store.sweep();
        Ok(store)
    }

    /// The store of the standard place, if there is one. Nothing is made, changed or swept.
    pub fn existing() -> Option<Self> {
        let root = place(|name| std::env::var_os(name).map(PathBuf::from))?;
        root.join("index.json").is_file().then_some(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `container` keeps its records. `prune` keeps every digest and tree that a JSON file
    /// in here names.
    pub fn containers_dir(&self) -> PathBuf {
        self.root.join("containers")
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let root = &self.root;
        match fs::read_dir(root) {
            Ok(entries) => check_is_ours(root, entries)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(closed("open the store", root, error)),
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|e| closed("create the store", root, e))?;
        make_private(root)?;
        take_group(root)?;
        for name in DIRECTORIES {
            let path = root.join(name);
            match make_private_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::io("create", &path, error)),
            }
        }
        spread(&root.join("tmp"));
        let layout = root.join("oci-layout");
        if !layout.exists() {
            self.replace(&layout, LAYOUT.as_bytes())?;
        }
        self.create_index()
    }

    /// Writes a small file atomically: temporary file, sync, rename, sync of the directory.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.rename_over(path, bytes, File::sync_all)?;
        path.parent().map_or(Ok(()), sync_dir)
    }

    /// The same for a file that may be lost, or empty, after a power cut.
    fn replace_unsynced(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.rename_over(path, bytes, |_| Ok(()))
    }

    fn rename_over(
        &self,
        path: &Path,
        bytes: &[u8],
        sync: impl Fn(&File) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let (mut file, temporary) = self.tmp_file("file")?;
        file.write_all(bytes)
            .and_then(|()| sync(&file))
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(|error| {
                let _ = fs::remove_file(&temporary);
                StoreError::io("write", path, error)
            })
    }
}

/// The standard place, by the variables of the environment.
fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    set("WARPDRIVE_STORE")
        .or_else(|| {
            // The XDG specification: relative paths are to be ignored.
            set("XDG_DATA_HOME")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("warpdrive"))
        })
        .or_else(|| set("HOME").map(|home| home.join(".local/share/warpdrive")))
}

/// Refuses a foreign directory, which would get mode 0700 and be pruned.
fn check_is_ours(root: &Path, entries: fs::ReadDir) -> Result<(), StoreError> {
    let layout = root.join("oci-layout");
    match fs::read_to_string(&layout) {
        Ok(text) => {
            let version = serde_json::from_str::<serde_json::Value>(&text)
                .ok()
                .and_then(|value| Some(value.get("imageLayoutVersion")?.as_str()?.to_owned()));
            return match version.as_deref() {
                Some("1.0.0") => Ok(()),
                other => Err(StoreError::LayoutVersion {
                    path: root.to_owned(),
                    version: other.unwrap_or("unknown").to_owned(),
                }),
            };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("read", &layout, error)),
    }
    // Another process may be making the store at this moment, or was killed while doing so.
    for entry in entries {
        let name = entry
            .map_err(|e| StoreError::io("read", root, e))?
            .file_name();
        let ours = name.to_str().is_some_and(|name| {
            DIRECTORIES.contains(&name)
                || [
                    "oci-layout",
                    "index.json",
                    "index.json.lock",
                    "lock",
                    "lost+found",
                ]
                .contains(&name)
        });
        if !ours {
            return Err(StoreError::Foreign {
                path: root.to_owned(),
            });
        }
    }
    Ok(())
}

/// The result of opening or making the store's root.
fn closed(doing: &'static str, root: &Path, source: io::Error) -> StoreError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        let path = root.to_owned();
        return StoreError::Closed { path, source };
    }
    StoreError::io(doing, root, source)
}

/// Removes the permissions of others on the store's root; refuses one that belongs to another user.
fn make_private(root: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(root).map_err(|e| StoreError::io("open the store", root, e))?;
    let owner = metadata.uid();
    // The owner of the directory can replace everything in it, even files of other users.
    if owner != rustix::process::geteuid().as_raw() {
        return Err(StoreError::Owner {
            path: root.to_owned(),
            owner,
        });
    }
    // Others may have put something there before: what is theirs is not to be trusted.
    if metadata.mode() & 0o022 != 0 {
        let failed = |error| StoreError::io("read", root, error);
        for entry in fs::read_dir(root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let found = fs::symlink_metadata(&path).map_err(failed)?;
            if found.uid() != owner {
                return Err(StoreError::ForeignEntry {
                    path,
                    owner: found.uid(),
                });
            }
        }
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))
            .map_err(|e| StoreError::io("protect the store", root, e))?;
    }
    Ok(())
}

/// A pod's volume has its own group, which all new files inherit, and which the user namespace does not map:
/// overlays cannot be mounted there. So the store gets the group of its process.
fn take_group(root: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(root).map_err(|e| StoreError::io("open the store", root, e))?;
    if metadata.mode() & 0o2000 == 0 {
        return Ok(());
    }
    let group = rustix::process::getegid();
    rustix::fs::chown(root, None, Some(group))
        .map_err(io::Error::from)
        .and_then(|()| fs::set_permissions(root, fs::Permissions::from_mode(0o700)))
        .map_err(|e| StoreError::io("take the group of the store", root, e))
}

fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Tells the file system that the entries of this directory are unrelated, so that they can be far
/// apart on the disk (`chattr +T`).
///
/// ext4 looks for a free inode where the directory's others are, and takes none that was freed within
/// the last minutes: after a large tree was removed there, every new file costs a search past all of
/// them. Other file systems have no such flag, and need none.
pub fn spread(directory: &Path) {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let Ok(directory) = File::open(directory) else {
        return;
    };
    if let Ok(flags) = ioctl_getflags(&directory)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| StoreError::io("sync", path, e))
}

/// Removes a whole tree, whatever its modes; a missing one is not an error.
fn remove_tree(path: &Path) -> Result<(), StoreError> {
    crate::layer::remove_tree(path).map_err(|error| StoreError::Remove {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store in a temporary directory.
    pub(super) fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&dir.path().join("store"))).unwrap();
        (dir, store)
    }

    #[test]
    fn the_place_by_the_environment() {
        type Environment<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Environment, Option<&str>); 6] = [
            (
                &[
                    ("WARPDRIVE_STORE", "/s"),
                    ("XDG_DATA_HOME", "/x"),
                    ("HOME", "/h"),
                ],
                Some("/s"),
            ),
            (
                &[
                    ("WARPDRIVE_STORE", ""),
                    ("XDG_DATA_HOME", "/x"),
                    ("HOME", "/h"),
                ],
                Some("/x/warpdrive"),
            ),
            (
                &[("XDG_DATA_HOME", "rel"), ("HOME", "/h")],
                Some("/h/.local/share/warpdrive"),
            ),
            (&[("HOME", "/h")], Some("/h/.local/share/warpdrive")),
            (&[("HOME", "")], None),
            (&[], None),
        ];
        for (environment, expected) in cases {
            let found = place(|name| {
                let (_, value) = environment.iter().find(|(key, _)| *key == name)?;
                Some(PathBuf::from(value))
            });
            assert_eq!(found, expected.map(PathBuf::from), "{environment:?}");
        }
    }

    #[test]
    fn a_store_is_private_and_opens_again() {
        let (_dir, store) = store();
        assert_eq!(fs::metadata(store.root()).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(store.root(), fs::Permissions::from_mode(0o755)).unwrap();
        let again = Store::open(Some(store.root())).unwrap();
        assert_eq!(fs::metadata(again.root()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn somebody_elses_directory_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), b"").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            Store::open(Some(dir.path())),
            Err(StoreError::Foreign { .. })
        ));
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o755);
        fs::write(
            dir.path().join("oci-layout"),
            br#"{"imageLayoutVersion":"9"}"#,
        )
        .unwrap();
        assert!(matches!(
            Store::open(Some(dir.path())),
            Err(StoreError::LayoutVersion { .. })
        ));
    }

    #[test]
    fn what_others_have_put_into_an_open_store_is_refused() {
        for (mode, refused) in [(0o700, false), (0o755, false), (0o777, true), (0o720, true)] {
            let (_dir, store) = store();
            let root = store.root();
            fs::write(root.join("index.json"), b"{}").unwrap();
            std::os::unix::fs::chown(root.join("index.json"), Some(4711), None)
                .expect("this test changes an owner: run it as root");
            fs::set_permissions(root, fs::Permissions::from_mode(mode)).unwrap();
            let outcome = make_private(root);
            let found = matches!(&outcome, Err(StoreError::ForeignEntry { path, owner: 4711 })
                if path.ends_with("index.json"));
            assert_eq!(found, refused, "{mode:o} {outcome:?}");
        }
    }

    #[test]
    fn another_users_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4711), Some(4711))
            .expect("this test changes an owner: run it as root");
        for _ in 0..2 {
            assert!(matches!(
                Store::open(Some(dir.path())),
                Err(StoreError::Owner { owner: 4711, .. })
            ));
            assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
        }
    }

    #[test]
    fn many_open_a_new_store_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep/er/store");
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Store::open(Some(&root)).map(|_| ())))
                .collect();
            for handle in handles {
                handle.join().unwrap().unwrap();
            }
        });
    }
}
