//! Where things may be written at run time: not in the image.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::super::environment::Environment;
use super::super::roots::Roots;
use super::RunError;

/// Variables of caches and run-time directories, and their places below the new home.
const MOVED: &[(&str, &str)] = &[
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_DATA_HOME", "share"),
    ("XDG_STATE_HOME", "state"),
    ("MPLCONFIGDIR", "matplotlib"),
    ("JUPYTER_CONFIG_DIR", "jupyter/config"),
    ("JUPYTER_DATA_DIR", "jupyter/data"),
    ("JUPYTER_RUNTIME_DIR", "jupyter/runtime"),
    ("IPYTHONDIR", "ipython"),
    ("NUMBA_CACHE_DIR", "numba"),
    ("PYTHON_EGG_CACHE", "eggs"),
];

/// Points programs that write into HOME elsewhere, where HOME cannot be written. HOME itself stays:
/// programs read configuration there.
pub(super) fn move_home(environment: &mut Environment) {
    let writable = environment
        .get("HOME")
        .is_some_and(|home| is_writable(Path::new(home)));
    if writable {
        return;
    }
    let base = temporary(environment).join(format!("warpdrive-home-{}", user()));
    for (name, place) in MOVED {
        environment
            .entry((*name).to_owned())
            .or_insert_with(|| base.join(place).display().to_string());
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn temporary(environment: &Environment) -> PathBuf {
    environment
        .get("TMPDIR")
        .filter(|value| !value.is_empty())
        .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

pub(super) fn is_writable(path: &Path) -> bool {
    rustix::fs::access(
        path,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    )
    .is_ok()
}

/// A directory of our own that can be written: in `/tmp` in an image, below the virtual environment
/// on a laptop.
pub(super) fn run_directory(roots: &Roots) -> Result<PathBuf, RunError> {
    let path = if roots.image {
        let temporary =
            std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        temporary.join(format!("warpdrive-{}", user()))
    } else {
        roots.app.join("tmp")
    };
    let failed = |source| RunError::Io {
        doing: "make",
        path: path.clone(),
        source,
    };
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(error));
        }
        _ => {}
    }
    // Somebody else's directory, or a link to one, is not ours to trust.
    let data = fs::symlink_metadata(&path).map_err(failed)?;
    if !data.is_dir() || data.uid() != user() {
        return Err(failed(std::io::Error::other("it belongs to somebody else")));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_cannot_be_written() {
        let mut environment = Environment::from([
            ("HOME".to_owned(), "/nonexistent".to_owned()),
            ("XDG_CACHE_HOME".to_owned(), "/mine".to_owned()),
        ]);
        move_home(&mut environment);
        assert_eq!(environment["XDG_CACHE_HOME"], "/mine");
        assert!(
            environment["MPLCONFIGDIR"].starts_with("/tmp/")
                || environment["MPLCONFIGDIR"].contains("warpdrive-home")
        );
        let home = tempfile::tempdir().unwrap();
        let mut environment =
            Environment::from([("HOME".to_owned(), home.path().display().to_string())]);
        move_home(&mut environment);
        assert_eq!(environment.len(), 1);
    }
}
