//! From the store to a registry: the blobs that it lacks, several at once, then the manifest.
//!
//! What the manifest lists that the tag has now is there, and is not asked for. What is not there may
//! be mounted from another repository of the same registry: the one that the store has seen it in, or
//! that of the base image.

use std::collections::HashSet;

use super::blobs::Blobs;
use super::error::RegistryError;
use super::http::{Method, Payload, Request};
use super::manifest::{self, Document, blobs_of};
use super::parallel;
use super::progress::{Event, Outcome, Progress};
use super::session::{Call, Client, Repository, scope};
use super::upload::Upload;
use crate::oci::{Descriptor, Digest, ImageManifest, MAX_METADATA, Reference};

/// The annotation that names the image which this one is built on.
const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PushReport {
    /// The name in full, as `docker://` knows it.
    pub reference: String,
    pub digest: String,
    /// Blobs and their bytes that went over the wire.
    pub uploaded: u64,
    pub uploaded_bytes: u64,
    /// Blobs that the registry took from another of its repositories.
    pub mounted: u64,
    /// Blobs that were there already.
    pub existing: u64,
}

impl Client {
    /// Sends an image (or an index with the images of it) to a registry, under a tag.
    pub fn push(
        &self,
        manifest: &Descriptor,
        blobs: &dyn Blobs,
        target: &Reference,
        progress: &dyn Progress,
    ) -> Result<PushReport, RegistryError> {
        let repository = self.repository(target)?;
        let mut report = PushReport {
            reference: target.canonical(),
            digest: manifest.digest().to_string(),
            uploaded: 0,
            uploaded_bytes: 0,
            mounted: 0,
            existing: 0,
        };
        if let Some(digest) = target.digest()
            && digest != *manifest.digest()
        {
            return Err(RegistryError::Digest {
                what: format!("the image to be pushed to {target}"),
                expected: digest.to_string(),
                found: manifest.digest().to_string(),
            });
        }
        let push = Push {
            client: self,
            repository: &repository,
            blobs,
            progress,
        };
        push.tree(manifest, target.tag_or_digest(), &mut report)?;
        Ok(report)
    }
}

struct Push<'a> {
    client: &'a Client,
    repository: &'a Repository<'a>,
    blobs: &'a dyn Blobs,
    progress: &'a dyn Progress,
}

