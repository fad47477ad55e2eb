//! One HTTP exchange: the `async` code of requests, behind calls that block.
//!
//! Here: connections (one `reqwest` client for each host, with that host's certificates), redirects,
//! bodies from files, time limits. Not here: what a registry means by an answer (`session`), logins
//! (`auth`), when to try again (`agent`, `session`, `retry`).
//!
//! Redirects are followed by hand, because what goes with them is a matter of trust: an
//! `Authorization` header never leaves the origin it was made for, and nothing goes from https to http.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
pub(crate) use reqwest::{Method, Url};

use super::certificates;
use super::connect;
use super::credential::Secret;
use super::error::{Detail, RegistryError, Unreachable, tame};
use super::local;
use super::progress::{Event, Silent, TransferListener};
use super::proxy::{Proxies, Proxy};
use super::retry::Patience;

const MAX_REDIRECTS: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the bytes of an upload are counted.
const TICK: Duration = Duration::from_millis(100);
const PIECE: usize = 256 * 1024;
/// How often a wait for the other side is told.
pub(crate) const TELL_EVERY: Duration = Duration::from_secs(10);

/// The listeners of an exchange while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// How many bytes of the payload have gone out so far.
    pub sent: &'a dyn Fn(u64),
    pub progress: &'a dyn TransferListener,
}

impl Watch<'_> {
    /// No listener.
    pub(crate) const NONE: Watch<'static> = Watch {
        sent: &|_| {},
        progress: &Silent,
    };
}

/// What goes with a request.
#[derive(Clone)]
pub(crate) enum Payload {
    None,
    Bytes(Vec<u8>),
    /// `length` bytes of an open file from `offset` on.
    File {
        file: Arc<File>,
        offset: u64,
        length: u64,
    },
}

/// A request as it is before anyone logs in.
#[derive(Clone)]
pub(crate) struct HttpRequest {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload,
    /// Plain http is all right, whatever the host.
    pub plain: bool,
    /// Not to this machine or its link.
    pub public: bool,
    /// On a connection of its own.
    pub alone: bool,
}

impl HttpRequest {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            payload: Payload::None,
            plain: false,
            public: false,
            alone: false,
        }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Allows plain http to a host that the user gave.
    pub(crate) fn even_plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Goes to no address of this machine or of its link, wherever names and redirects lead.
    pub(crate) fn public(mut self) -> Self {
        self.public = true;
        self
    }

    /// Goes over a connection that carries nothing else, before it or after it.
    pub(crate) fn alone(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

/// What came of a request that may be sent.
#[expect(
    clippy::large_enum_variant,
    reason = "a request has one, which is moved a few times"
)]
pub(crate) enum Outcome<'a> {
    /// With any status.
    Answer(Response<'a>),
    /// No answer came.
    Lost(Failure),
}

impl<'a> Outcome<'a> {
    /// Where a lost connection is an error, and which one.
    pub(crate) fn answer(
        self,
        error: impl FnOnce(Failure) -> RegistryError,
    ) -> Result<Response<'a>, RegistryError> {
        match self {
            Self::Answer(response) => Ok(response),
            Self::Lost(failure) => Err(error(failure)),
        }
    }
}

/// Why an exchange came to nothing.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub host: String,
    pub kind: Unreachable,
    pub cause: String,
    /// Whether it failed before anything was exchanged.
    pub connecting: bool,
    /// The other side ended the connection without an answer, as it does with one that it has kept open
    /// for long enough.
    pub closed: bool,
    /// It did so before anything of the request was sent.
    pub unsent: bool,
}

impl Failure {
    /// Whether the same may work a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self.kind,
            Unreachable::Timeout | Unreachable::Broken | Unreachable::Refused
        )
    }

    /// Whether the connection was there and was lost under way.
    pub(crate) fn dropped(&self) -> bool {
        !self.connecting && self.may_pass()
    }
}

