//! What a transfer needs of a place for blobs. The store is one.

use std::any::Any;
use std::fs::File;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::error::RegistryError;
use crate::oci::{Descriptor, Digest};
use crate::store::{BlobWriter, Needs, PartialBlob, Record, Store, StoreError};

/// A place that keeps blobs by their digest.
pub trait Blobs: Sync {
    /// Whether a blob of this size is there: a cheap look, without hashing it.
    fn has(&self, descriptor: &Descriptor) -> bool;
    fn open(&self, digest: &Digest) -> Result<File, BlobError>;
    /// Whether the bytes are still those of the digest, where they may have changed since they came.
    fn verify(&self, _blob: &Descriptor) -> Result<(), BlobError> {
        Ok(())
    }
    /// Reads a small blob and verifies its digest.
    fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError>;
    /// A place for new bytes, which leaves nothing behind unless it is committed.
    fn writer(&self) -> Result<Box<dyn BlobSink + '_>, BlobError>;
    /// A place for a blob's bytes, which may hold the first of them already; `None` when it is here, maybe
    /// since a moment ago. `waiting` is called while another process fetches it; false ends the wait.
    fn incoming(
        &self,
        blob: &Descriptor,
        waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<dyn Incoming + '_>>, BlobError>;
    /// Where an upload that was not finished goes on, as it was kept under this key.
    fn upload_place(&self, _key: &str) -> Option<String> {
        None
    }
    /// Keeps where an upload goes on, or forgets it.
    fn note_upload(&self, _key: &str, _place: Option<&str>) {}
    /// While it is held, no other process has the same upload as its own. `None`: another one has it.
    fn claim_upload(&self, _key: &str) -> Option<Box<dyn Any>> {
        None
    }
    /// The repositories of a registry that have had a blob, the last first.
    fn repositories(&self, _blob: &Digest, _registry: &str) -> Vec<String> {
        Vec::new()
    }
    /// `REGISTRY/REPOSITORY`, where alone the blob is: it can be mounted from there and not be sent.
    fn elsewhere(&self, _blob: &Digest) -> Option<String> {
        None
    }
    /// A repository of a registry has the blob.
    fn note_repository(&self, _blob: &Digest, _registry: &str, _repository: &str) {}
}

/// A blob on its way in.
pub trait BlobSink: Write {
    /// Keeps the bytes as a blob if their digest is the one expected.
    fn commit(self: Box<Self>, expected: &Digest) -> Result<(), BlobError>;
}

/// A blob on its way in that stays where it is when the transfer ends early.
pub trait Incoming: Write {
    /// How many of its bytes are here.
    fn received(&self) -> u64;
    /// Throws away what is here.
    fn restart(&mut self) -> io::Result<()>;
    /// Keeps the bytes as a blob if their digest is the one expected.
    fn commit(self: Box<Self>, expected: &Digest) -> Result<(), BlobError>;
    /// Leaves nothing of it behind.
    fn discard(self: Box<Self>);
}

/// Why a place for blobs did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the bytes have the digest {found}")]
    Digest { found: String },
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        Self::Other(Box::new(error))
    }
}

impl BlobError {
    /// The error of a transfer: `what` names the blob and where it came from, `doing` the step.
    pub(crate) fn into_error(self, what: &str, doing: &str, expected: &Digest) -> RegistryError {
        match self {
            Self::Digest { found } => RegistryError::Digest {
                what: what.to_owned(),
                expected: expected.to_string(),
                found,
            },
            // The place was itself a registry, which has its own words.
            Self::Other(source) => match source.downcast::<RegistryError>() {
                Ok(inner) => *inner,
                Err(source) => RegistryError::Store {
                    doing: doing.to_owned(),
                    source,
                },
            },
        }
    }
}

/// An upload that is under way: the place that the registry gave.
#[derive(Serialize, Deserialize)]
struct BegunUpload {
    place: String,
}

impl Record for BegunUpload {
    const KIND: &'static str = "uploads";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

impl Incoming for PartialBlob {
    fn received(&self) -> u64 {
        PartialBlob::received(self)
    }

    fn restart(&mut self) -> io::Result<()> {
        PartialBlob::restart(self)
    }

    fn commit(self: Box<Self>, expected: &Digest) -> Result<(), BlobError> {
        Ok(PartialBlob::commit(*self, expected)?)
    }

    fn discard(self: Box<Self>) {
        PartialBlob::discard(*self);
    }
}

impl Blobs for Store {
    fn has(&self, descriptor: &Descriptor) -> bool {
        std::fs::metadata(self.blob_path(descriptor.digest()))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == descriptor.size())
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        Ok(self.open_blob(digest)?)
    }

    fn verify(&self, blob: &Descriptor) -> Result<(), BlobError> {
        Ok(self.verify_blob(blob)?)
    }

    fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        Ok(self.read_blob(digest, max)?)
    }

    fn writer(&self) -> Result<Box<dyn BlobSink + '_>, BlobError> {
        Ok(Box::new(self.blob_writer()?))
    }

    fn incoming(
        &self,
        blob: &Descriptor,
        waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<dyn Incoming + '_>>, BlobError> {
        let found = self.partial_blob(blob, waiting)?;
        Ok(found.map(|partial| Box::new(partial) as Box<dyn Incoming>))
    }

    fn upload_place(&self, key: &str) -> Option<String> {
        let begun: Option<BegunUpload> = self.cached(key).ok().flatten();
        begun.map(|upload| upload.place)
    }

    // A download that is not kept begins again.
    fn note_upload(&self, key: &str, place: Option<&str>) {
        let _ = match place {
            Some(place) => self.remember(
                key,
                &BegunUpload {
                    place: place.to_owned(),
                },
            ),
            None => self.forget::<BegunUpload>(key).map(drop),
        };
    }

    fn claim_upload(&self, key: &str) -> Option<Box<dyn Any>> {
        let claim = self.claim("upload-locks", key).ok().flatten()?;
        Some(Box::new(claim))
    }

    fn repositories(&self, blob: &Digest, registry: &str) -> Vec<String> {
        Store::repositories(self, blob, registry)
    }

    fn note_repository(&self, blob: &Digest, registry: &str, repository: &str) {
        Store::note_repository(self, blob, registry, repository);
    }
}

impl BlobSink for BlobWriter {
    fn commit(self: Box<Self>, expected: &Digest) -> Result<(), BlobError> {
        BlobWriter::commit(*self, Some(expected))?;
        Ok(())
    }
}

impl From<StoreError> for BlobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Mismatch { found, .. } => Self::Digest {
                found: found.to_string(),
            },
            other => Self::Other(Box::new(other)),
        }
    }
}
