//! The walk over a source directory.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

use crate::beneath::Directory;

use super::git::{self, Found, Repository};
use super::own_output::OwnOutput;
use super::rules::{GitLists, Level, RootFile, Rules, VENV_MARK, VENV_REASON, Verdict};
use super::tree::is_executable;
use super::{LeftOut, SourceEntry, SourceError, SourceKind, Tree, secrets};

/// Largest ignore file that is read.
const MAX_IGNORE_FILE: u64 = 1024 * 1024;

/// What to leave out in addition to the ignore files.
#[derive(Debug, Clone, Default)]
pub struct CollectOptions {
    /// gitignore patterns, stronger than every ignore file.
    pub extra_excludes: Vec<String>,
    /// The directory that the complete source was unpacked or fetched into. Nothing outside it is read.
    pub unpacked: Option<PathBuf>,
}

/// Finds the files of a directory that go into an image; `rules` says which.
pub fn collect(dir: &Path, options: &CollectOptions) -> Result<Tree, SourceError> {
    collect_unless(dir, options, &|| false)
}

/// The same, but it can be cancelled.
pub(super) fn collect_unless(
    dir: &Path,
    options: &CollectOptions,
    cancelled: git::Cancelled<'_>,
) -> Result<Tree, SourceError> {
    let failed = |source| SourceError::Root {
        path: dir.to_owned(),
        source,
    };
    let dir = std::fs::canonicalize(dir).map_err(failed)?;
    let root = Directory::open(&dir).map_err(failed)?;
    let mut warnings = Vec::new();
    let repository = match git::find(&dir, options.unpacked.as_deref(), cancelled) {
        Found::Repository(repository) => Some(repository),
        Found::Nothing => None,
        Found::Unusable(reason) => {
            warnings.push(format!(
                "there is a `.git`, but the commit and the tracked files stay unknown: {reason}"
            ));
            None
        }
    };
    if cancelled() {
        return Err(SourceError::Interrupted);
    }
    for path in repository
        .iter()
        .flat_map(|repository| &repository.missing_submodules)
    {
        warnings.push(format!(
            "the submodule `{}` is not checked out (`git submodule update --init`)",
            path.display()
        ));
    }
    let rules = Rules::new(
        root_file(&root, ".dockerignore")?,
        root_file(&root, ".s2iignore")?,
        &options.extra_excludes,
    )?;
    let mut walk = Walk {
        dir: &dir,
        root: &root,
        own_output: OwnOutput::of_this_process(),
        rules,
        repository: repository.as_ref(),
        entries: Vec::new(),
        left_out: LeftOut::default(),
        warnings,
    };
    walk.everything()?;
    let Walk {
        mut entries,
        mut left_out,
        mut warnings,
        ..
    } = walk;
    entries.sort_by(|a, b| {
        a.path
            .as_os_str()
            .as_bytes()
            .cmp(b.path.as_os_str().as_bytes())
    });
    left_out.paths.sort();
    warn_of_secrets(&entries, &mut warnings);
    let untracked = entries
        .iter()
        .any(|entry| !entry.tracked && entry.kind != SourceKind::Directory);
    let commit = match &repository {
        Some(repository) => repository.commit(untracked).unwrap_or_else(|error| {
            warnings.push(format!("the commit stays unknown: {error}"));
            None
        }),
        None => None,
    };
    Ok(Tree::new(dir, root, entries, left_out, commit, warnings))
}

fn warn_of_secrets(entries: &[SourceEntry], warnings: &mut Vec<String>) {
    for entry in entries {
        if let (SourceKind::File { .. }, Some(what)) =
            (&entry.kind, secrets::suspicion(&entry.path))
        {
            let why = if entry.tracked {
                " (git tracks it)"
            } else {
                ""
            };
            warnings.push(format!(
                "`{}` goes into the image{why} and may hold {what}; name it in .s2iignore if it should not",
                entry.path.display()
            ));
        }
    }
}

/// A directory that waits to be walked.
struct Pending {
    path: PathBuf,
    verdict: Verdict,
    git: GitLists,
}

struct Walk<'a> {
    dir: &'a Path,
    root: &'a Directory,
    own_output: OwnOutput,
    rules: Rules,
    repository: Option<&'a Repository<'a>>,
    entries: Vec<SourceEntry>,
    left_out: LeftOut,
    warnings: Vec<String>,
}

