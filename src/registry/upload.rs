//! One blob on its way out (distribution-spec, "Pushing blobs"): can it be mounted? else one `POST` and
//! one streamed `PUT`.
//!
//! An upload that is cut goes on from where the registry says it is (`GET` of the upload's place, then
//! `PATCH` with the rest), in another process too; from the start where that fails. A registry, or a
//! proxy before it, that does not take a blob whole (413, 405, 501; 500 may mean it) gets it in pieces,
//! halved until they pass.

use std::cell::Cell;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use super::blobs::Blobs;
use super::error::{RegistryError, Unreachable};
use super::http::{self, Failure, HttpRequest, Method, Outcome, Payload, Response, Url};
use super::parallel::Stop;
use super::progress::{Direction, Event, Transfer, TransferListener};
use super::range;
use super::retry::{self, Tries};
use super::session::{Call, Repository, scope};
use crate::oci::Descriptor;

/// No smaller pieces are tried.
const LEAST_CHUNK: u64 = 64 * 1024;
/// The first pieces for a connection that breaks, whatever else it does.
const CAREFUL_CHUNK: u64 = 1024 * 1024;
/// Uploads of smaller blobs are not worth being remembered.
const KEPT: u64 = 1024 * 1024;

/// After so many questions without an answer how far an upload is, it is begun anew: some registries take no such
/// question.
const MOST_SILENT: u32 = 3;
/// A body without a length is read up to here, to see whether it is all of a blob.
const SHORT: u64 = 64 * 1024;
/// How often a registry is asked until it shows what was sent to it just now.
pub(super) const SETTLING: u32 = 5;

/// A blob to be sent.
pub(super) struct Upload<'a> {
    pub repository: &'a Repository<'a>,
    pub blob: &'a Descriptor,
    pub progress: &'a dyn TransferListener,
    pub stop: &'a Stop,
    pub blobs: &'a dyn Blobs,
    /// How far it comes is kept: no other process is about to send the same.
    pub keeps: Cell<bool>,
}

/// What a registry has of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InRegistry {
    Whole,
    Nothing,
    /// Under the blob's digest, but of another length.
    Damaged,
    /// It does not say: the login may only write, or it does not answer such questions.
    Unknown,
}

/// What an answer tells of the size of a blob.
enum Told {
    Size(u64),
    /// There is one, of whatever size.
    Something,
    /// There is none to be had.
    Nothing,
    /// It is not told.
    Unknown,
}

/// An upload that the registry has opened.
struct OpenUpload {
    url: Url,
    /// How many bytes it has.
    offset: u64,
    /// The registry takes no smaller pieces (`OCI-Chunk-Min-Length`).
    least: u64,
    /// It was begun by an earlier try, of which bytes may still be on their way.
    resumed: bool,
}

/// What came of an offer to begin.
enum Begun {
    Mounted,
    OpenUpload(OpenUpload),
}

/// What came of sending the rest.
enum Sent {
    Done,
    /// It is not taken so, and is sent otherwise from now on: in smaller pieces, or in pieces at all.
    Otherwise {
        url: Url,
    },
    Interrupted {
        cut: Cut,
        /// Where it can be asked how far it came; `None` when it is begun anew.
        url: Option<Url>,
        /// All was sent, so that it may be there although nothing says so.
        closing: bool,
    },
}

/// Why a try came to nothing that may fare better a moment later.
struct Cut {
    /// Which names the host, where it is not the registry.
    reason: String,
    /// Who was asked.
    host: String,
    /// The wait that it asks for.
    asked: Option<Duration>,
    failure: Option<Failure>,
}

/// Where an upload goes on.
enum Place {
    At(OpenUpload),
    /// How far it came is to be asked; so often there was no answer.
    Ask {
        url: Url,
        least: u64,
        silent: u32,
    },
}