impl From<Failure> for RegistryError {
    fn from(failure: Failure) -> Self {
        Self::Unreachable {
            host: failure.host,
            kind: failure.kind,
            cause: failure.cause,
        }
    }
}

/// Where certificates come from, besides the system.
#[derive(Default)]
pub(crate) struct Certificates {
    /// Directories of hosts.
    pub dirs: Vec<PathBuf>,
    /// CAs that count for all hosts.
    pub authorities: Vec<PathBuf>,
}

/// What a client that is kept is for: an authority, by https or not, for public addresses only or not.
type Kept = (String, bool, bool);

/// The connections and the runtime that drives them.
pub(crate) struct Http {
    runtime: tokio::runtime::Runtime,
    user_agent: String,
    insecure: Vec<String>,
    certificates: Certificates,
    proxies: Proxies,
    patience: Patience,
    /// When the user's own limit is over, and what it was.
    end: Option<(Instant, Duration)>,
    clients: Mutex<HashMap<Kept, reqwest::Client>>,
}

impl Http {
    pub(crate) fn new(
        user_agent: &str,
        insecure: Vec<String>,
        certificates: Certificates,
        proxies: Proxies,
        patience: Patience,
        limit: Option<Duration>,
    ) -> Result<Self, RegistryError> {
        // An error means that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("warpdrive-http")
            .enable_all()
            .build()
            .map_err(|source| RegistryError::Local {
                doing: "starting the network threads".into(),
                source,
            })?;
        Ok(Self {
            runtime,
            user_agent: user_agent.to_owned(),
            insecure,
            certificates,
            proxies,
            patience,
            end: limit.map(|limit| (Instant::now() + limit, limit)),
            clients: Mutex::default(),
        })
    }

    /// Whether plain HTTP is allowed to this host: it is this machine, or listed by the user.
    pub(crate) fn may_be_plain(&self, url: &Url) -> bool {
        is_loopback(url) || self.is_insecure(url)
    }

    fn is_insecure(&self, url: &Url) -> bool {
        let authority = authority(url);
        let host = url.host_str().unwrap_or_default();
        self.insecure.iter().any(|listed| {
            let whole_domain = listed.strip_prefix('*');
            *listed == authority
                || *listed == host
                || whole_domain.is_some_and(|domain| {
                    domain.len() > 1 && domain.starts_with('.') && host.ends_with(domain)
                })
        })
    }

    /// A wait that a server asks for and that is longer than what is left of the user's own limit is an
    /// error at once.
    pub(crate) fn allows(&self, host: &str, asked: Option<Duration>) -> Result<(), RegistryError> {
        let (Some(wait), Some(left), Some((_, limit))) = (asked, self.left(), self.end) else {
            return Ok(());
        };
        if wait <= left {
            return Ok(());
        }
        Err(RegistryError::Busy {
            host: host.to_owned(),
            wait,
            limit,
        })
    }

    /// What is left of the user's own limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        let (end, _) = self.end?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// The failure of an exchange for which there is no time left.
    pub(crate) fn over(&self, url: &Url) -> Option<Failure> {
        let (end, limit) = self.end?;
        (Instant::now() >= end).then(|| Failure {
            host: authority(url),
            kind: Unreachable::Limit,
            cause: format!(
                "it was not done within {}",
                humantime::format_duration(limit)
            ),
            connecting: false,
            closed: false,
            unsent: false,
        })
    }

    /// The proxy for a URL. Nothing for this machine goes through one.
    fn proxy(&self, url: &Url) -> Option<&Proxy> {
        if is_loopback(url) {
            return None;
        }
        self.proxies.of(url)
    }

