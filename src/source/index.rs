//! Remembers the hashes of files by their stat data, so that an unchanged file is not read again.
//!
//! An entry is valid while device, inode, size, mode, mtime and ctime are the same; an edit followed
//! by `touch -r` changes the ctime. As in git ("racily clean", Documentation/technical/ racy-git), a
//! file that was changed within the two seconds before it was hashed is not remembered: it could be
//! changed again in the same tick of the file system's clock.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::oci::{Digest, parse_digest};

/// The coarsest clock of a file system in use (FAT).
const RACY: Duration = Duration::from_secs(2);
const MAGIC: &str = "warpdrive stat index 1";
const MAX_SIZE: u64 = 512 * 1024 * 1024;

/// The identity of a file's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    modified: i128,
    changed: i128,
}

impl Fingerprint {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file's last change is old enough at `now` for its times to be reliable.
    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now
            .checked_sub(RACY)
            .and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok())
            .and_then(|since| i128::try_from(since.as_nanos()).ok());
        now.is_some_and(|now| self.changed < now && self.modified < now)
    }
}

/// The memory; shared by the threads that hash.
#[derive(Debug, Default)]
pub struct StatIndex {
    known: HashMap<PathBuf, (Fingerprint, Digest)>,
    fresh: Mutex<HashMap<PathBuf, (Fingerprint, Digest)>>,
}

impl StatIndex {
    /// Reads an index; a missing or damaged one is empty.
    pub fn load(path: &Path) -> Self {
        let known = read(path).unwrap_or_default();
        Self {
            known,
            fresh: Mutex::default(),
        }
    }

    /// Writes the entries that were used or added since [`StatIndex::load`], replacing the complete file.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() == self.known.len()
            && fresh
                .iter()
                .all(|(path, entry)| self.known.get(path) == Some(entry))
        {
            return Ok(());
        }
        let mut entries: Vec<_> = fresh.iter().collect();
        entries.sort_by(|a, b| a.0.cmp(b.0));
        let parent = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        let mut out = io::BufWriter::new(file.as_file_mut());
        writeln!(out, "{MAGIC}")?;
        for (path, (print, digest)) in entries {
            write!(
                out,
                "{} {} {} {} {} {} {} ",
                print.device,
                print.inode,
                print.size,
                print.mode,
                print.modified,
                print.changed,
                digest
            )?;
            out.write_all(path.as_os_str().as_bytes())?;
            out.write_all(b"\0")?;
        }
        out.flush()?;
        drop(out);
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    pub(super) fn lookup(&self, path: &Path, print: &Fingerprint) -> Option<Digest> {
        let (known, digest) = self.known.get(path)?;
        if known != print {
            return None;
        }
        self.note(path, *print, digest.clone());
        Some(digest.clone())
    }

    /// Remembers a hash that was begun at `begun`, unless the file's times are too recent to prove it.
    pub(super) fn learn(
        &self,
        path: &Path,
        print: Fingerprint,
        digest: &Digest,
        begun: SystemTime,
    ) {
        if print.is_settled(begun) {
            self.note(path, print, digest.clone());
        }
    }

    fn note(&self, path: &Path, print: Fingerprint, digest: Digest) {
        self.fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), (print, digest));
    }
}

fn read(path: &Path) -> Option<HashMap<PathBuf, (Fingerprint, Digest)>> {
    if fs::metadata(path).ok()?.len() > MAX_SIZE {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(MAX_SIZE)
        .read_to_end(&mut bytes)
        .ok()?;
    let body = bytes.strip_prefix(MAGIC.as_bytes())?.strip_prefix(b"\n")?;
    body.split(|byte| *byte == 0)
        .filter(|record| !record.is_empty())
        .map(parse)
        .collect()
}

fn parse(record: &[u8]) -> Option<(PathBuf, (Fingerprint, Digest))> {
    let mut words = record.splitn(8, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let print = Fingerprint {
        device: word()?.parse().ok()?,
        inode: word()?.parse().ok()?,
        size: word()?.parse().ok()?,
        mode: word()?.parse().ok()?,
        modified: word()?.parse().ok()?,
        changed: word()?.parse().ok()?,
    };
    let digest = parse_digest(word()?).ok()?;
    let path = std::ffi::OsString::from_vec(words.next()?.to_vec());
    Some((path.into(), (print, digest)))
}

/// The clock of a file system moves in ticks: waits until a change now has another ctime than this.
#[cfg(test)]
pub(super) fn until_changes_are_later_than(before: &Metadata) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let before = Fingerprint::of(before).changed;
    loop {
        file.as_file()
            .set_permissions(file.as_file().metadata().unwrap().permissions())
            .unwrap();
        if Fingerprint::of(&file.as_file().metadata().unwrap()).changed > before {
            break;
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::sha256;

    fn print_of(path: &Path) -> Fingerprint {
        Fingerprint::of(&fs::metadata(path).unwrap())
    }

    #[test]
    fn an_index_comes_back_with_odd_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"x").unwrap();
        let (print, later) = (print_of(&file), SystemTime::now() + Duration::from_mins(1));
        let names = [&b"a b"[..], b"new\nline", b"\xff\xfe", b" lead"];
        let index = StatIndex::default();
        for name in names {
            let path = PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()));
            index.learn(&path, print, &sha256(name), later);
        }
        let saved = dir.path().join("index");
        index.save(&saved).unwrap();
        let index = StatIndex::load(&saved);
        for name in names {
            let path = PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()));
            assert_eq!(index.lookup(&path, &print), Some(sha256(name)), "{path:?}");
        }
        let mut bytes = fs::read(&saved).unwrap();
        bytes[40] = b'x';
        fs::write(&saved, bytes).unwrap();
        assert!(StatIndex::load(&saved).known.is_empty());
        assert!(StatIndex::load(Path::new("/nonexistent")).known.is_empty());
    }

    #[test]
    fn what_was_just_changed_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"x").unwrap();
        let print = print_of(&file);
        for (seconds, remembered) in [(0, false), (1, false), (4, true)] {
            let index = StatIndex::default();
            let begun = SystemTime::now() + Duration::from_secs(seconds);
            index.learn(&file, print, &sha256(b"x"), begun);
            assert_eq!(
                index.fresh.lock().unwrap().len() == 1,
                remembered,
                "{seconds}"
            );
        }
    }

    #[test]
    fn an_edit_with_its_time_put_back_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"one").unwrap();
        let before = fs::metadata(&file).unwrap();
        until_changes_are_later_than(&before);
        fs::write(&file, b"two").unwrap();
        let handle = File::options().write(true).open(&file).unwrap();
        handle.set_modified(before.modified().unwrap()).unwrap();
        let after = fs::metadata(&file).unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
        assert_ne!(Fingerprint::of(&before), Fingerprint::of(&after));
    }
}
