//! Looks up many paths in stacked layers: each directory is read once, and missing paths cost
//! nothing more.
//!
//! Unlike [`super::Merged`], no link is followed, not even on the way: this is for the paths of layers,
//! whose parents are directories or are not there at all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::merged::{Seen, is_opaque};

/// Unpacked layers, the uppermost first, and the known directories in them.
pub struct Stacked<'a> {
    lowers: &'a [PathBuf],
    directories: RefCell<HashMap<PathBuf, Rc<Vec<Part>>>>,
}

/// One layer's part of a directory.
struct Part {
    path: PathBuf,
    names: HashMap<OsString, FileType>,
}

impl Part {
    fn read(path: PathBuf) -> io::Result<Self> {
        let mut names = HashMap::new();
        for child in fs::read_dir(&path)? {
            let child = child?;
            names.insert(child.file_name(), child.file_type()?);
        }
        Ok(Self { path, names })
    }
}

impl<'a> Stacked<'a> {
    pub fn new(lowers: &'a [PathBuf]) -> Self {
        Self {
            lowers,
            directories: RefCell::default(),
        }
    }

    /// What is at `path` (inside the image). Below a link there is nothing.
    pub fn at(&self, path: &Path) -> io::Result<Seen> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            let root = self.lowers.first().ok_or(io::ErrorKind::NotFound)?;
            return Ok(Seen::Directory(root.clone(), fs::symlink_metadata(root)?));
        };
        for part in self.directory(parent)?.iter() {
            let Some(kind) = part.names.get(name) else {
                continue;
            };
            let at = part.path.join(name);
            if kind.is_dir() {
                let metadata = fs::symlink_metadata(&at)?;
                return Ok(Seen::Directory(at, metadata));
            }
            if kind.is_symlink() {
                return Ok(Seen::Link(fs::read_link(&at)?, at));
            }
            let metadata = fs::symlink_metadata(&at)?;
            if kind.is_char_device() && metadata.rdev() == 0 {
                return Ok(Seen::Nothing);
            }
            if kind.is_file() {
                return Ok(Seen::File(at, metadata));
            }
            return Ok(Seen::Other);
        }
        Ok(Seen::Nothing)
    }

    pub fn exists(&self, path: &Path) -> bool {
        !matches!(self.at(path), Ok(Seen::Nothing))
    }

    /// The visible parts of a directory, the uppermost first; none if it is not a directory.
    fn directory(&self, path: &Path) -> io::Result<Rc<Vec<Part>>> {
        if let Some(known) = self.directories.borrow().get(path) {
            return Ok(Rc::clone(known));
        }
        let mut parts = Vec::new();
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                for above in self.directory(parent)?.iter() {
                    match above.names.get(name) {
                        None => {}
                        Some(kind) if kind.is_dir() => {
                            let part = above.path.join(name);
                            let opaque = is_opaque(&part);
                            parts.push(Part::read(part)?);
                            if opaque {
                                break;
                            }
                        }
                        // A whiteout, or a file that hides the directories below.
                        Some(_) => break,
                    }
                }
            }
            _ if path.components().all(|part| part == Component::RootDir) => {
                for lower in self.lowers {
                    parts.push(Part::read(lower.clone())?);
                }
            }
            _ => {}
        }
        let parts = Rc::new(parts);
        let mut known = self.directories.borrow_mut();
        known.insert(path.to_owned(), Rc::clone(&parts));
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Merged;
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    /// The entry at one path of one layer.
    #[derive(Debug, Clone)]
    enum Made {
        File,
        Directory,
        OpaqueDirectory,
        Link,
    }

    fn made() -> impl Strategy<Value = Made> {
        prop_oneof![
            Just(Made::File),
            Just(Made::Directory),
            Just(Made::OpaqueDirectory),
            Just(Made::Link)
        ]
    }

    fn kind(seen: io::Result<Seen>) -> String {
        match seen.unwrap() {
            Seen::File(at, _) => format!("file {}", at.display()),
            Seen::Link(to, at) => format!("link {} {}", to.display(), at.display()),
            Seen::Directory(at, _) => format!("directory {}", at.display()),
            Seen::Other => "other".into(),
            Seen::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn a_directory_is_read_once() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("a")).unwrap();
        fs::write(place.path().join("a/there"), "x").unwrap();
        let lowers = [place.path().to_owned()];
        let stacked = Stacked::new(&lowers);
        assert!(stacked.exists(Path::new("/a/there")));
        // Later layers are hidden for every path.
        fs::write(place.path().join("a/later"), "x").unwrap();
        assert!(!stacked.exists(Path::new("/a/later")));
        assert!(Stacked::new(&lowers).exists(Path::new("/a/later")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// It gives the same results as `Merged`, which looks up each path separately. Dangling links
        /// are used, because links on the way are the one difference.
        #[test]
        fn it_agrees_with_a_look_at_each_path(
            layers in prop::collection::vec(
                prop::collection::btree_map("[ab](/[ab]){0,3}", made(), 0..8), 1..4)
        ) {
            let place = tempfile::tempdir().unwrap();
            let mut lowers = Vec::new();
            for (index, layer) in layers.iter().enumerate() {
                let root = place.path().join(index.to_string());
                fs::create_dir(&root).unwrap();
                for (path, made) in layer {
                    let path = root.join(path);
                    if fs::create_dir_all(path.parent().unwrap()).is_err() {
                        continue;
                    }
                    match made {
                        Made::File => drop(fs::write(&path, "x")),
                        Made::Link => drop(symlink("/nowhere", &path)),
                        Made::Directory => drop(fs::create_dir_all(&path)),
                        Made::OpaqueDirectory => {
                            if fs::create_dir_all(&path).is_ok() {
                                let none = rustix::fs::XattrFlags::empty();
                                let _ = rustix::fs::lsetxattr(
                                    &path, "user.overlay.opaque", b"y", none);
                            }
                        }
                    }
                }
                lowers.push(root);
            }
            let stacked = Stacked::new(&lowers);
            for path in ["/", "/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a", "/a/b/a", "/a/a/a/b", "/b/b/b/b"] {
                let path = Path::new(path);
                prop_assert_eq!(kind(stacked.at(path)), kind(Merged(&lowers).at(path)), "{}", path.display());
            }
        }
    }
}
