//! Partial downloads of blobs: `cache/downloads/HEX` holds the bytes so far and stays when its process
//! ends, so that another process can continue. `HEX.lock` beside it lets only one process (and thread)
//! at a time fetch a blob; the others wait, and then find it in the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::oci::{Descriptor, Digest, Sha256Writer};

use super::locks::{self, Lock, Mode};
use super::{Store, StoreError};

const KIND: &str = "downloads";
const PAUSE: Duration = Duration::from_millis(40);

/// An incomplete blob. The written bytes stay when it is dropped; see [`PartialBlob::commit`].
///
/// An error of its `Write` side carries a [`StoreError`] (a full disk names the file system).
pub struct PartialBlob {
    store: Store,
    /// `None` once it is done with.
    writer: Option<Sha256Writer<File>>,
    path: PathBuf,
    lock_path: PathBuf,
    _lock: Lock,
    _content: Lock,
}

impl Store {
    /// Begins or continues to fetch a blob; `None` if it is in the store, perhaps since a moment ago:
    /// if another process fetches it, this call waits as long as that process makes progress. `waiting`
    /// is called once before the wait, and then at each check it says whether to continue.
    pub fn partial_blob(
        &self,
        blob: &Descriptor,
        waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<PartialBlob>, StoreError> {
        let content = self.lock_shared()?;
        let directory = self.cache_dir(KIND)?;
        let path = directory.join(blob.digest().digest());
        let lock_path = directory.join(format!("{}.lock", blob.digest().digest()));
        let limit = locks::limit();
        let (mut size, mut since) = (0, Instant::now());
        let lock = loop {
            let held = locks::attempt(&lock_path, Mode::Exclusive)
                .map_err(|e| StoreError::io("lock", &lock_path, e))?;
            if let Some(lock) = held {
                break lock;
            }
            let now = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if now != size {
                (size, since) = (now, Instant::now());
            }
            if !waiting() || since.elapsed() >= limit {
                return Err(StoreError::Locked {
                    what: "a download",
                    path: lock_path,
                    waited: since.elapsed(),
                });
            }
            std::thread::sleep(PAUSE);
        };
        if self.has_whole_blob(blob) {
            let _ = fs::remove_file(&lock_path);
            return Ok(None);
        }
        let failed = |error| StoreError::io("write", &path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // More than the whole blob is not a part of it.
        if file.metadata().map_err(failed)?.len() > blob.size() {
            file.set_len(0).map_err(failed)?;
        }
        let writer = behind(file).map_err(failed)?;
        Ok(Some(PartialBlob {
            store: self.clone(),
            writer: Some(writer),
            path,
            lock_path,
            _lock: lock,
            _content: content,
        }))
    }
}

impl Store {
    /// What was fetched of a blob has served its purpose, unless another process wants it now.
    pub fn forget_download(&self, blob: &Digest) {
        let directory = self.root().join("cache").join(KIND);
        let path = directory.join(blob.digest());
        if !path.exists() {
            return;
        }
        let lock_path = directory.join(format!("{}.lock", blob.digest()));
        if let Ok(Some(_lock)) = locks::attempt(&lock_path, Mode::Exclusive) {
            let _ = fs::remove_file(&path);
            let _ = fs::remove_file(&lock_path);
        }
    }
}

/// A writer at the end of a file; it has hashed the existing bytes.
fn behind(mut file: File) -> io::Result<Sha256Writer<File>> {
    file.rewind()?;
    let mut before = file.try_clone()?;
    let writer = Sha256Writer::behind(file, &mut before)?;
    // Both have one position, which is the end now.
    Ok(writer)
}

impl PartialBlob {
    /// The number of bytes so far.
    pub fn received(&self) -> u64 {
        self.writer.as_ref().map_or(0, Sha256Writer::written)
    }

    /// Throws away the bytes so far.
    pub fn restart(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        file.set_len(0)?;
        self.writer = Some(behind(file)?);
        Ok(())
    }

    /// Verifies, syncs and renames. Bytes of another digest are thrown away.
    pub fn commit(mut self, expected: &Digest) -> Result<(), StoreError> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let (file, found, _) = writer.finish();
        if found == *expected {
            return keep(&self.store, &file, &self.path, expected);
        }
        let _ = fs::remove_file(&self.path);
        Err(StoreError::Mismatch {
            expected: expected.clone(),
            found,
        })
    }

    /// Verifies the bytes and gives them; they stay a download until [`Store::forget_download`]. Bytes of
    /// another digest are thrown away.
    pub fn whole(mut self, expected: &Digest) -> Result<File, StoreError> {
        let failed = |error| StoreError::io("read", &self.path, error);
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => behind(File::open(&self.path).map_err(failed)?).map_err(failed)?,
        };
        let (file, found, _) = writer.finish();
        if found == *expected {
            return Ok(file);
        }
        let _ = fs::remove_file(&self.path);
        Err(StoreError::Mismatch {
            expected: expected.clone(),
            found,
        })
    }

