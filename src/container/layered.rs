//! Small files of an image, found in its stacked layers without mounting them: what overlayfs would
//! show at a path, whiteouts, opaque directories and links included.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// What stands at a path of the merged tree.
enum Found {
    File(PathBuf),
    Link(PathBuf),
    Directory,
    Nothing,
}

/// Reads the file at `path` (absolute, inside the image); `None` when there is none.
/// A file larger than `max` bytes is an error.
pub(super) fn read_file(lowers: &[PathBuf], path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut done: Vec<OsString> = Vec::new();
    let mut todo: Vec<OsString> = components(path);
    todo.reverse();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(part);
        match find(lowers, &done)? {
            Found::Nothing => return Ok(None),
            Found::Directory => {}
            Found::File(_) if !todo.is_empty() => return Ok(None),
            Found::File(file) => return read_bounded(&file, max).map(Some),
            Found::Link(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many symbolic links"));
                }
                done.pop();
                if target.is_absolute() {
                    done.clear();
                }
                todo.extend(components(&target).into_iter().rev());
            }
        }
    }
    Ok(None)
}

/// Reads a file of a *running* container: `root` is `/proc/PID/root`. The kernel keeps every link
/// inside, whatever the container's processes do meanwhile.
pub(super) fn read_file_in(root: &Path, path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let root = File::open(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => bounded(file.into(), max).map(Some),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Looks a path up whose parents are directories (no links) in the merged tree.
fn find(lowers: &[PathBuf], path: &[OsString]) -> io::Result<Found> {
    'layers: for lower in lowers {
        let mut opaque = false;
        let mut at = lower.clone();
        for (index, part) in path.iter().enumerate() {
            at.push(part);
            // Every component was seen not to be a link before the next one is looked at.
            let metadata = match fs::symlink_metadata(&at) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if opaque {
                        return Ok(Found::Nothing);
                    }
                    continue 'layers;
                }
                Err(error) => return Err(error),
            };
            let kind = metadata.file_type();
            if kind.is_char_device() && metadata.rdev() == 0 {
                return Ok(Found::Nothing);
            }
            let last = index + 1 == path.len();
            if kind.is_dir() {
                if last {
                    return Ok(Found::Directory);
                }
                opaque |= is_opaque(&at);
            } else if !last {
                return Ok(Found::Nothing);
            } else if kind.is_symlink() {
                return Ok(Found::Link(fs::read_link(&at)?));
            } else if kind.is_file() {
                return Ok(Found::File(at));
            } else {
                return Ok(Found::Nothing);
            }
        }
    }
    Ok(Found::Nothing)
}

fn is_opaque(directory: &Path) -> bool {
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

fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file: File = openat2(
        rustix::fs::CWD,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )?
    .into();
    bounded(file, max)
}

fn bounded(file: File, max: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other(format!("it is larger than {max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn read(lowers: &[PathBuf], path: &str) -> Option<String> {
        read_file(lowers, Path::new(path), 100)
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
        assert!(read_file(&lowers, Path::new("/etc/loop"), 100).is_err());
        assert!(read_file(&lowers, Path::new("/etc/passwd"), 2).is_err());
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
        }
    }
}