/// What is told of an upload that has begun.
enum Status {
    At(OpenUpload),
    /// It is better begun anew.
    Gone,
    /// Nothing, this time.
    Silent(Cut),
}

/// What an answer to bytes of an upload means.
enum Sorted<'r> {
    /// As hoped for.
    Good(Response<'r>),
    /// It did not get all, or lost it.
    Sent(Sent),
    /// 413: it is too large.
    TooLarge(Response<'r>),
    /// 405, 501: not by this method.
    NotSo(Response<'r>),
}

impl<'a> Upload<'a> {
    fn exists(&self) -> Result<bool, RegistryError> {
        Ok(self.held()? == InRegistry::Whole)
    }

    /// What the registry has of the blob.
    pub(super) fn held(&self) -> Result<InRegistry, RegistryError> {
        self.held_by(&|request| self.answer(request))
    }

    /// Whether the blob is there after an upload whose end was lost. It is asked once: the caller tries again.
    fn is_there_now(&self) -> Result<bool, RegistryError> {
        let once = |request: &HttpRequest| {
            let answer = self.ask_once(request)?;
            answer.answer(|failure| self.repository.lost(failure))
        };
        match self.held_by(&once) {
            Err(RegistryError::Unreachable { kind, .. }) if kind != Unreachable::Limit => Ok(false),
            held => Ok(held? == InRegistry::Whole),
        }
    }

    fn held_by(
        &self,
        answer: &dyn Fn(&HttpRequest) -> Result<Response<'a>, RegistryError>,
    ) -> Result<InRegistry, RegistryError> {
        let url = self
            .repository
            .url(&format!("blobs/{}", self.blob.digest()))?;
        let request = HttpRequest::new(Method::HEAD, url.clone());
        let response = match answer(&request) {
            // A login that may only write is refused once.
            Err(RegistryError::Unauthorized(_)) if self.is_forbidden(&request) => {
                return Ok(InRegistry::Unknown);
            }
            response => response?,
        };
        match response.status() {
            200 => {}
            404 => return Ok(InRegistry::Nothing),
            // Whatever else it is, the upload says it with words.
            _ => return Ok(InRegistry::Unknown),
        }
        // Some gateways answer a HEAD with a length of their own; a full disk leaves empty files.
        let size = self.blob.size();
        if response.content_length() == Some(size) {
            return Ok(InRegistry::Whole);
        }
        Ok(self.of_size(&self.size_by_get(url, answer)?))
    }

    fn of_size(&self, told: &Told) -> InRegistry {
        match told {
            Told::Size(found) if *found == self.blob.size() => InRegistry::Whole,
            Told::Size(_) => InRegistry::Damaged,
            Told::Something => InRegistry::Whole,
            Told::Nothing => InRegistry::Nothing,
            Told::Unknown => InRegistry::Unknown,
        }
    }

    /// What a request for the first byte tells of the size.
    fn size_by_get(
        &self,
        url: Url,
        answer: &dyn Fn(&HttpRequest) -> Result<Response<'a>, RegistryError>,
    ) -> Result<Told, RegistryError> {
        let request = HttpRequest::get(url).header("range", "bytes=0-0".to_owned());
        let mut response = match answer(&request) {
            Err(RegistryError::Unauthorized(_)) if self.is_forbidden(&request) => {
                return Ok(Told::Unknown);
            }
            response => response?,
        };
        let total = response.header("content-range").and_then(range::total);
        let size = match response.status() {
            200 => response.content_length(),
            206 => total,
            416 => return Ok(Told::Size(total.unwrap_or(0))),
            404 => return Ok(Told::Nothing),
            _ => return Ok(Told::Unknown),
        };
        if let Some(size) = size {
            return Ok(Told::Size(size));
        }
        if response.status() == 206 {
            return Ok(Told::Something);
        }
        // Without a length, only the body itself shows that it is empty or too short.
        let read = response
            .bytes(SHORT, self.progress)
            .map_err(|failure| self.repository.lost(failure))?;
        Ok(match read {
            Some(bytes) => Told::Size(bytes.len() as u64),
            None if self.blob.size() <= SHORT => Told::Size(u64::MAX),
            None => Told::Something,
        })
    }

    /// Whether the registry has told this login that it may not make such requests.
    fn is_forbidden(&self, request: &HttpRequest) -> bool {
        let scopes = [scope(&self.repository.name, "pull,push")];
        let call = Call::new("", &scopes, self.progress);
        self.repository.is_forbidden(request, &call)
    }

    /// After the upload: whether the registry has what was sent. One that keeps a blob once for all its
    /// repositories may keep a damaged one; one that forgets its answers late shows what was there before; and one
    /// that says that it has taken a blob may have lost it.
    pub(super) fn settled(&self) -> Result<Option<()>, RegistryError> {
        let agent = &self.repository.client.agent;
        let mut tries = Tries::new(&agent.retry.at_most(SETTLING));
        let what = self.what();
        loop {
            let mut held = self.held()?;
            if held == InRegistry::Nothing {
                // What stands before the registry may remember the answer to a HEAD.
                let url = self
                    .repository
                    .url(&format!("blobs/{}", self.blob.digest()))?;
                held = self.of_size(&self.size_by_get(url, &|request| self.answer(request))?);
            }
            let (host, digest) = (self.repository.host(), self.blob.digest());
            let (reason, error) = match held {
                InRegistry::Whole | InRegistry::Unknown => return Ok(Some(())),
                InRegistry::Damaged => (
                    "it still has a blob of another length there",
                    RegistryError::Damaged {
                        host: host.to_owned(),
                        digest: digest.to_string(),
                    },
                ),
                InRegistry::Nothing => (
                    "it does not show the blob that it has taken",
                    RegistryError::Lost {
                        host: host.to_owned(),
                        what: format!("the blob {digest}"),
                    },
                ),
            };
            let told = (what.as_str(), reason, None);
            if !agent.try_again(&mut tries, told, self.progress, self.stop)? {
                return Err(error);
            }
            if self.stop.is_set() {
                return Ok(None);
            }
        }
    }

    /// Sends a blob that the registry does not have. `None` when it stopped because another transfer has
    /// failed. `source` names a repository of the same registry that has the blob, maybe.
    pub(super) fn run(
        &self,
        source: &dyn Fn() -> Option<String>,
    ) -> Result<Option<Transfer>, RegistryError> {
        let size = self.blob.size();
        let claim = (size >= KEPT)
            .then(|| self.blobs.claim_upload(&self.key()))
            .flatten();
        self.keeps.set(claim.is_some());
        let mut place = self.kept();
        let mut offered = false;
        let mut file = None;
        let mut tries = Tries::new(&self.repository.client.agent.retry);
        let pieces = Pieces::default();
        let mut cuts = 0;
        // How far it was when it was cut last.
        let mut before = 0;
        loop {
            if self.stop.is_set() {
                return Ok(None);
            }
            let current = match place.take() {
                Some(Place::At(current)) => current,
                Some(Place::Ask { url, least, silent }) => match self.status(&url, least)? {
                    Status::At(current) => {
                        tries.headway(current.offset.saturating_sub(before));
                        current
                    }
                    Status::Gone => {
                        self.forget();
                        continue;
                    }
                    Status::Silent(cut) => {
                        if silent + 1 < MOST_SILENT {
                            let silent = silent + 1;
                            place = Some(Place::Ask { url, least, silent });
                        } else {
                            self.forget();
                        }
                        self.wait(&mut tries, &cut, before)?;
                        continue;
                    }
                },
                None => {
                    let source = if offered { None } else { source() };
                    match self.begin(source.as_deref())? {
                        // What it says is held against what it has.
                        Begun::Mounted if self.exists()? => return Ok(Some(Transfer::Mounted)),
                        Begun::Mounted if !offered => {
                            offered = true;
                            continue;
                        }
                        Begun::Mounted => {
                            return Err(RegistryError::Manifest {
                            what: self.what(),
                            problem: "the registry says that it has the blob, and then that it has not".into(),
                        });
                        }
                        Begun::OpenUpload(current) => {
                            offered = true;
                            current
                        }
                    }
                }
            };
            let file: &Arc<File> = match &file {
                Some(file) => file,
                None => file.insert(self.start()?),
            };
            before = current.offset;
            let least = current.least;
            match self.send(current, file, &pieces)? {
                Sent::Done => {
                    self.forget();
                    return Ok(Some(Transfer::Transferred));
                }
                Sent::Otherwise { url } => {
                    let silent = 0;
                    place = Some(Place::Ask { url, least, silent });
                }
                Sent::Interrupted { cut, url, closing } => {
                    if closing && self.is_there_now()? {
                        self.forget();
                        return Ok(Some(Transfer::Transferred));
                    }
                    let sent = pieces.sent.replace(0);
                    place = match url {
                        Some(url) => match self.status(&url, least)? {
                            Status::At(place) => Some(Place::At(place)),
                            Status::Silent(_) => {
                                let silent = 1;
                                Some(Place::Ask { url, least, silent })
                            }
                            Status::Gone => None,
                        },
                        None => None,
                    };
                    let now = match &place {
                        Some(Place::At(place)) => place.offset,
                        // Nobody knows.
                        Some(Place::Ask { .. }) => before,
                        None => 0,
                    };
                    if now > before {
                        tries.headway(now - before);
                    } else if sent > 0 {
                        cuts += 1;
                        // Nothing of what was sent has stayed: what is sent in one request gets less.
                        if cuts > 1 {
                            let in_one = self.piece(&pieces, least).unwrap_or(size).min(size);
                            pieces.shrink(smaller_after_a_cut(in_one, sent));
                        }
                    }
                    if place.is_none() {
                        self.forget();
                    }
                    before = now;
                    self.wait(&mut tries, &cut, now)?;
                }
            }
        }
    }

    /// Waits after a cut, or gives it up.
    fn wait(&self, tries: &mut Tries, cut: &Cut, received: u64) -> Result<(), RegistryError> {
        let agent = &self.repository.client.agent;
        let what = self.what();
        let asked = cut.asked.map(|wait| (cut.host.as_str(), wait));
        let told = (what.as_str(), cut.reason.as_str(), asked);
        if agent.try_again(tries, told, self.progress, self.stop)? {
            return Ok(());
        }
        Err(match &cut.failure {
            // It was not reached at all.
            Some(failure) if failure.connecting => self.unreached(failure.clone()),
            _ => RegistryError::Truncated {
                what: format!("the upload of {what} ({})", cut.reason),
                received,
                expected: self.blob.size(),
            },
        })
    }

    /// A host that was not reached. The registry may have named another one.
    fn unreached(&self, mut failure: Failure) -> RegistryError {
        let registry = self.repository.host();
        if !self.repository.is_own_host(&failure.host) {
            failure.cause = format!("{} ({registry} sends uploads there)", failure.cause);
        }
        self.repository.lost(failure)
    }

    /// The blob, when it is about to be sent.
    fn start(&self) -> Result<Arc<File>, RegistryError> {
        if let Some(place) = self.blobs.elsewhere(self.blob.digest()) {
            return Err(RegistryError::Elsewhere {
                digest: self.blob.digest().to_string(),
                target: self.repository.full_name(),
                place,
            });
        }
        let file = Arc::new(self.open()?);
        self.progress.event(&Event::Start {
            digest: self.blob.digest(),
            size: self.blob.size(),
            direction: Direction::Out,
        });
        Ok(file)
    }

    fn open(&self) -> Result<File, RegistryError> {
        let digest = self.blob.digest();
        let doing = format!("reading {digest} from the store");
        let mut file = self
            .blobs
            .open(digest)
            .map_err(|error| error.into_error(&self.what(), &doing, digest))?;
        let length = http::length(&mut file).map_err(|source| RegistryError::Local {
            doing: doing.clone(),
            source,
        })?;
        if length == self.blob.size() {
            return Ok(file);
        }
        // It says so with more words, and sets the blob aside.
        self.blobs
            .verify(self.blob)
            .map_err(|error| error.into_error(&self.what(), &doing, digest))?;
        Err(RegistryError::Local {
            doing,
            source: std::io::Error::other(format!(
                "it has {length} bytes instead of {}",
                self.blob.size()
            )),
        })
    }

    fn what(&self) -> String {
        format!("{} to {}", self.blob.digest(), self.repository.full_name())
    }

    fn action(&self) -> String {
        format!("the upload of {}", self.what())
    }

    /// Under which an upload that is not finished is remembered.
    fn key(&self) -> String {
        format!("{}@{}", self.repository.full_name(), self.blob.digest())
    }

    /// The upload that an earlier process has begun and the registry may still know.
    fn kept(&self) -> Option<Place> {
        if !self.keeps.get() {
            return None;
        }
        let kept = self.blobs.upload_place(&self.key());
        let url = kept.and_then(|text| self.repository.own(&text))?;
        Some(Place::Ask {
            url,
            least: 0,
            silent: 0,
        })
    }

    fn remember(&self, url: &Url) {
        if self.keeps.get() && self.repository.own(url.as_str()).is_some() {
            self.blobs.note_upload(&self.key(), Some(url.as_str()));
        }
    }

    fn forget(&self) {
        if self.keeps.get() {
            self.blobs.note_upload(&self.key(), None);
        }
    }

    fn ask(
        &self,
        request: &HttpRequest,
        repeat: bool,
        sent: &dyn Fn(u64),
    ) -> Result<Outcome<'a>, RegistryError> {
        let scopes = [scope(&self.repository.name, "pull,push")];
        self.ask_for(request, &scopes, repeat, sent)
    }

    fn ask_for(
        &self,
        request: &HttpRequest,
        scopes: &[String],
        repeat: bool,
        sent: &dyn Fn(u64),
    ) -> Result<Outcome<'a>, RegistryError> {
        let action = self.action();
        let call = Call {
            repeat,
            sent,
            stop: Some(self.stop),
            ..Call::new(&action, scopes, self.progress)
        };
        self.repository.call(request, &call)
    }

    /// An answer, or the error of a lost connection.
    fn answer(&self, request: &HttpRequest) -> Result<Response<'a>, RegistryError> {
        self.ask(request, true, &|_| {})?
            .answer(|failure| self.repository.lost(failure))
    }

    /// One try of a request; one more where the connection had been kept open for too long.
    fn ask_once(&self, request: &HttpRequest) -> Result<Outcome<'a>, RegistryError> {
        match self.ask(request, false, &|_| {})? {
            Outcome::Lost(failure) if failure.closed => self.ask(request, false, &|_| {}),
            outcome => Ok(outcome),
        }
    }

    fn cut(&self, failure: Failure) -> Cut {
        let reason = if self.repository.is_own_host(&failure.host) {
            failure.cause.clone()
        } else {
            format!("{}: {}", failure.host, failure.cause)
        };
        Cut {
            reason,
            host: failure.host.clone(),
            asked: None,
            failure: Some(failure),
        }
    }

    /// An answer that says that it may fare better a moment later.
    fn refused(&self, response: Response<'_>) -> Cut {
        let host = if self.repository.own(response.url.as_str()).is_some() {
            self.repository.host().to_owned()
        } else {
            http::authority(&response.url)
        };
        let asked = retry::retry_after(response.header("retry-after"));
        let refusal = self.repository.refusal(response, &self.action(), None);
        Cut {
            reason: refusal.to_string(),
            host,
            asked,
            failure: None,
        }
    }

    /// What the registry itself says that cannot be right.
    fn contradiction(&self, reason: String) -> Cut {
        Cut {
            reason,
            host: self.repository.host().to_owned(),
            asked: None,
            failure: None,
        }
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
            let asked = self.ask_for(&HttpRequest::new(Method::POST, url), &scopes, true, &|_| {});
            // A registry that refuses to mount (no right to the source, say) still takes an upload.
            if let Ok(Outcome::Answer(response)) = asked {
                match response.status() {
                    201 => return Ok(Begun::Mounted),
                    202 => return self.opened(&response).map(Begun::OpenUpload),
                    _ => {}
                }
            }
        }
        let response = self.answer(&HttpRequest::new(Method::POST, plain))?;
        match response.status() {
            201 => Ok(Begun::Mounted),
            202 => self.opened(&response).map(Begun::OpenUpload),
            _ => Err(self.repository.refusal(response, &self.action(), None)),
        }
    }

    /// A new upload.
    fn opened(&self, response: &Response<'_>) -> Result<OpenUpload, RegistryError> {
        let url = self.next(response)?;
        self.remember(&url);
        let least = response.header("oci-chunk-min-length");
        Ok(OpenUpload {
            url,
            offset: 0,
            least: least.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            resumed: false,
        })
    }

    /// Where an upload goes on, from an answer's `Location`.
    fn next(&self, response: &Response<'_>) -> Result<Url, RegistryError> {
        let given = response
            .header("location")
            .ok_or_else(|| RegistryError::Url {
                url: http::shown(&response.url),
                problem: format!(
                    "{} opened an upload without saying where",
                    self.repository.host()
                ),
            })?;
        self.repository.location(given, &response.url)
    }

    /// The size of the pieces; `None`: all that is left in one.
    fn piece(&self, pieces: &Pieces, least: u64) -> Option<u64> {
        let own = pieces.size.get();
        let size = self.repository.chunk().into_iter().chain(own).min()?;
        Some(size.max(least))
    }

    /// Sends what is missing and closes the upload.
    fn send(
        &self,
        place: OpenUpload,
        file: &Arc<File>,
        pieces: &Pieces,
    ) -> Result<Sent, RegistryError> {
        let size = self.blob.size();
        let OpenUpload {
            mut url,
            mut offset,
            least,
            resumed,
        } = place;
        let whole = offset == 0
            && !self.repository.wants_pieces()
            && !pieces.stepwise.get()
            && self.piece(pieces, least).is_none_or(|piece| piece >= size);
        while offset < size && !whole {
            let length = self
                .piece(pieces, least)
                .map_or(size - offset, |piece| piece.min(size - offset));
            let request = HttpRequest::new(Method::PATCH, url.clone())
                .header("content-type", "application/octet-stream")
                .header("content-range", format!("{offset}-{}", offset + length - 1))
                // What cuts a connection after so many bytes or seconds counts all that it carries.
                .alone(pieces.size.get().is_some())
                .payload(Payload::File {
                    file: Arc::clone(file),
                    offset,
                    length,
                });
            let outcome = self.ask(&request, false, &self.sent(offset, pieces))?;
            let response = match self.finish(
                outcome,
                &[202, 201, 204],
                &url,
                (resumed, offset == 0),
                false,
            )? {
                Sorted::Good(response) => response,
                Sorted::Sent(sent) => return Ok(sent),
                Sorted::TooLarge(response) => {
                    self.smaller(response, length, least)?;
                    return Ok(Sent::Otherwise { url });
                }
                Sorted::NotSo(response) => {
                    let action = format!("{} in pieces", self.action());
                    return Err(self.repository.refusal(response, &action, None));
                }
            };
            url = self.next(&response)?;
            self.remember(&url);
            pieces.sent.set(0);
            let sent = offset + length;
            let told = response.header("range").and_then(range::received);
            // It has no byte more than it got: some registries say the number of bytes for the last one. After
            // one byte, `0-0` is that byte, and no more the word for none at all.
            let odd = |told: u64| told == sent + 1 || (told == 0 && sent == 1);
            let next = told.filter(|told| !odd(*told)).unwrap_or(sent);
            if next <= offset || next > offset + length {
                let reason = format!("it says that it has {next} bytes of {}", offset + length);
                return Ok(Sent::Interrupted {
                    cut: self.contradiction(reason),
                    url: None,
                    closing: false,
                });
            }
            offset = next;
            if self.stop.is_set() {
                return Ok(Sent::Interrupted {
                    cut: self.contradiction("another transfer has failed".into()),
                    url: Some(url),
                    closing: false,
                });
            }
        }
        let mut close = url.clone();
        close
            .query_pairs_mut()
            .append_pair("digest", self.blob.digest().as_ref());
        let payload = if whole && size > 0 {
            Payload::File {
                file: Arc::clone(file),
                offset: 0,
                length: size,
            }
        } else {
            Payload::None
        };
        let request = HttpRequest::new(Method::PUT, close)
            .header("content-type", "application/octet-stream")
            .payload(payload);
        let outcome = self.ask(&request, false, &self.sent(0, pieces))?;
        // A registry that knows uploads in pieces alone may say so in the words of a failure.
        if whole && matches!(&outcome, Outcome::Answer(response) if response.status() == 500) {
            pieces.stepwise.set(true);
        }
        match self.finish(outcome, &[201, 204, 200], &url, (resumed, whole), true)? {
            Sorted::Good(_) => {
                if pieces.stepwise.get() {
                    self.repository.note_wants_pieces();
                }
                Ok(Sent::Done)
            }
            Sorted::Sent(sent) => Ok(sent),
            Sorted::TooLarge(response) if whole => {
                self.smaller(response, size, least)?;
                Ok(Sent::Otherwise { url })
            }
            Sorted::NotSo(_) if whole => {
                self.repository.note_wants_pieces();
                Ok(Sent::Otherwise { url })
            }
            Sorted::TooLarge(response) | Sorted::NotSo(response) => {
                let action = format!("the end of {}", self.action());
                Err(self.repository.refusal(response, &action, None))
            }
        }
    }

    /// Counts what goes out of a piece.
    fn sent(&self, offset: u64, pieces: &'a Pieces) -> impl Fn(u64) + use<'_, 'a> {
        move |bytes| {
            pieces.sent.set(bytes);
            self.progress.event(&Event::Advance {
                digest: self.blob.digest(),
                bytes: offset + bytes,
            });
        }
    }

    /// A piece of this size was too large: the next are half of it, for this registry as long as this
    /// process speaks to it.
    fn smaller(
        &self,
        response: Response<'_>,
        length: u64,
        least: u64,
    ) -> Result<(), RegistryError> {
        let least = least.max(LEAST_CHUNK);
        if length <= least {
            let action = format!("{}, even in pieces of {length} bytes", self.action());
            return Err(self.repository.refusal(response, &action, None));
        }
        let half = (length / 2).max(1);
        let half = 1 << half.ilog2();
        self.repository.note_chunk(half.max(least));
        Ok(())
    }

    /// Sorts an answer: as hoped for, to be tried again, or a refusal.
    fn finish(
        &self,
        outcome: Outcome<'a>,
        good: &[u16],
        url: &Url,
        (resumed, at_start): (bool, bool),
        closing: bool,
    ) -> Result<Sorted<'a>, RegistryError> {
        let response = match outcome {
            Outcome::Answer(response) => response,
            Outcome::Lost(failure) if failure.may_pass() => {
                return Ok(Sorted::Sent(Sent::Interrupted {
                    cut: self.cut(failure),
                    url: Some(url.clone()),
                    closing,
                }));
            }
            Outcome::Lost(failure) => return Err(self.unreached(failure)),
        };
        let status = response.status();
        if good.contains(&status) {
            return Ok(Sorted::Good(response));
        }
        match status {
            413 => return Ok(Sorted::TooLarge(response)),
            405 | 501 => return Ok(Sorted::NotSo(response)),
            _ => {}
        }
        // It says so of bytes that were changed here, too.
        if status == 400 {
            self.blobs.verify(self.blob).map_err(|error| {
                let doing = format!("reading {} from the store", self.blob.digest());
                error.into_error(&self.what(), &doing, self.blob.digest())
            })?;
        }
        // 404: the registry has lost the upload; 416: it has other bytes than we think. What was begun
        // before may be of other bytes, too, and `0-0` may have been one byte.
        let stale = resumed && (status == 400 || status == 416 && at_start);
        if retry::is_transient(status) || matches!(status, 404 | 416) || stale {
            return Ok(Sorted::Sent(Sent::Interrupted {
                cut: self.refused(response),
                url: (!stale).then(|| url.clone()),
                closing: closing && status >= 500,
            }));
        }
        Err(self.repository.refusal(response, &self.action(), None))
    }

    /// How far an upload has come. Asked once: who asks counts the tries.
    fn status(&self, url: &Url, least: u64) -> Result<Status, RegistryError> {
        let response = match self.ask_once(&HttpRequest::get(url.clone()))? {
            Outcome::Answer(response) => response,
            Outcome::Lost(failure) if failure.may_pass() => {
                return Ok(Status::Silent(self.cut(failure)));
            }
            Outcome::Lost(failure) => return Err(self.unreached(failure)),
        };
        match response.status() {
            200 | 202 | 204 => {}
            status if retry::is_transient(status) => {
                return Ok(Status::Silent(self.refused(response)));
            }
            _ => return Ok(Status::Gone),
        }
        let offset = response.header("range").and_then(range::received);
        let Some(offset) = offset.filter(|offset| *offset <= self.blob.size()) else {
            return Ok(Status::Gone);
        };
        let url = match response.header("location") {
            Some(given) => self.repository.location(given, &response.url)?,
            None => url.clone(),
        };
        self.remember(&url);
        Ok(Status::At(OpenUpload {
            url,
            offset,
            least,
            resumed: true,
        }))
    }
}

