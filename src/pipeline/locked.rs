//! The packages of a manager's lock file: which file of each fits, and the files themselves.
//!
//! Each file is fetched here, from the address that the lock gives or from the page of the index that
//! the lock binds the package to, and verified by the lock's hash. What installs them has no need to
//! ask for anything, so a name is never looked for where the project does not say.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use crate::app::contract::RUN;
use crate::app::listed::Listed;
use crate::lockfile::{File, Index, Lock, LockfileError, Origin, Target};
use crate::oci::{Digest, Sha256Writer, parse_digest};
use crate::progress::{Progress, human_size};
use crate::sandbox::Mount;
use crate::store::{Scratch, Store};

use super::base::Base;
use super::error::BuildError;
use super::locked_wheel::{Artifact, LockedWheel, Pin};
use super::package_indexes::Indexes;
use super::request::Request;
use super::tree::make_directory;

/// Largest file of a package, in bytes.
const MAX_FILE: u64 = 8 * 1024 * 1024 * 1024;
/// So many files travel at once.
const AT_ONCE: usize = 8;

/// What is installed, to the file.
#[derive(Debug, Clone)]
pub(super) struct Locked {
    listed: Listed,
    files: Vec<Chosen>,
    /// Of repositories: no file that could be named.
    repositories: Vec<String>,
}

/// The file of a package that is installed.
#[derive(Debug, Clone)]
struct Chosen {
    name: String,
    version: String,
    file: File,
    /// Where it is looked up if no address is known. Empty: nowhere.
    indexes: Vec<Index>,
    subdirectory: Option<String>,
}

impl Chosen {
    fn is_wheel(&self) -> bool {
        Path::new(&self.file.name)
            .extension()
            .is_some_and(|extension| extension == "whl")
    }
}

/// Reads a lock for the Python of a base image, and chooses the files.
pub(super) fn read(
    store: &Store,
    lock: &Lock,
    base: &Base,
    request: &Request,
) -> Result<Locked, BuildError> {
    let target = Target::of(&base.python.version, &base.python.libc);
    let selected = lock.select(&target)?;
    let mut listed = Listed {
        names: selected.direct,
        projects: selected.projects,
        settled: selected
            .local
            .into_iter()
            .chain(selected.packages.iter().map(|package| package.name.clone()))
            .collect(),
        ..lock.preview()
    };
    let mut repositories = Vec::new();
    let mut waiting = Vec::new();
    for package in selected.packages {
        let (indexes, files, subdirectory) = match package.origin {
            Origin::Git {
                url,
                commit,
                subdirectory,
            } => {
                repositories.push(repository(
                    &package.name,
                    &url,
                    &commit,
                    subdirectory.as_deref(),
                ));
                continue;
            }
            Origin::Archive { file, subdirectory } => (Vec::new(), vec![file], subdirectory),
            Origin::Index { indexes, files } => (indexes, files, None),
        };
        waiting.push((package.name, package.version, indexes, files, subdirectory));
    }
    let source = Indexes::new(request)?;
    let named = in_parallel(&waiting, |(name, _, indexes, files, _)| {
        if files.iter().all(|file| !file.name.is_empty()) {
            return Ok(files.clone());
        }
        // Some locks have hashes alone.
        source.named(store, request, name, indexes, files)
    })?;
    let mut chosen = Vec::new();
    for ((name, version, indexes, _, subdirectory), files) in waiting.into_iter().zip(named) {
        let file = choose(&files, &target).ok_or_else(|| LockfileError::Unusable {
            file: lock.file().to_owned(),
            problem: format!(
                "{name} {version} has no file in it for Python {} on this base image ({}), and no archive of its source",
                target.python(),
                base.python.libc
            ),
        })?;
        chosen.push(Chosen {
            file: file.clone(),
            name,
            version,
            indexes,
            subdirectory,
        });
    }
    for one in &chosen {
        let subdirectory = one
            .subdirectory
            .iter()
            .map(|path| format!("#subdirectory={path}"));
        listed.lines.push(format!(
            "{} @ file://{RUN}/files/{}{} --hash=sha256:{}",
            one.name,
            one.file.name,
            subdirectory.collect::<String>(),
            one.file.sha256
        ));
    }
    listed.lines.extend(repositories.iter().cloned());
    Ok(Locked {
        listed,
        files: chosen,
        repositories,
    })
}

