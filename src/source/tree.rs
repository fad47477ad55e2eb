//! A collected source: its entries, and reading from them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

use crate::beneath::{Directory, MAX_LINKS};
use crate::oci::Digest;
use crate::store::Scratch;

use super::{Commit, LeftOut, SourceEntry, SourceError, SourceKind};

/// Owner may execute.
pub(super) fn is_executable(stat: &Stat) -> bool {
    stat.st_mode & 0o100 != 0
}

/// The files of a source that go into an image. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tree {
    path: PathBuf,
    pub(super) root: Arc<Directory>,
    entries: Arc<Vec<SourceEntry>>,
    pub left_out: LeftOut,
    pub commit: Option<Commit>,
    pub warnings: Vec<String>,
    /// The hashes of the files' contents; `stage` copies exactly these.
    pub(super) hashes: Arc<Mutex<HashMap<PathBuf, Digest>>>,
    /// The temporary directory of the source, if it has one.
    kept: Option<Arc<Scratch>>,
    /// The directory of the files that a step of the build made.
    made: Arc<HashMap<PathBuf, Arc<Directory>>>,
}

impl Tree {
    pub(super) fn new(
        path: PathBuf,
        root: Directory,
        entries: Vec<SourceEntry>,
        left_out: LeftOut,
        commit: Option<Commit>,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            path,
            root: Arc::new(root),
            entries: Arc::new(entries),
            left_out,
            commit,
            warnings,
            hashes: Arc::default(),
            kept: None,
            made: Arc::default(),
        }
    }

    /// The directory that a file is read from.
    pub(super) fn root_of(&self, path: &Path) -> &Directory {
        self.made.get(path).unwrap_or(&self.root)
    }

    /// Adds the files that a step of the build has made: everything beneath `directory` replaces the
    /// entries with the same paths. This changes the digest.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn with_made(&self, directory: &Path) -> Result<Self, SourceError> {
        let failed = |path: &Path, error| SourceError::io("read", path, error);
        let root = Directory::open(directory).map_err(|error| failed(directory, error))?;
        let root = Arc::new(root);
        let mut made = (*self.made).clone();
        let mut new: Vec<SourceEntry> = Vec::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(inner) = pending.pop() {
            let (fd, names) = root.names(&inner).map_err(|error| failed(&inner, error))?;
            for name in names {
                let path = inner.join(&name);
                let stat = statat(&fd, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| failed(&path, error.into()))?;
                let kind = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => {
                        pending.push(path.clone());
                        SourceKind::Directory
                    }
                    FileType::RegularFile => {
                        made.insert(path.clone(), Arc::clone(&root));
                        SourceKind::File {
                            size: u64::try_from(stat.st_size).unwrap_or(0),
                            executable: is_executable(&stat),
                        }
                    }
                    FileType::Symlink => {
                        let target = readlinkat(&fd, name.as_os_str(), Vec::new())
                            .map_err(|error| failed(&path, error.into()))?;
                        SourceKind::Symlink(PathBuf::from(OsString::from_vec(target.into_bytes())))
                    }
                    _ => continue,
                };
                new.push(SourceEntry {
                    path,
                    kind,
                    tracked: false,
                });
            }
        }
        let replaced: HashSet<&Path> = new.iter().map(|entry| entry.path.as_path()).collect();
        let not_directories: HashSet<&Path> = new
            .iter()
            .filter(|entry| entry.kind != SourceKind::Directory)
            .map(|entry| entry.path.as_path())
            .collect();
        let mut entries: Vec<SourceEntry> = self
            .entries
            .iter()
            .filter(|entry| {
                let mut above = entry.path.ancestors();
                !replaced.contains(entry.path.as_path())
                    && !above.any(|path| not_directories.contains(path))
            })
            .cloned()
            .collect();
        let hashes: HashMap<PathBuf, Digest> = {
            let known = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = known.iter().filter(|(path, _)| !made.contains_key(*path));
            kept.map(|(path, hash)| (path.clone(), hash.clone()))
                .collect()
        };
        entries.extend(new);
        entries.sort_by(|a, b| {
            let (a, b) = (a.path.as_os_str(), b.path.as_os_str());
            a.as_bytes().cmp(b.as_bytes())
        });
        Ok(Self {
            entries: Arc::new(entries),
            hashes: Arc::new(Mutex::new(hashes)),
            made: Arc::new(made),
            ..self.clone()
        })
    }

    /// Ties a temporary directory's life to this tree's.
    pub(super) fn keep(&mut self, scratch: Option<Arc<Scratch>>) {
        self.kept = scratch;
    }

    /// The directory, absolute and without links in it.
    pub fn root(&self) -> &Path {
        &self.path
    }

    /// Sorted by the bytes of their paths, so that directories come before what is in them.
    pub fn entries(&self) -> &[SourceEntry] {
        &self.entries
    }

    /// The parts of the digest, one by one: each path with its content's hash and mode, or the
    /// link's target. Files that were not hashed yet are left out.
    pub fn states(&self) -> Vec<(&Path, String)> {
        let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        self.entries
            .iter()
            .filter_map(|entry| {
                let state = match &entry.kind {
                    SourceKind::Directory => "directory".to_owned(),
                    SourceKind::Symlink(target) => format!("link to {}", target.display()),
                    SourceKind::File { executable, .. } => {
                        let mode = if *executable { "x" } else { "-" };
                        format!("{mode} {}", hashes.get(&entry.path)?.digest())
                    }
                };
                Some((entry.path.as_path(), state))
            })
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of files and links, and the bytes of the files.
    pub fn totals(&self) -> (u64, u64) {
        self.entries
            .iter()
            .fold((0, 0), |(files, bytes), entry| match entry.kind {
                SourceKind::Directory => (files, bytes),
                SourceKind::File { size, .. } => (files + 1, bytes + size),
                SourceKind::Symlink(_) => (files + 1, bytes),
            })
    }

    /// The entry of this very path.
    pub fn get(&self, path: &Path) -> Option<&SourceEntry> {
        let wanted = path.as_os_str().as_bytes();
        let index = self
            .entries
            .binary_search_by(|entry| entry.path.as_os_str().as_bytes().cmp(wanted))
            .ok()?;
        self.entries.get(index)
    }

    /// The content of a file in the tree; links are followed within the tree. `None` when there is
    /// no such file (left-out files are not in the tree), an error above `max` bytes.
    pub fn read(&self, path: &Path, max: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(entry) = self.follow(path) else {
            return Ok(None);
        };
        if !matches!(entry.kind, SourceKind::File { .. }) {
            return Ok(None);
        }
        let file = match self.root_of(&entry.path).open_file(&entry.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SourceError::io("read", &entry.path, error)),
        };
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| SourceError::io("read", &entry.path, e))?;
        if bytes.len() as u64 > max {
            return Err(SourceError::TooLarge {
                path: entry.path.clone(),
                size: bytes.len() as u64,
                limit: max,
            });
        }
        Ok(Some(bytes))
    }

    /// Without the paths that are `excluded`, and what is below them.
    #[must_use]
    pub fn without(mut self, excluded: impl Fn(&Path) -> bool) -> Self {
        let mut gone: Vec<PathBuf> = Vec::new();
        let mut left_out = std::mem::take(&mut self.left_out);
        let mut kept = Vec::with_capacity(self.entries.len());
        for entry in self.entries.iter() {
            let below = gone.last().is_some_and(|path| entry.path.starts_with(path));
            if !below && !excluded(&entry.path) {
                kept.push(entry.clone());
                continue;
            }
            if let SourceKind::File { size, .. } = entry.kind {
                left_out.bytes += size;
            }
            left_out.files += u64::from(entry.kind != SourceKind::Directory);
            if !below {
                left_out
                    .paths
                    .push((entry.path.clone(), "an option".to_owned()));
                gone.push(entry.path.clone());
            }
        }
        self.entries = Arc::new(kept);
        self.left_out = left_out;
        self
    }

    /// The tree of these files and directories (with all below them), the directories above them,
    /// and what links among them point to. Paths that are not in the tree are passed over.
    #[must_use]
    pub fn subset(&self, paths: &[impl AsRef<Path>]) -> Self {
        let mut keep = vec![false; self.entries.len()];
        let mut pending: Vec<PathBuf> = paths
            .iter()
            .filter_map(|path| plain(path.as_ref()))
            .collect();
        let mut seen: std::collections::HashSet<PathBuf> = std::collections::HashSet::new();
        while let Some(path) = pending.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            for (index, entry) in self.entries.iter().enumerate() {
                let above = path.starts_with(&entry.path);
                if !above && !entry.path.starts_with(&path) {
                    continue;
                }
                // The parents of the wanted path count as directories or links on the way to it.
                keep[index] = true;
                if let SourceKind::Symlink(target) = &entry.kind
                    && let Some(mut led) = resolve(&entry.path, target)
                {
                    if let Ok(rest) = path.strip_prefix(&entry.path) {
                        led = led.join(rest);
                    }
                    pending.push(led);
                }
            }
        }
        let entries: Vec<SourceEntry> = self
            .entries
            .iter()
            .zip(keep)
            .filter(|(_, keep)| *keep)
            .map(|(entry, _)| entry.clone())
            .collect();
        let mut subset = self.clone();
        subset.entries = Arc::new(entries);
        subset
    }

    /// The entry that a path leads to, through links within the tree.
    pub fn follow(&self, path: &Path) -> Option<&SourceEntry> {
        let mut path = plain(path)?;
        'again: for _ in 0..MAX_LINKS {
            let mut walked = PathBuf::new();
            let mut components = path.components();
            while let Some(component) = components.next() {
                walked.push(component);
                let entry = self.get(&walked)?;
                if let SourceKind::Symlink(target) = &entry.kind {
                    let rest = components.as_path().to_owned();
                    path = plain(&resolve(&walked, target)?.join(rest))?;
                    continue 'again;
                }
            }
            return self.get(&path);
        }
        None
    }
}

/// A relative path without `.`; `None` where it has `..` or is absolute.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => clean.push(name),
            _ => return None,
        }
    }
    Some(clean)
}

/// The target of a link at `path`, relative to the root; `None` if it is outside.
fn resolve(path: &Path, target: &Path) -> Option<PathBuf> {
    let mut led: PathBuf = path.parent().unwrap_or(Path::new("")).to_owned();
    for component in target.components() {
        let inside = match component {
            Component::ParentDir => led.pop(),
            Component::Normal(name) => {
                led.push(name);
                true
            }
            Component::CurDir => true,
            Component::RootDir | Component::Prefix(_) => false,
        };
        if !inside {
            return None;
        }
    }
    Some(led)
}
