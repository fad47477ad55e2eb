//! Content by digest: `blobs/sha256/HEX`.
//!
//! A blob is written to `tmp/`, hashed on the way, synced, and renamed into place, so that a file
//! with a digest's name is complete. Disks fail all the same: reading verifies, and a damaged blob
//! is set aside (`HEX.corrupt`) so that the next pull or build writes it again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::oci::{Descriptor, Digest, Sha256Reader, Sha256Writer};

use super::locks::Lock;
use super::{Store, StoreError};

impl Store {
    /// The path of a blob, whether or not it exists.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.digest())
    }

    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Whether the blob exists with its full size (a cheap check, without reading it).
    pub fn has_whole_blob(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.blob_path(descriptor.digest()))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == descriptor.size())
    }

    /// Opens a blob without verifying it, for callers that hash what they read themselves.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing {
                digest: digest.clone(),
            },
            _ => StoreError::io("open", &path, error),
        })
    }

    /// Opens a blob that is hashed while it is read; see [`VerifiedBlob`].
    pub fn open_verified(&self, digest: &Digest) -> Result<VerifiedBlob, StoreError> {
        Ok(VerifiedBlob {
            reader: Some(Sha256Reader::new(self.open_blob(digest)?)),
            digest: digest.clone(),
            path: self.blob_path(digest),
        })
    }

    /// Reads a document of at most `max` bytes and verifies it.
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let file = self.open_blob(digest)?;
        let size = file
            .metadata()
            .map_err(|e| StoreError::io("read", &path, e))?
            .len();
        if size > max {
            return Err(StoreError::TooLarge {
                digest: digest.clone(),
                size,
                limit: max,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(max)
            .read_to_end(&mut bytes)
            .map_err(|e| StoreError::io("read", &path, e))?;
        let found = crate::oci::sha256(&bytes);
        if found == *digest {
            Ok(bytes)
        } else {
            Err(set_aside(&path, digest, found))
        }
    }

    /// Reads a blob to its end and compares size and digest.
    pub fn verify_blob(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let digest = descriptor.digest();
        let path = self.blob_path(digest);
        let mut reader = Sha256Reader::new(self.open_blob(digest)?);
        io::copy(&mut reader, &mut io::sink()).map_err(|e| StoreError::io("read", &path, e))?;
        let (_, found, actual) = reader.finish();
        if found != *digest {
            return Err(set_aside(&path, digest, found));
        }
        if actual != descriptor.size() {
            return Err(StoreError::Size {
                digest: digest.clone(),
                expected: descriptor.size(),
                actual,
            });
        }
        Ok(())
    }

    /// Begins a blob; see [`BlobWriter`].
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        let lock = self.lock_shared()?;
        let (file, path) = self.tmp_file("blob")?;
        Ok(BlobWriter {
            store: self.clone(),
            writer: Sha256Writer::new(file),
            temporary: Temporary(path),
            _lock: lock,
        })
    }

    /// Stores some bytes.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<(Digest, u64), StoreError> {
        let digest = crate::oci::sha256(bytes);
        let size = bytes.len() as u64;
        if self
            .read_blob(&digest, size)
            .is_ok_and(|stored| stored == bytes)
        {
            return Ok((digest, size));
        }
        let mut writer = self.blob_writer()?;
        let path = writer.temporary.0.clone();
        writer
            .write_all(bytes)
            .map_err(|e| StoreError::io("write", &path, e))?;
        writer.commit(Some(&digest))
    }
}

/// Renames a damaged blob (or removes it, if that fails) and returns the error to report.
fn set_aside(path: &Path, digest: &Digest, found: Digest) -> StoreError {
    let aside = path.with_extension("corrupt");
    if fs::rename(path, &aside).is_err() {
        let _ = fs::remove_file(path);
    }
    StoreError::Corrupt {
        digest: digest.clone(),
        found,
        aside,
    }
}

/// A blob that is compared with its digest while it is read.
///
/// If the digest is wrong, reading the end of the file is an error (kind `InvalidData`). A consumer
/// that stops before the end, as decompressors do, calls [`VerifiedBlob::finish`].
pub struct VerifiedBlob {
    reader: Option<Sha256Reader<File>>,
    digest: Digest,
    path: PathBuf,
}

impl VerifiedBlob {
    /// Reads what is left and verifies the whole.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        io::copy(&mut self, &mut io::sink())
            .map(|_| ())
            .map_err(|e| StoreError::io("read", &path, e))
    }
}

