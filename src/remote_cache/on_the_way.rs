//! An item's manifest and record on their way to a registry: neither is in the store; the item's layers are.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use crate::oci::{Descriptor, Digest, sha256};
use crate::registry::{BlobError, BlobSink, Blobs, Incoming};
use crate::store::Store;

pub(super) struct OnTheWay<'a> {
    pub(super) store: &'a Store,
    pub(super) manifest: &'a [u8],
    pub(super) record: &'a [u8],
}

fn not_here() -> BlobError {
    io::Error::from(io::ErrorKind::Unsupported).into()
}

impl Blobs for OnTheWay<'_> {
    fn has(&self, descriptor: &Descriptor) -> bool {
        self.store.has_whole_blob(descriptor)
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        if *digest != sha256(self.record) {
            return Blobs::open(self.store, digest);
        }
        let mut file = tempfile::tempfile()?;
        file.write_all(self.record)?;
        file.rewind()?;
        Ok(file)
    }

    fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        if *digest == sha256(self.manifest) && self.manifest.len() as u64 <= max {
            return Ok(self.manifest.to_vec());
        }
        Blobs::read(self.store, digest, max)
    }

    fn writer(&self) -> Result<Box<dyn BlobSink + '_>, BlobError> {
        Err(not_here())
    }

    fn incoming(
        &self,
        _blob: &Descriptor,
        _waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<dyn Incoming + '_>>, BlobError> {
        Err(not_here())
    }

    fn repositories(&self, blob: &Digest, registry: &str) -> Vec<String> {
        self.store.repositories(blob, registry)
    }

    fn note_repository(&self, blob: &Digest, registry: &str, repository: &str) {
        self.store.note_repository(blob, registry, repository);
    }
}
