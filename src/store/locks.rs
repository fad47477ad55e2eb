//! File locks (`flock`) with a time limit.
//!
//! Two kinds of lock order the work of several processes (and threads: every lock opens its file
//! again, so threads exclude each other too):
//!
//! - `lock` at the store's root: a process that reads or writes content holds it *shared*; `prune`
//!   holds it *exclusively*, so that nothing disappears during a build.
//! - one file per short or costly piece of work (`index.json.lock`, `unpacked/MAP/KEY.lock`).
//!
//! The kernel drops a lock when its holder dies, so a killed process never blocks another.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Store, StoreError};

const DEFAULT_LIMIT: Duration = Duration::from_mins(10);
const PAUSE: Duration = Duration::from_millis(40);

/// A held lock; dropping it releases the lock.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Replaces the content of the lock file.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

/// What one process at a time does, until it drops this.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is still held: a process that has opened the file meanwhile sees that it is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Shared,
    Exclusive,
}

impl Store {
    /// A claim to some work of a kind (`cache/KIND/`), unless another process has it.
    pub fn claim(&self, kind: &str, key: &str) -> Result<Option<Claim>, StoreError> {
        let name = crate::oci::sha256(key.as_bytes());
        let path = self
            .cache_dir(kind)?
            .join(format!("{}.lock", name.digest()));
        let held = attempt(&path, Mode::Exclusive).map_err(|e| StoreError::io("lock", &path, e))?;
        Ok(held.map(|lock| Claim { path, _lock: lock }))
    }

    /// Held by a process that builds, pulls, pushes or runs: nothing is pruned meanwhile.
    pub fn lock_shared(&self) -> Result<Lock, StoreError> {
        acquire(
            &self.root().join("lock"),
            Mode::Shared,
            "the store",
            limit(),
        )
    }

    /// Held while pruning. `wait` is how long to wait for builds to end.
    pub fn lock_exclusive(&self, wait: Duration) -> Result<Lock, StoreError> {
        acquire(
            &self.root().join("lock"),
            Mode::Exclusive,
            "the store",
            wait,
        )
    }
}

/// `WARPDRIVE_LOCK_TIMEOUT` in seconds, else ten minutes.
pub(super) fn limit() -> Duration {
    std::env::var("WARPDRIVE_LOCK_TIMEOUT")
        .ok()
        .and_then(|text| text.parse().ok())
        .map_or(DEFAULT_LIMIT, Duration::from_secs)
}

pub(super) fn acquire(
    path: &Path,
    mode: Mode,
    what: &'static str,
    limit: Duration,
) -> Result<Lock, StoreError> {
    let begin = Instant::now();
    loop {
        if let Some(lock) = attempt(path, mode).map_err(|e| StoreError::io("lock", path, e))? {
            return Ok(lock);
        }
        if begin.elapsed() >= limit {
            return Err(StoreError::Locked {
                what,
                path: path.to_owned(),
                waited: limit,
            });
        }
        std::thread::sleep(PAUSE);
    }
}

/// One attempt; `None` if another holder has the lock or has just removed the file.
pub(super) fn attempt(path: &Path, mode: Mode) -> io::Result<Option<Lock>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let locked = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match locked {
        Ok(()) if is_linked(&file)? => Ok(Some(Lock { file })),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// False when the file was unlinked between opening and locking it: the lock would guard nothing.
pub(super) fn is_linked(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn shared_locks_live_together_and_exclude_the_exclusive_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = acquire(&path, Mode::Shared, "it", Duration::ZERO).unwrap();
        let second = acquire(&path, Mode::Shared, "it", Duration::ZERO).unwrap();
        let error = acquire(&path, Mode::Exclusive, "it", Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("WARPDRIVE_LOCK_TIMEOUT"));
        drop((first, second));
        acquire(&path, Mode::Exclusive, "it", Duration::ZERO).unwrap();
    }

    #[test]
    fn threads_exclude_each_other_even_when_the_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let lock =
                            acquire(&path, Mode::Exclusive, "it", Duration::from_secs(30)).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        let _ = std::fs::remove_file(&path);
                        drop(lock);
                    }
                });
            }
        });
    }
}
