//! Finished trees, ready as overlay lower directories: `unpacked/MAP/KEY/`.
//!
//! MAP says how ids look in the files (`sandbox::IdMode::map_name`); KEY is a layer's diff ID (its
//! hexadecimal digits) or another permanent name of a tree. A tree is made once, under the lock
//! `KEY.lock`, in `tmp/`, and renamed when it is finished.
//!
//! **After a power cut** the rename may be on the disk, but not the files. Syncing some ten thousand
//! files, one tree at a time, would cost more than unpacking them, so the lock file holds the id of the
//! boot in which the tree was made; [`Store::settle`] syncs the file system once and writes `settled`
//! instead. A tree that is neither settled nor from this boot is made again. Settling happens during a
//! later build, when the kernel has already written the tree: no build waits for the disk. The lock
//! file's time is the time of last use.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::oci::Digest;

use super::locks::{self, Lock, Mode};
use super::{Store, StoreError, make_private_dir, remove_tree};

const SETTLED: &str = "settled";

impl Store {
    /// The tree of a layer; if it is missing, `unpack` fills an empty directory with it.
    ///
    /// The caller holds [`Store::lock_shared`] as long as it uses the path.
    pub fn unpacked<E: From<StoreError>>(
        &self,
        map: &str,
        diff_id: &Digest,
        unpack: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        self.tree(map, diff_id.digest(), unpack)
    }

    /// As [`Store::unpacked`], for any key.
    pub fn tree<E: From<StoreError>>(
        &self,
        map: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let slot = self.slot(map, key)?;
        if let Some(path) = slot.find() {
            return Ok(path);
        }
        let _content = self.lock_shared()?;
        let lock = slot.lock()?;
        if let Some(path) = slot.find() {
            return Ok(path);
        }
        let scratch = self.scratch("unpack")?;
        let root = scratch.path().join("root");
        // The tree's root becomes `/`: readable by all, whatever the umask.
        make_private_dir(&root)
            .and_then(|()| fs::set_permissions(&root, fs::Permissions::from_mode(0o755)))
            .map_err(|e| StoreError::io("create", &root, e))?;
        make(&root)?;
        Ok(slot.place(&root, &lock)?)
    }

    /// Moves a finished tree (from a [`Store::scratch`] directory) into the store. An existing
    /// tree of this key stays.
    pub fn keep_unpacked(
        &self,
        map: &str,
        key: &str,
        dir: impl AsRef<Path>,
    ) -> Result<PathBuf, StoreError> {
        let dir = dir.as_ref();
        let slot = self.slot(map, key)?;
        let _content = self.lock_shared()?;
        let lock = slot.lock()?;
        if let Some(path) = slot.find() {
            remove_tree(dir)?;
            return Ok(path);
        }
        slot.place(dir, &lock)
    }

    /// The tree of this key, if it exists and is complete.
    pub fn find_unpacked(&self, map: &str, key: &str) -> Option<PathBuf> {
        self.slot(map, key).ok()?.find()
    }

    /// Marks the trees of this boot as safe from a power cut that were made as long ago as this, after
    /// the store's file system was synced for them.
    pub fn settle(&self, age: Duration) -> Result<(), StoreError> {
        let root = self.root();
        let mut pending = Vec::new();
        for (_, _, tree) in self.trees()? {
            let state = state_file(&tree);
            if matches!(fs::read_to_string(&state), Ok(text) if text == boot_id())
                && was_moved_in(&tree).is_none_or(|since| since >= age)
            {
                pending.push(state);
            }
        }
        if pending.is_empty() {
            return Ok(());
        }
        fs::File::open(root)
            .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
            .map_err(|e| StoreError::io("sync", root, e))?;
        for state in pending {
            let used = fs::metadata(&state).and_then(|metadata| metadata.modified());
            let marked = mark(&state, used.ok());
            marked.map_err(|e| StoreError::io("write", &state, e))?;
        }
        Ok(())
    }

    /// All trees: map, key, path.
    pub(super) fn trees(&self) -> Result<Vec<(String, String, PathBuf)>, StoreError> {
        let top = self.root().join("unpacked");
        let mut trees = Vec::new();
        for map in directories(&top)? {
            for tree in directories(&map)? {
                let name = |path: &Path| {
                    let name = path.file_name().unwrap_or_default();
                    name.to_string_lossy().into_owned()
                };
                trees.push((name(&map), name(&tree), tree));
            }
        }
        Ok(trees)
    }

    fn slot(&self, map: &str, key: &str) -> Result<Slot, StoreError> {
        check_component(map, 40)?;
        check_component(key, 200)?;
        let parent = self.root().join("unpacked").join(map);
        let path = parent.join(key);
        Ok(Slot { parent, path })
    }
}

/// Removes a tree; only under the exclusive lock. A half removed tree is not trusted any more.
pub(super) fn drop_tree(tree: &Path) -> Result<(), StoreError> {
    let state = state_file(tree);
    fs::write(&state, b"").map_err(|e| StoreError::io("write", &state, e))?;
    remove_tree(tree)?;
    fs::remove_file(&state).map_err(|e| StoreError::io("remove", &state, e))
}

/// The time of a tree's last use.
pub(super) fn last_use(tree: &Path) -> std::time::SystemTime {
    fs::metadata(state_file(tree))
        .or_else(|_| fs::symlink_metadata(tree))
        .and_then(|metadata| metadata.modified())
        .unwrap_or(std::time::UNIX_EPOCH)
}

/// The place of one tree.
struct Slot {
    parent: PathBuf,
    path: PathBuf,
}

