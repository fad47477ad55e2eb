//! Removes the whole store. `rm -rf` cannot do this where files belong to subordinate ids.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Store, StoreError, remove_tree};

/// The files that mark the directory as a store, and the locks of processes that use it. They are
/// removed last, so that a killed removal can be repeated.
const LAST: [&str; 2] = ["oci-layout", "lock"];

impl Store {
    /// Removes everything, and the directory itself unless it is a mount point. Waits for builds that
    /// use it. Containers must have ended. Call it in a process that may remove files of subordinate ids.
    pub fn destroy(self, wait: Duration) -> Result<(), StoreError> {
        let _alone = self.lock_exclusive(wait)?;
        let root = self.root();
        let read = |error| StoreError::io("read", root, error);
        let mut last: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(root).map_err(read)? {
            let entry = entry.map_err(read)?;
            if LAST.iter().any(|name| entry.file_name() == *name) {
                last.push(entry.path());
            } else {
                remove(&entry.path())?;
            }
        }
        for path in last {
            remove(&path)?;
        }
        match fs::remove_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
            other => other.map_err(|error| StoreError::io("remove", root, error)),
        }
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_ok_and(|data| data.is_dir()) {
        return remove_tree(path);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;

    #[test]
    fn nothing_stays_of_a_store_and_what_lies_beside_it_does() {
        let (directory, store) = store();
        let beside = directory.path().join("beside");
        fs::write(&beside, "x").unwrap();
        let root = store.root().to_owned();
        fs::create_dir_all(root.join("volumes/data/closed")).unwrap();
        std::os::unix::fs::symlink(&beside, root.join("volumes/data/link")).unwrap();
        store.put_blob(b"x").unwrap();
        store.destroy(Duration::ZERO).unwrap();
        assert!(!root.exists());
        assert!(beside.exists());
    }

    #[test]
    fn a_store_in_use_stays() {
        let (_directory, store) = store();
        let _used = store.lock_shared().unwrap();
        let root = store.root().to_owned();
        let error = store.destroy(Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
        assert!(root.join("index.json").exists());
    }
}
