//! Looks up a path in stacked layers without mounting them, with whiteouts, opaque directories and
//! links. Nothing runs in the trees meanwhile.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::beneath::{Directory, MAX_LINKS, open_regular, push_names, read_bounded};

/// The entry at a path of the merged tree.
#[derive(Debug)]
pub enum Seen {
    /// Where it is on disk.
    File(PathBuf, Metadata),
    /// Its target, and where it is on disk.
    Link(PathBuf, PathBuf),
    /// The directory in the uppermost layer; its owner and mode count.
    Directory(PathBuf, Metadata),
    /// A device, a pipe, a socket.
    Other,
    Nothing,
}

/// Unpacked layers, the uppermost first.
#[derive(Debug, Clone)]
pub struct Merged<'a>(pub &'a [PathBuf]);

impl Merged<'_> {
    /// What is at `path` (inside the image); links on the way are followed, one at its end is not.
    pub fn at(&self, path: &Path) -> io::Result<Seen> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return find(self.0, &[]);
        };
        let mut parts = components(&self.resolve(parent)?);
        parts.push(name.to_owned());
        find(self.0, &parts)
    }

    /// The same, a link at its end followed too.
    pub fn followed(&self, path: &Path) -> io::Result<Seen> {
        find(self.0, &components(&self.resolve(path)?))
    }

    pub fn exists(&self, path: &Path) -> bool {
        !matches!(self.at(path), Ok(Seen::Nothing))
    }

    /// The absolute path without links; missing parts do not change.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut done: Vec<OsString> = Vec::new();
        let mut todo: Vec<OsString> = Vec::new();
        push_names(&mut todo, path);
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(part);
            if let Seen::Link(target, _) = find(self.0, &done)? {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many symbolic links"));
                }
                done.pop();
                if target.is_absolute() {
                    done.clear();
                }
                push_names(&mut todo, &target);
            }
        }
        Ok(Path::new("/").join(done.iter().collect::<PathBuf>()))
    }

    /// Reads the file at `path`, links followed; `None` when there is none. A file larger than `max`
    /// bytes is an error.
    pub fn read(&self, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
        match self.followed(path)? {
            Seen::File(file, _) => read_bounded(open_regular(&file)?, max).map(Some),
            _ => Ok(None),
        }
    }

    /// The names in the directory at `path`, links followed; none when it is not a directory.
    pub fn names(&self, path: &Path) -> io::Result<BTreeSet<OsString>> {
        let parts = components(&self.resolve(path)?);
        let mut names = BTreeSet::new();
        if !matches!(find(self.0, &parts)?, Seen::Directory(..)) {
            return Ok(names);
        }
        let mut candidates = BTreeSet::new();
        for lower in self.0 {
            let on_disk = lower.join(parts.iter().collect::<PathBuf>());
            // A link on the way may be in a covered layer: `find` below decides.
            if walks_into(lower, &parts) {
                for child in fs::read_dir(&on_disk)? {
                    candidates.insert(child?.file_name());
                }
            }
        }
        for name in candidates {
            let mut path = parts.clone();
            path.push(name.clone());
            if !matches!(find(self.0, &path)?, Seen::Nothing) {
                names.insert(name);
            }
        }
        Ok(names)
    }
}

/// Whether all parts are directories, and no links, in this one layer.
fn walks_into(lower: &Path, parts: &[OsString]) -> bool {
    let mut at = lower.to_owned();
    parts.iter().all(|part| {
        at.push(part);
        fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_dir())
    })
}

