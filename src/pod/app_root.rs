//! The application's root in its place: copies do the work of an overlay mount.
//!
//! A stage of a build has lower directories and an upper one; at its end the upper one contains the changes.
//! Here the directories are copied over each other to the one path where programs expect them. Afterwards
//! the differences go to the upper directory, in overlayfs's format (`layer::scan` reads it), and the path
//! gets the content of the builder layer again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, StatxFlags, XattrFlags, mknodat, setxattr, statx};

use crate::builder::APP_ROOT_IN_TREE;
use crate::layer::remove_tree;

use super::error::PodError;

/// The mark of an opaque directory, in the form for unprivileged users.
const OPAQUE: &str = "user.overlay.opaque";
/// The mark of a removed file, if no device node can be made.
const WHITEOUT: &str = "user.overlay.whiteout";
/// Largest file that is compared.
const MAX_COMPARED: u64 = 64 * 1024 * 1024;

/// The place, and the tree that it must equal between stages.
#[derive(Debug)]
pub struct AppRoot {
    place: PathBuf,
    pristine: PathBuf,
}

/// The place while a stage runs in it. Dropping it restores the place.
#[derive(Debug)]
pub struct Filled<'a> {
    root: &'a AppRoot,
    before: BTreeMap<PathBuf, Before>,
}

/// The entry at a path when the stage began.
#[derive(Debug, Clone, Copy)]
struct Before {
    stamp: Stamp,
    /// A lower directory, or the builder layer, has something there.
    below: bool,
}

/// The ctime: every change of a file changes it, and no program can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    /// When the inode was made: its number may be reused.
    born: (i64, u32),
    changed: (i64, i64),
    directory: bool,
}

impl Stamp {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        let birth = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME).ok();
        Self {
            inode: metadata.ino(),
            born: birth.map_or((0, 0), |found| {
                (found.stx_btime.tv_sec, found.stx_btime.tv_nsec)
            }),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            directory: metadata.is_dir(),
        }
    }

    /// The same file or directory, even if it was changed.
    fn is_same(self, other: Self) -> bool {
        (self.inode, self.born, self.directory) == (other.inode, other.born, other.directory)
    }
}

/// The application's root in a tree of layers.
fn inside(tree: &Path) -> PathBuf {
    tree.join(APP_ROOT_IN_TREE)
}

impl AppRoot {
    /// Takes over the place. `pristine` is the unpacked builder layer. An empty place, such as a volume, is
    /// filled from it; otherwise the place must contain exactly it.
    ///
    /// # Errors
    /// If the place has other files, or is not writable.
    pub fn take(place: &Path, pristine: &Path) -> Result<Self, PodError> {
        let this = Self {
            place: place.to_owned(),
            pristine: pristine.to_owned(),
        };
        rustix::fs::access(place, rustix::fs::Access::WRITE_OK).map_err(|error| {
            PodError::NotWritable {
                path: place.to_owned(),
                source: error.into(),
            }
        })?;
        if !this.is_empty()? {
            this.check()?;
        }
        this.restore()?;
        Ok(this)
    }

    /// The builder layer, as a lower directory.
    pub fn pristine(&self) -> &Path {
        &self.pristine
    }

