//! From one registry to another, without keeping anything: what the other does not have passes through a
//! file without a name, and on one registry it is mounted, so that no byte moves.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::blobs::{BlobError, BlobSink, Blobs, Incoming};
use super::error::RegistryError;
use super::listing::{fallback_tag, of_subject};
use super::manifest::{Document, fetch};
use super::progress::Progress;
use super::push::PushReport;
use super::session::{Client, Repository};
use super::stream::open;
use crate::oci::{
    Descriptor, Digest, MAX_METADATA, MediaType, Reference, Sha256Writer, descriptor, parse_digest,
    sha256, to_canonical_json,
};

/// How a copy is made.
#[derive(Debug, Clone, Copy)]
pub struct CopyOptions<'a> {
    /// All that an index lists; else the image of the client's platform.
    pub all: bool,
    /// What refers to the image as well.
    pub referrers: bool,
    /// For blobs on their way.
    pub directory: &'a Path,
}

impl Client {
    /// Copies an image to another place of this or another registry. `to` is the client that knows the
    /// other one's login. Gives what was sent, and how many manifests that refer to it.
    pub fn copy(
        &self,
        source: &Reference,
        to: &Self,
        target: &Reference,
        options: CopyOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<(PushReport, usize), RegistryError> {
        self.first_of(source, progress, &mut |place| {
            let repository = place.repository()?;
            let (top, bytes) = fetch(
                &repository,
                source.as_given(),
                source.tag_or_digest(),
                None,
                progress,
            )?;
            let remote = Remote {
                repository,
                directory: options.directory.to_owned(),
                manifests: Mutex::default(),
                sizes: Mutex::default(),
            };
            remote.keep(&top, bytes.clone());
            let entry = if options.all {
                top
            } else {
                let resolved = self.descend(source.as_given(), top, bytes, &mut |entry| {
                    remote.manifest(entry.digest())
                })?;
                remote.keep(&resolved.descriptor, resolved.bytes);
                resolved.descriptor
            };
            let report = to.push(&entry, &remote, target, progress)?;
            let mut count = 0;
            if options.referrers {
                for referrer in of_subject(&remote.repository, entry.digest())? {
                    to.push_referrer(&referrer, entry.digest(), &remote, target, progress)?;
                    count += 1;
                }
            }
            Ok((report, count))
        })
    }

    /// Sends a manifest that refers to another one, and lists it where the registry keeps no list.
    fn push_referrer(
        &self,
        referrer: &Descriptor,
        subject: &Digest,
        blobs: &Remote<'_>,
        target: &Reference,
        progress: &dyn Progress,
    ) -> Result<(), RegistryError> {
        parse_digest(referrer.digest().as_ref()).map_err(|error| RegistryError::Manifest {
            what: format!("what refers to {subject}"),
            problem: error.to_string(),
        })?;
        let name = |rest: &str| {
            let full = format!("{}/{}{rest}", target.registry(), target.repository());
            full.parse::<Reference>()
                .map_err(|error| RegistryError::Url {
                    url: full.clone(),
                    problem: error.to_string(),
                })
        };
        let exact = name(&format!("@{}", referrer.digest()))?;
        self.push(referrer, blobs, &exact, progress)?;
        let repository = self.repository(target, progress)?;
        let listed = of_subject(&repository, subject)?;
        if listed
            .iter()
            .any(|known| known.digest() == referrer.digest())
        {
            return Ok(());
        }
        let mut entries: Vec<serde_json::Value> = Vec::new();
        for entry in listed.iter().chain([referrer]) {
            entries.extend(serde_json::to_value(entry).ok());
        }
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageIndex,
            "manifests": entries,
        });
        let bytes = to_canonical_json(&index).map_err(|error| RegistryError::Manifest {
            what: format!("the list of what refers to {subject}"),
            problem: error.to_string(),
        })?;
        let entry = descriptor(MediaType::ImageIndex, sha256(&bytes), bytes.len() as u64);
        repository.put_manifest(&entry, bytes, &fallback_tag(subject), progress)
    }
}

/// The blobs of a repository of a registry.
struct Remote<'c> {
    repository: Repository<'c>,
    directory: PathBuf,
    manifests: Mutex<HashMap<Digest, Vec<u8>>>,
    /// What manifests say of their blobs.
    sizes: Mutex<HashMap<Digest, Descriptor>>,
}

impl Remote<'_> {
    fn keep(&self, entry: &Descriptor, bytes: Vec<u8>) {
        let claimed = entry.media_type().to_string();
        if let Ok((_, Document::Manifest(manifest))) =
            Document::parse_any(&bytes, Some(&claimed), "a manifest")
        {
            let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
            for blob in manifest.layers().iter().chain([manifest.config()]) {
                sizes.insert(blob.digest().clone(), blob.clone());
            }
        }
        self.manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(entry.digest().clone(), bytes);
    }

    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let known = self
            .manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .cloned();
        if let Some(bytes) = known {
            return Ok(bytes);
        }
        let name = self.repository.full_name();
        let (found, bytes) = fetch(
            &self.repository,
            &name,
            digest.as_ref(),
            None,
            &super::progress::Silent,
        )?;
        self.keep(&found, bytes.clone());
        Ok(bytes)
    }
}

fn other(error: RegistryError) -> BlobError {
    BlobError::Other(Box::new(error))
}

impl Blobs for Remote<'_> {
    fn has(&self, _descriptor: &Descriptor) -> bool {
        false
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        let blob = self
            .sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .cloned();
        let Some(blob) = blob else {
            return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into());
        };
        let mut from = open(&self.repository, &blob).map_err(other)?;
        let mut into = Sha256Writer::new(tempfile::tempfile_in(&self.directory)?);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            into.write_all(&buffer[..count])?;
        }
        let (file, found, _) = into.finish();
        if found != *digest {
            return Err(BlobError::Digest {
                found: found.to_string(),
            });
        }
        Ok(file)
    }

    fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let bytes = self.manifest(digest).map_err(other)?;
        if bytes.len() as u64 > max.min(MAX_METADATA) {
            return Err(std::io::Error::other("it is larger than a manifest may be").into());
        }
        Ok(bytes)
    }

    fn writer(&self) -> Result<Box<dyn BlobSink + '_>, BlobError> {
        Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem).into())
    }

    fn incoming(
        &self,
        _blob: &Descriptor,
        _waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<dyn Incoming + '_>>, BlobError> {
        Err(std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem).into())
    }

    fn repositories(&self, _blob: &Digest, registry: &str) -> Vec<String> {
        if registry == self.repository.host() {
            vec![self.repository.name.clone()]
        } else {
            Vec::new()
        }
    }
}
