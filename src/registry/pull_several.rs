//! From a registry into the store: an index with all or some of its images.

use std::collections::HashSet;

use super::blobs::Blobs;
use super::error::RegistryError;
use super::manifest::{Document, MAX_DEPTH, Source, fetch};
use super::platform::check_platform;
use super::platforms::{Platforms, reduced};
use super::progress::TransferListener;
use super::pull::{config_of, keep, wanted_of};
use super::session::Client;
use crate::oci::{Descriptor, Reference, descriptor, sha256};

impl Client {
    /// Like [`Client::pull`] for one platform, which is the client's; else fetches an index with its
    /// images. An image that is in no index is fetched as it is.
    pub fn pull_of(
        &self,
        reference: &Reference,
        platforms: &Platforms,
        blobs: &dyn Blobs,
        progress: &dyn TransferListener,
    ) -> Result<Descriptor, RegistryError> {
        if matches!(platforms, Platforms::One(_)) {
            return self.pull(reference, blobs, progress);
        }
        self.first_of(reference, progress, &mut |source| {
            let several = Several {
                client: self,
                source,
                name: reference.as_given(),
                blobs,
                progress,
            };
            several.tree(reference.tag_or_digest(), None, (platforms, None), 0)
        })
    }
}

struct Several<'a> {
    client: &'a Client,
    source: &'a Source<'a, 'a>,
    name: &'a str,
    blobs: &'a dyn Blobs,
    progress: &'a dyn TransferListener,
}

impl Several<'_> {
    fn tree(
        &self,
        tag_or_digest: &str,
        expected: Option<&Descriptor>,
        (platforms, asked): (&Platforms, Option<&str>),
        depth: usize,
    ) -> Result<Descriptor, RegistryError> {
        let (name, progress) = (self.name, self.progress);
        let repository = self.source.repository()?;
        let (found, bytes) = fetch(&repository, name, tag_or_digest, expected, progress)?;
        if depth == 0 {
            self.source.saw(found.digest())?;
        }
        let what = format!("the manifest of {name}");
        let claimed = found.media_type().to_string();
        let (media_type, document) = Document::parse_any(&bytes, Some(&claimed), &what)?;
        let bytes = match document {
            Document::Manifest(manifest) => {
                if depth == 0 {
                    platforms.check_single(&what)?;
                }
                let wanted = wanted_of(&manifest, &what)?;
                if asked.is_some() {
                    self.client
                        .fetch_missing(self.source, &wanted[..1], self.blobs, progress)?;
                    let config = config_of(&manifest, self.blobs, name)?;
                    check_platform(name, asked, &config)?;
                }
                self.client
                    .fetch_missing(self.source, &wanted, self.blobs, progress)?;
                bytes
            }
            Document::Index(_) if depth >= MAX_DEPTH => {
                return Err(RegistryError::Manifest {
                    what,
                    problem: format!("it is an index of indexes, more than {MAX_DEPTH} deep"),
                });
            }
            Document::Index(index) => {
                let (kept, bytes) = reduced(&index, bytes, platforms, &what)?;
                let mut done = HashSet::new();
                for child in kept.iter().filter(|child| done.insert(child.digest())) {
                    let digest = child.digest().as_ref();
                    let asked = platforms.asked_for(&index, child);
                    // What lies in an index that was chosen is taken as it is.
                    self.tree(digest, Some(child), (&Platforms::All, asked), depth + 1)?;
                }
                bytes
            }
        };
        let entry = descriptor(media_type, sha256(&bytes), bytes.len() as u64);
        keep(self.blobs, &entry, &bytes, &what)?;
        Ok(entry)
    }
}
