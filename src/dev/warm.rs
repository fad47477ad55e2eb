//! The module that stands between Python and the server's program (`warm/sitecustomize.py` says how), and how
//! a container gets it: a directory of this program's, mounted, and first in `PYTHONPATH`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

const MODULE: &str = include_str!("warm/sitecustomize.py");

/// Where containers find it.
const TARGET: &str = "/run/warpdrive-dev";

/// The directory; it is gone with this.
pub struct Warm {
    directory: TempDir,
}

impl Warm {
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("warpdrive-dev-")
            .tempdir()?;
        let module = directory.path().join("sitecustomize.py");
        fs::write(&module, MODULE)?;
        // The application may run as another user than the caller.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(&module, fs::Permissions::from_mode(0o644))?;
        Ok(Self { directory })
    }

    /// What is to be mounted, and where, read-only.
    pub fn mount(&self) -> (&Path, &'static Path) {
        (self.directory.path(), Path::new(TARGET))
    }

    /// The value of `PYTHONPATH`, in front of what it is otherwise.
    pub fn python_path(before: Option<&str>) -> String {
        match before.filter(|before| !before.is_empty()) {
            Some(before) => format!("{TARGET}:{before}"),
            None => TARGET.to_owned(),
        }
    }
}