fn repository(name: &str, url: &str, commit: &str, subdirectory: Option<&str>) -> String {
    let url = url.strip_prefix("git+").unwrap_or(url);
    let url = match url.split_once(':') {
        Some((host, path)) if !url.contains("://") && !host.contains('/') => {
            format!("ssh://{host}/{path}")
        }
        _ => url.to_owned(),
    };
    let subdirectory =
        subdirectory.map_or_else(String::new, |path| format!("#subdirectory={path}"));
    format!("{name} @ git+{url}@{commit}{subdirectory}")
}

/// The wheel that an installer takes, else the archive of the source.
fn choose<'a>(files: &'a [File], target: &Target) -> Option<&'a File> {
    let ranked = files
        .iter()
        .filter_map(|file| Some((target.rank(&file.name)?, file)));
    let wheel = ranked.min_by(|a, b| a.0.cmp(&b.0)).map(|(_, file)| file);
    wheel.or_else(|| {
        let archive = |end: &str| files.iter().find(|file| file.name.ends_with(end));
        [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz"]
            .into_iter()
            .find_map(archive)
    })
}

impl Locked {
    /// What the application's side is told.
    pub(super) fn listed(&self) -> &Listed {
        &self.listed
    }

    /// The wheels, where nothing is anything else; or why not.
    pub(super) fn wheels(&self) -> Result<Vec<LockedWheel>, String> {
        if let Some(line) = self.repositories.first() {
            return Err(format!("`{line}` is in a repository"));
        }
        if let Some(other) = self.files.iter().find(|one| !one.is_wheel()) {
            return Err(format!("{} {} has no wheel", other.name, other.version));
        }
        let wheels = self.files.iter().map(|one| LockedWheel {
            pin: Pin {
                name: one.name.clone(),
                version: one.version.clone(),
                wheel: one.file.sha256.clone(),
            },
            artifact: Artifact::new(
                Some(&one.file.name),
                one.file.url.as_deref(),
                one.indexes.first().and_then(|index| index.url.as_deref()),
                one.file.size,
            ),
        });
        Ok(wheels.collect())
    }

    /// Names that are not to be looked for, since they are here.
    pub(super) fn names(&self) -> &[String] {
        &self.listed.settled
    }

    /// Puts all files into a directory.
    pub(super) fn fetch_all(
        &self,
        store: &Store,
        request: &Request,
        directory: &Path,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let all: Vec<&Chosen> = self.files.iter().collect();
        fetch(&all, store, request, directory, progress)
    }

    /// Puts these wheels into a directory; those that are not locked are where the resolver found them.
    pub(super) fn fetch(
        &self,
        wheels: &[&LockedWheel],
        store: &Store,
        request: &Request,
        directory: &Path,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let all: Vec<Chosen> = wheels
            .iter()
            .map(|wheel| {
                let own = self.files.iter().find(|one| one.name == wheel.pin.name);
                own.cloned().unwrap_or_else(|| Chosen {
                    name: wheel.pin.name.clone(),
                    version: wheel.pin.version.clone(),
                    file: File {
                        name: wheel.artifact.file.clone(),
                        url: wheel.artifact.url.clone(),
                        sha256: wheel.pin.wheel.clone(),
                        size: wheel.artifact.size,
                    },
                    indexes: Vec::new(),
                    subdirectory: None,
                })
            })
            .collect();
        let all: Vec<&Chosen> = all.iter().collect();
        fetch(&all, store, request, directory, progress)
    }

    /// The directory for the files, seen by what installs them.
    pub(super) fn place(scratch: &Scratch) -> Result<PathBuf, BuildError> {
        let place = scratch.path().join("files");
        make_directory(&place)?;
        Ok(place)
    }
}