    fn client(&self, url: &Url, public: bool) -> Result<reqwest::Client, RegistryError> {
        let authority = authority(url);
        let key = (authority.clone(), url.scheme() == "https", public);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.built(url, public, reqwest::tls::Version::TLS_1_3)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// A new client for `url` that speaks TLS up to this version.
    fn built(
        &self,
        url: &Url,
        public: bool,
        newest: reqwest::tls::Version,
    ) -> Result<reqwest::Client, RegistryError> {
        let authority = authority(url);
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .tls_version_max(newest)
            .connect_timeout(CONNECT_TIMEOUT);
        if public {
            builder = local::refuse(builder, url).ok_or_else(|| RegistryError::Url {
                url: shown(url),
                problem: "it is an address of this machine or of its own link".into(),
            })?;
        }
        builder = builder.no_proxy();
        if let Some(proxy) = self.proxy(url) {
            if let Some(scheme) = proxy.unknown_scheme() {
                return Err(RegistryError::Url {
                    url: proxy.shown(),
                    problem: format!(
                        "it is a proxy of the kind {scheme}; warpdrive uses HTTP proxies only: name one, or list {authority} in NO_PROXY"
                    ),
                });
            }
            let proxy = reqwest::Proxy::all(&proxy.url).map_err(|_| RegistryError::Url {
                url: proxy.shown(),
                problem: "it is not the address of a proxy".into(),
            })?;
            builder = builder.proxy(proxy);
        }
        if is_loopback(url) && url.scheme() == "http" {
            // The system's certificates, hundreds of files, are not read for nothing.
            builder = builder.tls_certs_only([]);
        } else {
            for path in &self.certificates.authorities {
                builder = certificates::add_authorities(builder, path)?;
            }
        }
        if self.is_insecure(url) {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder = certificates::add(builder, &self.certificates.dirs, &authority)?;
        builder.build().map_err(|error| {
            let problem = causes(&error);
            let own = certificates::own(&self.certificates.dirs, &authority);
            if problem.contains(FIRST_VERSION)
                && let Some(path) = own
            {
                return RegistryError::File {
                    path,
                    problem: "it is a certificate of X.509 version 1, and a client's needs version 3: have it made again with an extension, as in `openssl x509 -req -extfile FILE` where FILE says `extendedKeyUsage = clientAuth`".into(),
                };
            }
            RegistryError::Url {
                url: authority,
                problem: format!("no TLS client can be made for it: {problem}"),
            }
        })
    }

    /// Why the other side closed a new connection before the request was sent. In TLS 1.3 a server
    /// refuses a client's certificate after the handshake, and the client may see only that the
    /// connection is closed (RFC 8446, section 4.4.2.4). In TLS 1.2 the handshake itself fails, so one
    /// request that holds nothing asks there.
    fn why_closed(&self, request: &HttpRequest, url: &Url, failure: Failure) -> Failure {
        if !(failure.unsent && url.scheme() == "https") {
            return failure;
        }
        let Ok(client) = self.built(url, request.public, reqwest::tls::Version::TLS_1_2) else {
            return failure;
        };
        let asked = self.drive(
            url,
            client.head(url.clone()),
            self.patience.idle,
            &AtomicU64::new(0),
            &Watch::NONE,
        );
        match asked {
            // Servers that do not speak TLS 1.2 say the same: the first connection may still have been cut.
            Err(told) if told.cause.contains(NO_HANDSHAKE) => Failure {
                cause: format!("{}; asked in TLS 1.2, {}", failure.cause, told.cause),
                ..failure
            },
            Err(told) if told.kind == Unreachable::ClientCertificate => told,
            _ => failure,
        }
    }

    /// A client that speaks to a Unix socket, whatever host is asked for.
    pub(crate) fn unix_client(
        &self,
        socket: &std::path::Path,
    ) -> Result<reqwest::Client, RegistryError> {
        reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .unix_socket(socket)
            .build()
            .map_err(|error| RegistryError::Daemon {
                socket: socket.display().to_string(),
                problem: format!("cannot be spoken to: {}", causes(&error)),
            })
    }

    /// Sends a request and follows its redirects: all of them for GET and HEAD, and for other methods those
    /// that keep the method (307, 308). Returns any status.
    ///
    /// `authorization` goes to the request's own origin only.
    pub(crate) fn send(
        &self,
        request: &HttpRequest,
        authorization: Option<&Secret>,
        watch: &Watch<'_>,
    ) -> Result<Outcome<'_>, RegistryError> {
        let origin = request.url.clone();
        let mut url = origin.clone();
        for _ in 0..=MAX_REDIRECTS {
            let plain = url.scheme() == "http" && (request.plain || self.may_be_plain(&url));
            if url.scheme() != "https" && !plain {
                return Err(RegistryError::Url {
                    url: shown(&url),
                    problem: "it is neither https nor an http address of this machine or of a registry listed in WARPDRIVE_INSECURE_REGISTRIES".into(),
                });
            }
            let client = if request.alone {
                self.built(&url, request.public, reqwest::tls::Version::TLS_1_3)?
            } else {
                self.client(&url, request.public)?
            };
            let home = same_origin(&origin, &url);
            let headers = headers(request, authorization.filter(|_| home))?;
            let response = match self.exchange(&client, request, &url, headers, watch) {
                Ok(response) => response,
                Err(failure) => {
                    return Ok(Outcome::Lost(self.why_closed(request, &url, failure)));
                }
            };
            let status = response.status();
            let reads = matches!(request.method, Method::GET | Method::HEAD);
            let follow = matches!(status, 307 | 308) || reads && matches!(status, 301..=303);
            if !follow {
                return Ok(Outcome::Answer(response));
            }
            let next = response
                .inner
                .headers()
                .get(LOCATION)
                .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
                .and_then(|text| url.join(text).ok())
                .ok_or_else(|| RegistryError::Url {
                    url: shown(&url),
                    problem: "it redirects to nowhere".into(),
                })?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(RegistryError::Url {
                    url: shown(&url),
                    problem: format!(
                        "it redirects from https to {}, which is not encrypted",
                        shown(&next)
                    ),
                });
            }
            // A body may hold a password.
            if matches!(request.payload, Payload::Bytes(_)) && !same_origin(&origin, &next) {
                return Err(RegistryError::Url {
                    url: shown(&url),
                    problem: format!(
                        "it redirects what is sent to another host, {}",
                        shown(&next)
                    ),
                });
            }
            url = next;
        }
        Err(RegistryError::Url {
            url: shown(&origin),
            problem: format!("it redirects more than {MAX_REDIRECTS} times"),
        })
    }