/// Reads a file of a *running* container: `root` is `/proc/PID/root`. The kernel keeps every link
/// inside, whatever the container's processes do meanwhile.
pub(super) fn read_file_in(root: &Path, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    match Directory::open(root)?.open_within(path, flags) {
        Ok(file) => read_bounded(file.into(), max).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names of a path, the first one first.
fn components(path: &Path) -> Vec<OsString> {
    let mut names = Vec::new();
    push_names(&mut names, path);
    names.reverse();
    names
}

/// Looks a path up whose parents are directories (no links) in the merged tree.
fn find(lowers: &[PathBuf], path: &[OsString]) -> io::Result<Seen> {
    'layers: for lower in lowers {
        let mut opaque = false;
        let mut at = lower.clone();
        if path.is_empty() {
            let metadata = fs::symlink_metadata(&at)?;
            return Ok(Seen::Directory(at, metadata));
        }
        for (index, part) in path.iter().enumerate() {
            at.push(part);
            // Every component was seen not to be a link before the next one is looked at.
            let metadata = match fs::symlink_metadata(&at) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if opaque {
                        return Ok(Seen::Nothing);
                    }
                    continue 'layers;
                }
                Err(error) => return Err(error),
            };
            let kind = metadata.file_type();
            if kind.is_char_device() && metadata.rdev() == 0 {
                return Ok(Seen::Nothing);
            }
            let last = index + 1 == path.len();
            if kind.is_dir() {
                if last {
                    return Ok(Seen::Directory(at, metadata));
                }
                opaque |= is_opaque(&at);
            } else if !last {
                return Ok(Seen::Nothing);
            } else if kind.is_symlink() {
                return Ok(Seen::Link(fs::read_link(&at)?, at));
            } else if kind.is_file() {
                return Ok(Seen::File(at, metadata));
            } else {
                return Ok(Seen::Other);
            }
        }
    }
    Ok(Seen::Nothing)
}

pub(super) fn is_opaque(directory: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| {
            let mut value = [0_u8; 4];
            matches!(
                rustix::fs::lgetxattr(directory, *name, &mut value[..]),
                Ok(1) if value[0] == b'y'
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn read(lowers: &[PathBuf], path: &str) -> Option<String> {
        Merged(lowers)
            .read(Path::new(path), 100)
            .unwrap()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_merged_tree_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let (top, bottom) = (root.join("top"), root.join("bottom"));
        for path in [
            "top/etc",
            "top/hidden",
            "bottom/etc",
            "bottom/usr/etc",
            "bottom/hidden",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(top.join("etc/passwd"), "top").unwrap();
        fs::write(bottom.join("etc/passwd"), "bottom").unwrap();
        fs::write(bottom.join("etc/group"), "bottom").unwrap();
        fs::write(bottom.join("usr/etc/there"), "there").unwrap();
        symlink("/usr/etc/there", top.join("etc/absolute")).unwrap();
        symlink("../../../usr/etc/there", top.join("etc/relative")).unwrap();
        symlink("loop", top.join("etc/loop")).unwrap();
        symlink(root.join("bottom/etc/group"), top.join("etc/host")).unwrap();
        fs::write(bottom.join("hidden/file"), "x").unwrap();
        fs::write(top.join("usr"), "a file where a directory was").unwrap();
        let lowers = [top.clone(), bottom];
        assert_eq!(read(&lowers, "/etc/passwd").as_deref(), Some("top"));
        assert_eq!(read(&lowers, "/etc/group").as_deref(), Some("bottom"));
        assert_eq!(read(&lowers, "/etc/host"), None);
        assert_eq!(read(&lowers, "/usr/etc/there"), None);
        fs::remove_file(top.join("usr")).unwrap();
        assert_eq!(read(&lowers, "/etc/absolute").as_deref(), Some("there"));
        assert_eq!(read(&lowers, "/etc/relative").as_deref(), Some("there"));
        assert_eq!(read(&lowers, "/etc/missing"), None);
        let merged = Merged(&lowers);
        assert!(merged.read(Path::new("/etc/loop"), 100).is_err());
        assert!(merged.read(Path::new("/etc/passwd"), 2).is_err());
        let names = merged.names(Path::new("/etc")).unwrap();
        assert_eq!(names.len(), 6, "{names:?}");
        assert_eq!(
            merged.resolve(Path::new("/etc/relative/../more")).unwrap(),
            Path::new("/usr/etc/more")
        );
        assert!(merged.exists(Path::new("/etc/host")));
        assert!(matches!(
            merged.at(Path::new("/etc/absolute")).unwrap(),
            Seen::Link(..)
        ));
        assert_eq!(read(&lowers, "/hidden/file").as_deref(), Some("x"));
        if rustix::fs::lsetxattr(
            top.join("hidden"),
            "user.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .is_ok()
        {
            assert_eq!(read(&lowers, "/hidden/file"), None);
            assert!(
                Merged(&lowers)
                    .names(Path::new("/hidden"))
                    .unwrap()
                    .is_empty()
            );
        }
    }
}
