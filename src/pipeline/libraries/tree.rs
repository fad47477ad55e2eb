//! The shared objects of one installed tree: the libraries that it contains, and those that it needs. The
//! result is remembered if the tree's key determines its content.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat};
use serde::{Deserialize, Serialize};

use crate::beneath::Directory;
use crate::store::{Needs, Record, Store};

use super::super::error::BuildError;
use super::links;

/// Deepest directory that is looked into.
const MAX_DEPTH: usize = 40;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Objects {
    /// Names of files, and sonames.
    pub(super) brought: Vec<String>,
    pub(super) needs: Vec<Need>,
}

/// What one file is loaded with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Need {
    /// In the image, relative to its root.
    pub(super) file: String,
    pub(super) needed: Vec<String>,
    pub(super) search: Vec<String>,
}

impl Record for Objects {
    const KIND: &'static str = "shared-objects";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

impl Objects {
    /// Reads the tree in this directory. `key` names the tree, if it determines the tree's content.
    pub(super) fn of(
        store: &Store,
        directory: &Path,
        key: Option<&str>,
    ) -> Result<Self, BuildError> {
        let key = key.map(|key| format!("1-{key}"));
        if let Some(key) = &key
            && let Some(known) = store.cached(key)?
        {
            return Ok(known);
        }
        let objects = Self::read(directory).map_err(|source| BuildError::Read {
            path: directory.to_owned(),
            source,
        })?;
        if let Some(key) = &key {
            store.remember(key, &objects)?;
        }
        Ok(objects)
    }

    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut objects = Self::default();
        objects.walk(&Directory::open(root)?, Path::new(""), 0)?;
        objects.brought.sort();
        objects.brought.dedup();
        objects.needs.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(objects)
    }

    fn walk(&mut self, root: &Directory, inside: &Path, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        let (fd, names) = root.names(inside)?;
        for name in names {
            let stat = statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let path = inside.join(&name);
            if kind == FileType::Directory {
                self.walk(root, &path, depth + 1)?;
                continue;
            }
            let Some(name) = name.to_str().filter(|name| is_library(name)) else {
                continue;
            };
            self.brought.push(name.to_owned());
            if kind == FileType::RegularFile {
                self.add(root, &path);
            }
        }
        Ok(())
    }

    fn add(&mut self, root: &Directory, path: &Path) {
        let opened = root.open_file(path);
        let Some(links) = opened.ok().as_ref().and_then(links::read) else {
            return;
        };
        self.brought.extend(links.soname);
        if let Some(file) = path.to_str()
            && !links.needed.is_empty()
        {
            self.needs.push(Need {
                file: file.to_owned(),
                needed: links.needed,
                search: links.search,
            });
        }
    }
}

/// `x.so`, `libx.so.1`.
fn is_library(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "so") || name.contains(".so.")
}
