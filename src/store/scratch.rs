//! Temporary files and directories below `tmp/`, swept when their process is gone.
//!
//! Each has a lock that its process holds as long as it lives: `NAME.lock` beside a directory, a
//! lock on the file itself for a file. A file whose lock is free is left over from a killed process.
//! A lock file is made before its directory and removed after it, so a directory without one is
//! left over too.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::locks::{self, Lock, Mode};
use super::{Store, StoreError, remove_tree};

/// A private directory; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: Lock,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory now, and reports an error.
    pub fn remove(self) -> Result<(), StoreError> {
        self.clear()
    }

    fn clear(&self) -> Result<(), StoreError> {
        remove_tree(&self.path)?;
        let _ = fs::remove_file(&self.lock_path);
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that cannot be removed now keeps its lock file and is swept later.
        let _ = self.clear();
    }
}

impl Store {
    /// An empty directory (mode 0700) in `tmp/`, on the same file system as the blobs.
    pub fn scratch(&self, prefix: &str) -> Result<Scratch, StoreError> {
        loop {
            let path = self.tmp_path(prefix);
            let lock_path = lock_beside(&path);
            let lock = locks::attempt(&lock_path, Mode::Exclusive)
                .map_err(|e| StoreError::io("create", &lock_path, e))?;
            let Some(lock) = lock else { continue };
            match super::make_private_dir(&path) {
                Ok(()) => {
                    return Ok(Scratch {
                        path,
                        lock_path,
                        _lock: lock,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let _ = fs::remove_file(&lock_path);
                    return Err(StoreError::io("create", &path, error));
                }
            }
        }
    }

    /// A locked temporary file in `tmp/`.
    pub(super) fn tmp_file(&self, prefix: &str) -> Result<(File, PathBuf), StoreError> {
        loop {
            let path = self.tmp_path(prefix);
            let file = match OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
            {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(StoreError::io("create", &path, error)),
            };
            // A sweep may have removed the file between the two calls; then another name is needed.
            if file.try_lock().is_ok() && locks::is_linked(&file).unwrap_or(false) {
                return Ok((file, path));
            }
        }
    }

    fn tmp_path(&self, prefix: &str) -> PathBuf {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        self.root().join("tmp").join(format!(
            "{prefix}-{:x}-{:x}-{nanos:x}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed),
        ))
    }

    /// Removes what killed processes left in `tmp/`. Returns the paths that could not be removed.
    pub(super) fn sweep(&self) -> Result<Swept, StoreError> {
        let tmp = self.root().join("tmp");
        let mut swept = Swept::default();
        let entries = fs::read_dir(&tmp).map_err(|e| StoreError::io("read", &tmp, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| StoreError::io("read", &tmp, e))?;
            match sweep_one(&entry.path()) {
                Ok(Some(bytes)) => {
                    swept.removed += 1;
                    swept.bytes += bytes;
                }
                Ok(None) => {}
                Err(error) => swept.failed.push((entry.path(), error)),
            }
        }
        Ok(swept)
    }
}

/// The freed bytes, or `None` if the entry is in use or was already handled.
fn sweep_one(path: &Path) -> Result<Option<u64>, StoreError> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(StoreError::io("sweep", path, error)),
    };
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return gone(error),
    };
    if metadata.is_dir() {
        if lock_beside(path).exists() {
            return Ok(None); // its lock file's turn deals with it
        }
        let bytes = super::prune::tree_size(path);
        remove_tree(path)?;
        return Ok(Some(bytes));
    }
    if !metadata.is_file() {
        return fs::remove_file(path).map(|()| Some(0)).or_else(gone);
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return gone(error),
    };
    if file.try_lock().is_err() || !locks::is_linked(&file).unwrap_or(false) {
        return Ok(None);
    }
    let mut bytes = metadata.len();
    if path
        .extension()
        .is_some_and(|extension| extension == "lock")
    {
        let tree = path.with_extension("");
        bytes += super::prune::tree_size(&tree);
        remove_tree(&tree)?;
    }
    fs::remove_file(path).map(|()| Some(bytes)).or_else(gone)
}

/// The result of a sweep.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) removed: u64,
    pub(super) bytes: u64,
    pub(super) failed: Vec<(PathBuf, StoreError)>,
}

fn lock_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;

    #[test]
    fn a_scratch_directory_goes_with_its_owner() {
        let (_dir, store) = store();
        let scratch = store.scratch("build").unwrap();
        fs::write(scratch.path().join("file"), b"x").unwrap();
        let path = scratch.path().to_owned();
        // In use: neither a sweep nor another opening removes it.
        assert_eq!(store.sweep().unwrap().removed, 0);
        Store::open(Some(store.root())).unwrap();
        assert!(path.join("file").exists());
        drop(scratch);
        assert!(
            fs::read_dir(store.root().join("tmp"))
                .unwrap()
                .next()
                .is_none()
        );
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let (_dir, store) = store();
        let tmp = store.root().join("tmp");
        fs::create_dir_all(tmp.join("build-1/work")).unwrap();
        fs::write(tmp.join("build-1/work/f"), b"12345").unwrap();
        fs::write(tmp.join("build-1.lock"), b"").unwrap();
        fs::create_dir(tmp.join("lockless")).unwrap();
        fs::write(tmp.join("blob-1"), b"123").unwrap();
        std::os::unix::fs::symlink("/etc", tmp.join("link")).unwrap();
        let (file, alive) = store.tmp_file("blob").unwrap();
        let swept = store.sweep().unwrap();
        assert!(swept.failed.is_empty());
        let left: Vec<_> = fs::read_dir(&tmp)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert_eq!(left, [alive]);
        drop(file);
    }
}
