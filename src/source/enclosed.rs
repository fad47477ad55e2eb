//! Whether all files that git would read for a source are in that source.
//!
//! An archive's `.git` can be a file or a link that names a repository elsewhere on this machine, and a
//! repository can borrow objects and configuration from another one. Its commit, author and remote would
//! then go into the labels of an image, and the archive's author could read them there.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use crate::beneath::open_regular;

/// Largest configuration that is looked through.
const MAX_CONFIG: u64 = 1024 * 1024;
/// Most names; no unpacked source has more (`unpack` has a lower bound).
const MAX_NAMES: usize = 10_000_000;

/// Why git is not asked about an unpacked source; its root is `root`.
pub(super) fn refusal(root: &Path) -> Option<String> {
    let mut seen = 0;
    let mut walk = WalkDir::new(root).follow_links(false).into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(error.to_string()),
        };
        seen += 1;
        if seen > MAX_NAMES {
            return Some("it has too many files to look for repositories in".into());
        }
        if entry.file_name() != ".git" || entry.depth() == 0 {
            continue;
        }
        let kind = entry.file_type();
        let found = if kind.is_dir() {
            walk.skip_current_dir();
            repository(root, entry.path())
        } else if kind.is_file() {
            pointer(root, entry.path())
        } else {
            Some(format!("`{}` is a link", shown(root, entry.path())))
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Why git could wait for ever in a directory that the user has named: there is a FIFO or a device at a
/// path that it reads.
pub(super) fn obstacle(git: &Path) -> Option<String> {
    let walk = WalkDir::new(git).follow_links(false).into_iter();
    walk.flatten()
        .find(|entry| {
            let kind = entry.file_type();
            !kind.is_file() && !kind.is_dir() && !kind.is_symlink()
        })
        .map(|entry| {
            format!(
                "`{}` is neither a file nor a directory",
                shown(git.parent().unwrap_or(git), entry.path())
            )
        })
}

fn shown(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.display().to_string()
}

/// Looks through a git directory.
fn repository(root: &Path, git: &Path) -> Option<String> {
    for entry in WalkDir::new(git).follow_links(false) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(error.to_string()),
        };
        let path = shown(root, entry.path());
        let kind = entry.file_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Some(format!("`{path}` is neither a file nor a directory"));
        }
        let name = entry.file_name();
        let elsewhere = name == "commondir"
            || ((name == "alternates" || name == "http-alternates")
                && entry
                    .path()
                    .parent()
                    .is_some_and(|info| info.ends_with("objects/info")));
        if elsewhere {
            return Some(format!("`{path}` names another repository"));
        }
        if (name == "config" || name == "config.worktree") && includes(entry.path()) {
            return Some(format!("`{path}` includes another file"));
        }
    }
    None
}

/// Whether a configuration includes others, or is too large to tell.
fn includes(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read =
        open_regular(path).and_then(|file| file.take(MAX_CONFIG + 1).read_to_end(&mut bytes));
    bytes.make_ascii_lowercase();
    read.is_err()
        || bytes.len() as u64 > MAX_CONFIG
        || bytes.windows(8).any(|window| window == b"[include")
}

/// A submodule's `.git` is a file that names a directory below the repository's own.
fn pointer(root: &Path, file: &Path) -> Option<String> {
    let path = shown(root, file);
    let mut bytes = Vec::new();
    let read = open_regular(file).and_then(|file| file.take(8192).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let named = text.strip_prefix("gitdir:").map(str::trim);
    let (Ok(_), Some(named)) = (read, named) else {
        return Some(format!("`{path}` is a file that names no directory"));
    };
    let directory = file.parent().unwrap_or(root).join(named);
    // No component on the way is a link: the git directory of the root was checked, and the rest is
    // compared as text.
    let inside = plain(&directory).is_some_and(|directory| {
        directory.starts_with(root.join(".git"))
            && fs::canonicalize(&directory).is_ok_and(|real| real == directory)
    });
    (!inside).then(|| format!("`{path}` names a repository outside of the source"))
}

/// A path without `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Some(clean)
}