fn fetch(
    wanted: &[&Chosen],
    store: &Store,
    request: &Request,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let source = Indexes::new(request)?;
    let kept = store.root().join("cache").join("wheel-files");
    make_directory(&kept)?;
    in_parallel(wanted, |one| {
        let path = directory.join(&one.file.name);
        let digest = parse_digest(&format!("sha256:{}", one.file.sha256))?;
        let end = if one.is_wheel() { "whl" } else { "source" };
        let place = kept.join(format!("{}.{end}", one.file.sha256));
        if !is_kept(&place, &digest) {
            let url = match source.address(&one.file, &one.indexes) {
                Some(url) => url,
                None => source.find(store, request, &one.name, &one.indexes, &one.file)?,
            };
            let indexes = if one.indexes.is_empty() {
                vec![Index::default()]
            } else {
                one.indexes.clone()
            };
            let failed = |source| BuildError::Write {
                path: path.clone(),
                source,
            };
            let mut file = fs::File::create_new(&path).map_err(failed)?;
            let url = source.with_login(&url, &indexes);
            let size = source.client.download(&url, &digest, MAX_FILE, &mut file)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(failed)?;
            // Another build may have been quicker: it is the same file.
            let _ = fs::hard_link(&path, &place);
            progress.output(&format!(
                "Downloaded {} {} ({})",
                one.name,
                one.version,
                human_size(size)
            ));
            return Ok(());
        }
        fs::hard_link(&place, &path)
            .or_else(|_| fs::copy(&place, &path).map(drop))
            .map_err(|source| BuildError::Write { path, source })
    })?;
    Ok(())
}

/// Whether the store has this file, with the bytes that its name says.
fn is_kept(place: &Path, digest: &Digest) -> bool {
    let Ok(mut file) = fs::File::open(place) else {
        return false;
    };
    let mut hash = Sha256Writer::new(io::sink());
    if io::copy(&mut file, &mut hash).is_ok() && hash.finish().1 == *digest {
        return true;
    }
    let _ = fs::remove_file(place);
    false
}

/// How a directory of files is seen.
pub(super) fn mount(place: PathBuf) -> Mount {
    Mount::Bind {
        source: place,
        target: format!("{RUN}/files").into(),
        read_only: true,
    }
}

/// Some at a time, in order; the first error ends it.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let next = Mutex::new(0);
    let done: Mutex<Vec<(usize, Result<R, BuildError>)>> = Mutex::default();
    let lock_error = |_| BuildError::Interrupted;
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let Ok(mut at) = next.lock() else { return };
                    let index = *at;
                    *at += 1;
                    drop(at);
                    let Some(item) = items.get(index) else { return };
                    let result = if crate::sandbox::interrupted() {
                        Err(BuildError::Interrupted)
                    } else {
                        work(item)
                    };
                    let failed = result.is_err();
                    if let Ok(mut done) = done.lock() {
                        done.push((index, result));
                    }
                    if failed && let Ok(mut at) = next.lock() {
                        *at = items.len();
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().map_err(lock_error)?;
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installers_choice() {
        let file = |name: &str| File {
            name: name.into(),
            url: None,
            sha256: String::new(),
            size: None,
        };
        let files = [
            file("x-1.tar.gz"),
            file("x-1-py3-none-any.whl"),
            file(&format!(
                "x-1-cp311-cp311-manylinux_2_17_{}.whl",
                std::env::consts::ARCH
            )),
            file("x-1-cp311-cp311-win_amd64.whl"),
        ];
        let target = Target::of("3.11.2", "glibc 2.36");
        assert!(choose(&files, &target).unwrap().name.contains("manylinux"));
        assert_eq!(
            choose(&files[..2], &target).unwrap().name,
            "x-1-py3-none-any.whl"
        );
        assert_eq!(choose(&files[..1], &target).unwrap().name, "x-1.tar.gz");
        assert_eq!(choose(&files[3..], &target), None);
    }

    #[test]
    fn repositories() {
        for (url, expected) in [
            ("https://h/x", "x @ git+https://h/x@1"),
            ("git@h:o/x.git", "x @ git+ssh://git@h/o/x.git@1"),
        ] {
            assert_eq!(repository("x", url, "1", None), expected);
        }
    }
}
