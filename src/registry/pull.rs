//! From a registry into the store: the manifest, then its blobs, several at once.
//!
//! A blob that is cut is continued where it was cut (`Range`); nothing is kept that has not the
//! digest and the size that the manifest says; the manifest itself is kept last, so that a name can
//! never point to half an image.

use std::io::Write;

use super::blobs::{BlobSink, Blobs};
use super::error::RegistryError;
use super::http::{Request, Response};
use super::manifest::{Document, Resolved, blobs_of, fetch};
use super::parallel::{self, Stop};
use super::progress::{Direction, Event, Outcome, Progress};
use super::session::{Call, Client, Repository, scope};
use crate::oci::{Descriptor, MAX_METADATA, Reference, descriptor, parse_digest};

impl Client {
    /// Fetches an image. The descriptor is that of the manifest (for an index: of the client's platform).
    pub fn pull(
        &self,
        reference: &Reference,
        blobs: &dyn Blobs,
        progress: &dyn Progress,
    ) -> Result<Descriptor, RegistryError> {
        let resolved = self.resolve_through(reference, blobs)?;
        let what = format!("the manifest of {reference}");
        let media_type = resolved.descriptor.media_type().to_string();
        let (_, document) = Document::parse(&resolved.bytes, Some(&media_type), &what)?;
        let Document::Manifest(manifest) = document else {
            return Err(RegistryError::Manifest {
                what,
                problem: "it is an index".into(),
            });
        };
        let mut wanted: Vec<&Descriptor> = Vec::new();
        for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
            match wanted.iter().find(|known| known.digest() == blob.digest()) {
                Some(known) if known.size() != blob.size() => {
                    return Err(RegistryError::Manifest {
                        what,
                        problem: format!("it names {} with two sizes", blob.digest()),
                    });
                }
                Some(_) => {}
                None => wanted.push(blob),
            }
        }
        let missing: Vec<&Descriptor> = wanted
            .into_iter()
            .filter(|blob| {
                let there = blobs.has(blob);
                if there {
                    progress.event(&Event::Done {
                        digest: blob.digest(),
                        outcome: Outcome::Existing,
                    });
                }
                !there
            })
            .collect();
        if !missing.is_empty() {
            let repository = self.repository(reference)?;
            parallel::each(&missing, self.jobs, |blob, stop| {
                Download {
                    repository: &repository,
                    blob,
                    progress,
                    stop,
                }
                .run(blobs)
            })?;
        }
        keep(blobs, &resolved.descriptor, &resolved.bytes, &what)?;
        for blob in blobs_of(&manifest) {
            blobs.note_repository(blob.digest(), reference.registry(), &reference.repository());
        }
        Ok(resolved.descriptor)
    }

    /// Like [`Client::resolve`], but asks for no manifest that is in `blobs` already; a name with a
    /// digest that is there needs no network at all.
    fn resolve_through(
        &self,
        reference: &Reference,
        blobs: &dyn Blobs,
    ) -> Result<Resolved, RegistryError> {
        let name = reference.as_given();
        let local = |entry: &Descriptor| blobs.read(entry.digest(), MAX_METADATA).ok();
        let known = match reference.digest() {
            // The size is not known from a name; what counts is that reading verifies the digest.
            Some(digest) => Some(descriptor("", digest, 0)),
            None => self.head(reference)?,
        };
        let top = known.and_then(|known| {
            let bytes = local(&known)?;
            let (media_type, _) = Document::parse(&bytes, None, name).ok()?;
            Some((
                descriptor(media_type, known.digest().clone(), bytes.len() as u64),
                bytes,
            ))
        });
        let (top, bytes) = match top {
            Some(found) => found,
            None => fetch(
                &self.repository(reference)?,
                name,
                reference.tag_or_digest(),
                None,
            )?,
        };
        let is_index = matches!(
            Document::parse(&bytes, None, name),
            Ok((_, Document::Index(_)))
        );
        if is_index {
            // Kept too: next time the same digest is asked for, it is here.
            keep(blobs, &top, &bytes, name)?;
        }
        self.descend(name, top, bytes, &mut |entry| match local(entry) {
            Some(bytes) => Ok(bytes),
            None => fetch(
                &self.repository(reference)?,
                name,
                entry.digest().as_ref(),
                Some(entry),
            )
            .map(|(_, bytes)| bytes),
        })
    }
}

/// Puts a manifest's bytes among the blobs.
fn keep(
    blobs: &dyn Blobs,
    entry: &Descriptor,
    bytes: &[u8],
    what: &str,
) -> Result<(), RegistryError> {
    if blobs.has(entry) {
        return Ok(());
    }
    let doing = "keeping a manifest";
    let mut sink = blobs
        .writer()
        .map_err(|error| error.into_error(what, doing, entry.digest()))?;
    sink.write_all(bytes)
        .map_err(|source| RegistryError::Local {
            doing: doing.into(),
            source,
        })?;
    sink.commit(entry.digest())
        .map_err(|error| error.into_error(what, doing, entry.digest()))
}

/// One blob on its way in.
struct Download<'a> {
    repository: &'a Repository<'a>,
    blob: &'a Descriptor,
    progress: &'a dyn Progress,
    stop: &'a Stop,
}

/// How a try to get (the rest of) a body ended.
enum Ended {
    /// All bytes are there.
    Whole,
    /// Another transfer has failed.
    Stopped,
    /// It broke off; the reason.
    Cut(String),
}