    fn exchange(
        &self,
        client: &reqwest::Client,
        request: &HttpRequest,
        url: &Url,
        headers: HeaderMap,
        watch: &Watch<'_>,
    ) -> Result<Response<'_>, Failure> {
        let mut builder = client
            .request(request.method.clone(), url.clone())
            .headers(headers);
        let counter = Arc::new(AtomicU64::new(0));
        match &request.payload {
            Payload::None => {
                // An empty POST or PUT has to say so: some registries ask for a length.
                if matches!(request.method, Method::POST | Method::PUT) {
                    builder = builder.header("content-length", "0");
                }
            }
            Payload::Bytes(bytes) => builder = builder.body(bytes.clone()),
            Payload::File {
                file,
                offset,
                length,
            } => {
                builder = builder.header("content-length", *length).body(file_body(
                    Arc::clone(file),
                    *offset,
                    *length,
                    Arc::clone(&counter),
                ));
            }
        }
        let driven = self.drive(url, builder, self.patience.idle, &counter, watch);
        let mut response = driven.map_err(|failure| match self.proxy(url) {
            Some(proxy) => through(proxy, url, self.left(), failure),
            None => failure,
        })?;
        response.patience = Some(self.patience);
        Ok(response)
    }

    /// Sends what is built, watching that something happens all the time: no longer than `idle` may
    /// nothing move.
    pub(crate) fn drive(
        &self,
        url: &Url,
        builder: reqwest::RequestBuilder,
        idle: Duration,
        counter: &AtomicU64,
        watch: &Watch<'_>,
    ) -> Result<Response<'_>, Failure> {
        if let Some(over) = self.over(url) {
            return Err(over);
        }
        let host = authority(url);
        let outcome = self.runtime.block_on(async {
            let sending = builder.send();
            tokio::pin!(sending);
            let mut ticks = tokio::time::interval(TICK);
            let (mut last, mut quiet) = (0, Duration::ZERO);
            loop {
                tokio::select! {
                    outcome = &mut sending => return Some(outcome),
                    _ = ticks.tick() => {
                        let now = counter.load(Ordering::Relaxed);
                        if now == last {
                            quiet += TICK;
                            if quiet > idle || self.over(url).is_some() {
                                return None;
                            }
                            tell(quiet, TICK, &host, watch.progress);
                        } else {
                            (last, quiet) = (now, Duration::ZERO);
                            (watch.sent)(now);
                        }
                    }
                }
            }
        });
        // What went out since the last look counts too, be it in a request that was cut soon.
        let sent = counter.load(Ordering::Relaxed);
        if sent > 0 {
            (watch.sent)(sent);
        }
        match outcome {
            Some(Ok(inner)) => Ok(Response {
                inner,
                http: self,
                url: url.clone(),
                idle,
                patience: None,
                received: 0,
                waited: Duration::ZERO,
                login: None,
                told: None,
            }),
            Some(Err(error)) => Err(failure(url, error)),
            None => Err(self.over(url).unwrap_or_else(|| timeout(url, idle))),
        }
    }
}