    /// It has only the working directory, which engines make in a volume.
    fn is_empty(&self) -> Result<bool, PodError> {
        let place = &self.place;
        for entry in fs::read_dir(place).map_err(PodError::io("could not read", place))? {
            let entry = entry.map_err(PodError::io("could not read", place))?;
            let path = entry.path();
            let is_empty_directory = path.file_name() == Some(OsStr::new("src"))
                && fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
            if !is_empty_directory {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Refuses entries that differ from the builder layer.
    fn check(&self) -> Result<(), PodError> {
        let pristine = inside(&self.pristine);
        let found = walk(&self.place)?;
        for path in found.keys() {
            if fs::symlink_metadata(pristine.join(path)).is_err() {
                // The directory alone does not say what it is for.
                let within = found
                    .keys()
                    .rfind(|inner| inner.starts_with(path))
                    .unwrap_or(path);
                return Err(PodError::Dirty {
                    path: self.place.join(within),
                    login: is_login(within),
                });
            }
        }
        for (path, expected) in walk(&pristine)? {
            let here = self.place.join(&path);
            let there = pristine.join(&path);
            let changed = || PodError::Changed { path: here.clone() };
            let actual = found.get(&path).ok_or_else(changed)?;
            let same = actual.file_type() == expected.file_type()
                && if expected.is_symlink() {
                    fs::read_link(&here).ok() == fs::read_link(&there).ok()
                } else if expected.is_file() {
                    actual.len() == expected.len()
                        && expected.len() <= MAX_COMPARED
                        && fs::read(&here).ok() == fs::read(&there).ok()
                } else {
                    true
                };
            if !same {
                return Err(changed());
            }
        }
        Ok(())
    }

    /// Fills the place with new copies of the builder layer's files.
    fn restore(&self) -> Result<(), PodError> {
        let place = &self.place;
        for entry in fs::read_dir(place).map_err(PodError::io("could not read", place))? {
            let entry = entry.map_err(PodError::io("could not read", place))?;
            let path = entry.path();
            remove(&path)?;
        }
        copy_onto(&inside(&self.pristine), &self.place)
    }

    /// Copies the lower directories (the uppermost first) and the upper one over the builder layer.
    ///
    /// # Errors
    /// If something could not be copied.
    pub fn fill(&self, lowers: &[PathBuf], upper: Option<&Path>) -> Result<Filled<'_>, PodError> {
        let mut filled = Filled {
            root: self,
            before: BTreeMap::new(),
        };
        for lower in lowers.iter().rev().filter(|lower| **lower != self.pristine) {
            copy_onto(&inside(lower), &self.place)?;
        }
        let below: Vec<PathBuf> = walk(&self.place)?.into_keys().collect();
        if let Some(upper) = upper {
            copy_onto(&inside(upper), &self.place)?;
        }
        for (path, metadata) in walk(&self.place)? {
            let stamp = Stamp::of(&self.place.join(&path), &metadata);
            let below = below.binary_search(&path).is_ok();
            filled.before.insert(path, Before { stamp, below });
        }
        // Entries that the upper directory already removed still exist below.
        for path in below {
            filled.before.entry(path).or_insert(Before {
                stamp: Stamp {
                    inode: 0,
                    born: (0, 0),
                    changed: (0, 0),
                    directory: false,
                },
                below: true,
            });
        }
        Ok(filled)
    }
}

impl Filled<'_> {
    /// Writes the changes to the upper directory from which the place was filled.
    ///
    /// # Errors
    /// If something could not be written.
    pub fn take_changes(&self, upper: &Path) -> Result<(), PodError> {
        let place = &self.root.place;
        let target = inside(upper);
        let now = walk(place)?;
        let mut replaced: Vec<&Path> = Vec::new();
        for (path, metadata) in &now {
            let here = place.join(path);
            let stamp = Stamp::of(&here, metadata);
            let before = self.before.get(path).copied();
            if before.is_some_and(|before| before.stamp == stamp) {
                continue;
            }
            let there = target.join(path);
            make_parents(&target, path)?;
            if !metadata.is_dir() {
                remove(&there)?;
                copy_one(&here, &there, metadata)?;
                continue;
            }
            if !fs::symlink_metadata(&there).is_ok_and(|found| found.is_dir()) {
                remove(&there)?;
                make_directory(&there, metadata.mode())?;
            }
            // A new directory has replaced an old one.
            if let Some(before) = before
                && before.below
                && !before.stamp.is_same(stamp)
            {
                setxattr(&there, OPAQUE, b"y", XattrFlags::empty())
                    .map_err(io::Error::from)
                    .map_err(PodError::io("could not mark", &there))?;
                replaced.push(path);
            }
        }
        for (path, before) in &self.before {
            if now.contains_key(path) {
                continue;
            }
            let parent_is_there = path.parent().is_none_or(|parent| {
                parent.as_os_str().is_empty() || now.get(parent).is_some_and(Metadata::is_dir)
            });
            let there = target.join(path);
            if parent_is_there {
                remove(&there)?;
            }
            let hidden = replaced.iter().any(|directory| path.starts_with(directory));
            if before.below && parent_is_there && !hidden {
                make_parents(&target, path)?;
                make_whiteout(&there)?;
            }
        }
        Ok(())
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        // The next stage needs it and reports the error.
        if let Err(error) = self.root.restore() {
            tracing::warn!(%error, "the application's root could not be made as it was");
        }
    }
}

/// Files in which programs keep logins.
fn is_login(path: &Path) -> bool {
    let first = path.iter().next().and_then(OsStr::to_str);
    matches!(
        first,
        Some(
            ".docker"
                | ".dockercfg"
                | ".gitconfig"
                | ".git-credentials"
                | ".ssh"
                | ".netrc"
                | ".config"
        )
    )
}

/// All entries below a directory, by their relative paths. Nothing runs there meanwhile.
fn walk(root: &Path) -> Result<BTreeMap<PathBuf, Metadata>, PodError> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        let on_disk = root.join(&directory);
        let entries = match fs::read_dir(&on_disk) {
            Ok(entries) => entries,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && directory.as_os_str().is_empty() =>
            {
                return Ok(found);
            }
            // A program may have removed the read permission of its files.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let _ = fs::set_permissions(&on_disk, fs::Permissions::from_mode(0o775));
                fs::read_dir(&on_disk).map_err(PodError::io("could not read", &on_disk))?
            }
            Err(error) => return Err(PodError::io("could not read", &on_disk)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(PodError::io("could not read", &on_disk))?;
            let path = directory.join(entry.file_name());
            let metadata = entry
                .metadata()
                .map_err(PodError::io("could not look at", entry.path()))?;
            if metadata.is_dir() {
                open.push(path.clone());
            }
            found.insert(path, metadata);
        }
    }
    Ok(found)
}

