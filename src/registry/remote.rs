//! From one registry to another: what the other does not have passes through the store's directory of
//! downloads, where it stays only if the copy is broken off, and on one registry it is mounted, so that no
//! byte moves.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};

use super::blobs::{BlobError, BlobSink, Blobs, Incoming};
use super::error::RegistryError;
use super::listing::whole_config;
use super::manifest::{Document, by_digest, fetch};
use super::platform::check_platform;
use super::platforms::{Platforms, reduced};
use super::progress::{Direction, Event, TransferListener};
use super::push::PushReport;
use super::referrers::of_subject;
use super::session::{Client, Repository};
use super::stream::open;
use crate::oci::{
    Descriptor, Digest, ImageManifest, MAX_METADATA, Reference, descriptor, parse_digest, sha256,
};
use crate::store::{PartialBlob, Store};

/// How a copy is made.
#[derive(Debug, Clone, Copy)]
pub struct CopyOptions<'a> {
    /// Of an index; one platform is the client's.
    pub platforms: &'a Platforms,
    /// What refers to the image as well.
    pub referrers: bool,
    /// Blobs on their way lie here until the other registry has them, and how far they have come is kept, so
    /// that another process goes on.
    pub store: &'a Store,
}

/// More manifests that refer to an image, or to what refers to it, are not copied.
const MAX_REFERRERS: usize = 1000;

/// How many bytes of a blob come before it is told.
const TELL: u64 = 256 * 1024;

impl Client {
    /// Copies an image to another place of this or another registry. `to` is the client that knows the
    /// other one's login. Gives what was sent, and how many manifests that refer to it.
    pub fn copy(
        &self,
        source: &Reference,
        to: &Self,
        target: &Reference,
        options: CopyOptions<'_>,
        progress: &dyn TransferListener,
    ) -> Result<(PushReport, usize), RegistryError> {
        let found = self.first_of(source, progress, &mut |place| {
            let remote = Remote::new(place.repository()?, options.store, progress);
            let name = source.as_given();
            let (top, bytes) = remote.top(name, source.tag_or_digest())?;
            place.saw(top.digest())?;
            let entry = match options.platforms {
                Platforms::One(_) => {
                    check_is_image(&bytes, &top, name)?;
                    let resolved = self.descend(name, top, bytes, &mut |entry| {
                        remote.manifest(entry.digest())
                    })?;
                    remote.keep(&resolved.descriptor, resolved.bytes);
                    let wanted = self.platform.as_deref();
                    if let Some(warning) = remote.check(name, &resolved.descriptor, wanted)? {
                        progress.event(&Event::Warning(&warning));
                    }
                    resolved.descriptor
                }
                several => remote.some_of(name, top, bytes, several)?,
            };
            // What the target refuses is not asked of another source, which may have another image.
            match to.push(&entry, &remote, target, progress) {
                Err(error) if remote.has_said(&error) => Err(error),
                outcome => Ok((remote, entry, outcome)),
            }
        });
        let (remote, entry, outcome) = found?;
        let report = outcome?;
        let mut count = 0;
        if options.referrers {
            count = to.push_referrers(&entry, &remote, target, progress)?;
        }
        Ok((report, count))
    }

