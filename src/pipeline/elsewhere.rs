//! An image whose base is only in a registry: it was built in place, and its lowest layers were never in the
//! store. The registry mounts them from the repository that has them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};

use crate::layer::decompressor;
use crate::oci::{Descriptor, Digest, Sha256Reader};
use crate::pod::{BaseFile, PodError};
use crate::registry::{BlobError, BlobSink, Blobs, Incoming};
use crate::store::Store;

use super::error::BuildError;

/// No layer unpacks to more bytes than this.
const MAX_UNPACKED: u64 = 64 << 30;

/// The store and the base's repository.
pub struct OnBase<'a> {
    store: &'a Store,
    repository: &'a str,
    elsewhere: BTreeSet<String>,
}

impl<'a> OnBase<'a> {
    /// Blobs of a base may be in the store or in its repository.
    ///
    /// # Errors
    /// If the base contradicts itself.
    pub fn new(store: &'a Store, base: &'a BaseFile) -> Result<Self, PodError> {
        Ok(Self {
            store,
            repository: &base.repository,
            elsewhere: base.elsewhere()?,
        })
    }

    /// The blobs that may be missing here.
    #[must_use]
    pub fn elsewhere(&self) -> &BTreeSet<String> {
        &self.elsewhere
    }
}

impl Blobs for OnBase<'_> {
    fn has(&self, descriptor: &Descriptor) -> bool {
        self.store.has_whole_blob(descriptor)
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        Blobs::open(self.store, digest)
    }

    fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        self.store.read(digest, max)
    }

    fn writer(&self) -> Result<Box<dyn BlobSink + '_>, BlobError> {
        self.store.writer()
    }

    fn incoming(
        &self,
        blob: &Descriptor,
        waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<dyn Incoming + '_>>, BlobError> {
        self.store.incoming(blob, waiting)
    }

    fn upload_place(&self, key: &str) -> Option<String> {
        self.store.upload_place(key)
    }

    fn note_upload(&self, key: &str, place: Option<&str>) {
        self.store.note_upload(key, place);
    }

    fn repositories(&self, blob: &Digest, registry: &str) -> Vec<String> {
        if self.elsewhere.contains(blob.as_ref())
            && let Some(name) = self.repository.strip_prefix(registry)
            && let Some(name) = name.strip_prefix('/')
        {
            return vec![name.to_owned()];
        }
        Store::repositories(self.store, blob, registry)
    }

    fn note_repository(&self, blob: &Digest, registry: &str, repository: &str) {
        Store::note_repository(self.store, blob, registry, repository);
    }

    fn elsewhere(&self, blob: &Digest) -> Option<String> {
        let is_missing = self.elsewhere.contains(blob.as_ref()) && !self.store.has_blob(blob);
        is_missing.then(|| self.repository.to_owned())
    }
}

/// Refuses an image of another step, unless it is on exactly this base (by digest), and each of its own
/// layers matches its configuration.
///
/// # Errors
/// If it is not on this base, or a layer does not match.
pub fn check_on_base(
    store: &Store,
    image: &Descriptor,
    base: Option<&BaseFile>,
) -> Result<(), BuildError> {
    let image = store.image_at(image)?;
    let layers = image.manifest.layers();
    let diff_ids = image.config.diff_ids();
    let mut own = 0;
    if let Some(base) = base {
        for (number, (layer, diff_id)) in base.layers()?.iter().enumerate() {
            let same = layers.get(number).is_some_and(|found| {
                found.digest() == layer.digest() && found.size() == layer.size()
            }) && diff_ids.get(number) == Some(diff_id);
            if !same {
                return Err(BuildError::OtherBase {
                    number: number + 1,
                    reference: base.reference.clone(),
                    wanted: layer.digest().to_string(),
                });
            }
            own += 1;
        }
    }
    for (layer, diff_id) in layers.iter().zip(&diff_ids).skip(own) {
        let blob = store.open_verified(layer.digest())?;
        let mut content = Sha256Reader::new(decompressor(io::BufReader::new(blob)));
        let read = io::copy(&mut (&mut content).take(MAX_UNPACKED), &mut io::sink());
        let problem = if let Err(error) = read {
            error.to_string()
        } else {
            let (_, found, _) = content.finish();
            if found == *diff_id {
                continue;
            }
            format!("its content has the digest {found}")
        };
        return Err(BuildError::OtherContent {
            layer: layer.digest().to_string(),
            wanted: diff_id.to_string(),
            problem,
        });
    }
    Ok(())
}
