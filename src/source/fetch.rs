//! Gets a source from any location: fetched or unpacked into a temporary directory, then collected.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::progress::Progress;
use crate::store::{Scratch, Store};

use super::collect::collect_unless;
use super::fetch_options::FetchOptions;
use super::{CollectOptions, Origin, SourceError, Tree, clone, unpack};
use crate::beneath::Directory;

/// The default time for `git`.
pub const FETCH_TIMEOUT: Duration = Duration::from_mins(15);

/// What to build from.
#[derive(Debug, Clone)]
pub struct SourceRequest {
    pub origin: Origin,
    /// The directory in it that is the source (`--context-dir`).
    pub context_dir: Option<PathBuf>,
    /// Whether submodules are fetched.
    pub submodules: bool,
    /// How long `git` may take.
    pub timeout: Duration,
    /// Keep what was fetched or unpacked.
    pub keep: bool,
    /// The source that another process has fetched for this one (before this one entered a user namespace).
    pub fetched: Option<PathBuf>,
}

impl SourceRequest {
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            context_dir: None,
            submodules: true,
            timeout: FETCH_TIMEOUT,
            keep: false,
            fetched: None,
        }
    }
}

/// A source as a directory of this machine.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub path: PathBuf,
    /// Removed with the last of its holders.
    scratch: Option<Arc<Scratch>>,
}