    /// Leaves nothing of it behind.
    pub fn discard(mut self) {
        self.writer = None;
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for PartialBlob {
    fn drop(&mut self) {
        if self
            .writer
            .as_ref()
            .is_some_and(|writer| writer.written() == 0)
        {
            let _ = fs::remove_file(&self.path);
        }
        // The lock is still held: a process that has opened it meanwhile finds that it is not the
        // lock any more.
        let _ = fs::remove_file(&self.lock_path);
    }
}

fn keep(store: &Store, file: &File, path: &Path, digest: &Digest) -> Result<(), StoreError> {
    let target = store.blob_path(digest);
    file.sync_all()
        .map_err(|e| StoreError::io("write", path, e))?;
    fs::rename(path, &target).map_err(|e| StoreError::io("write", &target, e))
}

impl Write for PartialBlob {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(writer) = &mut self.writer else {
            return Ok(0);
        };
        writer
            .write(buffer)
            .map_err(|error| StoreError::io("write", &self.path, error).into_io())
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

    fn blob(bytes: &[u8]) -> Descriptor {
        descriptor(MediaType::ImageLayer, sha256(bytes), bytes.len() as u64)
    }

    fn begin(store: &Store, blob: &Descriptor) -> Option<PartialBlob> {
        store.partial_blob(blob, &mut || true).unwrap()
    }

    #[test]
    fn a_download_goes_on_where_it_ended() {
        let (_dir, store) = store();
        let blob = blob(b"hello world");
        let mut first = begin(&store, &blob).unwrap();
        first.write_all(b"hello ").unwrap();
        drop(first);
        let mut second = begin(&store, &blob).unwrap();
        assert_eq!(second.received(), 6);
        second.write_all(b"world").unwrap();
        second.commit(blob.digest()).unwrap();
        store.verify_blob(&blob).unwrap();
        assert!(begin(&store, &blob).is_none());
        let left = fs::read_dir(store.cache_dir(KIND).unwrap()).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn wrong_bytes_are_thrown_away() {
        let (_dir, store) = store();
        let blob = blob(b"hello");
        for wrong in [&b"hellO"[..], b"hello world"] {
            let mut first = begin(&store, &blob).unwrap();
            first.write_all(wrong).unwrap();
            if wrong.len() == 5 {
                let error = first.commit(blob.digest()).unwrap_err();
                assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
            } else {
                drop(first);
            }
            assert_eq!(begin(&store, &blob).unwrap().received(), 0);
        }
        let mut again = begin(&store, &blob).unwrap();
        again.write_all(b"jel").unwrap();
        again.restart().unwrap();
        again.write_all(b"hello").unwrap();
        again.commit(blob.digest()).unwrap();
        store.verify_blob(&blob).unwrap();
    }

    #[test]
    fn a_whole_download_is_given_and_stays_until_it_is_forgotten() {
        let (_dir, store) = store();
        let blob = blob(b"hello");
        let mut first = begin(&store, &blob).unwrap();
        first.write_all(b"hello").unwrap();
        assert_eq!(
            first
                .whole(blob.digest())
                .unwrap()
                .metadata()
                .unwrap()
                .len(),
            5
        );
        let second = begin(&store, &blob).unwrap();
        assert_eq!(second.received(), 5);
        // Another one has it.
        store.forget_download(blob.digest());
        second.whole(blob.digest()).unwrap();
        assert_eq!(begin(&store, &blob).unwrap().received(), 5);
        store.forget_download(blob.digest());
        assert_eq!(begin(&store, &blob).unwrap().received(), 0);
        let mut wrong = begin(&store, &blob).unwrap();
        wrong.write_all(b"hellO").unwrap();
        wrong.whole(blob.digest()).unwrap_err();
        assert_eq!(begin(&store, &blob).unwrap().received(), 0);
    }

    #[test]
    fn two_fetch_a_blob_once() {
        let (_dir, store) = store();
        let blob = blob(b"hello");
        let mut first = begin(&store, &blob).unwrap();
        std::thread::scope(|scope| {
            let (heard, waits) = std::sync::mpsc::channel();
            let second = scope.spawn(|| {
                let heard = heard;
                let mut waiting = || heard.send(()).is_ok();
                store.partial_blob(&blob, &mut waiting).unwrap().is_none()
            });
            waits.recv().unwrap();
            first.write_all(b"hello").unwrap();
            first.commit(blob.digest()).unwrap();
            // Keeps the channel until the other has ended.
            assert!(second.join().unwrap());
            drop(waits);
        });
    }
}
