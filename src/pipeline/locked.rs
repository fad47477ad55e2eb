//! The packages of a manager's lock file: which file of each fits, and the files themselves.
//!
//! Each file is fetched here, from the address that the lock gives or from the page of the index that
//! the lock binds the package to, and verified by the lock's hash. The installer then needs no index,
//! so it never looks for a name in an index that the project does not name.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use pep440_rs::Version;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::app::contract::RUN;
use crate::app::listed::Listed;
use crate::beneath::Directory;
use crate::lockfile::{
    Archive, Bound, Builders, File, Found, FromIndex, Index, Lock, LockfileError, Origin, Target,
};
use crate::oci::{Digest, Sha256Writer, parse_digest};
use crate::progress::{Progress, human_size};
use crate::sandbox::Mount;
use crate::store::{Needs, Record, Scratch, Store};

use super::archive_words::Words;
use super::base::Base;
use super::error::BuildError;
use super::locked_wheel::{Artifact, LockedWheel, Pin};
use super::package_indexes::Indexes;
use super::request::Request;
use super::secrets::without_credentials;
use super::tree::make_directory;

/// Largest file of a package, in bytes.
const MAX_FILE: u64 = 8 * 1024 * 1024 * 1024;
/// The file name endings of source archives, the usual one first.
const ARCHIVES: [&str; 5] = [".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz"];
/// Number of simultaneous downloads.
const AT_ONCE: usize = 8;

/// The exact files to install.
#[derive(Debug, Clone)]
pub(super) struct Locked {
    listed: Listed,
    files: Vec<Chosen>,
    /// From a repository: there is no file to name.
    repositories: Vec<String>,
    builders: Builders,
}

/// The file of a package to install.
#[derive(Debug, Clone)]
struct Chosen {
    name: String,
    version: String,
    file: File,
    /// The indexes to look it up in if no address is known. Empty: none.
    indexes: Vec<Index>,
    subdirectory: Option<String>,
}

impl Chosen {
    fn is_wheel(&self) -> bool {
        Path::new(&self.file.name)
            .extension()
            .is_some_and(|extension| extension == "whl")
    }

    /// The line for an installer that has the files.
    fn line(&self, extras: &str, environment: Environment<'_>) -> String {
        let subdirectory = self
            .subdirectory
            .iter()
            .map(|path| format!("#subdirectory={path}"));
        format!(
            "{}{extras} @ file://{}/{}{}",
            self.name,
            environment.files,
            self.file.name,
            subdirectory.collect::<String>()
        )
    }
}

/// Reads a lock, or a project's bound names, for the Python of a base image, and chooses the files.
pub(super) fn read(
    store: &Store,
    found: &Found,
    source: &Path,
    base: &Base,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Locked, BuildError> {
    let place = Target::of(&base.python.version, &base.python.libc);
    let environment = Environment {
        target: &place,
        libc: &base.python.libc,
        files: &format!("{RUN}/files"),
    };
    let indexes = Indexes::new(request)?;
    let asked = Asked {
        source,
        indexes: &indexes,
        upgrade: request.upgrade,
        progress,
    };
    read_for(store, found, environment, &asked)
}

/// The target environment.
#[derive(Clone, Copy)]
pub(super) struct Environment<'a> {
    pub(super) target: &'a Target,
    pub(super) libc: &'a str,
    /// The directory of the files, as the installer sees it.
    pub(super) files: &'a str,
}

/// Where packages are looked up that are not in a lock.
pub(super) struct Asked<'a> {
    /// The directory of the source.
    pub(super) source: &'a Path,
    pub(super) indexes: &'a Indexes,
    /// What was chosen before does not count.
    pub(super) upgrade: bool,
    pub(super) progress: &'a dyn Progress,
}

/// The same for any environment.
pub(super) fn read_for(
    store: &Store,
    found: &Found,
    environment: Environment<'_>,
    asked: &Asked<'_>,
) -> Result<Locked, BuildError> {
    match found {
        Found::Lock(lock) => of_lock(store, lock, environment, asked),
        Found::Bound(bound) => of_bound(store, bound, environment, asked),
    }
}

