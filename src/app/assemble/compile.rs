//! Byte-compiles with one pinned method (`compile.py`): unchecked-hash for dependencies, so that
//! their layers are the same for everyone; checked-hash for the application, so that code can be
//! changed in a running container.
//!
//! The test suites that packages bring (`tests` below `site-packages`; half the code of pandas and
//! scikit-learn) get no byte-code: an application in production does not import them. If one is
//! imported, Python compiles it at that moment.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::process::status_of;
use super::AssembleError;
use super::compiler::{self, Check, Sources, Unkept, is_compiled, is_of_a_test_suite};

/// Compiles every `.py` below the directories. Files that are not Python 3 are not changed.
pub(super) fn compile(
    python: &Path,
    directories: &[PathBuf],
    check: Check,
) -> Result<(), AssembleError> {
    let mut paths = Vec::new();
    for directory in directories {
        let mut take = |path: PathBuf| {
            if path.strip_prefix(directory).is_ok_and(is_compiled) {
                paths.push(path);
            }
        };
        walk(directory, &mut take).map_err(|source| AssembleError::Io {
            doing: "list the Python files of",
            path: directory.clone(),
            source,
        })?;
    }
    files(python, paths, check)
}

/// Removes the byte-code below a directory: packages brought or made it, not warpdrive.
pub(super) fn remove(directory: &Path) -> Result<(), AssembleError> {
    let mut found = Vec::new();
    let is_code = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "pyc")
            && path
                .parent()
                .is_some_and(|parent| parent.ends_with("__pycache__"))
    };
    let listed = walk(directory, &mut |path| {
        if is_code(&path) {
            found.push(path);
        }
    });
    listed.map_err(|source| AssembleError::Io {
        doing: "list the byte-code of",
        path: directory.to_owned(),
        source,
    })?;
    for path in found {
        std::fs::remove_file(&path).map_err(|source| AssembleError::Io {
            doing: "remove",
            path: path.clone(),
            source,
        })?;
        if let Some(parent) = path.parent() {
            // Fails if something else is in it, which is fine.
            let _ = std::fs::remove_dir(parent);
        }
    }
    Ok(())
}

/// Compiles these files, on all processors.
pub(super) fn files(python: &Path, paths: Vec<PathBuf>, check: Check) -> Result<(), AssembleError> {
    let mut sized: Vec<(u64, PathBuf)> = paths
        .into_iter()
        .filter(|path| check == Check::Checked || !is_of_a_test_suite(path))
        .map(|path| (std::fs::metadata(&path).map_or(0, |meta| meta.len()), path))
        .collect();
    // The largest first, so that no worker ends late.
    sized.sort_by(|a, b| b.cmp(a));
    let paths: Vec<PathBuf> = sized.into_iter().map(|(_, path)| path).collect();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    in_order(python, &paths, workers, check)
}

/// Compiles these files with this number of interpreters; each takes the next file when it has finished one.
fn in_order(
    python: &Path,
    paths: &[PathBuf],
    workers: usize,
    check: Check,
) -> Result<(), AssembleError> {
    let ahead = compiler::ahead(paths.len(), workers);
    let next = AtomicUsize::new(0);
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number < paths.len()).then_some(number)
    };
    let take = &take;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers.min(paths.len()))
            .map(|_| scope.spawn(move || compile_some(python, paths, take, ahead, check)))
            .collect();
        running.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or(Err(AssembleError::Compile { status: 125 }))
        })
    })
}

/// Compiles the files that `take` gives with one interpreter, which gets this number of files ahead.
fn compile_some(
    python: &Path,
    paths: &[PathBuf],
    take: &(dyn Fn() -> Option<usize> + Sync),
    ahead: usize,
    check: Check,
) -> Result<(), AssembleError> {
    let failed = |source| AssembleError::Io {
        doing: "byte-compile with",
        path: python.to_owned(),
        source,
    };
    let (kept, status) = compiler::run(
        python,
        (check, Stdio::inherit()),
        &Beside(paths),
        take,
        ahead,
    )
    .map_err(failed)?;
    match kept {
        Err(Unkept::Unread(path, source)) => Err(AssembleError::Io {
            doing: "read",
            path,
            source,
        }),
        Err(Unkept::Unwritten(path, source)) => Err(AssembleError::Io {
            doing: "write the byte-code of",
            path,
            source,
        }),
        // It ended too early, and its status says why.
        Err(Unkept::Lost(_)) | Ok(()) if !status.success() => Err(AssembleError::Compile {
            status: status_of(status),
        }),
        Err(Unkept::Lost(error)) => Err(failed(error)),
        Ok(()) => Ok(()),
    }
}

/// Files whose byte-code is written beside them.
struct Beside<'a>(&'a [PathBuf]);