/// Makes a source available as a directory: a directory is taken as it is, everything else goes into
/// a temporary one, which exists as long as the returned value.
pub fn fetch(
    store: &Store,
    request: &SourceRequest,
    progress: &dyn Progress,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Fetched, SourceError> {
    if let Some(path) = &request.fetched {
        return Ok(Fetched {
            path: path.clone(),
            scratch: None,
        });
    }
    if let Origin::Directory(path) = &request.origin {
        return Ok(Fetched {
            path: path.clone(),
            scratch: None,
        });
    }
    let scratch = if request.keep {
        None
    } else {
        Some(store.scratch("source")?)
    };
    let place = match &scratch {
        Some(scratch) => scratch.path().join("source"),
        None => kept_directory()?.join("source"),
    };
    std::fs::create_dir(&place).map_err(|e| SourceError::io("create", &place, e))?;
    if request.keep {
        progress.step(&format!("---> The source is kept in {}", place.display()));
    }
    let path = match &request.origin {
        Origin::Directory(path) => path.clone(),
        Origin::Git(url) => {
            progress.step(&format!("---> Fetching {url}"));
            let options = FetchOptions {
                submodules: request.submodules,
                timeout: request.timeout,
                progress,
                cancelled,
            };
            clone::clone(url, &place, &options)?;
            if clone::uses_lfs(&place) {
                progress.warning(
                    "the repository keeps files with Git LFS, and these are not fetched: the image gets their pointers; build from a checkout instead",
                );
            }
            place
        }
        Origin::Archive(path) => {
            progress.step(&format!("---> Unpacking {}", path.display()));
            unpack::file(path, &place, cancelled)?
        }
        Origin::Stdin => {
            use std::io::IsTerminal;
            if std::io::stdin().is_terminal() {
                return Err(SourceError::NoArchive {
                    path: "standard input".into(),
                    found: "it is a terminal; pipe a tar archive into it",
                });
            }
            progress.step("---> Unpacking a tar archive from standard input");
            unpack::stream(Stdin { cancelled }, &place, cancelled)?
        }
    };
    Ok(Fetched {
        path,
        scratch: scratch.map(Arc::new),
    })
}

/// Standard input; waiting for it can be cancelled. (Signals do not end a `read`.)
struct Stdin<'a> {
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Read for Stdin<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const PAUSE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let stdin = rustix::stdio::stdin();
        loop {
            if (self.cancelled)() {
                return Err(io::Error::other("interrupted"));
            }
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&PAUSE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(rustix::io::read(stdin, buffer)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A directory that stays.
fn kept_directory() -> Result<PathBuf, SourceError> {
    tempfile::Builder::new()
        .prefix("warpdrive-source-")
        .tempdir()
        .map(tempfile::TempDir::keep)
        .map_err(|e| SourceError::io("create a directory in", &std::env::temp_dir(), e))
}

/// Fetches a source and finds the files that go into an image.
pub fn take(
    store: &Store,
    request: &SourceRequest,
    options: &CollectOptions,
    progress: &dyn Progress,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Tree, SourceError> {
    let fetched = fetch(store, request, progress, cancelled)?;
    let unpacked = match request.origin {
        Origin::Directory(_) => None,
        Origin::Git(_) | Origin::Archive(_) | Origin::Stdin => Some(fetched.path.clone()),
    };
    let path = match &request.context_dir {
        Some(context) => context_dir(&fetched.path, context)?,
        None => fetched.path,
    };
    if !path.is_dir() {
        return Err(SourceError::NotADirectory { path });
    }
    let options = CollectOptions {
        unpacked,
        ..options.clone()
    };
    let mut tree = collect_unless(&path, &options, cancelled)?;
    if cancelled() {
        return Err(SourceError::Interrupted);
    }
    tree.keep(fetched.scratch);
    Ok(tree)
}

/// The chosen directory in a source: beneath it, and not through a link.
fn context_dir(root: &Path, context: &Path) -> Result<PathBuf, SourceError> {
    let refused = |problem: String| SourceError::ContextDir {
        path: context.to_owned(),
        problem,
    };
    let mut clean = PathBuf::new();
    for component in context.components() {
        match component {
            // `s2i` takes `/sub` for `sub`.
            Component::CurDir | Component::RootDir => {}
            Component::Normal(part) => clean.push(part),
            _ => return Err(refused("it leads out of the source".into())),
        }
    }
    if clean.as_os_str().is_empty() {
        return Ok(root.to_owned());
    }
    let beneath = Directory::open(root).map_err(|source| SourceError::Root {
        path: root.to_owned(),
        source,
    })?;
    match beneath.open_at(&clean, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(_) => Ok(root.join(clean)),
        Err(error) => Err(refused(match error {
            Errno::NOENT => "the source has no such directory".into(),
            Errno::NOTDIR => "it is not a directory of the source".into(),
            Errno::LOOP => "a symbolic link is on the way to it".into(),
            _ => io::Error::from(error).to_string(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;
    use std::fs;

    fn store() -> (tempfile::TempDir, Store) {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&place.path().join("store"))).unwrap();
        (place, store)
    }

    #[test]
    fn a_context_directory_stays_in_the_source() {
        let (place, store) = store();
        let root = place.path().join("app");
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::write(root.join("sub/deep/app.py"), "x").unwrap();
        fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("sub", root.join("link")).unwrap();
        for (context, problem) in [
            ("sub/deep", None),
            ("./sub/deep/", None),
            ("/sub/deep", None),
            ("../app/sub", Some("leads out")),
            ("missing", Some("no such directory")),
            ("file", Some("not a directory")),
            ("link/deep", Some("symbolic link")),
        ] {
            let mut request = SourceRequest::new(Origin::Directory(root.clone()));
            request.context_dir = Some(context.into());
            let result = take(
                &store,
                &request,
                &CollectOptions::default(),
                &NoProgress,
                &|| false,
            );
            match problem {
                None => assert!(
                    result.unwrap().get(Path::new("app.py")).is_some(),
                    "{context}"
                ),
                Some(problem) => {
                    let error = result.unwrap_err().to_string();
                    assert!(error.contains(problem), "{context}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_temporary_source_lives_as_long_as_its_tree() {
        let (place, store) = store();
        let archive = place.path().join("app.tar");
        let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "app.py", &b"x"[..]).unwrap();
        tar.into_inner().unwrap();
        let request = SourceRequest::new(Origin::Archive(archive));
        let tree = take(
            &store,
            &request,
            &CollectOptions::default(),
            &NoProgress,
            &|| false,
        )
        .unwrap();
        let root = tree.root().to_owned();
        let subset = tree.subset(&["app.py"]);
        drop(tree);
        assert_eq!(subset.read(Path::new("app.py"), 10).unwrap().unwrap(), b"x");
        assert!(root.exists());
        drop(subset);
        assert!(!root.exists());
    }
}
