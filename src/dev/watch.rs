//! Being told of changed files. Each directory is watched by itself, and those in which nothing counts
//! (`node_modules`, virtual environments) are not: the kernel has a bound on how many there may be.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::change::{Change, is_skipped};

/// Directories that are watched, at most; by default the kernel allows a user some ten thousand.
const MAX_DIRECTORIES: usize = 8000;

/// How long it has to be quiet until what changed is told: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(15);

#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error("could not watch {}: {source}", path.display())]
    Watch {
        path: PathBuf,
        source: notify::Error,
    },
    #[error("{} has more than {MAX_DIRECTORIES} directories to watch", path.display())]
    TooMany { path: PathBuf },
}

/// Watches a source tree.
pub struct Watch {
    root: PathBuf,
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    watched: HashSet<PathBuf>,
    /// What a changed file means.
    meaning: fn(&Path) -> Option<Change>,
    /// Whether this program writes a file itself, so that it does not count as a change.
    is_ours: Box<dyn Fn(&Path) -> bool + Send>,
}

impl Watch {
    /// From here on no change is missed.
    pub fn of(
        root: &Path,
        meaning: fn(&Path) -> Option<Change>,
        is_ours: impl Fn(&Path) -> bool + Send + 'static,
    ) -> Result<Self, DevError> {
        let failed = |source| DevError::Watch {
            path: root.to_owned(),
            source,
        };
        let (sender, events) = channel();
        let watcher = notify::recommended_watcher(move |event| {
            // When the program ends, the receiver is dropped.
            let _ = sender.send(event);
        })
        .map_err(failed)?;
        let mut watch = Self {
            root: root.to_owned(),
            watcher,
            events,
            watched: HashSet::new(),
            meaning,
            is_ours: Box::new(is_ours),
        };
        watch.add(root)?;
        Ok(watch)
    }

    /// Watches a directory and those below it. Links are not followed.
    fn add(&mut self, directory: &Path) -> Result<(), DevError> {
        let below = walkdir::WalkDir::new(directory).into_iter();
        let directories = below
            .filter_entry(|entry| {
                entry.file_type().is_dir() && (entry.depth() == 0 || !is_skipped(entry.file_name()))
            })
            // One that has gone, or that may not be read, changes nothing.
            .filter_map(Result::ok);
        for entry in directories {
            if self.watched.len() >= MAX_DIRECTORIES {
                return Err(DevError::TooMany {
                    path: self.root.clone(),
                });
            }
            let path = entry.into_path();
            if path == self.root || !self.watched.contains(&path) {
                match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                    Ok(()) => {
                        self.watched.insert(path);
                    }
                    Err(_) if !path.is_dir() => {}
                    Err(source) => return Err(DevError::Watch { path, source }),
                }
            }
        }
        Ok(())
    }

    /// Waits for a change that means something, and gives the greatest of those that came together with
    /// the path of one of them. `None` when nothing can come any more.
    pub fn wait(&mut self) -> Option<(Change, PathBuf)> {
        let mut found: Option<(Change, PathBuf)> = None;
        loop {
            let event = if found.is_none() {
                self.events.recv().ok()?
            } else {
                match self.events.recv_timeout(QUIET) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                        return found;
                    }
                }
            };
            // What the kernel could not tell (its queue was full) may be anything.
            let Ok(event) = event else {
                found = found.max(Some((Change::Other, self.root.clone())));
                continue;
            };
            if event.need_rescan() {
                found = found.max(Some((Change::Other, self.root.clone())));
            }
            if matches!(event.kind, EventKind::Access(_)) {
                continue;
            }
            for path in event.paths {
                let is_new = !matches!(event.kind, EventKind::Remove(_));
                if is_new
                    && path != self.root
                    && path.symlink_metadata().is_ok_and(|data| data.is_dir())
                {
                    let name = path.file_name().unwrap_or_default();
                    if !is_skipped(name) && !self.watched.contains(&path) {
                        // What was made in it before it was watched.
                        let _ = self.add(&path);
                        for file in walkdir::WalkDir::new(&path)
                            .into_iter()
                            .filter_map(Result::ok)
                        {
                            found = found.max(self.change(file.path()));
                        }
                    }
                    continue;
                }
                if matches!(event.kind, EventKind::Remove(_)) {
                    self.watched.remove(&path);
                }
                found = found.max(self.change(&path));
            }
        }
    }

    fn change(&self, path: &Path) -> Option<(Change, PathBuf)> {
        let relative = path.strip_prefix(&self.root).ok()?;
        let change = (self.meaning)(relative)?;
        (!(self.is_ours)(path)).then(|| (change, relative.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn changes_are_told_wherever_they_are_made() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join("node_modules/x")).unwrap();
        let mut watch = Watch::of(root, Change::of, |_| false).unwrap();
        let mut told = || watch.wait().unwrap();
        // Neither of these is told: the next one is.
        fs::write(root.join("node_modules/x/setup.py"), "").unwrap();
        fs::write(root.join("state.json"), "").unwrap();
        fs::write(root.join("a/b/c.py"), "x").unwrap();
        assert_eq!(told(), (Change::Code, "a/b/c.py".into()));
        // In a directory that was made just now.
        fs::create_dir_all(root.join("new/deep")).unwrap();
        fs::write(root.join("new/deep/d.py"), "x").unwrap();
        assert_eq!(told().0, Change::Code);
        // As many editors save: a new file in the place of the old one.
        fs::write(root.join("requirements.txt.new"), "x").unwrap();
        fs::rename(
            root.join("requirements.txt.new"),
            root.join("requirements.txt"),
        )
        .unwrap();
        let mut last = told();
        while last.0 == Change::Code {
            last = told();
        }
        assert_eq!(last, (Change::Dependencies, "requirements.txt".into()));
        fs::remove_file(root.join("a/b/c.py")).unwrap();
        assert_eq!(told(), (Change::Code, "a/b/c.py".into()));
    }

    #[test]
    fn what_this_program_says_itself_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut log = fs::File::create(root.join("dev.log")).unwrap();
        let is_log = |path: &Path| path.ends_with("dev.log");
        let mut watch = Watch::of(root, Change::of_any, is_log).unwrap();
        std::io::Write::write_all(&mut log, b"built").unwrap();
        fs::write(root.join("a.py"), "x").unwrap();
        // The log's would be the greater change.
        assert_eq!(watch.wait().unwrap(), (Change::Code, "a.py".into()));
    }
}
