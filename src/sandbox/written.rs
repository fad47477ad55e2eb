//! A bound on what a command leaves on the disk.
//!
//! File-system quotas are not used, because few file systems have them. While the command runs, the
//! free space of the file system is checked, which costs nothing. The command's own directories are
//! counted only if the free space shrank by more than the bound, because other programs write too. A
//! single file is bounded by the kernel (`RLIMIT_FSIZE`), sparse ones included.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::spec::{Mount, Spec};

/// How often a running command is checked.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// The fewest written bytes between two counts.
const STEP: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Watch {
    places: Vec<PathBuf>,
    limit: u64,
    free_at_first: u64,
    /// How much the free space must shrink before the next count.
    count_at: u64,
}

impl Watch {
    /// `None` without a limit, or without a directory on a disk to write to.
    pub(super) fn of(spec: &Spec) -> Option<Self> {
        let limit = spec.limits.written?;
        let uppers = spec.mounts.iter().filter_map(|mount| match mount {
            Mount::Overlay { upper, .. } => Some(upper),
            _ => None,
        });
        let places: Vec<PathBuf> = spec
            .root
            .upper
            .iter()
            .chain(uppers)
            .map(|upper| upper.upper.clone())
            .collect();
        Self::over(places, limit)
    }

    /// Of these directories.
    pub(super) fn over(places: Vec<PathBuf>, limit: u64) -> Option<Self> {
        let free_at_first = free(places.first()?)?;
        Some(Self {
            places,
            limit,
            free_at_first,
            count_at: limit,
        })
    }

    /// Whether more was written than allowed.
    pub(super) fn is_exceeded(&mut self) -> bool {
        let Some(free) = self.places.first().and_then(|place| free(place)) else {
            return false;
        };
        let shrunk = self.free_at_first.saturating_sub(free);
        if shrunk <= self.count_at {
            return false;
        }
        let used: u64 = self
            .places
            .iter()
            .map(|place| used(place, self.limit))
            .sum();
        self.count_at = shrunk.saturating_add(self.limit.saturating_sub(used).max(STEP));
        used > self.limit
    }
}

fn free(place: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(place).ok()?;
    Some(found.f_bfree.saturating_mul(found.f_frsize))
}

/// Bytes on the disk below a directory; the count stops above `enough`. Unreadable entries, and
/// entries that are removed meanwhile, do not count.
fn used(place: &Path, enough: u64) -> u64 {
    let mut sum: u64 = 0;
    let mut directories = vec![place.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            // Of the entry itself: links are not followed.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let bytes = metadata.blocks().saturating_mul(512);
            sum = sum.saturating_add(bytes / metadata.nlink().max(1));
            if metadata.is_dir() {
                sum = sum.saturating_add(bytes);
                directories.push(entry.path());
            }
            if sum > enough {
                return sum;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_is_counted_by_its_blocks() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("a")).unwrap();
        fs::write(place.path().join("a/b"), vec![1; 100_000]).unwrap();
        fs::hard_link(place.path().join("a/b"), place.path().join("c")).unwrap();
        std::os::unix::fs::symlink("/usr", place.path().join("d")).unwrap();
        let sparse = fs::File::create(place.path().join("e")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let found = used(place.path(), u64::MAX);
        assert!((100_000..200_000).contains(&found), "{found}");
        assert!(used(place.path(), 10) > 10);
        assert_eq!(used(&place.path().join("no"), 1), 0);
    }
}
