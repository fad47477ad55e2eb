//! The files that this process's own output goes to (`warpdrive dev >dev.log`). One that lies in the source is
//! no part of it: it grows while the source is read.
//!
//! Not here: files that the ignore lists name (`rules`).

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Stat, fstat};

/// Which files they are, by device and number.
#[derive(Debug, Clone, Default)]
pub struct OwnOutput {
    files: Vec<(u64, u64)>,
}

impl OwnOutput {
    /// Standard output and standard error.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self::of(&[
            std::io::stdout().as_fd().try_clone_to_owned().ok(),
            std::io::stderr().as_fd().try_clone_to_owned().ok(),
        ])
    }

    fn of(streams: &[Option<impl AsFd>]) -> Self {
        let stats = streams.iter().flatten().filter_map(|it| fstat(it).ok());
        // A terminal, a pipe or /dev/null is not one.
        let files = stats.filter_map(|stat| identity(&stat)).collect();
        Self { files }
    }

    pub(super) fn is(&self, stat: &Stat) -> bool {
        identity(stat).is_some_and(|it| self.files.contains(&it))
    }

    /// Whether this path is one of them. A link to one is not.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        !self.files.is_empty()
            && rustix::fs::statat(CWD, path, flags).is_ok_and(|stat| self.is(&stat))
    }
}

fn identity(stat: &Stat) -> Option<(u64, u64)> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then_some((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_wherever_they_are_found() {
        let place = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(place.path().join("log")).unwrap();
        std::fs::write(place.path().join("other"), "").unwrap();
        std::fs::hard_link(place.path().join("log"), place.path().join("again")).unwrap();
        std::os::unix::fs::symlink("log", place.path().join("link")).unwrap();
        let own = OwnOutput::of(&[Some(log)]);
        let found = ["log", "other", "again", "link", "absent"]
            .map(|name| own.is_at(&place.path().join(name)));
        assert_eq!(found, [true, false, true, false, false]);
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(!OwnOutput::of(&[Some(null)]).is_at(Path::new("/dev/null")));
    }
}