impl Walk<'_> {
    fn everything(&mut self) -> Result<(), SourceError> {
        let mut pending = vec![Pending {
            path: PathBuf::new(),
            verdict: Verdict::root(),
            git: GitLists::default(),
        }];
        let mut directories = Vec::new();
        // Directories in which something was left out: if they contain nothing else, they are left out too.
        let mut touched: HashSet<PathBuf> = HashSet::new();
        while let Some(mut directory) = pending.pop() {
            let (fd, names) = self
                .root
                .names(&directory.path)
                .map_err(|e| SourceError::io("list", &self.named(&directory.path), e))?;
            if let Some(text) = self.gitignore(&directory.path, &names)? {
                directory.git = directory.git.with(&directory.path, &text)?;
            }
            for name in names {
                let path = directory.path.join(&name);
                let stat = match statat(&fd, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(rustix::io::Errno::NOENT) => continue,
                    Err(error) => return Err(SourceError::io("look at", &path, error.into())),
                };
                let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let tracked = self.repository.is_some_and(|git| git.tracks(&path));
                let mut verdict = self.judge(&path, is_dir, &directory, tracked);
                if verdict.included && self.own_output.is(&stat) {
                    verdict.included = false;
                    "written by this command".clone_into(&mut verdict.reason);
                }
                if is_dir {
                    let enter = verdict.included
                        || (tracked && verdict.level < Level::Tracked)
                        || self.rules.may_reinclude_below(&path, &verdict);
                    if !enter {
                        self.leave_out(&path, &verdict);
                        touched.insert(directory.path.clone());
                        continue;
                    }
                    directories.push((path.clone(), verdict.included, tracked));
                    pending.push(Pending {
                        path,
                        verdict,
                        git: directory.git.clone(),
                    });
                } else if verdict.included {
                    self.take(&fd, path, &stat, tracked)?;
                } else {
                    self.left_out.files += 1;
                    self.left_out.bytes += u64::try_from(stat.st_size).unwrap_or(0);
                    // Below a directory that is left out as a whole, except re-included paths.
                    self.left_out.paths.push((path, verdict.reason));
                    touched.insert(directory.path.clone());
                }
            }
        }
        self.keep_directories(directories, &touched);
        Ok(())
    }

    fn judge(&mut self, path: &Path, is_dir: bool, parent: &Pending, tracked: bool) -> Verdict {
        let verdict = self
            .rules
            .judge(path, is_dir, &parent.verdict, &parent.git, tracked);
        let not_asked_for = verdict.level <= Level::Git && (verdict.included || tracked);
        let mark = || self.dir.join(path).join(VENV_MARK).symlink_metadata();
        if !(is_dir && not_asked_for && mark().is_ok()) {
            return verdict;
        }
        if tracked {
            self.warnings.push(format!(
                "`{0}` is a virtual environment that git tracks: it is left out, since it works nowhere else; \
                 `git rm -r --cached {0}` takes it out of the repository",
                path.display()
            ));
        }
        Verdict {
            included: false,
            // Files in it that git tracks are not re-included, but those of a later list are.
            level: if tracked {
                Level::Tracked
            } else {
                Level::Default
            },
            reason: VENV_REASON.to_owned(),
        }
    }

    /// A directory is in the tree if something below it is. An empty one is in the tree only without
    /// git (git does not know empty directories, so another clone would not have it), and only if it
    /// is not empty just because of what was left out.
    fn keep_directories(
        &mut self,
        directories: Vec<(PathBuf, bool, bool)>,
        touched: &HashSet<PathBuf>,
    ) {
        let mut needed: HashSet<PathBuf> = HashSet::new();
        for entry in &self.entries {
            for parent in entry.path.ancestors().skip(1) {
                if !needed.insert(parent.to_owned()) {
                    break;
                }
            }
        }
        let mut directories = directories;
        // Children before parents, so that an empty directory that is kept keeps its parents.
        directories.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, included, tracked) in directories {
            let empty_but_kept = included && self.repository.is_none() && !touched.contains(&path);
            if needed.contains(&path) || (empty_but_kept && !has_dropped_child(&path, touched)) {
                for parent in path.ancestors().skip(1) {
                    needed.insert(parent.to_owned());
                }
                self.entries.push(SourceEntry {
                    path,
                    kind: SourceKind::Directory,
                    tracked,
                });
            }
        }
    }

    fn take(
        &mut self,
        fd: &impl std::os::fd::AsFd,
        path: PathBuf,
        stat: &Stat,
        tracked: bool,
    ) -> Result<(), SourceError> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => SourceKind::File {
                size: u64::try_from(stat.st_size).unwrap_or(0),
                executable: is_executable(stat),
            },
            FileType::Symlink => {
                let name = path.file_name().unwrap_or_default();
                let target = readlinkat(fd, name, Vec::new())
                    .map_err(|e| SourceError::io("read the link", &path, e.into()))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                self.check_link(&path, &target)?;
                SourceKind::Symlink(target)
            }
            other => {
                let what = match other {
                    FileType::Socket => "a socket",
                    FileType::Fifo => "a FIFO",
                    _ => "a device",
                };
                self.warnings
                    .push(format!("`{}` is {what} and is left out", path.display()));
                self.left_out.files += 1;
                self.left_out.paths.push((path, what.to_owned()));
                return Ok(());
            }
        };
        self.entries.push(SourceEntry {
            path,
            kind,
            tracked,
        });
        Ok(())
    }

    /// A link must be valid in the image, where the source has another path.
    fn check_link(&mut self, path: &Path, target: &Path) -> Result<(), SourceError> {
        if target.is_absolute() {
            if target.starts_with(self.dir) {
                return Err(SourceError::LinkIsLocal {
                    path: path.to_owned(),
                    target: target.to_owned(),
                });
            }
            self.warnings.push(format!(
                "`{}` is a link to `{}`, which will be looked for in the image, not on this machine",
                path.display(),
                target.display()
            ));
        } else if leads_out(path, target) {
            return Err(SourceError::LinkLeadsOut {
                path: path.to_owned(),
                target: target.to_owned(),
            });
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, verdict: &Verdict) {
        let (files, bytes) = count(&self.dir.join(path));
        self.left_out.files += files;
        self.left_out.bytes += bytes;
        self.left_out
            .paths
            .push((path.to_owned(), verdict.reason.clone()));
    }

    fn gitignore(&self, path: &Path, names: &[OsString]) -> Result<Option<Vec<u8>>, SourceError> {
        if !names.iter().any(|name| name == ".gitignore") {
            return Ok(None);
        }
        let path = path.join(".gitignore");
        match self.root.open_file(&path) {
            Ok(file) => read_ignore_file(file, &path).map(Some),
            // A link or a directory: git ignores it too.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(SourceError::io("read", &path, error))
            }
            Err(_) => Ok(None),
        }
    }

    fn named(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            self.dir.to_owned()
        } else {
            path.to_owned()
        }
    }
}