/// The next pieces, after a request for `tried` bytes was cut when `sent` of them were on their way.
fn smaller_after_a_cut(tried: u64, sent: u64) -> u64 {
    if tried > CAREFUL_CHUNK {
        (sent.min(tried) / 2).max(CAREFUL_CHUNK)
    } else {
        (tried / 2).max(LEAST_CHUNK)
    }
}

/// How one blob is sent in pieces.
#[derive(Default)]
struct Pieces {
    /// The largest piece after cuts, where that is another than the registry's own.
    size: Cell<Option<u64>>,
    /// It failed as a whole, so the next try is by `PATCH`.
    stepwise: Cell<bool>,
    /// What has gone out of the present request.
    sent: Cell<u64>,
}

impl Pieces {
    fn shrink(&self, size: u64) {
        let size = self.size.get().map_or(size, |known| known.min(size));
        self.size.set(Some(size));
    }
}

#[cfg(test)]
mod tests {
    use super::smaller_after_a_cut;

    #[test]
    fn pieces_get_smaller_down_to_the_least() {
        let mb = 1024 * 1024;
        for (tried, sent, expected) in [
            (20 * mb, 6 * mb, 3 * mb),
            (20 * mb, mb, mb),
            (3 * mb, 4 * mb, 3 * mb / 2),
            (mb, mb, mb / 2),
            (400_000, 300_000, 200_000),
            (100_000, 1, 64 * 1024),
            (64 * 1024, 1, 64 * 1024),
        ] {
            assert_eq!(smaller_after_a_cut(tried, sent), expected, "{tried} {sent}");
        }
    }
}
