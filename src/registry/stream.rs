//! A blob as a stream, which the store does not keep: for a caller that only reads an image.

use std::io::{self, Read};

use super::error::RegistryError;
use super::http::{HttpRequest, Outcome, Response};
use super::progress::{Event, TransferListener};
use super::pull::{A_PART, no_answer, no_rest, range_start};
use super::retry::{Tries, pause};
use super::session::{Call, Client, Repository, scope};
use crate::oci::{Descriptor, Reference, parse_digest};

impl Client {
    /// Opens a blob of a repository. A stream that breaks off is continued where it was cut; it ends in
    /// an error when it has another size than the descriptor says. Whether the bytes are those of the
    /// digest is for the reader to see.
    pub fn stream<'c>(
        &'c self,
        reference: &Reference,
        blob: &Descriptor,
        progress: &'c dyn TransferListener,
    ) -> Result<impl Read + Send + use<'c>, RegistryError> {
        parse_digest(blob.digest().as_ref()).map_err(|error| RegistryError::Manifest {
            what: reference.as_given().to_owned(),
            problem: error.to_string(),
        })?;
        self.first_of(reference, progress, &mut |source| {
            let mut stream = Stream::new(source.repository()?, blob, 0, progress);
            // Here, so that a mirror without it is passed by.
            if blob.size() > 0 {
                // An answer of no use is asked for again by the reader.
                let _ = stream.request()?;
            }
            Ok(stream)
        })
    }
}

/// The same of a repository that is known already, from the byte `begin` on.
pub(super) fn open<'c>(
    repository: &Repository<'c>,
    blob: &Descriptor,
    begin: u64,
    progress: &'c dyn TransferListener,
) -> Result<Stream<'c>, RegistryError> {
    parse_digest(blob.digest().as_ref()).map_err(|error| RegistryError::Manifest {
        what: repository.full_name(),
        problem: error.to_string(),
    })?;
    Ok(Stream::new(repository.clone(), blob, begin, progress))
}

pub(super) struct Stream<'c> {
    repository: Repository<'c>,
    blob: Descriptor,
    response: Option<Response<'c>>,
    /// What has come and is not read yet, from `taken` on.
    piece: Vec<u8>,
    taken: usize,
    received: u64,
    /// It is of more than one answer.
    pieced: bool,
    /// The server answers no range: all is asked for, and what has come already is left out.
    no_range: bool,
    tries: Tries,
    progress: &'c dyn TransferListener,
}

/// What came of a question for what is missing.
enum Asked {
    /// This many bytes of the answer are here already.
    Answered { here: u64 },
    /// The answer is of no use, for this reason: another is asked for.
    Useless(String),
}

impl<'c> Stream<'c> {
    fn new(
        repository: Repository<'c>,
        blob: &Descriptor,
        begin: u64,
        progress: &'c dyn TransferListener,
    ) -> Self {
        let tries = Tries::new(&repository.client.agent.retry);
        Self {
            repository,
            blob: blob.clone(),
            response: None,
            piece: Vec::new(),
            taken: 0,
            received: begin,
            pieced: begin > 0,
            no_range: false,
            tries,
            progress,
        }
    }

    /// Whether its bytes come from several answers, which may have been of different bytes.
    pub(super) fn is_pieced(&self) -> bool {
        self.pieced
    }
}

impl Stream<'_> {
    /// Asks for what is still missing.
    fn request(&mut self) -> Result<Asked, RegistryError> {
        let digest = self.blob.digest();
        let mut request = HttpRequest::get(self.repository.url(&format!("blobs/{digest}"))?);
        if self.received > 0 {
            self.pieced = true;
        }
        let ranged = self.received > 0 && !self.no_range;
        if ranged {
            let last = self.blob.size().saturating_sub(1);
            request = request.header("range", format!("bytes={}-{last}", self.received));
        }
        let scopes = [scope(&self.repository.name, "pull")];
        let action = format!("the download of {digest}");
        let call = Call {
            after_loss: !ranged,
            ..Call::new(&action, &scopes, self.progress)
        };
        let response = match self.repository.call(&request, &call)? {
            Outcome::Answer(response) => response,
            Outcome::Lost(failure) if ranged && failure.dropped() => {
                self.no_range = true;
                return Ok(Asked::Useless(no_answer(&failure)));
            }
            Outcome::Lost(failure) => return Err(self.repository.lost(failure)),
        };
        let skip = match response.status() {
            200 => self.received,
            206 if range_start(&response) == Some(self.received) => 0,
            // What refuses a range (a CDN, say) may well give the whole.
            _ if ranged => {
                self.no_range = true;
                return Ok(Asked::Useless(no_rest(&response, self.received)));
            }
            206 => return Ok(Asked::Useless(A_PART.into())),
            _ => {
                let name = self.repository.full_name();
                let thing = format!("{digest} of {name}, though the manifest names it");
                return Err(self.repository.refusal(response, &action, Some(&thing)));
            }
        };
        if response.status() == 200
            && let Some(length) = response.content_length()
            && length != self.blob.size()
        {
            return Err(self.wrong(if length > self.blob.size() {
                "more"
            } else {
                "less"
            }));
        }
        self.response = Some(response);
        Ok(Asked::Answered { here: skip })
    }

    /// Fetches the next piece; false at the end.
    fn next(&mut self) -> Result<bool, RegistryError> {
        let mut skip = 0;
        while self.received < self.blob.size() {
            if self.response.is_none() {
                match self.request()? {
                    Asked::Answered { here } => skip = here,
                    Asked::Useless(why) => {
                        self.wait(&why)?;
                        continue;
                    }
                }
            }
            let Some(response) = &mut self.response else {
                continue;
            };
            let reason = match response.chunk(self.progress) {
                Ok(Some(chunk)) => {
                    let bytes: &[u8] = chunk.as_ref();
                    let leave_out = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
                    skip -= leave_out as u64;
                    let bytes = &bytes[leave_out..];
                    if bytes.is_empty() {
                        continue;
                    }
                    self.received += bytes.len() as u64;
                    if self.received > self.blob.size() {
                        return Err(self.wrong("more"));
                    }
                    self.tries.headway(bytes.len() as u64);
                    self.piece.clear();
                    self.piece.extend_from_slice(bytes);
                    self.taken = 0;
                    return Ok(true);
                }
                Ok(None) => "it ended too early".to_owned(),
                Err(failure) if failure.may_pass() => failure.cause,
                Err(failure) => return Err(self.repository.lost(failure)),
            };
            self.wait(&reason)?;
        }
        Ok(false)
    }

    /// Before the next question; an error when there were enough.
    fn wait(&mut self, reason: &str) -> Result<(), RegistryError> {
        self.response = None;
        let host = self.repository.host().to_owned();
        let Some(wait) = self.tries.next(&host, None)? else {
            return Err(RegistryError::Truncated {
                what: format!("{} ({reason})", self.blob.digest()),
                received: self.received,
                expected: self.blob.size(),
            });
        };
        self.progress.event(&Event::Retry {
            what: &host,
            reason,
            wait,
        });
        pause(self.repository.client.agent.at_most(wait), None);
        Ok(())
    }

    fn wrong(&self, how: &str) -> RegistryError {
        RegistryError::Manifest {
            what: format!("{} of {}", self.blob.digest(), self.repository.full_name()),
            problem: format!(
                "it has {how} bytes in the registry than in the manifest ({})",
                self.blob.size()
            ),
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.taken == self.piece.len() && !self.next().map_err(io::Error::other)? {
            return Ok(0);
        }
        let rest = &self.piece[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}
