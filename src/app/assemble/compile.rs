//! Byte-compiles with one pinned method (`compile.py`): unchecked-hash for dependencies, so that
//! their layers are the same for everyone; checked-hash for the application, so that code can be
//! changed in a running container.
//!
//! The test suites that packages bring (`tests` below `site-packages`; half the code of pandas and
//! scikit-learn) have none: nobody imports them where the application runs, and who does waits for
//! Python to compile them.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::process::status_of;
use super::BuildError;
use super::marshal::{Layout, normalize};

const SCRIPT: &str = include_str!("compile.py");

/// Magic number, flags and the hash of the source (PEP 552).
const HEADER: usize = 16;

const BUFFER: usize = 256 * 1024;

/// Most files that an interpreter knows of beside the one that it compiles. Their names fit into a
/// pipe.
const AHEAD: usize = 8;

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

/// Compiles these files, on all processors.
pub(super) fn files(python: &Path, paths: Vec<PathBuf>, check: Check) -> Result<(), BuildError> {
    let mut sized: Vec<(u64, PathBuf)> = paths
        .into_iter()
        .filter(|path| check == Check::Checked || !is_of_a_test_suite(path))
        .map(|path| (std::fs::metadata(&path).map_or(0, |meta| meta.len()), path))
        .collect();
    // The largest first: nobody is left with one when the others are done.
    sized.sort_by(|a, b| b.cmp(a));
    let paths: Vec<PathBuf> = sized.into_iter().map(|(_, path)| path).collect();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    in_order(python, &paths, workers, check)
}

/// Compiles these files with so many interpreters, each taking the next when it is done with one.
fn in_order(
    python: &Path,
    paths: &[PathBuf],
    workers: usize,
    check: Check,
) -> Result<(), BuildError> {
    // Few names at a time where there are few.
    let ahead = (paths.len() / (4 * workers)).clamp(1, AHEAD);
    let next = AtomicUsize::new(0);
    let take = || paths.get(next.fetch_add(1, Ordering::Relaxed));
    let take = &take;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers.min(paths.len()))
            .map(|_| scope.spawn(move || compile_some(python, take, ahead, check)))
            .collect();
        running.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or(Err(BuildError::Compile { status: 125 }))
        })
    })
}

/// Whether a package has it for its own tests.
fn is_of_a_test_suite(path: &Path) -> bool {
    let mut names = path.iter().skip_while(|name| *name != "site-packages");
    names.any(|name| name == "tests")
}

/// Compiles what `take` gives with one interpreter, which is told of so many files ahead.
fn compile_some<'a>(
    python: &Path,
    take: &dyn Fn() -> Option<&'a PathBuf>,
    ahead: usize,
    check: Check,
) -> Result<(), BuildError> {
    let failed = |source| BuildError::Io {
        doing: "byte-compile with",
        path: python.to_owned(),
        source,
    };
    let mut child = Command::new(python)
        .args(["-S", "-s", "-B", "-c", SCRIPT])
        .arg(match check {
            Check::Unchecked => "unchecked",
            Check::Checked => "checked",
        })
        .env_clear()
        .envs(BTreeMap::from([
            ("PYTHONHASHSEED", "0"),
            ("LC_ALL", "C.UTF-8"),
            // glibc is not to give memory back between two files.
            ("MALLOC_TOP_PAD_", "67108864"),
            ("MALLOC_TRIM_THRESHOLD_", "268435456"),
            ("MALLOC_MMAP_THRESHOLD_", "268435456"),
        ]))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (stdin, mut said) = (child.stdin.take(), child.stdout.take());
    let kept = stdin.zip(said.as_mut()).map_or(Ok(()), |(stdin, said)| {
        keep(stdin, BufReader::with_capacity(BUFFER, said), take, ahead)
    });
    if matches!(kept, Err(Unkept::Unwritten(..))) {
        // Nobody is to read that it could not say the rest.
        let _ = child.kill();
    }
    drop(said);
    let status = child.wait().map_err(failed)?;
    match kept {
        // It ended too early, and its status says why.
        Err(Unkept::Lost(_)) | Ok(()) if !status.success() => Err(BuildError::Compile {
            status: status_of(status),
        }),
        Err(Unkept::Lost(error)) => Err(failed(error)),
        Err(Unkept::Unwritten(path, source)) => Err(BuildError::Io {
            doing: "write the byte-code of",
            path,
            source,
        }),
        Ok(()) => Ok(()),
    }
}

/// Why byte-code is not where it should be.
enum Unkept {
    /// The interpreter is not to be talked to.
    Lost(io::Error),
    Unwritten(PathBuf, io::Error),
}

/// Names the files to the interpreter, so many ahead, and writes what it says of each beside it.
fn keep<'a>(
    mut stdin: impl io::Write,
    mut said: impl Read,
    take: &dyn Fn() -> Option<&'a PathBuf>,
    ahead: usize,
) -> Result<(), Unkept> {
    let mut named = VecDeque::with_capacity(ahead);
    let mut name = |named: &mut VecDeque<&'a PathBuf>| {
        while named.len() < ahead
            && let Some(path) = take()
        {
            let line = [path.as_os_str().as_bytes(), &[0]].concat();
            stdin.write_all(&line).map_err(Unkept::Lost)?;
            named.push_back(path);
        }
        Ok(())
    };
    name(&mut named)?;
    let mut start = [0; 2];
    said.read_exact(&mut start).map_err(Unkept::Lost)?;
    let layout = Layout::of(start[0]);
    let mut tag = vec![0; start[1].into()];
    said.read_exact(&mut tag).map_err(Unkept::Lost)?;
    let mut content = Vec::new();
    while let Some(path) = named.pop_front() {
        name(&mut named)?;
        let mut length = [0; 4];
        said.read_exact(&mut length).map_err(Unkept::Lost)?;
        let length = u32::from_le_bytes(length);
        content.clear();
        let read = said.by_ref().take(length.into()).read_to_end(&mut content);
        if read.map_err(Unkept::Lost)? < length as usize {
            return Err(Unkept::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        if length == 0 {
            continue;
        }
        if let (Some(layout), Some(code)) = (layout, content.get_mut(HEADER..)) {
            // What it cannot read is still good byte-code.
            normalize(code, layout);
        }
        write(path, &tag, &content).map_err(|error| Unkept::Unwritten(path.clone(), error))?;
    }
    Ok(())
}

/// `x.py`'s byte-code is `__pycache__/x.TAG.pyc` (PEP 3147). Whoever reads it meanwhile sees all or
/// nothing.
fn write(path: &Path, tag: &[u8], content: &[u8]) -> io::Result<()> {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(OsStr::from_bytes(tag));
    name.push(".pyc");
    let directory = path.with_file_name("__pycache__");
    let target = directory.join(&name);
    name.push(format!(".{}", std::process::id()));
    let temporary = directory.join(name);
    match std::fs::write(&temporary, content) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(&directory)?;
            std::fs::write(&temporary, content)?;
        }
        other => other?,
    }
    std::fs::rename(temporary, target)
}

/// Python files below a directory; links, hidden directories and `node_modules` are passed by.
fn python_files(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
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
                .is_err_and(|error| matches!(error, BuildError::Compile { status: 1 }))
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
        // More than fits into a pipe: the interpreter is still at it.
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
        // Unchecked: it is believed though the source is another.
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