impl Slot {
    fn find(&self) -> Option<PathBuf> {
        let state = state_file(&self.path);
        let text = fs::read_to_string(&state).ok()?;
        let good = text.starts_with(SETTLED) || text == boot_id();
        if !good || !self.path.is_dir() {
            return None;
        }
        if let Ok(file) = fs::File::open(&state) {
            let _ = file.set_modified(std::time::SystemTime::now());
        }
        Some(self.path.clone())
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        match make_private_dir(&self.parent) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create", &self.parent, error)),
        }
        let path = state_file(&self.path);
        locks::acquire(
            &path,
            Mode::Exclusive,
            "a layer that is being unpacked",
            locks::limit(),
        )
    }

    fn place(&self, from: &Path, lock: &Lock) -> Result<PathBuf, StoreError> {
        // The existing tree is from an earlier boot, or half removed.
        remove_tree(&self.path)?;
        fs::rename(from, &self.path).map_err(|e| StoreError::io("write", &self.path, e))?;
        lock.write(boot_id())
            .map_err(|e| StoreError::io("write", &state_file(&self.path), e))?;
        Ok(self.path.clone())
    }
}

/// Writes `settled` over the id of the boot: a reader sees one or the other meanwhile, perhaps with a
/// rest behind it. The time of last use does not change.
fn mark(state: &Path, used: Option<SystemTime>) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(state)?;
    file.write_all(SETTLED.as_bytes())?;
    file.set_len(SETTLED.len() as u64)?;
    used.map_or(Ok(()), |used| file.set_modified(used))
}

fn state_file(tree: &Path) -> PathBuf {
    let mut name = tree.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// The directories in a directory, sorted.
pub(super) fn directories(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| StoreError::io("read", path, e))? {
        let entry = entry.map_err(|e| StoreError::io("read", path, e))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Identifies this boot of the machine; if the kernel does not tell, every process counts as its own boot.
fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(
            |_| format!("process {}", std::process::id()),
            |text| text.trim().to_owned(),
        )
    })
}

/// A single, harmless path component.
fn check_component(text: &str, longest: usize) -> Result<(), StoreError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    let problem = if text.is_empty() || text.len() > longest {
        "it is empty or too long"
    } else if text.starts_with('.')
        || Path::new(text).extension().is_some_and(|e| e == "lock")
        || !text.bytes().all(good)
    {
        "it may hold letters, digits, `.`, `_`, `-` and `+`, and not begin with `.` or end in `.lock`"
    } else {
        return Ok(());
    };
    Err(StoreError::Key {
        key: text.chars().take(300).collect(),
        problem,
    })
}

/// How long ago a tree got its name, if it is known.
fn was_moved_in(tree: &Path) -> Option<Duration> {
    let changed = u64::try_from(fs::symlink_metadata(tree).ok()?.ctime()).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(Duration::from_secs(changed))
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::sha256;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_layer_is_unpacked_once() {
        let (_dir, store) = store();
        let made = AtomicU32::new(0);
        let diff_id = sha256(b"layer");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let path = store.unpacked("root", &diff_id, |root| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::write(root.join("file"), b"x")
                            .map_err(|e| StoreError::io("write", root, e))
                    });
                    assert!(path.unwrap().join("file").exists());
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert!(store.find_unpacked("root", diff_id.digest()).is_some());
        assert!(store.find_unpacked("single", diff_id.digest()).is_none());
    }

    #[test]
    fn a_failure_leaves_nothing_and_may_be_tried_again() {
        let (_dir, store) = store();
        let diff_id = sha256(b"layer");
        let failed: Result<_, StoreError> = store.unpacked("root", &diff_id, |root| {
            fs::write(root.join("half"), b"x").unwrap();
            Err(StoreError::NoPlace)
        });
        assert!(matches!(failed, Err(StoreError::NoPlace)));
        assert!(store.find_unpacked("root", diff_id.digest()).is_none());
        assert!(
            fs::read_dir(store.root().join("tmp"))
                .unwrap()
                .next()
                .is_none()
        );
        let path = store
            .unpacked("root", &diff_id, |_| Ok::<_, StoreError>(()))
            .unwrap();
        assert!(!path.join("half").exists());
    }

    #[test]
    fn a_tree_of_an_earlier_boot_is_trusted_once_it_is_settled() {
        let (_dir, store) = store();
        let make = |key: &str| {
            let scratch = store.scratch("made").unwrap();
            fs::create_dir(scratch.path().join("tree")).unwrap();
            store
                .keep_unpacked("root", key, scratch.path().join("tree"))
                .unwrap()
        };
        let path = make("wheel-1");
        fs::write(state_file(&path), "another boot").unwrap();
        assert!(store.find_unpacked("root", "wheel-1").is_none());
        make("wheel-1");
        store.settle(Duration::from_mins(1)).unwrap();
        assert_ne!(fs::read_to_string(state_file(&path)).unwrap(), SETTLED);
        store.settle(Duration::ZERO).unwrap();
        assert_eq!(fs::read_to_string(state_file(&path)).unwrap(), SETTLED);
        assert!(store.find_unpacked("root", "wheel-1").is_some());
        // Keeping a second one of the same key keeps the first.
        fs::write(path.join("first"), b"").unwrap();
        assert!(make("wheel-1").join("first").exists());
    }

    #[test]
    fn keys_cannot_leave_the_store() {
        let (_dir, store) = store();
        for (map, key) in [
            ("..", "a"),
            ("root", "../a"),
            ("root", ""),
            ("r/s", "a"),
            ("root", "a.lock"),
        ] {
            let made = store.tree(map, key, |_| Ok::<_, StoreError>(()));
            assert!(matches!(made, Err(StoreError::Key { .. })), "{map} {key}");
        }
    }
}
