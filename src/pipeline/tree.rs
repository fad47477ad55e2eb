//! Directories and entries as every image of warpdrive has them: owner 1001:0, two modes, no xattrs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};

use crate::builder::{APP_GID, APP_UID};
use crate::layer::{Entry, Kind, Mtime};
use crate::rootfs;

use super::error::BuildError;

/// The app root, relative to the root of the image.
pub(super) use crate::app::contract::ROOT_IN_TREE as APP_ROOT;

/// Makes a directory and its missing parents, with this mode and independent of the umask: the
/// command's user has to enter them.
pub(super) fn make_directory(path: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(path)
        .and_then(|()| {
            let mode = rustix::fs::Mode::from_raw_mode(0o755);
            Ok(rustix::fs::chmod(path, mode)?)
        })
        .map_err(|source| BuildError::Write {
            path: path.to_owned(),
            source,
        })
}

/// Makes `opt/app-root/src` below `directory`, with the owners and modes of the image.
pub(super) fn make_app_root(directory: &Path, chown: bool) -> Result<PathBuf, BuildError> {
    let make = |path: &Path, mode: u32, owned: bool| -> std::io::Result<()> {
        fs::DirBuilder::new().mode(mode).create(path)?;
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode))?;
        if owned && chown {
            rustix::fs::chown(
                path,
                Some(Uid::from_raw(APP_UID)),
                Some(Gid::from_raw(APP_GID)),
            )?;
        }
        Ok(())
    };
    let failed = |path: &Path, source| BuildError::Write {
        path: path.to_owned(),
        source,
    };
    make(directory, 0o755, false).map_err(|e| failed(directory, e))?;
    let opt = directory.join("opt");
    make(&opt, 0o755, false).map_err(|e| failed(&opt, e))?;
    let app_root = directory.join(APP_ROOT);
    make(&app_root, 0o775, true).map_err(|e| failed(&app_root, e))?;
    let src = app_root.join("src");
    make(&src, 0o775, true).map_err(|e| failed(&src, e))?;
    Ok(src)
}

/// Keeps the entries below the app root, with the metadata of images. Hard links become files,
/// because their names may go to different layers.
pub(super) fn normalize(entries: Vec<Entry>, time: Mtime) -> Vec<Entry> {
    let files: HashMap<PathBuf, Kind> = entries
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::File { .. }))
        .map(|entry| (entry.path.clone(), entry.kind.clone()))
        .collect();
    entries
        .into_iter()
        .filter(|entry| entry.path.starts_with(APP_ROOT) && entry.path != Path::new(APP_ROOT))
        .map(|mut entry| {
            let executable = entry.mode & 0o100 != 0;
            (entry.uid, entry.gid) = (APP_UID, APP_GID);
            entry.xattrs.clear();
            entry.mtime = time;
            if let Kind::HardLink(target) = &entry.kind
                && let Some(file) = files.get(target)
            {
                entry.kind = file.clone();
            }
            entry.mode = match &entry.kind {
                Kind::Directory | Kind::Opaque => 0o775,
                Kind::Symlink(_) => 0o777,
                Kind::File { .. } | Kind::Bytes(_) | Kind::HardLink(_) => {
                    if executable {
                        0o775
                    } else {
                        0o664
                    }
                }
                Kind::Whiteout => entry.mode,
            };
            entry
        })
        .collect()
}

/// Leaves out the directories that another entry implies; only empty ones remain.
pub(super) fn without_implied_directories(entries: Vec<Entry>) -> Vec<Entry> {
    let mut implied: HashSet<PathBuf> = HashSet::new();
    for entry in &entries {
        let mut parent = entry.path.parent();
        while let Some(path) = parent {
            if path.as_os_str().is_empty() || !implied.insert(path.to_owned()) {
                break;
            }
            parent = path.parent();
        }
    }
    entries
        .into_iter()
        .filter(|entry| !matches!(entry.kind, Kind::Directory) || !implied.contains(&entry.path))
        .collect()
}

/// Whether any of the lower directories has something at this path.
pub(super) fn exists_below(lowers: &[PathBuf], path: &Path) -> bool {
    lowers
        .iter()
        .any(|lower| rootfs::exists_beneath(lower, path))
}