impl Read for VerifiedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else {
            return Ok(0);
        };
        let count = reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(reader) = self.reader.take()
        {
            let (_, found, _) = reader.finish();
            if found != self.digest {
                return Err(set_aside(&self.path, &self.digest, found).into_io());
            }
        }
        Ok(count)
    }
}

/// A new blob. Dropped without [`BlobWriter::commit`], it leaves nothing behind.
///
/// An error of its `Write` side carries a [`StoreError`] (a full disk names the file system).
pub struct BlobWriter {
    store: Store,
    writer: Sha256Writer<File>,
    temporary: Temporary,
    _lock: Lock,
}

/// Removes the file at this path, unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl BlobWriter {
    /// Verifies, syncs and renames. `expected` is the required digest. The new name is synced when an
    /// image's name leads to it ([`Store::tag`]).
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let (file, digest, size) = self.writer.finish();
        if let Some(expected) = expected
            && *expected != digest
        {
            return Err(StoreError::Mismatch {
                expected: expected.clone(),
                found: digest,
            });
        }
        let path = &self.temporary.0;
        let target = self.store.blob_path(&digest);
        file.sync_all()
            .map_err(|e| StoreError::io("write", path, e))?;
        fs::rename(path, &target).map_err(|e| StoreError::io("write", &target, e))?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer
            .write(buffer)
            .map_err(|error| StoreError::io("write", &self.temporary.0, error).into_io())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::{MediaType, descriptor, sha256};

    fn tmp_is_empty(store: &Store) -> bool {
        fs::read_dir(store.root().join("tmp"))
            .unwrap()
            .next()
            .is_none()
    }

    #[test]
    fn bytes_come_back() {
        let (_dir, store) = store();
        let (digest, size) = store.put_blob(b"hello").unwrap();
        assert_eq!(size, 5);
        assert!(store.has_blob(&digest));
        assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
        assert!(matches!(
            store.read_blob(&digest, 4),
            Err(StoreError::TooLarge { .. })
        ));
        store
            .verify_blob(&descriptor(MediaType::ImageConfig, digest, 5))
            .unwrap();
        assert!(tmp_is_empty(&store));
    }

    #[test]
    fn a_writer_that_is_dropped_or_refused_leaves_nothing() {
        let (_dir, store) = store();
        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"half").unwrap();
        drop(writer);
        let mut writer = store.blob_writer().unwrap();
        writer.write_all(b"other").unwrap();
        assert!(matches!(
            writer.commit(Some(&sha256(b"this"))),
            Err(StoreError::Mismatch { .. })
        ));
        assert!(tmp_is_empty(&store));
        assert!(!store.has_blob(&sha256(b"other")));
    }

    #[test]
    fn a_damaged_blob_is_found_by_every_reader_and_set_aside() {
        let (_dir, store) = store();
        let readers: [fn(&Store, &Digest) -> StoreError; 3] = [
            |store, digest| store.read_blob(digest, 100).unwrap_err(),
            |store, digest| {
                let descriptor = descriptor(MediaType::ImageLayer, digest.clone(), 5);
                store.verify_blob(&descriptor).unwrap_err()
            },
            |store, digest| store.open_verified(digest).unwrap().finish().unwrap_err(),
        ];
        for read in readers {
            let (digest, _) = store.put_blob(b"hello").unwrap();
            fs::write(store.blob_path(&digest), b"hellO").unwrap();
            let error = read(&store, &digest);
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
            assert!(error.to_string().contains("pull or build"));
            assert!(!store.has_blob(&digest));
            assert!(matches!(
                store.read_blob(&digest, 100),
                Err(StoreError::Missing { .. })
            ));
        }
        // Writing it again repairs the store, even if the damaged blob still exists.
        let (digest, _) = store.put_blob(b"hello").unwrap();
        fs::write(store.blob_path(&digest), b"x").unwrap();
        store.put_blob(b"hello").unwrap();
        assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
    }

    #[test]
    fn many_writers_of_one_blob() {
        let (_dir, store) = store();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| store.put_blob(&vec![7; 100_000]).unwrap());
            }
        });
        assert!(tmp_is_empty(&store));
        assert_eq!(
            store
                .read_blob(&sha256(&vec![7; 100_000]), 100_000)
                .unwrap()
                .len(),
            100_000
        );
    }
}