/// An answer whose body is still to be read.
pub(crate) struct Response<'a> {
    inner: reqwest::Response,
    http: &'a Http,
    /// Where it came from in the end.
    pub url: Url,
    idle: Duration,
    /// How slowly the body may come; a local daemon may take its time.
    patience: Option<Patience>,
    received: u64,
    /// How long the caller has waited for the body. What it does with the bytes does not count.
    waited: Duration,
    /// The user in whose name it was asked for; `None` when no login went with the request.
    pub login: Option<String>,
    /// What it says of a failure, where that was read already.
    pub told: Option<Detail>,
}

impl Response<'_> {
    pub(crate) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// A header's value, when there is one and it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.inner.headers().get(name)?.as_bytes()).ok()
    }

    /// All values of a header.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let values = self.inner.headers().get_all(name);
        values
            .iter()
            .filter_map(|value| {
                std::str::from_utf8(value.as_bytes())
                    .ok()
                    .map(str::to_owned)
            })
            .collect()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) fn chunk(
        &mut self,
        progress: &dyn TransferListener,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
        let left = self
            .patience
            .map(|patience| patience.until(self.received).saturating_sub(self.waited));
        let most = left.map_or(self.idle, |left| left.min(self.idle));
        let begin = Instant::now();
        let outcome = loop {
            let quiet = begin.elapsed();
            let left = most.saturating_sub(quiet);
            let over = self.http.left().is_some_and(|left| left.is_zero());
            if left.is_zero() || over {
                break None;
            }
            let slice = left
                .min(TELL_EVERY)
                .min(self.http.left().unwrap_or(TELL_EVERY));
            let part = self
                .http
                .runtime
                .block_on(async { tokio::time::timeout(slice, self.inner.chunk()).await });
            if let Ok(done) = part {
                break Some(done);
            }
            tell(begin.elapsed(), slice, &authority(&self.url), progress);
        };
        self.waited += begin.elapsed();
        match outcome {
            Some(Ok(bytes)) => {
                self.received += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                Ok(bytes)
            }
            Some(Err(error)) => Err(failure(&self.url, error)),
            None => Err(self.http.over(&self.url).unwrap_or_else(|| {
                if most < self.idle {
                    too_slow(&self.url, self.received, self.waited)
                } else {
                    timeout(&self.url, self.idle)
                }
            })),
        }
    }

    /// The whole body, or `None` when it is larger than `limit`.
    pub(crate) fn bytes(
        &mut self,
        limit: u64,
        progress: &dyn TransferListener,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if self.content_length().is_some_and(|length| length > limit) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(progress)? {
            let chunk = chunk.as_ref();
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(chunk);
        }
        Ok(Some(bytes))
    }
}

