//! One blob on its way out (distribution-spec, "Pushing blobs"): is it there? can it be mounted? else
//! one `POST` and one streamed `PUT`. An upload that is cut goes on from where the registry says it
//! is (`GET` of the upload's place, then `PATCH` with the rest), or from the start where that fails.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::blobs::Blobs;
use super::error::RegistryError;
use super::http::{self, Method, Payload, Request, Response, Url};
use super::parallel::Stop;
use super::progress::{Direction, Event, Outcome, Progress};
use super::retry;
use super::session::{Call, Repository, scope};
use crate::oci::Descriptor;

/// A blob to be sent.
pub(super) struct Upload<'a> {
    pub repository: &'a Repository<'a>,
    pub blob: &'a Descriptor,
    pub progress: &'a dyn Progress,
    pub stop: &'a Stop,
}

/// An upload that the registry has opened.
struct Place {
    url: Url,
    /// How many bytes it has.
    offset: u64,
}

/// What came of an offer to begin.
enum Begun {
    Mounted,
    Place(Place),
}

/// What came of sending the rest.
enum Sent {
    Done,
    Interrupted {
        reason: String,
        asked: Option<Duration>,
    },
}

impl<'a> Upload<'a> {
    /// `None` when it stopped because another transfer has failed. `source` names a repository of the
    /// same registry that has the blob, maybe.
    pub(super) fn run(
        &self,
        blobs: &dyn Blobs,
        source: &dyn Fn() -> Option<String>,
    ) -> Result<Option<Outcome>, RegistryError> {
        if self.exists()? {
            return Ok(Some(Outcome::Existing));
        }
        let mut place = match self.begin(source().as_deref())? {
            Begun::Mounted => return Ok(Some(Outcome::Mounted)),
            Begun::Place(place) => Some(place),
        };
        let doing = format!("reading {} from the store", self.blob.digest());
        let mut file = blobs
            .open(self.blob.digest())
            .map_err(|error| error.into_error(&self.what(), &doing, self.blob.digest()))?;
        let length = http::length(&mut file).map_err(|source| RegistryError::Local {
            doing: doing.clone(),
            source,
        })?;
        if length != self.blob.size() {
            return Err(RegistryError::Truncated {
                what: format!("{} in the store", self.blob.digest()),
                received: length,
                expected: self.blob.size(),
            });
        }
        let file = Arc::new(file);
        self.progress.event(&Event::Start {
            digest: self.blob.digest(),
            size: length,
            direction: Direction::Out,
        });
        let mut failed = 0;
        loop {
            if self.stop.is_set() {
                return Ok(None);
            }
            let current = match place.take() {
                Some(place) => place,
                None => match self.begin(None)? {
                    Begun::Mounted => return Ok(Some(Outcome::Mounted)),
                    Begun::Place(place) => place,
                },
            };
            let url = current.url.clone();
            let before = current.offset;
            match self.send(current, &file)? {
                Sent::Done => return Ok(Some(Outcome::Transferred)),
                Sent::Interrupted { reason, asked } => {
                    failed += 1;
                    let retry = &self.repository.client.retry;
                    if failed >= retry.attempts {
                        return Err(RegistryError::Truncated {
                            what: format!("the upload of {} ({reason})", self.what()),
                            received: before,
                            expected: length,
                        });
                    }
                    let wait = retry.wait(failed, asked);
                    self.progress.event(&Event::Retry {
                        what: &self.what(),
                        reason: &reason,
                        wait,
                    });
                    std::thread::sleep(wait);
                    place = self.status(url)?;
                    if place.as_ref().is_some_and(|place| place.offset > before) {
                        failed = 1;
                    }
                }
            }
        }
    }

    fn what(&self) -> String {
        format!("{} to {}", self.blob.digest(), self.repository.full_name())
    }

    fn action(&self) -> String {
        format!("the upload of {}", self.what())
    }

