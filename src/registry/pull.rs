//! From a registry into the store: the manifest, then its blobs, several at once.
//!
//! A blob that is cut is continued where it was cut (`Range`), by another process if need be; nothing is
//! kept as a blob that has not the digest and the size that the manifest says; the manifest itself is
//! kept last, so that a name can never point to half an image.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

use super::blobs::{Blobs, Incoming};
use super::error::RegistryError;
use super::http::{Failure, HttpRequest, Outcome, Response, TELL_EVERY, authority};
use super::manifest::{Document, Resolved, Source, blobs_of, fetch, head};
use super::parallel::{self, Stop};
use super::platform::check_platform;
use super::progress::{Direction, Event, Transfer, TransferListener};
use super::range;
use super::retry::Tries;
use super::session::{Call, Client, Repository, scope};
use crate::oci::{Descriptor, ImageManifest, MAX_METADATA, Reference, descriptor, parse_digest};

/// How slowly a blob may come in the mean, tries and waits included: bytes in a second.
const LEAST_PACE: u64 = 10_000;

impl Client {
    /// Fetches an image. The descriptor is that of the manifest (for an index: of the client's platform).
    pub fn pull(
        &self,
        reference: &Reference,
        blobs: &dyn Blobs,
        progress: &dyn TransferListener,
    ) -> Result<Descriptor, RegistryError> {
        self.first_of(reference, progress, &mut |source| {
            self.pull_from(source, reference, blobs, progress)
        })
    }

    fn pull_from(
        &self,
        source: &Source<'_, '_>,
        reference: &Reference,
        blobs: &dyn Blobs,
        progress: &dyn TransferListener,
    ) -> Result<Descriptor, RegistryError> {
        let resolved = self.resolve_through(source, reference, blobs, progress)?;
        let what = format!("the manifest of {reference}");
        let media_type = resolved.descriptor.media_type().to_string();
        let (_, document) = Document::parse(&resolved.bytes, Some(&media_type), &what)?;
        let Document::Manifest(manifest) = document else {
            return Err(RegistryError::Manifest {
                what,
                problem: "it is an index".into(),
            });
        };
        let wanted = wanted_of(&manifest, &what)?;
        // What is of no use is refused before its layers are fetched.
        if self.platform.is_some() {
            self.fetch_missing(source, &wanted[..1], blobs, progress)?;
            self.check_platform(&manifest, blobs, reference, progress)?;
        }
        self.fetch_missing(source, &wanted, blobs, progress)?;
        if self.platform.is_none() {
            self.check_platform(&manifest, blobs, reference, progress)?;
        }
        keep(blobs, &resolved.descriptor, &resolved.bytes, &what)?;
        let place = source.place();
        for blob in blobs_of(&manifest) {
            blobs.note_repository(blob.digest(), &place.registry, &place.repository);
        }
        Ok(resolved.descriptor)
    }

    /// Fetches what is not here of some blobs.
    pub(super) fn fetch_missing(
        &self,
        source: &Source<'_, '_>,
        wanted: &[&Descriptor],
        blobs: &dyn Blobs,
        progress: &dyn TransferListener,
    ) -> Result<(), RegistryError> {
        let mut missing: Vec<&Descriptor> = Vec::new();
        for blob in wanted {
            if blobs.has(blob) {
                progress.event(&Event::Done {
                    digest: blob.digest(),
                    outcome: Transfer::Existing,
                });
            } else {
                missing.push(blob);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let repository = source.repository()?;
        let sizes: Vec<u64> = missing.iter().map(|blob| blob.size()).collect();
        parallel::each(&missing, self.jobs_for(&sizes), |blob, stop| {
            Download {
                repository: &repository,
                blob,
                progress,
                stop,
            }
            .run(blobs)
        })?;
        Ok(())
    }

    /// Holds what the image says of itself against the platform that was asked for, or this machine's.
    fn check_platform(
        &self,
        manifest: &ImageManifest,
        blobs: &dyn Blobs,
        reference: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<(), RegistryError> {
        let bytes = config_of(manifest, blobs, reference.as_given())?;
        let warning = check_platform(reference.as_given(), self.platform.as_deref(), &bytes)?;
        if let Some(warning) = warning {
            progress.event(&Event::Warning(&warning));
        }
        Ok(())
    }

    /// Like [`Client::resolve`], but asks for no manifest that is in `blobs` already; a name with a
    /// digest that is there needs no network at all.
    fn resolve_through(
        &self,
        source: &Source<'_, '_>,
        reference: &Reference,
        blobs: &dyn Blobs,
        progress: &dyn TransferListener,
    ) -> Result<Resolved, RegistryError> {
        let name = reference.as_given();
        let local = |entry: &Descriptor| blobs.read(entry.digest(), MAX_METADATA).ok();
        let known = match reference.digest() {
            // The size is not known from a name; what counts is that reading verifies the digest.
            Some(digest) => Some(descriptor("", digest, 0)),
            None => head(
                &source.repository()?,
                name,
                reference.tag_or_digest(),
                progress,
            )?,
        };
        if let Some(known) = &known
            && reference.digest().is_none()
        {
            source.saw(known.digest())?;
        }
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
                &source.repository()?,
                name,
                reference.tag_or_digest(),
                None,
                progress,
            )?,
        };
        source.saw(top.digest())?;
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
                &source.repository()?,
                name,
                entry.digest().as_ref(),
                Some(entry),
                progress,
            )
            .map(|(_, bytes)| bytes),
        })
    }
}

