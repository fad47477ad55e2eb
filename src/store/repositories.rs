//! Where else a blob is: `cache/repositories/HEX` has a line `REGISTRY/REPOSITORY` for each repository
//! that the blob was pushed to or pulled from, the latest first. A registry can mount it from there
//! (distribution-spec, "Mounting a blob from another repository"). A line is only a hint: the blob may
//! have been removed since.

use std::fs::File;
use std::io::Read;

use crate::oci::Digest;

use super::Store;

const KIND: &str = "repositories";
/// More are not remembered.
const MAX_LINES: usize = 16;
/// Of a file, in bytes.
const MAX_SIZE: u64 = 16 * 1024;

impl Store {
    /// The repositories of this registry that have had the blob, the last first.
    #[must_use]
    pub fn repositories(&self, blob: &Digest, registry: &str) -> Vec<String> {
        self.repository_lines(blob)
            .iter()
            .filter_map(|line| line.strip_prefix(registry)?.strip_prefix('/'))
            .map(str::to_owned)
            .collect()
    }

    /// Remembers that this repository has the blob. A failed write is ignored.
    pub fn note_repository(&self, blob: &Digest, registry: &str, repository: &str) {
        let mut lines = self.repository_lines(blob);
        let line = format!("{registry}/{repository}");
        if lines.first() == Some(&line) || line.contains(char::is_whitespace) {
            return;
        }
        lines.retain(|known| *known != line);
        lines.insert(0, line);
        lines.truncate(MAX_LINES);
        if let Ok(directory) = self.cache_dir(KIND) {
            let _ =
                self.replace_unsynced(&directory.join(blob.digest()), lines.join("\n").as_bytes());
        }
    }

    fn repository_lines(&self, blob: &Digest) -> Vec<String> {
        let path = self.root().join("cache").join(KIND).join(blob.digest());
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_SIZE).read_to_string(&mut text));
        match read {
            Ok(_) => text.lines().map(str::to_owned).collect(),
            Err(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use crate::oci::sha256;

    #[test]
    fn the_last_comes_first_and_once() {
        let (_dir, store) = store();
        let blob = sha256(b"layer");
        assert!(store.repositories(&blob, "r.example").is_empty());
        for (registry, repository) in [
            ("r.example", "team/a"),
            ("r.example:5000", "c"),
            ("r.example", "b"),
            ("r.example", "team/a"),
            ("r.example", "bad name"),
        ] {
            store.note_repository(&blob, registry, repository);
        }
        assert_eq!(store.repositories(&blob, "r.example"), ["team/a", "b"]);
        assert_eq!(store.repositories(&blob, "r.example:5000"), ["c"]);
        assert!(
            store
                .repositories(&sha256(b"other"), "r.example")
                .is_empty()
        );
        for at in 0..20 {
            store.note_repository(&blob, "r.example", &format!("n{at}"));
        }
        assert_eq!(store.repositories(&blob, "r.example").len(), 16);
    }
}
