//! Byte-compiles with one pinned method (`compile.py`): unchecked-hash for dependencies, so that
//! their layers are the same for everyone; checked-hash for the application, so that code can be
//! changed in a running container.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::process::status_of;
use super::BuildError;

const SCRIPT: &str = include_str!("compile.py");

/// How Python decides whether byte code is valid (PEP 552).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Unchecked,
    Checked,
}

/// Compiles every `.py` below the directories. Files that are no Python 3 are left as they are.
pub(super) fn compile(
    python: &Path,
    directories: &[PathBuf],
    check: Check,
) -> Result<(), BuildError> {
    let mut paths = Vec::new();
    for directory in directories {
        python_files(directory, &mut paths).map_err(|source| BuildError::Io {
            doing: "list the Python files of",
            path: directory.clone(),
            source,
        })?;
    }
    files(python, paths, check)
}

/// Compiles these files.
pub(super) fn files(
    python: &Path,
    mut paths: Vec<PathBuf>,
    check: Check,
) -> Result<(), BuildError> {
    if paths.is_empty() {
        return Ok(());
    }
    paths.sort();
    let mut list = Vec::new();
    for path in &paths {
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    let failed = |source| BuildError::Io {
        doing: "byte-compile with",
        path: python.to_owned(),
        source,
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut child = Command::new(python)
        .args(["-S", "-s", "-B", "-c", SCRIPT])
        .arg(match check {
            Check::Unchecked => "unchecked",
            Check::Checked => "checked",
        })
        .arg(workers.to_string())
        .env_clear()
        .envs(BTreeMap::from([
            ("PYTHONHASHSEED", "0"),
            ("LC_ALL", "C.UTF-8"),
        ]))
        .current_dir("/")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&list).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::Compile {
            status: status_of(status),
        })
    }
}

/// Python files below a directory; links, hidden directories and `node_modules` are passed by.
fn python_files(directory: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let path = entry.path();
        if kind.is_dir() {
            let hidden = name.as_bytes().starts_with(b".");
            if !hidden && name != "node_modules" && name != "__pycache__" {
                python_files(&path, found)?;
            }
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
    Ok(())
}