impl Push<'_> {
    /// Sends what a manifest or an index needs, then itself.
    fn tree(
        &self,
        entry: &Descriptor,
        tag_or_digest: &str,
        report: &mut PushReport,
    ) -> Result<(), RegistryError> {
        let what = format!("the manifest {}", entry.digest());
        let bytes = self
            .blobs
            .read(entry.digest(), MAX_METADATA)
            .map_err(|error| error.into_error(&what, "reading a manifest", entry.digest()))?;
        let claimed = entry.media_type().to_string();
        let (media_type, document) = Document::parse(&bytes, Some(&claimed), &what)?;
        let manifest = match document {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => {
                for child in index.manifests() {
                    self.tree(child, child.digest().as_ref(), report)?;
                }
                return self.manifest(entry, media_type.as_ref(), bytes, tag_or_digest);
            }
        };
        let source = mount_source(&manifest, self.repository);
        let (tagged, present) = self.present(tag_or_digest)?;
        let (there, wanted): (Vec<_>, Vec<_>) = blobs_of(&manifest)
            .into_iter()
            .partition(|blob| present.contains(blob.digest()));
        self.blobs(&wanted, source.as_deref(), report)?;
        let put = || self.manifest(entry, media_type.as_ref(), bytes.clone(), tag_or_digest);
        match put() {
            Err(RegistryError::Status { .. }) if !there.is_empty() => {
                // It may lack what its own manifest lists: every blob is looked for.
                self.blobs(&there, source.as_deref(), report)?;
                match put() {
                    // A tag that may not change takes not even what it stands for.
                    Err(RegistryError::Status {
                        status: 400..=499, ..
                    }) if tagged.as_ref() == Some(entry.digest()) => Ok(()),
                    other => other,
                }
            }
            Err(error) => Err(error),
            Ok(()) => {
                for blob in there {
                    self.done(blob, Outcome::Existing);
                    report.existing += 1;
                }
                Ok(())
            }
        }
    }

    /// What the tag stands for now, and the blobs that it lists. The registry would not have taken that
    /// without them, so nobody need ask for them one by one; one that knows that it has lost some since
    /// refuses the manifest that comes next.
    fn present(
        &self,
        tag_or_digest: &str,
    ) -> Result<(Option<Digest>, HashSet<Digest>), RegistryError> {
        let Some((descriptor, bytes)) = manifest::present(self.repository, tag_or_digest)? else {
            return Ok((None, HashSet::new()));
        };
        let document = Document::parse(&bytes, None, tag_or_digest);
        let Ok((_, Document::Manifest(manifest))) = document else {
            return Ok((None, HashSet::new()));
        };
        let blobs = blobs_of(&manifest).into_iter();
        let blobs = blobs.map(|blob| blob.digest().clone()).collect();
        Ok((Some(descriptor.digest().clone()), blobs))
    }

    /// A blob is in the repository.
    fn done(&self, blob: &Descriptor, outcome: Outcome) {
        let repository = self.repository;
        self.blobs
            .note_repository(blob.digest(), repository.host(), &repository.name);
        self.progress.event(&Event::Done {
            digest: blob.digest(),
            outcome,
        });
    }

    fn blobs(
        &self,
        wanted: &[&Descriptor],
        base: Option<&str>,
        report: &mut PushReport,
    ) -> Result<(), RegistryError> {
        let host = self.repository.host();
        let done = parallel::each(wanted, self.client.jobs, |blob, stop| {
            let upload = Upload {
                repository: self.repository,
                blob,
                progress: self.progress,
                stop,
            };
            let source = || {
                let known = self.blobs.repositories(blob.digest(), host);
                let other = known.into_iter().find(|name| *name != self.repository.name);
                other.or_else(|| base.map(str::to_owned))
            };
            let outcome = upload.run(self.blobs, &source)?;
            Ok::<_, RegistryError>(outcome.map(|outcome| {
                self.done(blob, outcome);
                (outcome, blob.size())
            }))
        })?;
        for (outcome, size) in done {
            match outcome {
                Outcome::Transferred => {
                    report.uploaded += 1;
                    report.uploaded_bytes += size;
                }
                Outcome::Mounted => report.mounted += 1,
                Outcome::Existing => report.existing += 1,
            }
        }
        Ok(())
    }

    fn manifest(
        &self,
        entry: &Descriptor,
        media_type: &str,
        bytes: Vec<u8>,
        tag_or_digest: &str,
    ) -> Result<(), RegistryError> {
        let repository = self.repository;
        let request = Request::new(
            Method::PUT,
            repository.url(&format!("manifests/{tag_or_digest}"))?,
        )
        .header("content-type", media_type)
        .payload(Payload::Bytes(bytes));
        let scopes = [scope(&repository.name, "pull,push")];
        let action = format!("the upload of the manifest to {}", repository.full_name());
        let call = Call {
            action: &action,
            scopes: &scopes,
            repeat: true,
            progress: self.progress,
            sent: &|_| {},
        };
        let response = repository.must(&request, &call)?;
        if !matches!(response.status(), 200..=202) {
            return Err(repository.refusal(response, &action, None));
        }
        match response.header("docker-content-digest") {
            Some(told) if told != entry.digest().to_string() => Err(RegistryError::Digest {
                what: format!("the manifest that {} has taken", repository.full_name()),
                expected: entry.digest().to_string(),
                found: super::error::tame(told, 100),
            }),
            _ => Ok(()),
        }
    }
}

/// The repository on the same registry that an image is built on: its layers are there already.
fn mount_source(manifest: &ImageManifest, repository: &Repository<'_>) -> Option<String> {
    let base: Reference = manifest
        .annotations()
        .as_ref()?
        .get(BASE_NAME)?
        .parse()
        .ok()?;
    let source = base.repository();
    (base.has_host() && base.registry() == repository.host() && source != repository.name)
        .then_some(source)
}