    fn ask(
        &self,
        request: &Request,
        repeat: bool,
        sent: &dyn Fn(u64),
    ) -> Result<Result<Response<'a>, http::Failure>, RegistryError> {
        let scopes = [scope(&self.repository.name, "pull,push")];
        self.ask_for(request, &scopes, repeat, sent)
    }

    fn ask_for(
        &self,
        request: &Request,
        scopes: &[String],
        repeat: bool,
        sent: &dyn Fn(u64),
    ) -> Result<Result<Response<'a>, http::Failure>, RegistryError> {
        let call = Call {
            action: &self.action(),
            scopes,
            repeat,
            progress: self.progress,
            sent,
        };
        self.repository.call(request, &call)
    }

    /// An answer, or the error of a lost connection.
    fn answer(&self, request: &Request) -> Result<Response<'a>, RegistryError> {
        self.ask(request, true, &|_| {})?
            .map_err(|failure| self.repository.lost(failure))
    }

    fn exists(&self) -> Result<bool, RegistryError> {
        let url = self
            .repository
            .url(&format!("blobs/{}", self.blob.digest()))?;
        let response = self.answer(&Request::new(Method::HEAD, url))?;
        Ok(match response.status() {
            // Some gateways answer a HEAD with a length of 0.
            200 => response
                .content_length()
                .is_none_or(|length| length == 0 || length == self.blob.size()),
            // Whatever else it is, the upload says it with words.
            _ => false,
        })
    }

    /// Opens an upload, or has the blob taken from the repository `source`.
    fn begin(&self, source: Option<&str>) -> Result<Begun, RegistryError> {
        let plain = self.repository.url("blobs/uploads/")?;
        if let Some(source) = source {
            let mut url = plain.clone();
            url.query_pairs_mut()
                .append_pair("mount", self.blob.digest().as_ref())
                .append_pair("from", source);
            let scopes = [
                scope(&self.repository.name, "pull,push"),
                scope(source, "pull"),
            ];
            let asked = self.ask_for(&Request::new(Method::POST, url), &scopes, true, &|_| {});
            // A registry that refuses to mount (no right to the source, say) still takes an upload.
            if let Ok(Ok(response)) = asked {
                match response.status() {
                    201 => return Ok(Begun::Mounted),
                    202 => return self.place(&response).map(Begun::Place),
                    _ => {}
                }
            }
        }
        let response = self.answer(&Request::new(Method::POST, plain))?;
        match response.status() {
            201 => Ok(Begun::Mounted),
            202 => self.place(&response).map(Begun::Place),
            _ => Err(self.repository.refusal(response, &self.action(), None)),
        }
    }

    /// Where an upload goes on, from an answer's `Location`.
    fn place(&self, response: &Response<'_>) -> Result<Place, RegistryError> {
        let given = response
            .header("location")
            .ok_or_else(|| RegistryError::Url {
                url: http::shown(&response.url),
                problem: format!(
                    "{} opened an upload without saying where",
                    self.repository.host()
                ),
            })?;
        Ok(Place {
            url: self.repository.location(given, &response.url)?,
            offset: 0,
        })
    }

    /// Sends what is missing and closes the upload.
    fn send(&self, place: Place, file: &Arc<File>) -> Result<Sent, RegistryError> {
        let size = self.blob.size();
        let Place { mut url, offset } = place;
        let sent = |bytes: u64| {
            self.progress.event(&Event::Advance {
                digest: self.blob.digest(),
                bytes: offset + bytes,
            });
        };
        let rest = Payload::File {
            file: Arc::clone(file),
            offset,
            length: size - offset,
        };
        let mut payload = rest.clone();
        if offset > 0 {
            if offset < size {
                let request = Request::new(Method::PATCH, url)
                    .header("content-type", "application/octet-stream")
                    .header("content-range", format!("{offset}-{}", size - 1))
                    .payload(rest);
                let response =
                    match self.finish(self.ask(&request, false, &sent)?, &[202, 201, 204])? {
                        Ok(response) => response,
                        Err(interrupted) => return Ok(interrupted),
                    };
                url = self.place(&response)?.url;
            }
            payload = Payload::None;
        }
        url.query_pairs_mut()
            .append_pair("digest", self.blob.digest().as_ref());
        let request = Request::new(Method::PUT, url)
            .header("content-type", "application/octet-stream")
            .payload(payload);
        match self.finish(self.ask(&request, false, &sent)?, &[201, 204, 200])? {
            Ok(_) => Ok(Sent::Done),
            Err(interrupted) => Ok(interrupted),
        }
    }

    /// Sorts an answer: as hoped for, to be tried again, or a refusal.
    fn finish(
        &self,
        outcome: Result<Response<'a>, http::Failure>,
        good: &[u16],
    ) -> Result<Result<Response<'a>, Sent>, RegistryError> {
        let response = match outcome {
            Ok(response) => response,
            Err(failure) if failure.may_pass() => {
                return Ok(Err(Sent::Interrupted {
                    reason: failure.cause,
                    asked: None,
                }));
            }
            Err(failure) => return Err(self.repository.lost(failure)),
        };
        let status = response.status();
        if good.contains(&status) {
            return Ok(Ok(response));
        }
        // 404: the registry has lost the upload; 416: it has other bytes than we think.
        if retry::is_transient(status) || matches!(status, 404 | 416) {
            let asked = retry::retry_after(response.header("retry-after"));
            let refusal = self.repository.refusal(response, &self.action(), None);
            return Ok(Err(Sent::Interrupted {
                reason: refusal.to_string(),
                asked,
            }));
        }
        Err(self.repository.refusal(response, &self.action(), None))
    }

    /// How far an upload has come; `None` when it is better begun anew.
    fn status(&self, url: Url) -> Result<Option<Place>, RegistryError> {
        let Ok(response) = self.ask(&Request::get(url.clone()), true, &|_| {})? else {
            return Ok(None);
        };
        if !matches!(response.status(), 200 | 202 | 204) {
            return Ok(None);
        }
        let offset = received(response.header("range"));
        let Some(offset) = offset.filter(|offset| *offset <= self.blob.size()) else {
            return Ok(None);
        };
        let url = match response.header("location") {
            Some(given) => self.repository.location(given, &response.url)?,
            None => url,
        };
        Ok(Some(Place { url, offset }))
    }
}

/// `0-99` or `bytes=0-99` → 100 bytes are there. `0-0` is what registries say for none at all.
fn received(range: Option<&str>) -> Option<u64> {
    let range = range?.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    match (first, last) {
        ("0", 0) => Some(0),
        ("0", last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_uploads_range_is_read() {
        for (range, expected) in [
            (Some("0-0"), Some(0)),
            (Some("0-99"), Some(100)),
            (Some("bytes=0-99"), Some(100)),
            (Some("5-99"), None),
            (Some("0--1"), None),
            (Some("0-18446744073709551615"), None),
            (Some(""), None),
            (None, None),
        ] {
            assert_eq!(received(range), expected, "{range:?}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_read_or_refused(range in "\\PC{0,30}") {
            let _ = received(Some(&range));
        }
    }
}
