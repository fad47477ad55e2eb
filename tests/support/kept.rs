//! What one test made with the executable under test, and others use: below the target directory, behind a
//! lock, until there is another executable.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::warpdrive::binary;

/// A directory that one test at a time fills or reads. The lock ends with this value.
pub struct Kept {
    directory: PathBuf,
    _lock: File,
}

impl Kept {
    pub fn lock(name: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kept");
        fs::create_dir_all(&place).unwrap();
        let lock = File::create(place.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        Self {
            directory: place.join(name),
            _lock: lock,
        }
    }

    /// The directory, filled.
    pub fn directory_or(&self, fill: impl FnOnce(&Path)) -> PathBuf {
        let program = fs::metadata(binary()).unwrap();
        let modified = program
            .modified()
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap();
        let stamp = format!("{} {}", program.len(), modified.as_nanos());
        let stamped = self.directory.join("of-executable");
        if fs::read_to_string(&stamped).ok().as_ref() != Some(&stamp) {
            let _ = fs::remove_dir_all(&self.directory);
            fs::create_dir(&self.directory).unwrap();
            fill(&self.directory);
            fs::write(stamped, stamp).unwrap();
        }
        self.directory.clone()
    }

    pub fn text_or(&self, make: impl FnOnce() -> String) -> String {
        let directory = self.directory_or(|directory| {
            fs::write(directory.join("text"), make()).unwrap();
        });
        fs::read_to_string(directory.join("text")).unwrap()
    }
}