/// Copies a tree, with overlayfs's marks, over another one. A missing tree is empty.
///
/// # Errors
/// If something could not be copied.
pub fn copy_onto(from: &Path, onto: &Path) -> Result<(), PodError> {
    for (path, metadata) in walk(from)? {
        let (source, target) = (from.join(&path), onto.join(&path));
        if is_whiteout(&source, &metadata) {
            remove(&target)?;
        } else if metadata.is_dir() {
            let is_directory = fs::symlink_metadata(&target).is_ok_and(|found| found.is_dir());
            if !is_directory || has_mark(&source, OPAQUE) {
                remove(&target)?;
                make_directory(&target, metadata.mode())?;
            }
        } else {
            remove(&target)?;
            copy_one(&source, &target, &metadata)?;
        }
    }
    Ok(())
}

/// Copies a file or a link; other kinds do not belong in a layer.
fn copy_one(source: &Path, target: &Path, metadata: &Metadata) -> Result<(), PodError> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return fs::read_link(source)
            .and_then(|link| symlink(link, target))
            .map_err(PodError::io("could not copy", source));
    }
    if !kind.is_file() {
        return Ok(());
    }
    let copy = || {
        // A file without the owner's read permission is read all the same: this user owns it.
        if metadata.mode() & 0o400 == 0 {
            let _ =
                fs::set_permissions(source, fs::Permissions::from_mode(metadata.mode() | 0o600));
        }
        let mut from = File::open(source)?;
        let mut to = File::options().write(true).create_new(true).open(target)?;
        io::copy(&mut from, &mut to)?;
        to.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o777 | 0o600))?;
        to.set_modified(metadata.modified()?)
    };
    copy().map_err(PodError::io("could not copy", source))
}

fn is_whiteout(path: &Path, metadata: &Metadata) -> bool {
    (metadata.file_type().is_char_device() && metadata.rdev() == 0)
        || (metadata.is_file() && metadata.len() == 0 && has_mark(path, WHITEOUT))
}

fn has_mark(path: &Path, name: &str) -> bool {
    let mut value = [0_u8; 8];
    rustix::fs::lgetxattr(path, name, &mut value[..]).is_ok()
}

fn make_whiteout(path: &Path) -> Result<(), PodError> {
    if mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).is_ok() {
        return Ok(());
    }
    File::create_new(path)
        .and_then(|file| {
            Ok(rustix::fs::fsetxattr(
                file,
                WHITEOUT,
                b"y",
                XattrFlags::empty(),
            )?)
        })
        .map_err(PodError::io("could not mark", path))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), PodError> {
    DirBuilder::new()
        .mode(0o775)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777 | 0o700)))
        .map_err(PodError::io("could not make", path))
}

fn make_parents(root: &Path, path: &Path) -> Result<(), PodError> {
    let parent = path.parent().map(|parent| root.join(parent));
    let parent = parent.as_deref().unwrap_or(root);
    fs::create_dir_all(parent).map_err(PodError::io("could not make", parent))
}

/// Removes a file or a tree with any modes; a missing one is fine.
fn remove(path: &Path) -> Result<(), PodError> {
    let result = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => {
            remove_tree(path).map_err(|error| io::Error::other(error.to_string()))
        }
        Ok(_) => fs::remove_file(path),
    };
    result.map_err(PodError::io("could not remove", path))
}