    /// Sends what refers to an image, to the images of an index, and to what refers to them.
    fn push_referrers(
        &self,
        top: &Descriptor,
        remote: &Remote<'_>,
        target: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<usize, RegistryError> {
        let mut subjects = remote.documents_of(top)?;
        let mut known: HashSet<Digest> = subjects.iter().cloned().collect();
        let mut count = 0;
        while let Some(subject) = subjects.pop() {
            for referrer in of_subject(&remote.repository, &subject, progress)? {
                let digest = parse_digest(referrer.digest().as_ref()).map_err(|error| {
                    RegistryError::Manifest {
                        what: format!("what refers to {subject}"),
                        problem: error.to_string(),
                    }
                })?;
                if !known.insert(digest.clone()) {
                    continue;
                }
                if count == MAX_REFERRERS {
                    return Err(RegistryError::Manifest {
                        what: format!("what refers to {}", top.digest()),
                        problem: format!("it is more than {MAX_REFERRERS} manifests"),
                    });
                }
                // With the subject that it names it gets onto the list of the other registry.
                self.push(&referrer, remote, &by_digest(target, &digest)?, progress)?;
                subjects.push(digest);
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Only an image or an index has a platform that could be chosen.
fn check_is_image(bytes: &[u8], top: &Descriptor, name: &str) -> Result<(), RegistryError> {
    let claimed = top.media_type().to_string();
    Document::parse_any(bytes, Some(&claimed), name)?;
    match Document::parse(bytes, Some(&claimed), name) {
        Err(RegistryError::Manifest { what, problem }) => Err(RegistryError::Manifest {
            what,
            problem: format!("{problem}; `copy --all` copies it as it is"),
        }),
        _ => Ok(()),
    }
}

/// The blobs of a repository of a registry.
pub(super) struct Remote<'c> {
    pub(super) repository: Repository<'c>,
    store: &'c Store,
    progress: &'c dyn TransferListener,
    manifests: Mutex<HashMap<Digest, Vec<u8>>>,
    /// What manifests say of their blobs.
    sizes: Mutex<HashMap<Digest, Descriptor>>,
    /// What was fetched for this copy.
    fetched: Mutex<HashSet<Digest>>,
    /// What went wrong here while another registry was written to.
    errors: Mutex<Vec<String>>,
}

impl<'c> Remote<'c> {
    pub(super) fn new(
        repository: Repository<'c>,
        store: &'c Store,
        progress: &'c dyn TransferListener,
    ) -> Self {
        Self {
            repository,
            store,
            progress,
            manifests: Mutex::default(),
            sizes: Mutex::default(),
            fetched: Mutex::default(),
            errors: Mutex::default(),
        }
    }

    /// What a name points to.
    pub(super) fn top(
        &self,
        name: &str,
        tag_or_digest: &str,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let (top, bytes) = fetch(&self.repository, name, tag_or_digest, None, self.progress)?;
        self.keep(&top, bytes.clone());
        Ok((top, bytes))
    }

    /// An index, or one of some of its images.
    fn some_of(
        &self,
        what: &str,
        top: Descriptor,
        bytes: Vec<u8>,
        platforms: &Platforms,
    ) -> Result<Descriptor, RegistryError> {
        let claimed = top.media_type().to_string();
        let (media_type, document) = Document::parse_any(&bytes, Some(&claimed), what)?;
        let Document::Index(index) = document else {
            platforms.check_single(what)?;
            return Ok(top);
        };
        let (kept, bytes) = reduced(&index, bytes, platforms, what)?;
        for child in &kept {
            if let Some(wanted) = platforms.asked_for(&index, child) {
                self.check(what, child, Some(wanted))?;
            }
        }
        let entry = descriptor(media_type, sha256(&bytes), bytes.len() as u64);
        self.keep(&entry, bytes);
        Ok(entry)
    }

    /// Holds what an image says of itself against a platform; may give a warning.
    fn check(
        &self,
        name: &str,
        entry: &Descriptor,
        wanted: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        let bytes = self.manifest(entry.digest())?;
        let claimed = entry.media_type().to_string();
        let Document::Manifest(manifest) = Document::parse_any(&bytes, Some(&claimed), name)?.1
        else {
            return Ok(None);
        };
        let bytes = self.config(&manifest, name)?;
        check_platform(name, wanted, &bytes)
    }

    pub(super) fn config(
        &self,
        manifest: &ImageManifest,
        name: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let config = manifest.config();
        let what = format!("the configuration of {name}");
        whole_config(config, what, || {
            open(&self.repository, config, 0, self.progress)
        })
    }

    fn what(&self, blob: &Descriptor) -> String {
        format!("{} of {}", blob.digest(), self.repository.full_name())
    }

    /// Fetches a blob, or what is not here of it. An error says whether it was of several pieces.
    fn fetch_blob(
        &self,
        mut into: PartialBlob,
        blob: &Descriptor,
    ) -> Result<File, (RegistryError, bool)> {
        let what = self.what(blob);
        let doing = || format!("keeping {what} on its way");
        let whole = |error| (error, false);
        let mut from =
            open(&self.repository, blob, into.received(), self.progress).map_err(whole)?;
        self.progress.event(&Event::Start {
            digest: blob.digest(),
            size: blob.size(),
            direction: Direction::In,
        });
        let mut told = into.received();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = from
                .read(&mut buffer)
                .map_err(|error| whole(RegistryError::of_stream(error, doing())))?;
            if count == 0 {
                break;
            }
            into.write_all(&buffer[..count]).map_err(|source| {
                whole(RegistryError::Local {
                    doing: doing(),
                    source,
                })
            })?;
            let received = into.received();
            if received - told >= TELL || received == blob.size() {
                told = received;
                self.progress.event(&Event::Advance {
                    digest: blob.digest(),
                    bytes: received,
                });
            }
        }
        into.whole(blob.digest()).map_err(|error| {
            let error = BlobError::from(error).into_error(&what, &doing(), blob.digest());
            (error, from.is_pieced())
        })
    }

    /// A manifest; of an index also those that it lists.
    fn documents_of(&self, top: &Descriptor) -> Result<Vec<Digest>, RegistryError> {
        let mut found = vec![top.digest().clone()];
        let bytes = self.manifest(top.digest())?;
        let claimed = top.media_type().to_string();
        if let (_, Document::Index(index)) =
            Document::parse_any(&bytes, Some(&claimed), "a manifest")?
        {
            found.extend(index.manifests().iter().map(|entry| entry.digest().clone()));
        }
        Ok(found)
    }

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

    /// An error of this registry, for a push to another one.
    fn other(&self, error: RegistryError) -> BlobError {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(error.to_string());
        BlobError::Other(Box::new(error))
    }

    /// Whether an error is of this registry, and not of the one that is written to.
    fn has_said(&self, error: &RegistryError) -> bool {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.contains(&error.to_string())
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
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
            self.progress,
        )?;
        self.keep(&found, bytes.clone());
        Ok(bytes)
    }
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
        let mut told = false;
        let mut again = true;
        loop {
            let mut waiting = || {
                if !told {
                    told = true;
                    let text = format!("waiting for another process that fetches {digest}");
                    self.progress.event(&Event::Warning(&text));
                }
                let left = self.repository.client.agent.http.left();
                !left.is_some_and(|left| left.is_zero())
            };
            let Some(partial) = self.store.partial_blob(&blob, &mut waiting)? else {
                // A damaged one is set aside, and fetched.
                if self.store.verify_blob(&blob).is_err() && again {
                    again = false;
                    continue;
                }
                return Ok(self.store.open_blob(digest)?);
            };
            self.fetched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(digest.clone());
            match self.fetch_blob(partial, &blob) {
                // Pieces may come from different bytes: once more, from the start.
                Err((RegistryError::Digest { .. }, true)) if again => again = false,
                outcome => return outcome.map_err(|(error, _)| self.other(error)),
            }
        }
    }

    fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let bytes = self.manifest(digest).map_err(|error| self.other(error))?;
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

    fn upload_place(&self, key: &str) -> Option<String> {
        Blobs::upload_place(self.store, key)
    }

    fn note_upload(&self, key: &str, place: Option<&str>) {
        Blobs::note_upload(self.store, key, place);
    }

    fn claim_upload(&self, key: &str) -> Option<Box<dyn Any>> {
        Blobs::claim_upload(self.store, key)
    }

    fn repositories(&self, blob: &Digest, registry: &str) -> Vec<String> {
        let mut known = Vec::new();
        if registry == self.repository.host() {
            known.push(self.repository.name.clone());
        }
        known.extend(self.store.repositories(blob, registry));
        known
    }

    fn note_repository(&self, blob: &Digest, registry: &str, repository: &str) {
        self.store.note_repository(blob, registry, repository);
        // What a pull has begun stays.
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if fetched.contains(blob) {
            self.store.forget_download(blob);
        }
    }
}