/// Says every ten seconds that nothing has come; `step` is the time since the last look.
fn tell(quiet: Duration, step: Duration, host: &str, progress: &dyn TransferListener) {
    let times = |time: Duration| time.as_millis() / TELL_EVERY.as_millis();
    if times(quiet) > times(quiet.saturating_sub(step)) {
        progress.event(&Event::Quiet {
            what: host,
            waited: quiet,
        });
    }
}

/// A connection that failed on the way to or at a proxy is the proxy's fault, unless the other side's
/// certificate came through it.
fn through(proxy: &Proxy, url: &Url, left: Option<Duration>, failure: Failure) -> Failure {
    let tls = matches!(
        failure.kind,
        Unreachable::Certificate
            | Unreachable::Expired
            | Unreachable::ClientCertificate
            | Unreachable::NotTls
            | Unreachable::Limit
    );
    if tls || !failure.connecting {
        return failure;
    }
    let said = if failure.cause.contains("tunnel") {
        connect::refusal(proxy, url, left).map(|status| format!("it answered {status}"))
    } else {
        None
    };
    Failure {
        cause: format!(
            "the proxy {} does not let through: {}",
            proxy.shown(),
            said.as_ref().unwrap_or(&failure.cause)
        ),
        kind: Unreachable::Proxy,
        ..failure
    }
}

fn headers(
    request: &HttpRequest,
    authorization: Option<&Secret>,
) -> Result<HeaderMap, RegistryError> {
    let bad = |name: &str| RegistryError::Url {
        url: shown(&request.url),
        problem: format!("the header `{name}` would hold what may not stand in a header"),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let value = HeaderValue::from_str(value).map_err(|_| bad(name))?;
        headers.append(HeaderName::from_static(name), value);
    }
    if let Some(secret) = authorization {
        let mut value = HeaderValue::from_str(secret.reveal()).map_err(|_| bad("authorization"))?;
        value.set_sensitive(true);
        headers.insert(reqwest::header::AUTHORIZATION, value);
    }
    Ok(headers)
}

/// A body that reads a part of a file piece by piece, and fails if the file ends too early.
fn file_body(file: Arc<File>, offset: u64, length: u64, counter: Arc<AtomicU64>) -> reqwest::Body {
    let pieces = futures_util::stream::unfold(Some(0u64), move |position| {
        let piece = position.filter(|done| *done < length).map(|done| {
            let want = usize::try_from((length - done).min(PIECE as u64)).unwrap_or(PIECE);
            (done, read_at(&file, offset + done, want))
        });
        let next = piece.map(|(done, read)| match read {
            Ok(bytes) => {
                let done = done + bytes.len() as u64;
                counter.store(done, Ordering::Relaxed);
                (Ok(bytes), Some(done))
            }
            Err(error) => (Err(error), None),
        });
        std::future::ready(next)
    });
    reqwest::Body::wrap_stream(pieces)
}

fn read_at(file: &File, offset: u64, want: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; want];
    let count = file.read_at(&mut bytes, offset)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// A body of unknown length from anything that can be read, for the Docker daemon.
pub(crate) fn reader_body(
    mut reader: impl Read + Send + 'static,
    counter: Arc<AtomicU64>,
) -> reqwest::Body {
    let pieces = futures_util::stream::unfold(0u64, move |done| {
        let mut bytes = vec![0; PIECE];
        let next = match reader.read(&mut bytes) {
            Ok(0) => None,
            Ok(count) => {
                bytes.truncate(count);
                let done = done + count as u64;
                counter.store(done, Ordering::Relaxed);
                Some((Ok(bytes), done))
            }
            Err(error) => Some((Err(error), done)),
        };
        std::future::ready(next)
    });
    reqwest::Body::wrap_stream(pieces)
}

/// The length of an open file.
pub(crate) fn length(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(length)
}

