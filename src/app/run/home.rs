//! Directories for caches and run-time files where HOME cannot be written to: an image runs as any
//! uid and with a read-only root, but it has a `/tmp`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode, access, lstat, mkdir};
use rustix::process::geteuid;

/// Directories that may hold settings of the image: moved only if HOME does not have them.
const SETTINGS: &[(&str, &str, &str)] = &[
    ("XDG_CONFIG_HOME", ".config", "config"),
    ("XDG_DATA_HOME", ".local/share", "data"),
    ("JUPYTER_CONFIG_DIR", ".jupyter", "jupyter/config"),
    ("JUPYTER_DATA_DIR", ".local/share/jupyter", "jupyter/data"),
    ("IPYTHONDIR", ".ipython", "ipython"),
];

/// Files that can be made again at any time.
const CACHES: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_STATE_HOME", "state"),
    ("XDG_RUNTIME_DIR", "run"),
    ("MPLCONFIGDIR", "matplotlib"),
    ("NUMBA_CACHE_DIR", "numba"),
    ("PYTHON_EGG_CACHE", "eggs"),
    ("JUPYTER_RUNTIME_DIR", "jupyter/run"),
    ("JUPYTERLAB_WORKSPACES_DIR", "jupyter/workspaces"),
];

/// The variables that replace a HOME that cannot be written to; none if it can.
pub(super) fn substitutes(home: Option<&OsStr>, directory: &Path) -> Vec<(&'static str, PathBuf)> {
    let home = home.filter(|home| !home.is_empty()).map(Path::new);
    if home.is_some_and(is_writable) {
        return Vec::new();
    }
    let caches = CACHES
        .iter()
        .map(|(name, below)| (*name, directory.join(below)));
    let settings = SETTINGS
        .iter()
        .filter(|(_, in_home, _)| !home.is_some_and(|home| home.join(in_home).exists()))
        .map(|(name, _, below)| (*name, directory.join(below)));
    caches.chain(settings).collect()
}

pub(super) fn is_writable(directory: &Path) -> bool {
    access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// The directory below `$TMPDIR` (else `/tmp`) that belongs to this user alone.
pub(super) fn private_directory(temporary: Option<&OsStr>) -> PathBuf {
    let parent = temporary
        .filter(|path| Path::new(path).is_absolute())
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let uid = geteuid().as_raw();
    let mut name = OsString::from(format!("warpdrive-{uid}"));
    // A directory or link of another user with that name must not be used.
    for number in 1..10 {
        let path = parent.join(&name);
        match lstat(&path) {
            Ok(stat) if stat.st_uid != uid || stat.st_mode & 0o170_022 != 0o040_000 => {
                name = OsString::from(format!("warpdrive-{uid}-{number}"));
            }
            _ => return path,
        }
    }
    parent.join(name)
}

/// Makes a directory and its parents up to and including `top`, mode 0700. A failure is reported
/// where the directory is used.
pub(super) fn make(path: &Path, top: &Path) {
    if path != top
        && let Some(parent) = path.parent()
        && parent.starts_with(top)
    {
        make(parent, top);
    }
    let _ = mkdir(path, Mode::RWXU);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_home_that_can_be_written_to_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        assert!(substitutes(Some(home.path().as_os_str()), Path::new("/tmp/w")).is_empty());
    }

    #[test]
    fn settings_of_the_image_stay() {
        let moved = substitutes(Some(OsStr::new("/nonexistent")), Path::new("/tmp/w"));
        let names: Vec<_> = moved.iter().map(|(name, _)| *name).collect();
        for name in [
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "MPLCONFIGDIR",
            "IPYTHONDIR",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "NUMBA_CACHE_DIR",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(moved.iter().all(|(_, path)| path.starts_with("/tmp/w")));
        assert_eq!(substitutes(None, Path::new("/tmp/w")).len(), moved.len());
    }

    #[test]
    fn a_strangers_directory_is_not_used() {
        let temporary = tempfile::tempdir().unwrap();
        let first = private_directory(Some(temporary.path().as_os_str()));
        make(&first.join("a/b"), &first);
        assert_eq!(
            std::fs::metadata(&first).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(first.join("a/b").is_dir());
        assert_eq!(private_directory(Some(temporary.path().as_os_str())), first);
        std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o777)).unwrap();
        let second = private_directory(Some(temporary.path().as_os_str()));
        assert_ne!(second, first);
        std::os::unix::fs::symlink("/etc", &second).unwrap();
        let third = private_directory(Some(temporary.path().as_os_str()));
        assert_ne!(third, second);
    }
}