/// Packages that are installed without an index: by name and version, from the directories that the
/// caller names.
pub(super) fn by_version(
    found: &Found,
    target: &Target,
    source: &Path,
) -> Result<Listed, BuildError> {
    match found {
        Found::Lock(lock) => {
            let selected = lock.select(target)?;
            check(lock, &selected.archives, source)?;
            let packages = selected.packages.iter();
            let lines = packages.map(|package| match package.version.as_str() {
                "" => package.name.clone(),
                version => format!("{}=={version}", package.name),
            });
            Ok(Listed {
                lines: lines.collect(),
                names: selected.direct,
                projects: selected.projects,
                ..lock.preview()
            })
        }
        Found::Bound(bound) => {
            let (mut listed, wanted) = bound.select(target)?;
            listed.lines.extend(wanted.iter().map(FromIndex::text));
            // They are not anywhere else.
            listed.settled.clear();
            Ok(listed)
        }
    }
}

fn of_lock(
    store: &Store,
    lock: &Lock,
    environment: Environment<'_>,
    asked: &Asked<'_>,
) -> Result<Locked, BuildError> {
    let Environment { target, libc, .. } = environment;
    let source = asked.indexes;
    let selected = lock.select(target)?;
    check(lock, &selected.archives, asked.source)?;
    let mut not_for_builds = lock.preview().not_for_builds;
    not_for_builds.extend(lock.builders().bound_of(&selected.packages));
    not_for_builds.sort();
    not_for_builds.dedup();
    let mut listed = Listed {
        names: selected.direct,
        projects: selected.projects,
        not_for_builds,
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
    let indexes = waiting.iter().flat_map(|(_, _, indexes, ..)| indexes);
    source.say_logins(indexes, asked.progress);
    let named = in_parallel(&waiting, |(name, _, indexes, files, _)| {
        if files.iter().all(|file| !file.name.is_empty()) {
            return Ok(files.clone());
        }
        // Some locks have only hashes.
        source.named(store, name, indexes, files)
    })?;
    let mut chosen = Vec::new();
    for ((name, version, indexes, _, subdirectory), files) in waiting.into_iter().zip(named) {
        // A file that the project itself names is taken as it is.
        let allowed = if indexes.is_empty() {
            files.clone()
        } else {
            lock.allowed(&name, &files)
        };
        let file = choose(&allowed, target).ok_or_else(|| LockfileError::Unusable {
            file: lock.file().to_owned(),
            problem: format!(
                "{name} {version} has no file in it for Python {} on this base image ({libc}){}",
                target.python(),
                if allowed.len() == files.len() {
                    ", and no archive of its source"
                } else {
                    " that may be taken: the settings or variables of its manager leave out wheels or archives of sources"
                },
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
        let line = one.line("", environment);
        listed
            .lines
            .push(format!("{line} --hash=sha256:{}", one.file.sha256));
    }
    listed.lines.extend(repositories.iter().cloned());
    Ok(Locked {
        listed,
        files: chosen,
        repositories,
        builders: lock.builders().clone(),
    })
}

/// Verifies the files of the source by the lock's hashes: the installer takes them as they are.
fn check(lock: &Lock, archives: &[Archive], source: &Path) -> Result<(), BuildError> {
    let mut changed = Vec::new();
    for archive in archives {
        let found = sha256_of(archive, source)?;
        if !archive.sha256.contains(&found) {
            changed.push((archive, found));
        }
    }
    changed.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    lock.expects(&changed)?;
    Ok(())
}

/// The SHA-256 of a file of the source, hexadecimal.
fn sha256_of(archive: &Archive, source: &Path) -> Result<String, BuildError> {
    let failed = |problem: io::Error| BuildError::Read {
        path: source.join(&archive.path),
        source: problem,
    };
    let root = Directory::open(source).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = root.open_within(Path::new(&archive.path), flags);
    let file = fs::File::from(file.map_err(|error| failed(error.into()))?);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    }
    let mut hash = Sha256Writer::new(io::sink());
    io::copy(&mut file.take(MAX_FILE), &mut hash).map_err(failed)?;
    let (_, digest, _) = hash.finish();
    Ok(digest.digest().to_owned())
}

/// The bound names of a project without a lock: the newest file in the name's index that the project allows.
fn of_bound(
    store: &Store,
    bound: &Bound,
    environment: Environment<'_>,
    asked: &Asked<'_>,
) -> Result<Locked, BuildError> {
    let Environment { target, libc, .. } = environment;
    let source = asked.indexes;
    let (mut listed, wanted) = bound.select(target)?;
    source.say_logins(wanted.iter().map(|one| &one.index), asked.progress);
    let files = in_parallel(&wanted, |one| {
        let conditions: Vec<&str> = one.specifiers.iter().map(String::as_str).collect();
        let text = format!(
            "2 {} {} {} {} {libc}",
            one.name,
            conditions.join(","),
            source.opened(&one.index),
            target.full_version()
        );
        // The key contains the login: otherwise another application would learn what a private index has.
        let key = store.salted(text.as_bytes())?;
        if !asked.upgrade
            && !source.is_fresh()
            && let Some(kept) = store.cached::<Kept>(&key)?
        {
            return Ok(kept.chosen(one));
        }
        let offered = source.offered(&one.index, &one.name, target.full_version())?;
        let Some((version, file)) = newest(one, &offered, target) else {
            return Err(BuildError::NothingFits {
                package: one.name.clone(),
                wanted: conditions.join(", "),
                index: source.shown(&one.index),
                offered: offered.into_iter().map(|file| file.name).collect(),
            });
        };
        let kept = Kept {
            version,
            name: file.name.clone(),
            // A login is not written down.
            url: file.url.as_deref().map(without_credentials),
            sha256: file.sha256.clone(),
            size: file.size,
        };
        if !Indexes::is_made_of_variables(std::slice::from_ref(&one.index)) {
            store.remember(&key, &kept)?;
        }
        Ok(kept.chosen(one))
    })?;
    for (one, file) in wanted.iter().zip(&files) {
        if let Some(open) = &mut listed.open {
            open.fetched.push(file.line(&one.extras, environment));
            open.hashes.push(file.file.sha256.clone());
        }
    }
    Ok(Locked {
        listed,
        files,
        repositories: Vec::new(),
        builders: bound.builders().clone(),
    })
}

/// The file that was chosen in an index.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: String,
    name: String,
    url: Option<String>,
    sha256: String,
    size: Option<u64>,
}

impl Record for Kept {
    const KIND: &'static str = "chosen";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

impl Kept {
    fn chosen(self, wanted: &FromIndex) -> Chosen {
        Chosen {
            name: wanted.name.clone(),
            version: self.version,
            file: File {
                name: self.name,
                url: self.url,
                sha256: self.sha256,
                size: self.size,
            },
            indexes: vec![wanted.index.clone()],
            subdirectory: None,
        }
    }
}

/// The newest allowed version with a file that fits. A pre-release counts only if there is no other
/// version, or if the requirement names it.
fn newest(wanted: &FromIndex, offered: &[File], target: &Target) -> Option<(String, File)> {
    let mut versions: Vec<Version> = offered
        .iter()
        .filter_map(|file| version_of(&wanted.name, &file.name))
        .filter(|version| wanted.allows(&version.to_string()))
        .collect();
    versions.sort();
    versions.dedup();
    let named = |version: &Version| {
        wanted.specifiers.iter().any(|condition| {
            let named = condition.trim_start_matches(['=', '<', '>', '~', '!']);
            named
                .parse::<Version>()
                .is_ok_and(|named| named.any_prerelease() && named.release() == version.release())
        })
    };
    let (finished, other): (Vec<Version>, Vec<Version>) = versions
        .into_iter()
        .partition(|version| !version.any_prerelease() || named(version));
    let order = finished.into_iter().rev().chain(other.into_iter().rev());
    order.into_iter().find_map(|version| {
        let files: Vec<File> = offered
            .iter()
            .filter(|file| version_of(&wanted.name, &file.name).as_ref() == Some(&version))
            .cloned()
            .collect();
        Some((version.to_string(), choose(&files, target)?.clone()))
    })
}

/// The version in the name of a wheel, or of an archive of sources.
fn version_of(name: &str, file: &str) -> Option<Version> {
    if let Some(stem) = file.strip_suffix(".whl") {
        return stem.split('-').nth(1)?.parse().ok();
    }
    let stem = ARCHIVES.iter().find_map(|end| file.strip_suffix(end))?;
    // Old ones have hyphens in the name.
    let (start, version) = stem
        .match_indices('-')
        .map(|(at, _)| (&stem[..at], &stem[at + 1..]))
        .find(|(start, _)| crate::app::requirement::normalize(start) == name)?;
    debug_assert!(!start.is_empty());
    version.parse().ok()
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
        let archive = |end: &&str| files.iter().find(|file| file.name.ends_with(end));
        ARCHIVES.iter().find_map(archive)
    })
}

impl Locked {
    /// The list for the in-image tool.
    pub(super) fn listed(&self) -> &Listed {
        &self.listed
    }

    /// The wheels, if there is nothing else; or why not.
    pub(super) fn wheels(&self) -> Result<Vec<LockedWheel>, String> {
        if self.listed.open.is_some() {
            return Err("the project binds names to places, and has no lock".into());
        }
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

    /// Names that must not be looked for, because their files are here.
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
        self.fetch_from(store, &Indexes::new(request)?, directory, progress)
    }

    /// The same from these indexes.
    pub(super) fn fetch_from(
        &self,
        store: &Store,
        indexes: &Indexes,
        directory: &Path,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let all: Vec<&Chosen> = self.files.iter().collect();
        fetch(&all, store, indexes, directory, progress)?;
        for archive in self.files.iter().filter(|one| !one.is_wheel()) {
            let words = Words::of(&directory.join(&archive.file.name));
            let requires = words.builders.iter().map(String::as_str);
            let package = format!("{} {}", archive.name, archive.version);
            self.builders.check_archive(&package, requires)?;
        }
        Ok(())
    }

    /// Puts these wheels into a directory; wheels that are not locked come from where the resolver
    /// found them.
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
        fetch(&all, store, &Indexes::new(request)?, directory, progress)
    }

    /// The directory of the files, as the installer sees it.
    pub(super) fn place(scratch: &Scratch) -> Result<PathBuf, BuildError> {
        let place = scratch.path().join("files");
        make_directory(&place)?;
        Ok(place)
    }
}