impl Download<'_> {
    /// `None` when it stopped because another transfer has failed.
    fn run(&self, blobs: &dyn Blobs) -> Result<Option<()>, RegistryError> {
        let digest = self.blob.digest();
        parse_digest(digest.as_ref()).map_err(|error| RegistryError::Manifest {
            what: self.what(),
            problem: error.to_string(),
        })?;
        self.progress.event(&Event::Start {
            digest,
            size: self.blob.size(),
            direction: Direction::In,
        });
        match self.whole(blobs) {
            // Pieces of a resumed download may come from different bytes: once more, from the start.
            Err((RegistryError::Digest { .. }, true)) => {
                self.whole(blobs).map_err(|(error, _)| error)
            }
            outcome => outcome.map_err(|(error, _)| error),
        }
    }

    fn what(&self) -> String {
        format!("{} of {}", self.blob.digest(), self.repository.full_name())
    }

    /// Fetches, verifies and keeps the blob. An error says whether the download had been resumed.
    fn whole(&self, blobs: &dyn Blobs) -> Result<Option<()>, (RegistryError, bool)> {
        let digest = self.blob.digest();
        let doing = "keeping a layer in the store";
        let what = self.what();
        let fresh = |error| (error, false);
        let mut sink = blobs
            .writer()
            .map_err(|error| fresh(error.into_error(&what, doing, digest)))?;
        let mut received = 0;
        let mut failed = 0;
        let mut resumed = false;
        loop {
            let before = received;
            match self.part(&mut *sink, &mut received).map_err(fresh)? {
                Ended::Whole => break,
                Ended::Stopped => return Ok(None),
                Ended::Cut(reason) => {
                    // What made headway is not held against it.
                    failed = if received > before + 1024 * 1024 {
                        1
                    } else {
                        failed + 1
                    };
                    let retry = &self.repository.client.retry;
                    if failed >= retry.attempts {
                        return Err(fresh(RegistryError::Truncated {
                            what: format!("{what} ({reason})"),
                            received,
                            expected: self.blob.size(),
                        }));
                    }
                    let wait = retry.wait(failed, None);
                    self.progress.event(&Event::Retry {
                        what: &what,
                        reason: &reason,
                        wait,
                    });
                    std::thread::sleep(wait);
                    resumed |= received > 0;
                }
            }
        }
        sink.commit(digest)
            .map_err(|error| (error.into_error(&what, doing, digest), resumed))?;
        self.progress.event(&Event::Done {
            digest,
            outcome: Outcome::Transferred,
        });
        Ok(Some(()))
    }

    /// One request for what is still missing.
    fn part(&self, sink: &mut dyn BlobSink, received: &mut u64) -> Result<Ended, RegistryError> {
        let size = self.blob.size();
        let mut request = Request::get(
            self.repository
                .url(&format!("blobs/{}", self.blob.digest()))?,
        );
        if *received > 0 {
            request = request.header("range", format!("bytes={received}-{}", size - 1));
        }
        let scopes = [scope(&self.repository.name, "pull")];
        let action = format!("the download of {}", self.blob.digest());
        let call = Call {
            action: &action,
            scopes: &scopes,
            repeat: true,
            progress: self.progress,
            sent: &|_| {},
        };
        let mut response = self.repository.must(&request, &call)?;
        // A server that does not know ranges sends all again: leave out what is here already.
        let mut skip = match response.status() {
            200 => *received,
            206 if range_start(&response) == Some(*received) => 0,
            206 => return Ok(Ended::Cut("it sent another range than asked for".into())),
            _ => {
                let thing = format!("{}, though the manifest names it", self.what());
                return Err(self.repository.refusal(response, &action, Some(&thing)));
            }
        };
        if response.status() == 200
            && let Some(length) = response.content_length()
            && length != size
        {
            return Err(self.wrong_size(length));
        }
        let mut told = *received;
        loop {
            if self.stop.is_set() {
                return Ok(Ended::Stopped);
            }
            let chunk = match response.chunk() {
                Ok(Some(chunk)) => chunk,
                Ok(None) | Err(_) if *received == size => return Ok(Ended::Whole),
                Ok(None) => return Ok(Ended::Cut("it ended too early".into())),
                Err(failure) => return Ok(Ended::Cut(failure.cause)),
            };
            let mut bytes = chunk.as_ref();
            let leave_out = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[leave_out..];
            skip -= leave_out as u64;
            if *received + bytes.len() as u64 > size {
                return Err(self.wrong_size(*received + bytes.len() as u64));
            }
            sink.write_all(bytes)
                .map_err(|source| RegistryError::Local {
                    doing: format!("writing {} into the store", self.blob.digest()),
                    source,
                })?;
            *received += bytes.len() as u64;
            if *received - told >= 256 * 1024 || *received == size {
                told = *received;
                self.progress.event(&Event::Advance {
                    digest: self.blob.digest(),
                    bytes: told,
                });
            }
        }
    }

    fn wrong_size(&self, found: u64) -> RegistryError {
        RegistryError::Manifest {
            what: self.what(),
            problem: format!(
                "it has {found} bytes or more in the registry, and {} in the manifest",
                self.blob.size()
            ),
        }
    }
}

/// `bytes 100-199/200` → 100.
pub(super) fn range_start(response: &Response<'_>) -> Option<u64> {
    let range = response
        .header("content-range")?
        .trim()
        .strip_prefix("bytes")?;
    range.trim().split('-').next()?.parse().ok()
}
