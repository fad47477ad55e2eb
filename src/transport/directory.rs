//! A directory that others can write to: read without following a link in it, written file by file, each whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, OFlags, flock, fstat};
use rustix::io::Errno;

use crate::beneath;

use super::archive::Output;
use super::content::Layout;
use super::error::TransportError;

/// A directory whose files are opened without following any link in it.
pub(super) struct Directory {
    path: PathBuf,
    root: beneath::Directory,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, TransportError> {
        let root = beneath::Directory::open(path)
            .map_err(|error| TransportError::io("open", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            root,
        })
    }

    /// Until it is dropped, no other program that asks for the lock writes here.
    pub(super) fn lock(&self) -> Result<(), TransportError> {
        flock(&self.root, FlockOperation::LockExclusive)
            .map_err(|error| TransportError::io("lock", &self.path, error.into()))
    }
}

impl Layout for Directory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, TransportError> {
        let failed = |error: io::Error| TransportError::io("open", &self.path.join(name), error);
        // NONBLOCK: a FIFO in the place of a file would wait for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = match self.root.open_at(Path::new(name), flags) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        let stat = fstat(&fd).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(TransportError::malformed(
                &self.path,
                format!("its {name} is not a file"),
            ));
        }
        Ok(Some(Box::new(File::from(fd))))
    }
}

/// Writes a file whole or not at all.
pub(super) fn place(
    target: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), TransportError>,
) -> Result<(), TransportError> {
    let mut output = Output::beside(target)?;
    fill(output.writer())?;
    output.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn links_in_a_layout_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, b"{}").unwrap();
        let root = dir.path().join("layout");
        fs::create_dir_all(root.join("blobs")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("index.json")).unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("blobs/sha256")).unwrap();
        fs::create_dir(root.join("oci-layout")).unwrap();
        let layout = Directory::open(&root).unwrap();
        assert!(layout.open("index.json").is_err());
        assert!(!matches!(layout.open("blobs/sha256/outside"), Ok(Some(_))));
        assert!(layout.open("oci-layout").is_err());
        assert!(layout.open("missing/x").unwrap().is_none());
    }
}