/// Fetches the newest file of a name that its index has and the requirement allows; `None` if there is none.
pub(super) fn fetch_newest(
    store: &Store,
    wanted: &FromIndex,
    target: &Target,
    source: &Indexes,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Option<PathBuf>, BuildError> {
    source.say_logins([&wanted.index], progress);
    let offered = source.offered(&wanted.index, &wanted.name, target.full_version())?;
    let Some((version, file)) = newest(wanted, &offered, target) else {
        return Ok(None);
    };
    let path = directory.join(&file.name);
    let chosen = Chosen {
        name: wanted.name.clone(),
        version,
        file,
        indexes: vec![wanted.index.clone()],
        subdirectory: None,
    };
    fetch(&[&chosen], store, source, directory, progress)?;
    Ok(Some(path))
}

fn fetch(
    wanted: &[&Chosen],
    store: &Store,
    source: &Indexes,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let kept = store.root().join("cache").join("wheel-files");
    make_directory(&kept)?;
    in_parallel(wanted, |one| {
        let path = directory.join(&one.file.name);
        let digest = parse_digest(&format!("sha256:{}", one.file.sha256))?;
        let end = if one.is_wheel() { "whl" } else { "source" };
        let place = kept.join(format!("{}.{end}", one.file.sha256));
        if !is_kept(&place, &digest) {
            source.check_network(&one.file.name)?;
            let url = match source.address(&one.file, &one.indexes) {
                Some(url) => url,
                None => source.find(store, &one.name, &one.indexes, &one.file)?,
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
            let size = source
                .client
                .download(&url, &digest, MAX_FILE, &mut file)
                .map_err(|error| match indexes.first() {
                    Some(index) => source.explained(error, index, &one.file.name, &url),
                    None => error.into(),
                })?;
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

/// Whether the store has this file, with the content that its name states.
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

/// Several at a time, results in order; the first error ends it.
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
    fn a_file_of_the_source_is_the_one_that_the_lock_names() {
        let source = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = source.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let names = ["costs", "rates"];
        let path = |name: &str| format!("wheels/{name}-1.0-py3-none-any.whl");
        let hash = crate::oci::sha256_hex(b"locked");
        let each = |line: &dyn Fn(&str) -> String| names.map(line);
        write(
            "pyproject.toml",
            &format!(
                "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"costs\", \"rates\"]\n\
                 [tool.uv.sources]\n{}",
                each(&|name| format!("{name} = {{ path = \"{}\" }}\n", path(name))).concat()
            ),
        );
        let of_app = each(&|name| format!("{{ name = \"{name}\" }}")).join(", ");
        let required =
            each(&|name| format!("{{ name = \"{name}\", path = \"{}\" }}", path(name))).join(", ");
        let packages = each(&|name| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1.0\"\nsource = {{ path = \"{}\" }}\n\
                 wheels = [{{ filename = \"{name}-1.0-py3-none-any.whl\", hash = \"sha256:{hash}\" }}]\n\n",
                path(name)
            )
        });
        write(
            "uv.lock",
            &format!(
                "version = 1\nrequires-python = \">=3.10\"\n\n\
                 [[package]]\nname = \"app\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{of_app}]\n\n\
                 [package.metadata]\nrequires-dist = [{required}]\n\n{}",
                packages.concat()
            ),
        );
        let read = || {
            let files = crate::app::files::Directory::open(source.path()).unwrap();
            let none = std::collections::BTreeMap::new();
            let settings = crate::app::settings::Settings::load(&files, &none, &none).unwrap();
            let found = crate::lockfile::find(&files, &settings, &none, || panic!("no lock"));
            let target = Target::of("3.11.2", "glibc 2.36");
            by_version(&found.unwrap().unwrap(), &target, source.path())
        };
        let (costs, rates) = (path("costs"), path("rates"));
        write(&costs, "locked");
        write(&rates, "locked");
        let listed = read().unwrap().projects;
        let listed: std::collections::BTreeSet<String> =
            listed.into_iter().map(|project| project.path).collect();
        assert_eq!(listed, [costs.clone(), rates.clone()].into());
        let changed = crate::oci::sha256_hex(b"changed");
        let refused = || {
            let Err(BuildError::Lockfile(error)) = read() else {
                panic!("an error of a lock file");
            };
            let remedies = crate::app::advice::Explain::advice(&error).remedies;
            (error.to_string(), remedies)
        };
        let said = |path: &str| {
            format!(
                "{path} is not the file that uv.lock names: its SHA-256 is {changed}, and the lock has {hash}"
            )
        };
        let remedy = |paths: &str, command: &str| {
            vec![format!(
                "put the locked {paths} back, or, if the change is intended, run `{command}` and commit what it writes"
            )]
        };
        write(&rates, "changed");
        let command = "uv lock --upgrade-package rates";
        assert_eq!(refused(), (said(&rates), remedy(&rates, command)));
        // Both at once: a command for one of them would find the other in its way.
        write(&costs, "changed");
        let command = "uv lock --upgrade-package costs --upgrade-package rates";
        assert_eq!(
            refused(),
            (
                format!("{}; {rates} changed as well", said(&costs)),
                remedy(&format!("{costs}, {rates}"), command)
            )
        );
        // What the file became is not followed.
        fs::remove_file(source.path().join(&rates)).unwrap();
        fs::create_dir(source.path().join(&rates)).unwrap();
        assert!(read().is_err());
    }

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
    fn the_newest_of_an_index() {
        let files = |names: &[&str]| -> Vec<File> {
            let files = names.iter().map(|name| File {
                name: (*name).into(),
                url: None,
                sha256: String::new(),
                size: None,
            });
            files.collect()
        };
        let target = Target::of("3.11.2", "glibc 2.36");
        let of = |conditions: &[&str], names: &[&str]| {
            let wanted = FromIndex::new("corp-lib", conditions);
            newest(&wanted, &files(names), &target).map(|(_, file)| file.name)
        };
        let all = [
            "corp_lib-1.9-py3-none-any.whl",
            "corp_lib-1.10-py3-none-any.whl",
            "corp-lib-1.10.tar.gz",
            "corp_lib-2.0rc1-py3-none-any.whl",
            "corp_lib-1.11-cp38-cp38-win_amd64.whl",
        ];
        assert_eq!(of(&[], &all).as_deref(), Some(all[1]));
        assert_eq!(of(&["<1.10"], &all).as_deref(), Some(all[0]));
        assert_eq!(of(&[">=2.0rc1"], &all).as_deref(), Some(all[3]));
        assert_eq!(of(&[], &all[2..3]).as_deref(), Some(all[2]));
        assert_eq!(of(&[], &all[3..4]).as_deref(), Some(all[3]));
        assert_eq!(of(&[">3"], &all), None);
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