/// `host` or `host:port`, the port only when it is not the scheme's own.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A URL for messages: no user, no password, no query (which may be a signature).
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    tame(url.as_str(), 300)
}

fn too_slow(url: &Url, received: u64, waited: Duration) -> Failure {
    Failure {
        host: authority(url),
        kind: Unreachable::Timeout,
        cause: format!(
            "it sent only {received} bytes in {} seconds",
            waited.as_secs()
        ),
        connecting: false,
        closed: false,
        unsent: false,
    }
}

fn timeout(url: &Url, idle: Duration) -> Failure {
    Failure {
        host: authority(url),
        kind: Unreachable::Timeout,
        cause: format!("nothing happened for {} seconds", idle.as_secs()),
        connecting: false,
        closed: false,
        unsent: false,
    }
}

fn failure(url: &Url, error: reqwest::Error) -> Failure {
    let connecting = error.is_connect();
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut text = causes(&error);
    let tls = tls_error(&error);
    let kind = match tls.map(meaning) {
        Some((kind, words)) => {
            text = words.unwrap_or(text);
            kind
        }
        // HTTP/2 passes on no more than the words.
        None if alerts_of_certificate(&text) => {
            WANTS_ONE.clone_into(&mut text);
            Unreachable::ClientCertificate
        }
        None if timed_out => Unreachable::Timeout,
        None if connecting => kind_of(&error, &text),
        None => Unreachable::Broken,
    };
    let says = |signs: &[&str]| {
        let text = text.to_ascii_lowercase();
        signs.iter().any(|sign| text.contains(sign))
    };
    let broken = !connecting && kind == Unreachable::Broken;
    // reqwest passes on no more than hyper's words for it.
    let unsent = broken && says(&["operation was canceled", "channel closed"]);
    let closed = unsent || broken && says(&["connection closed", "reset by peer", "broken pipe"]);
    Failure {
        host: authority(url),
        kind,
        cause: text,
        connecting,
        closed,
        unsent,
    }
}

const WANTS_ONE: &str = "it wants a certificate of this client, or does not accept the one it got";

/// What rustls calls a certificate of X.509 version 1.
const FIRST_VERSION: &str = "UnsupportedCertVersion";

const NO_HANDSHAKE: &str = "it broke off the TLS handshake: most likely it wants a certificate of this client, or it has no cipher that warpdrive supports";

/// What a server says in TLS of a client's certificate that is missing or not to its liking.
fn alerts_of_certificate(text: &str) -> bool {
    ["CertificateRequired", "BadCertificate", "NoCertificate"]
        .iter()
        .any(|alert| text.contains(&format!("received fatal alert: {alert}")))
}

/// The error of TLS that is at the bottom of this one.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        cause = below(current);
    }
    None
}

/// `source` of an I/O error is that of the error in it, which would leave that one out.
fn below<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> Option<&'e (dyn std::error::Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(inner) => inner.get_ref().map(|inner| inner as _),
        None => error.source(),
    }
}

/// What an error of TLS means, and better words for it where there are any.
fn meaning(error: &rustls::Error) -> (Unreachable, Option<String>) {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let date = |time: rustls::pki_types::UnixTime| {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(time.as_secs());
        humantime::format_rfc3339_seconds(time).to_string()
    };
    match error {
        // The other side speaks something else, or hangs up at the greeting.
        Error::InvalidMessage(_) | Error::PeerMisbehaved(_) => (Unreachable::NotTls, None),
        Error::InvalidCertificate(Bad::ExpiredContext { not_after, .. }) => (
            Unreachable::Expired,
            Some(format!("its certificate expired at {}", date(*not_after))),
        ),
        Error::InvalidCertificate(Bad::NotValidYetContext { not_before, .. }) => (
            Unreachable::Expired,
            Some(format!(
                "its certificate is valid only from {} on",
                date(*not_before)
            )),
        ),
        Error::InvalidCertificate(bad) if format!("{bad:?}").contains(FIRST_VERSION) => (
            Unreachable::Certificate,
            Some("its certificate has X.509 version 1, and version 3 is needed: it has to be made again, with a subjectAltName".into()),
        ),
        Error::InvalidCertificate(Bad::Expired) => (
            Unreachable::Expired,
            Some("its certificate has expired".into()),
        ),
        Error::AlertReceived(
            Alert::CertificateRequired | Alert::NoCertificate | Alert::BadCertificate,
        ) => (Unreachable::ClientCertificate, Some(WANTS_ONE.into())),
        // In TLS 1.2, that is what most servers say when a client's certificate is missing.
        Error::AlertReceived(Alert::HandshakeFailure) => {
            (Unreachable::ClientCertificate, Some(NO_HANDSHAKE.into()))
        }
        // Any other error of TLS is not a reason for plain HTTP.
        _ => (Unreachable::Certificate, None),
    }
}