impl Sources for Beside<'_> {
    fn path(&self, number: usize) -> &Path {
        self.0.get(number).map_or(Path::new(""), PathBuf::as_path)
    }

    fn read(&self, number: usize) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(number))
    }

    /// Meanwhile a reader sees the complete file or none.
    fn keep(&self, number: usize, tag: &[u8], code: &[u8]) -> io::Result<()> {
        let target = compiler::place(self.path(number), tag);
        let mut temporary = target.clone().into_os_string();
        temporary.push(format!(".{}", std::process::id()));
        match std::fs::write(&temporary, code) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(directory) = target.parent() {
                    std::fs::create_dir_all(directory)?;
                }
                std::fs::write(&temporary, code)?;
            }
            other => other?,
        }
        std::fs::rename(temporary, target)
    }
}

/// The files below a directory, without links.
fn walk(directory: &Path, found: &mut dyn FnMut(PathBuf)) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use std::process::Command;

    use super::*;

    /// The byte-code of every file, by name.
    fn code(place: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(place.join("__pycache__")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().into();
            found.insert(name, std::fs::read(&path).unwrap());
        }
        found
    }

    #[test]
    fn a_file_gives_the_same_whatever_was_compiled_before() {
        let python = Path::new("/usr/bin/python3");
        let library = Command::new(python)
            .args(["-c", "import os; print(os.path.dirname(os.__file__))"])
            .output()
            .unwrap();
        let library = PathBuf::from(String::from_utf8(library.stdout).unwrap().trim());
        let place = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&library).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "py") {
                let to = place.path().join(path.file_name().unwrap());
                std::fs::copy(&path, &to).unwrap();
                paths.push(to);
            }
        }
        std::fs::write(place.path().join("old.py"), "print 1").unwrap();
        paths.push(place.path().join("old.py"));
        paths.sort();
        assert!(paths.len() > 50);
        in_order(python, &paths, 1, Check::Unchecked).unwrap();
        let forwards = code(place.path());
        assert_eq!(forwards.len(), paths.len() - 1);
        paths.reverse();
        in_order(python, &paths, 1, Check::Unchecked).unwrap();
        assert!(forwards == code(place.path()), "backwards");
        for path in paths.iter().take(10) {
            in_order(python, std::slice::from_ref(path), 1, Check::Unchecked).unwrap();
        }
        assert!(forwards == code(place.path()), "alone");
        files(python, paths.clone(), Check::Unchecked).unwrap();
        assert!(forwards == code(place.path()), "on all processors");
        for path in &paths {
            std::fs::remove_file(path).unwrap();
        }
        assert!(
            in_order(python, &paths, 1, Check::Unchecked)
                .is_err_and(|error| matches!(error, AssembleError::Io { doing: "read", .. }))
        );
    }

    #[test]
    fn test_suites_of_packages_have_none() {
        let place = tempfile::tempdir().unwrap();
        let site = place.path().join("tests/site-packages");
        for name in ["x/tests/test_x.py", "x/testing.py", "x/tests.py"] {
            let path = site.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let has = |directory: &str| site.join(directory).join("__pycache__").exists();
        let python = Path::new("/usr/bin/python3");
        compile(python, std::slice::from_ref(&site), Check::Unchecked).unwrap();
        assert!(has("x") && !has("x/tests"));
        assert_eq!(code(&site.join("x")).len(), 2);
        compile(python, std::slice::from_ref(&site), Check::Checked).unwrap();
        assert!(has("x/tests"));
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("__pycache__"), "").unwrap();
        let mut paths = Vec::new();
        // More than fits into a pipe: the interpreter is still writing.
        for at in 0..20 {
            let path = place.path().join(format!("x{at}.py"));
            std::fs::write(&path, format!("x = '{}'", "y".repeat(1 << 16))).unwrap();
            paths.push(path);
        }
        let error = in_order(Path::new("/usr/bin/python3"), &paths, 1, Check::Checked);
        let error = error.unwrap_err().to_string();
        let first = place.path().join("x0.py");
        assert!(error.contains("write the byte-code of"), "{error}");
        assert!(error.contains(first.to_str().unwrap()), "{error}");
    }

    #[test]
    fn python_takes_it_for_its_own() {
        let python = Path::new("/usr/bin/python3");
        let place = tempfile::tempdir().unwrap();
        let module = place.path().join("dotted.name.py");
        std::fs::write(&module, "WORDS = ('a b', {'c': (1, 1000, 'a b')})\n").unwrap();
        files(python, vec![module.clone()], Check::Unchecked).unwrap();
        // Unchecked: Python uses it although the source differs.
        std::fs::write(&module, "WORDS = None\n").unwrap();
        let script = "import importlib.util as u, sys; \
            s = u.spec_from_file_location('m', sys.argv[1]); m = u.module_from_spec(s); \
            s.loader.exec_module(m); print(m.WORDS)";
        let said = Command::new(python)
            .args(["-c", script])
            .arg(&module)
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            "('a b', {'c': (1, 1000, 'a b')})\n"
        );
    }
}