/// The blobs of an image, each once, the configuration first.
pub(super) fn wanted_of<'m>(
    manifest: &'m ImageManifest,
    what: &str,
) -> Result<Vec<&'m Descriptor>, RegistryError> {
    let mut wanted: Vec<&Descriptor> = Vec::new();
    for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
        match wanted.iter().find(|known| known.digest() == blob.digest()) {
            Some(known) if known.size() != blob.size() => {
                return Err(RegistryError::Manifest {
                    what: what.to_owned(),
                    problem: format!("it names {} with two sizes", blob.digest()),
                });
            }
            Some(_) => {}
            None => wanted.push(blob),
        }
    }
    Ok(wanted)
}

/// The configuration of an image that is among the blobs already.
pub(super) fn config_of(
    manifest: &ImageManifest,
    blobs: &dyn Blobs,
    name: &str,
) -> Result<Vec<u8>, RegistryError> {
    let config = manifest.config();
    let what = format!("the configuration of {name}");
    blobs
        .read(config.digest(), MAX_METADATA)
        .map_err(|error| error.into_error(&what, "reading a configuration", config.digest()))
}

/// Puts a manifest's bytes among the blobs.
pub(super) fn keep(
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
    progress: &'a dyn TransferListener,
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
        let (digest, size) = (self.blob.digest(), self.blob.size());
        let doing = "keeping a layer in the store";
        let what = self.what();
        let fresh = |error| (error, false);
        let http = &self.repository.client.agent.http;
        let (_, base, _) = self.repository.parts();
        let (begin, mut told) = (Instant::now(), 0);
        let mut waiting = || {
            let waited = begin.elapsed();
            let step = waited.as_millis() / TELL_EVERY.as_millis() + 1;
            if step > told {
                told = step;
                let so_far = match step {
                    1 => String::new(),
                    _ => format!(" ({} s so far)", waited.as_secs()),
                };
                self.progress.event(&Event::Warning(&format!(
                    "waiting for another process that fetches {digest}{so_far}"
                )));
            }
            !self.stop.is_set() && http.over(base).is_none()
        };
        let sink = match blobs.incoming(self.blob, &mut waiting) {
            Ok(sink) => sink,
            Err(_) if self.stop.is_set() => return Ok(None),
            Err(error) => {
                return Err(fresh(match http.over(base) {
                    Some(over) => self.repository.lost(over),
                    None => error.into_error(&what, doing, digest),
                }));
            }
        };
        let Some(mut sink) = sink else {
            self.progress.event(&Event::Done {
                digest,
                outcome: Transfer::Existing,
            });
            return Ok(Some(()));
        };
        self.progress.event(&Event::Start {
            digest,
            size,
            direction: Direction::In,
        });
        let client = self.repository.client;
        let mut tries = Tries::new(&client.agent.retry);
        let end =
            Instant::now() + client.agent.retry.limit + Duration::from_secs(size / LEAST_PACE);
        let mut resumed = sink.received() > 0;
        let no_range = Cell::new(false);
        while sink.received() < size {
            let before = sink.received();
            let reason = match self.part(&mut *sink, &no_range) {
                Ok(Ended::Whole) => break,
                Ok(Ended::Stopped) => return Ok(None),
                Ok(Ended::Cut(reason)) => reason,
                Err(error) => {
                    // Bytes of something else are of no use to the next process.
                    if matches!(error, RegistryError::Manifest { .. }) {
                        sink.discard();
                    }
                    return Err(fresh(error));
                }
            };
            tries.headway(sink.received().saturating_sub(before));
            let again = Instant::now() < end
                && client
                    .agent
                    .try_again(&mut tries, (&what, &reason, None), self.progress, self.stop)
                    .map_err(fresh)?;
            if !again {
                return Err(fresh(RegistryError::Truncated {
                    what: format!("{what} ({reason})"),
                    received: sink.received(),
                    expected: size,
                }));
            }
            resumed |= sink.received() > 0;
        }
        sink.commit(digest)
            .map_err(|error| (error.into_error(&what, doing, digest), resumed))?;
        self.progress.event(&Event::Done {
            digest,
            outcome: Transfer::Transferred,
        });
        Ok(Some(()))
    }

    /// One request for what is still missing; with `no_range` for all, of which what is here is left out.
    fn part(&self, sink: &mut dyn Incoming, no_range: &Cell<bool>) -> Result<Ended, RegistryError> {
        let size = self.blob.size();
        let begin = sink.received();
        let mut request = HttpRequest::get(
            self.repository
                .url(&format!("blobs/{}", self.blob.digest()))?,
        );
        let ranged = begin > 0 && !no_range.get();
        if ranged {
            request = request.header("range", format!("bytes={begin}-{}", size - 1));
        }
        let scopes = [scope(&self.repository.name, "pull")];
        let action = format!("the download of {}", self.blob.digest());
        let call = Call {
            stop: Some(self.stop),
            after_loss: !ranged,
            ..Call::new(&action, &scopes, self.progress)
        };
        let mut response = match self.repository.call(&request, &call)? {
            Outcome::Answer(response) => response,
            Outcome::Lost(failure) if ranged && failure.dropped() => {
                no_range.set(true);
                return Ok(Ended::Cut(no_answer(&failure)));
            }
            Outcome::Lost(failure) => return Err(self.repository.lost(failure)),
        };
        let local = |source| RegistryError::Local {
            doing: format!("writing {} into the store", self.blob.digest()),
            source,
        };
        // A server that does not know ranges sends all again: leave out what is here already.
        let mut skip = match response.status() {
            200 => begin,
            206 if range_start(&response) == Some(begin) => 0,
            // What refuses a range (a CDN, say) may well give the whole.
            _ if ranged => {
                no_range.set(true);
                return Ok(Ended::Cut(no_rest(&response, begin)));
            }
            206 => {
                return Ok(Ended::Cut(A_PART.into()));
            }
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
        let mut told = begin;
        loop {
            if self.stop.is_set() {
                return Ok(Ended::Stopped);
            }
            let chunk = match response.chunk(self.progress) {
                Ok(Some(chunk)) => chunk,
                Ok(None) | Err(_) if sink.received() == size => return Ok(Ended::Whole),
                Ok(None) => return Ok(Ended::Cut("it ended too early".into())),
                Err(failure) if failure.may_pass() => return Ok(Ended::Cut(failure.cause)),
                Err(failure) => return Err(self.repository.lost(failure)),
            };
            let mut bytes = chunk.as_ref();
            let leave_out = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes = &bytes[leave_out..];
            skip -= leave_out as u64;
            let received = sink.received() + bytes.len() as u64;
            if received > size {
                return Err(self.wrong_size(received));
            }
            sink.write_all(bytes).map_err(local)?;
            if received - told >= 256 * 1024 || received == size {
                told = received;
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

pub(super) fn range_start(response: &Response<'_>) -> Option<u64> {
    range::first(response.header("content-range")?)
}

/// Why an answer is cut off, where a range came unasked.
pub(super) const A_PART: &str = "it sent a part, though all was asked for";

/// Why there is no answer to the question for a part.
pub(super) fn no_answer(failure: &Failure) -> String {
    let Failure { host, cause, .. } = failure;
    format!("{host} did not answer the question for the rest ({cause}), so all is asked for")
}

/// Why an answer to the question for the bytes from `begin` on is of no use.
pub(super) fn no_rest(response: &Response<'_>, begin: u64) -> String {
    let host = authority(&response.url);
    let answer = match response.status() {
        206 => "sent another range than asked for".to_owned(),
        416 => format!("has no bytes from {begin} on"),
        status => format!("answered {status} to the question for the rest"),
    };
    format!("{host} {answer}, so all is asked for")
}
