//! From the store to a registry: the blobs that it lacks, several at once, then the manifest.
//!
//! Every blob is asked for, unless this very push has put it there: nothing else tells that it is there,
//! not even a manifest of the registry that names it. What is not there may be mounted from another
//! repository of the same registry: the one that the store has seen it in, or that of the base image.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::blobs::Blobs;
use super::error::RegistryError;
use super::manifest::{Document, MAX_DEPTH, blobs_of, fetch, head};
use super::parallel::{self, Stop};
use super::progress::{Event, Transfer, TransferListener};
use super::referrers;
use super::retry::Tries;
use super::session::{Client, Repository};
use super::upload::{InRegistry, SETTLING, Upload};
use crate::oci::{Descriptor, Digest, ImageManifest, MAX_METADATA, Reference, descriptor};

/// Questions whether a blob is there cost the way there and back, and nothing else.
const QUESTIONS: usize = 16;

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
        progress: &dyn TransferListener,
    ) -> Result<PushReport, RegistryError> {
        let repository = self.repository(target, progress)?;
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
            return Err(RegistryError::OtherDigest {
                target: target.as_given().to_owned(),
                found: manifest.digest().to_string(),
            });
        }
        let push = Push {
            client: self,
            repository: &repository,
            target,
            blobs,
            progress,
            here: Mutex::default(),
        };
        push.tree(manifest, target.tag_or_digest(), 0, &mut report)?;
        Ok(report)
    }
}

struct Push<'a> {
    client: &'a Client,
    repository: &'a Repository<'a>,
    target: &'a Reference,
    blobs: &'a dyn Blobs,
    progress: &'a dyn TransferListener,
    /// What this push has put there or asked for.
    here: Mutex<HashSet<Digest>>,
}

