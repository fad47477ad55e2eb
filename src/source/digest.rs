//! The digest of a source: of what reaches an image, and nothing else.
//!
//! SHA-256 over one record per entry, in the order of the paths' bytes: a letter for the kind, the
//! length of the path and the path, then `x` or `-` and the content's SHA-256, or the length of the
//! link's target and the target. Each length comes before the text that it measures, so no two
//! trees have the same records.

use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::PoisonError;
use std::time::SystemTime;

use rayon::prelude::*;

use crate::oci::{Digest, Sha256Reader, Sha256Writer, sha256_hex};
use crate::store::Store;

use super::index::{Fingerprint, StatIndex};
use super::{SourceError, SourceKind, Tree};

/// How often a file is read again when it changes meanwhile.
const ATTEMPTS: usize = 3;
const BUFFER: usize = 256 * 1024;

impl Tree {
    /// The digest over paths, kinds, contents, executable bits and link targets. Files are hashed
    /// over all cores, and read only where `index` does not know them.
    pub fn digest(&self, index: Option<&StatIndex>) -> Result<Digest, SourceError> {
        let contents: Vec<Option<Digest>> = self
            .entries()
            .par_iter()
            .map(|entry| match entry.kind {
                SourceKind::File { .. } => self.content(&entry.path, index).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<_, _>>()?;
        let mut out = Sha256Writer::new(std::io::sink());
        let mut record = |parts: &[&[u8]]| {
            for part in parts {
                let _ = out.write_all(part); // a sink does not fail
            }
        };
        record(&[b"warpdrive source 1\n"]);
        for (entry, content) in self.entries().iter().zip(contents) {
            let path = entry.path.as_os_str().as_bytes();
            let length = path.len().to_string();
            match (&entry.kind, content) {
                (SourceKind::File { executable, .. }, Some(digest)) => {
                    let bit: &[u8] = if *executable { b"x" } else { b"-" };
                    let digest = digest.digest().as_bytes();
                    record(&[b"f", length.as_bytes(), b" ", path, bit, digest]);
                }
                (SourceKind::Symlink(target), _) => {
                    let target = target.as_os_str().as_bytes();
                    let target_length = target.len().to_string();
                    record(&[
                        b"l",
                        length.as_bytes(),
                        b" ",
                        path,
                        target_length.as_bytes(),
                        b" ",
                        target,
                    ]);
                }
                (_, _) => record(&[b"d", length.as_bytes(), b" ", path]),
            }
        }
        Ok(out.finish().1)
    }

    /// As [`Tree::digest`], with an index of this directory that is kept in the store.
    pub fn digest_with(&self, store: &Store) -> Result<Digest, SourceError> {
        let name = sha256_hex(self.root().as_os_str().as_bytes());
        let path = store.cache_dir("source")?.join(name);
        let index = StatIndex::load(&path);
        let digest = self.digest(Some(&index))?;
        // Without its memory the next build is slower, not wrong.
        let _ = index.save(&path);
        Ok(digest)
    }

    /// The hash of one file, which is remembered for [`Tree::stage`]. Hashed once per tree, so that
    /// everything derived from one tree has the same contents.
    fn content(&self, path: &Path, index: Option<&StatIndex>) -> Result<Digest, SourceError> {
        let remembered = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = remembered.get(path) {
            return Ok(digest.clone());
        }
        drop(remembered);
        let digest = self.hash(path, index)?;
        self.hashes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), digest.clone());
        Ok(digest)
    }

    fn hash(&self, path: &Path, index: Option<&StatIndex>) -> Result<Digest, SourceError> {
        for _ in 0..ATTEMPTS {
            let begun = SystemTime::now();
            let failed = |error| SourceError::io("read", path, error);
            let file = self.root_of(path).open_file(path).map_err(failed)?;
            let before = Fingerprint::of(&file.metadata().map_err(failed)?);
            if let Some(digest) = index.and_then(|index| index.lookup(path, &before)) {
                return Ok(digest);
            }
            let (digest, file) = hash_file(file).map_err(failed)?;
            if Fingerprint::of(&file.metadata().map_err(failed)?) == before {
                if let Some(index) = index {
                    index.learn(path, before, &digest, begun);
                }
                return Ok(digest);
            }
        }
        Err(SourceError::Changed {
            path: path.to_owned(),
        })
    }
}

fn hash_file(file: File) -> std::io::Result<(Digest, File)> {
    let mut reader = Sha256Reader::new(file);
    let mut buffer = vec![0; BUFFER];
    while std::io::Read::read(&mut reader, &mut buffer)? > 0 {}
    let (file, digest, _) = reader.finish();
    Ok((digest, file))
}