/// Whether a directory below `path` was left out, so that the owner did not intend it to be empty.
fn has_dropped_child(path: &Path, touched: &HashSet<PathBuf>) -> bool {
    touched.iter().any(|directory| directory.starts_with(path))
}

/// An ignore file at the root, if there is one.
fn root_file<'a>(root: &Directory, name: &'a str) -> Result<Option<RootFile<'a>>, SourceError> {
    let path = Path::new(name);
    match root.open_file(path) {
        Ok(file) => Ok(Some(RootFile {
            name,
            text: read_ignore_file(file, path)?,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SourceError::io("read", path, error)),
    }
}

fn read_ignore_file(file: std::fs::File, path: &Path) -> Result<Vec<u8>, SourceError> {
    let mut text = Vec::new();
    let size = file
        .take(MAX_IGNORE_FILE + 1)
        .read_to_end(&mut text)
        .map_err(|e| SourceError::io("read", path, e))? as u64;
    if size > MAX_IGNORE_FILE {
        return Err(SourceError::IgnoreFileTooLarge {
            path: path.to_owned(),
            size,
            limit: MAX_IGNORE_FILE,
        });
    }
    Ok(text)
}

/// Whether a relative link leads out of the source, by its text alone.
pub(super) fn leads_out(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    false
}

/// Files and bytes below a directory that is left out; unreadable entries do not count.
fn count(path: &Path) -> (u64, u64) {
    walkdir::WalkDir::new(path)
        .into_iter()
        .flatten()
        .filter(|entry| !entry.file_type().is_dir())
        .fold((0, 0), |(files, bytes), entry| {
            (
                files + 1,
                bytes + entry.metadata().map_or(0, |metadata| metadata.len()),
            )
        })
}

#[cfg(test)]
mod tests;