impl Push<'_> {
    /// Sends what a manifest or an index needs, then itself, and has it listed by what it refers to.
    fn tree(
        &self,
        entry: &Descriptor,
        tag_or_digest: &str,
        depth: usize,
        report: &mut PushReport,
    ) -> Result<(), RegistryError> {
        let what = format!("the manifest {}", entry.digest());
        let bytes = self
            .blobs
            .read(entry.digest(), MAX_METADATA)
            .map_err(|error| error.into_error(&what, "reading a manifest", entry.digest()))?;
        let claimed = entry.media_type().to_string();
        let (media_type, document) = Document::parse_any(&bytes, Some(&claimed), &what)?;
        let entry = descriptor(media_type, entry.digest().clone(), bytes.len() as u64);
        let listed = match document {
            Document::Manifest(manifest) => {
                self.image(&entry, &bytes, &manifest, tag_or_digest, report)?
            }
            Document::Index(_) if depth >= MAX_DEPTH => {
                return Err(RegistryError::Manifest {
                    what,
                    problem: format!("it is an index of indexes, more than {MAX_DEPTH} deep"),
                });
            }
            Document::Index(index) => {
                for child in index.manifests() {
                    self.tree(child, child.digest().as_ref(), depth + 1, report)?;
                }
                self.manifest(&entry, &bytes, tag_or_digest)?
            }
        };
        if listed {
            return Ok(());
        }
        referrers::list(self.repository, &entry, &bytes, self.progress)
    }

    /// Sends the blobs of a manifest, then itself. Whether the registry says that it lists it by its subject.
    fn image(
        &self,
        entry: &Descriptor,
        bytes: &[u8],
        manifest: &ImageManifest,
        tag_or_digest: &str,
        report: &mut PushReport,
    ) -> Result<bool, RegistryError> {
        let source = mount_source(manifest, self.repository);
        let wanted = blobs_of(manifest);
        self.send(&wanted, source.as_deref(), report)?;
        let put = || self.manifest(entry, bytes, tag_or_digest);
        let mut error = match put() {
            Err(error @ RegistryError::Status { .. }) => error,
            // A tag that may not change is a right that is missing to some registries. All blobs were there, or
            // are now.
            Err(RegistryError::Unauthorized(_)) if self.stands_for(entry, tag_or_digest) => {
                return Ok(false);
            }
            outcome => return outcome,
        };
        // It may have lost a blob since it was asked, or since it was sent.
        if self.mend(&wanted, source.as_deref(), report)? {
            match put() {
                Err(again @ RegistryError::Status { .. }) => error = again,
                outcome => return outcome,
            }
        }
        // Some registries see only after a while what they have been sent.
        let agent = &self.client.agent;
        let mut tries = Tries::new(&agent.retry.at_most(SETTLING));
        while misses_a_blob(&error) {
            let what = self.repository.full_name();
            let reason = error.to_string();
            let told = (what.as_str(), reason.as_str(), None);
            if !agent.try_again(&mut tries, told, self.progress, &Stop::new())? {
                break;
            }
            match put() {
                Err(again @ RegistryError::Status { .. }) => error = again,
                outcome => return outcome,
            }
        }
        // A tag that may not change takes not even what it stands for; what that needs is there only if
        // nothing is missing now.
        let refused = matches!(
            &error,
            RegistryError::Status {
                status: 400..=499,
                ..
            }
        );
        if refused
            && self.stands_for(entry, tag_or_digest)
            && !self.mend(&wanted, source.as_deref(), report)?
        {
            return Ok(false);
        }
        Err(error)
    }

    /// Asks for all blobs again. True when one was missing, and is there now.
    fn mend(
        &self,
        wanted: &[&Descriptor],
        source: Option<&str>,
        report: &mut PushReport,
    ) -> Result<bool, RegistryError> {
        self.lock().clear();
        let before = (report.uploaded, report.mounted);
        let mut anew = PushReport {
            existing: 0,
            ..report.clone()
        };
        self.send(wanted, source, &mut anew)?;
        let mended = (anew.uploaded, anew.mounted) != before;
        if mended {
            *report = PushReport {
                existing: report.existing.min(anew.existing),
                ..anew
            };
        }
        Ok(mended)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the tag has this very manifest.
    fn stands_for(&self, entry: &Descriptor, tag_or_digest: &str) -> bool {
        if tag_or_digest != self.target.tag_or_digest() {
            return false;
        }
        let name = self.target.as_given();
        let found = match head(self.repository, name, tag_or_digest, self.progress) {
            Ok(Some(found)) => Some(found),
            Ok(None) => {
                let found = fetch(self.repository, name, tag_or_digest, None, self.progress);
                found.ok().map(|(found, _)| found)
            }
            Err(_) => None,
        };
        found.is_some_and(|found| found.digest() == entry.digest())
    }

    /// A blob is in the repository.
    fn done(&self, blob: &Descriptor, outcome: Transfer) {
        let repository = self.repository;
        self.lock().insert(blob.digest().clone());
        self.blobs
            .note_repository(blob.digest(), repository.host(), &repository.name);
        self.progress.event(&Event::Done {
            digest: blob.digest(),
            outcome,
        });
    }

    fn upload<'u>(&'u self, blob: &'u Descriptor, stop: &'u Stop) -> Upload<'u> {
        Upload {
            repository: self.repository,
            blob,
            progress: self.progress,
            stop,
            blobs: self.blobs,
            keeps: Cell::new(false),
        }
    }

    /// Asks for all of these blobs, and sends those that are not there.
    fn send(
        &self,
        blobs: &[&Descriptor],
        base: Option<&str>,
        report: &mut PushReport,
    ) -> Result<(), RegistryError> {
        let unknown: Vec<&Descriptor> = {
            let here = self.lock();
            let blobs = blobs.iter().copied();
            blobs.filter(|blob| !here.contains(blob.digest())).collect()
        };
        let host = self.repository.host();
        let questions = self.client.jobs.unwrap_or(QUESTIONS).max(QUESTIONS);
        let found = parallel::each(&unknown, questions, |blob, stop| {
            let held = self.upload(blob, stop).held()?;
            if held == InRegistry::Whole {
                self.done(blob, Transfer::Existing);
            }
            Ok::<_, RegistryError>(Some((blob.digest(), held)))
        })?;
        let found: HashMap<&Digest, InRegistry> = found.into_iter().collect();
        // In their own order: the largest first is not known to be better than layers first.
        let missing: Vec<&Descriptor> = unknown
            .iter()
            .copied()
            .filter(|blob| found[blob.digest()] != InRegistry::Whole)
            .collect();
        report.existing += (unknown.len() - missing.len()) as u64;
        let sizes: Vec<u64> = missing.iter().map(|blob| blob.size()).collect();
        let done = parallel::each(&missing, self.client.jobs_for(&sizes), |blob, stop| {
            let source = || {
                let known = self.blobs.repositories(blob.digest(), host);
                let other = known.into_iter().find(|name| *name != self.repository.name);
                other.or_else(|| base.map(str::to_owned))
            };
            let outcome = self.upload(blob, stop).run(&source)?;
            Ok::<_, RegistryError>(outcome.map(|outcome| {
                self.done(blob, outcome);
                (outcome, *blob)
            }))
        })?;
        // All at once, so that they cost one way there and back: a registry may have kept what it had.
        let sent: Vec<&Descriptor> = done
            .iter()
            .filter(|(outcome, _)| *outcome == Transfer::Transferred)
            .map(|(_, blob)| *blob)
            .collect();
        parallel::each(&sent, questions, |blob, stop| {
            self.upload(blob, stop).settled()
        })?;
        for (outcome, blob) in done {
            match outcome {
                Transfer::Transferred => {
                    report.uploaded += 1;
                    report.uploaded_bytes += blob.size();
                }
                Transfer::Mounted => report.mounted += 1,
                Transfer::Existing => report.existing += 1,
            }
        }
        Ok(())
    }

    fn manifest(
        &self,
        entry: &Descriptor,
        bytes: &[u8],
        tag_or_digest: &str,
    ) -> Result<bool, RegistryError> {
        self.repository
            .put_manifest(entry, bytes.to_vec(), tag_or_digest, self.progress)
    }
}

/// Whether a manifest was refused because a blob that it names is not there (distribution-spec, "Error Codes").
fn misses_a_blob(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::Status { status: 400..=499, detail, .. } if detail.0.contains("BLOB_UNKNOWN")
    )
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
