//! The tree of one distribution while it is made. Only this program writes to it, and it creates every file
//! and directory: nothing in it is a link, and no file of it has another name elsewhere.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{Gid, Mode, Uid};

use crate::builder::{APP_GID, APP_UID};
use crate::layer::{LayerError, Spending};
use crate::sandbox::IdMode;

use super::super::error::BuildError;
use super::super::tree::APP_ROOT;
use super::archive::MAX_TEXT;
use super::unfit::Unfit;
use super::wheel::Wheel;

/// Why there is no tree of a wheel.
#[derive(Debug)]
pub(super) enum NotWritten {
    Unfit(Unfit),
    /// Of this machine.
    Error(BuildError),
}

/// A file that grows as long as there is something to spend.
struct Metered<'s> {
    file: File,
    spending: &'s mut Spending,
    refused: Option<LayerError>,
}

impl io::Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.spending.member(bytes.len() as u64) {
            Ok(()) => self.file.write(bytes),
            Err(refused) => {
                self.refused = Some(refused);
                Err(io::ErrorKind::FileTooLarge.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub(super) struct Tree {
    place: PathBuf,
    /// From the root of the image, and how many bytes each has.
    files: Vec<(PathBuf, u64)>,
    chown: bool,
    made: Mutex<HashSet<PathBuf>>,
}

impl Tree {
    /// A tree with nothing in it, which is not on the disk before there is a file.
    pub(super) fn empty(place: PathBuf) -> Self {
        Self {
            place,
            files: Vec::new(),
            chown: IdMode::current().chown_allowed(),
            made: Mutex::default(),
        }
    }

    /// Adds a file with what a reader gives; says how many bytes that were.
    pub(super) fn copy(
        &mut self,
        path: &Path,
        executable: bool,
        content: &mut dyn io::Read,
    ) -> io::Result<u64> {
        let mut file = self.create(path, executable)?;
        let size = io::copy(content, &mut file)?;
        self.files.push((path.to_owned(), size));
        Ok(size)
    }

    /// Writes what a wheel installs to a new tree, as much as it may spend.
    pub(super) fn write(
        place: PathBuf,
        wheel: &mut Wheel,
        spending: &mut Spending,
    ) -> Result<Self, NotWritten> {
        let mut tree = Self::empty(place);
        let failed = |path: &Path, source| {
            NotWritten::Error(BuildError::Write {
                path: path.to_owned(),
                source,
            })
        };
        for number in 0..wheel.files.len() {
            let file = &wheel.files[number];
            let path = Path::new(APP_ROOT).join(&file.place);
            let mut opened = Metered {
                file: tree
                    .create(&path, file.executable)
                    .map_err(|error| failed(&path, error))?,
                spending,
                refused: None,
            };
            let written = wheel.write(number, &mut opened);
            if let Some(refused) = opened.refused {
                return Err(NotWritten::Error(refused.into()));
            }
            match written {
                // It would be read into memory, here and where it is compiled.
                Ok(size) if size > MAX_TEXT && path.extension().is_some_and(|end| end == "py") => {
                    let reason = format!("{} is too large to be compiled here", path.display());
                    return Err(NotWritten::Unfit(Unfit::Odd(reason)));
                }
                Ok(size) => tree.files.push((path, size)),
                Err(unfit) => return Err(NotWritten::Unfit(unfit)),
            }
        }
        Ok(tree)
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &(PathBuf, u64)> + Clone {
        self.files.iter()
    }

    /// Adds a file.
    pub(super) fn add(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.create(path, false)?.write_all(content)
    }

    /// A new file, with owner and mode as every image of ours has them.
    fn create(&self, path: &Path, executable: bool) -> io::Result<File> {
        self.directory(path.parent().unwrap_or(Path::new("")))?;
        let bits = if executable { 0o775 } else { 0o664 };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(bits)
            .open(self.place.join(path))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(bits))?;
        if self.chown {
            let (uid, gid) = (Uid::from_raw(APP_UID), Gid::from_raw(APP_GID));
            given_away(rustix::fs::fchown(&file, Some(uid), Some(gid)))?;
        }
        Ok(file)
    }

    /// Makes a directory and those above it, each once.
    fn directory(&self, path: &Path) -> io::Result<()> {
        let mut made = self
            .made
            .lock()
            .map_err(|_| io::Error::from(io::ErrorKind::Other))?;
        let mut missing: Vec<&Path> = path
            .ancestors()
            .take_while(|path| !made.contains(*path))
            .collect();
        while let Some(path) = missing.pop() {
            // As the builder layer has them: the app's from its root down.
            let owned = path.components().count() > 1;
            let bits = if owned { 0o775 } else { 0o755 };
            let to = self.place.join(path);
            DirBuilder::new().mode(bits).create(&to)?;
            rustix::fs::chmod(&to, Mode::from_raw_mode(bits))?;
            if owned && self.chown {
                let (uid, gid) = (Uid::from_raw(APP_UID), Gid::from_raw(APP_GID));
                given_away(rustix::fs::chown(&to, Some(uid), Some(gid)))?;
            }
            made.insert(path.to_owned());
        }
        Ok(())
    }
}

/// Root in a pod without capabilities may give nothing away. Owners in layers do not come from the disk.
fn given_away(outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(rustix::io::Errno::PERM) => Ok(()),
        outcome => Ok(outcome?),
    }
}