fn kind_of(error: &reqwest::Error, text: &str) -> Unreachable {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(inner) = current.downcast_ref::<io::Error>()
            && inner.kind() == io::ErrorKind::ConnectionRefused
        {
            return Unreachable::Refused;
        }
        cause = below(current);
    }
    if text.contains("dns error") {
        Unreachable::Name
    } else {
        Unreachable::Broken
    }
}

/// An error with its causes in one line, repetitions left out.
fn causes(error: &dyn std::error::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut current = Some(error);
    while let Some(cause) = current {
        let text = cause.to_string();
        // What reqwest and hyper say above the cause that counts.
        let empty = matches!(
            text.as_str(),
            "error sending request"
                | "client error (Connect)"
                | "client error (SendRequest)"
                | "connection error"
                | "error decoding response body"
                | "error reading a body from connection"
        );
        let last = cause.source().is_none();
        if (last || !empty) && !parts.iter().any(|known| known.contains(&text)) {
            parts.push(text);
        }
        current = cause.source();
    }
    tame(&parts.join(": "), 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_what_is_listed() {
        let listed = [
            "reg.example:5000",
            "other.example",
            "*.wild.example",
            "*bad.example",
            "*",
        ];
        let listed = listed.map(str::to_owned).to_vec();
        let http = Http::new(
            "test",
            listed,
            Certificates::default(),
            Proxies::default(),
            Patience::default(),
            None,
        )
        .unwrap();
        for (text, plain) in [
            ("http://localhost:5000/", true),
            ("http://127.0.0.1/", true),
            ("http://127.9.9.9:1/", true),
            ("http://[::1]:5000/", true),
            ("http://reg.example:5000/", true),
            ("http://reg.example/", false),
            ("http://other.example:1234/", true),
            ("http://a.wild.example:1/", true),
            ("http://wild.example/", false),
            ("http://xwild.example/", false),
            ("http://notbad.example/", false),
            ("http://a.wild.example.com/", false),
            ("http://localhost.example/", false),
            ("http://128.0.0.1/", false),
        ] {
            assert_eq!(http.may_be_plain(&url(text)), plain, "{text}");
        }
    }

    #[test]
    fn a_url_in_a_message_has_no_secret() {
        let text = shown(&url(
            "https://user:hunter2@x.example:1/p?sig=hunter2#hunter2",
        ));
        assert_eq!(text, "https://x.example:1/p");
    }

    /// What OpenSSL says in TLS 1.2 to a client without a certificate.
    #[test]
    fn a_handshake_that_is_refused_may_want_a_certificate() {
        let alert = rustls::AlertDescription::HandshakeFailure;
        let (kind, words) = meaning(&rustls::Error::AlertReceived(alert));
        assert_eq!(kind, Unreachable::ClientCertificate);
        assert!(words.unwrap().contains("a certificate of this client"));
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let base = url("https://a.example/x");
        assert!(same_origin(&base, &url("https://a.example:443/y")));
        for other in [
            "http://a.example/x",
            "https://b.example/x",
            "https://a.example:444/x",
        ] {
            assert!(!same_origin(&base, &url(other)), "{other}");
        }
    }
}
