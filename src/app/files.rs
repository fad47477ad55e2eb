//! Reads a source tree independent of where it is stored.
//!
//! Detection runs on the host over what `source` collected, in the image over the directory, and in
//! tests over a map. All paths are relative to the tree's root, with `/` between the parts and no
//! `.` or `..`; a name that is not UTF-8 is not seen.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The most bytes that are read of one file: no dependency list or Python module is larger.
pub const MAX_FILE: u64 = 4 << 20;

/// A tree of files.
pub trait Files {
    /// The content of a regular file of at most [`MAX_FILE`] bytes.
    fn read(&self, path: &str) -> Option<Vec<u8>>;

    /// The entries of a directory (`""` is the root), sorted by name. Empty if it is not a directory.
    fn list(&self, directory: &str) -> Vec<Entry>;

    /// The kind of entry at `path`.
    fn kind(&self, path: &str) -> Option<EntryKind> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.list(directory)
            .into_iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.kind)
    }

    /// The content of a file as text; bytes that are not UTF-8 become U+FFFD.
    fn text(&self, path: &str) -> Option<String> {
        self.read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn is_file(&self, path: &str) -> bool {
        matches!(self.kind(path), Some(EntryKind::File { .. }))
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.kind(path), Some(EntryKind::Directory))
    }
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    Directory,
    File { executable: bool },
    Other,
}

/// Joins two relative paths, resolving `.` and `..`. `None` if the result leaves the tree or
/// `path` is absolute.
pub fn join(directory: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The directory part of a relative path.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// A directory of a tree, as a tree.
#[derive(Clone, Copy)]
pub struct Below<'f> {
    pub files: &'f dyn Files,
    pub directory: &'f str,
}

impl Below<'_> {
    fn path(&self, path: &str) -> String {
        match (self.directory, path) {
            ("", path) => path.to_owned(),
            (directory, "") => directory.to_owned(),
            (directory, path) => format!("{directory}/{path}"),
        }
    }
}

impl Files for Below<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.files.read(&self.path(path))
    }

    fn list(&self, directory: &str) -> Vec<Entry> {
        self.files.list(&self.path(directory))
    }
}

/// A directory of this machine. Links are followed as long as they stay inside.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// # Errors
    /// If the directory cannot be resolved.
    pub fn open(root: &Path) -> std::io::Result<Directory> {
        Ok(Directory {
            root: root.canonicalize()?,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn inside(&self, path: &str) -> Option<PathBuf> {
        let resolved = self.root.join(path).canonicalize().ok()?;
        resolved.starts_with(&self.root).then_some(resolved)
    }
}

impl Files for Directory {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.inside(path)?;
        let metadata = fs::metadata(&path).ok()?;
        if !metadata.is_file() || metadata.len() > MAX_FILE {
            return None;
        }
        let mut bytes = Vec::new();
        fs::File::open(path)
            .ok()?
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(bytes)
    }

    fn list(&self, directory: &str) -> Vec<Entry> {
        let Some(path) = self.inside(directory) else {
            return Vec::new();
        };
        let mut entries: Vec<Entry> = fs::read_dir(&path)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let relative = if directory.is_empty() {
                    name.clone()
                } else {
                    format!("{directory}/{name}")
                };
                let kind = match self.inside(&relative).map(fs::metadata) {
                    Some(Ok(data)) if data.is_dir() => EntryKind::Directory,
                    Some(Ok(data)) if data.is_file() => EntryKind::File {
                        executable: data.permissions().mode() & 0o111 != 0,
                    },
                    _ => EntryKind::Other,
                };
                Some(Entry { name, kind })
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }
}

/// A tree in memory.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    files: BTreeMap<String, (Vec<u8>, bool)>,
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    #[must_use]
    pub fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Memory {
        self.files
            .insert(path.to_owned(), (content.as_ref().to_vec(), false));
        self
    }

    #[must_use]
    pub fn with_program(mut self, path: &str, content: impl AsRef<[u8]>) -> Memory {
        self.files
            .insert(path.to_owned(), (content.as_ref().to_vec(), true));
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.files.get(path).map(|(content, _)| content.clone())
    }

    fn list(&self, directory: &str) -> Vec<Entry> {
        let mut entries: BTreeMap<String, EntryKind> = BTreeMap::new();
        for (path, (_, executable)) in &self.files {
            let rest = if directory.is_empty() {
                Some(path.as_str())
            } else {
                path.strip_prefix(directory)
                    .and_then(|rest| rest.strip_prefix('/'))
            };
            let Some(rest) = rest else { continue };
            match rest.split_once('/') {
                Some((name, _)) => entries.insert(name.to_owned(), EntryKind::Directory),
                None => entries.insert(
                    rest.to_owned(),
                    EntryKind::File {
                        executable: *executable,
                    },
                ),
            };
        }
        entries
            .into_iter()
            .map(|(name, kind)| Entry { name, kind })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_stay_inside() {
        assert_eq!(join("a/b", "../c").as_deref(), Some("a/c"));
        assert_eq!(join("", "./x").as_deref(), Some("x"));
        assert_eq!(join("a", "../../x"), None);
        assert_eq!(join("a", "/etc/passwd"), None);
    }

    #[test]
    fn a_link_out_of_the_tree_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        fs::write(directory.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", directory.path().join("inner")).unwrap();
        let files = Directory::open(directory.path()).unwrap();
        assert_eq!(files.read("link"), None);
        assert_eq!(files.kind("link"), Some(EntryKind::Other));
        assert_eq!(files.read("inner").as_deref(), Some(b"x".as_slice()));
        assert_eq!(files.read("../file"), None);
    }

    #[test]
    fn memory_lists_directories_once() {
        let files = Memory::new()
            .with("a/b.py", "")
            .with("a/c.py", "")
            .with_program("run", "");
        let names: Vec<_> = files.list("").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a", "run"]);
        assert!(files.is_directory("a"));
        assert_eq!(
            files.kind("run"),
            Some(EntryKind::File { executable: true })
        );
    }
}
