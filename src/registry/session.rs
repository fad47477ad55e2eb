//! A registry and one of its repositories: where it is reached, requests with a login, repetition of
//! what failed, and the meaning of refusals.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::agent::Agent;
use super::auth::Auth;
use super::certificates;
use super::configuration::{Configuration, Endpoint};
use super::credentials::Credentials;
use super::detail::detail;
use super::error::{Denied, RegistryError, Unreachable, tame};
use super::http::{
    Certificates, Http, HttpRequest, Method, Outcome, Response, Url, Watch, is_loopback,
    same_origin,
};
use super::parallel::Stop;
use super::progress::{Event, Silent, TransferListener};
use super::proxy::Proxies;
use super::retry::{self, Patience, Retry, Tries, pause};
use super::token::Purpose;
use crate::oci::Reference;

/// Blobs that travel at once; more only where the user says so, or they are small.
const JOBS: usize = 6;
const MOST_JOBS: usize = 16;
const MAX_JOBS: usize = 64;
/// Sending fewer bytes than this takes less time than asking whether the registry has them.
const SMALL: u64 = 256 * 1024;

/// What a [`Client`] can be told.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Auth files that are looked at before the usual places, and have to be there.
    pub auth_files: Vec<PathBuf>,
    /// Registries (`host` or `host:port`) that may speak plain HTTP or have any certificate.
    /// Those of `WARPDRIVE_INSECURE_REGISTRIES` (separated by commas) are added.
    pub insecure_registries: Vec<String>,
    /// Directories with certificates for hosts; the usual ones by default.
    pub certificate_dirs: Vec<PathBuf>,
    /// CAs, in files, that count for every host.
    pub authorities: Vec<PathBuf>,
    /// The platform to choose from an index, `OS/ARCH[/VARIANT]`; that of this machine when `None`. An
    /// image of another one is refused when it is given, and warned about otherwise.
    pub platform: Option<String>,
    /// How many blobs travel at once; by their number and size when `None`.
    pub jobs: Option<usize>,
    /// Blobs go up in pieces of this size; whole, where the registry takes them so, when `None`.
    pub chunk_size: Option<u64>,
    /// How long all that this client does may take.
    pub limit: Option<Duration>,
    pub retry: Retry,
    pub patience: Patience,
}

/// What the command line said for all clients of this run of the program.
static DEFAULTS: OnceLock<ClientOptions> = OnceLock::new();

/// Makes these the options of every client of this process that is made with the default ones. Counts
/// once, before the first client is made.
pub fn set_defaults(options: ClientOptions) {
    let _ = DEFAULTS.set(options);
}

impl Default for ClientOptions {
    fn default() -> Self {
        DEFAULTS.get().cloned().unwrap_or_else(|| Self {
            auth_files: Vec::new(),
            insecure_registries: Vec::new(),
            certificate_dirs: certificates::default_dirs(),
            authorities: Vec::new(),
            platform: None,
            jobs: None,
            chunk_size: None,
            limit: None,
            retry: Retry::default(),
            patience: Patience::default(),
        })
    }
}

/// Speaks to registries. Synchronous; several threads may use one client.
pub struct Client {
    pub(super) agent: Agent,
    /// The same for what `registries.conf` calls insecure; `None` where it does not say so of anything.
    lenient: Option<Agent>,
    pub(super) jobs: Option<usize>,
    pub(super) chunk_size: Option<u64>,
    pub(super) platform: Option<String>,
    pub(super) configuration: Configuration,
    /// By name, and whether they may be spoken to without TLS.
    hosts: Mutex<HashMap<(String, bool), Arc<Host>>>,
}

/// A registry that has been spoken to.
struct Host {
    /// As in names: `docker.io`.
    name: String,
    base: Url,
    /// It may be spoken to without TLS or with any certificate.
    insecure: bool,
    auth: Auth,
    /// The largest piece of a blob that it has taken so far after it had refused a larger one; 0 when
    /// it takes blobs whole.
    chunk: AtomicU64,
    /// It takes no blob whole, however small.
    pieces: AtomicBool,
}

impl Host {
    fn new(name: &str, base: Url, insecure: bool) -> Self {
        Self {
            name: name.to_owned(),
            base,
            insecure,
            auth: Auth::default(),
            chunk: AtomicU64::new(0),
            pieces: AtomicBool::new(false),
        }
    }
}

impl Client {
    pub fn new(mut options: ClientOptions) -> Result<Self, RegistryError> {
        let mut insecure = std::mem::take(&mut options.insecure_registries);
        if let Ok(listed) = std::env::var("WARPDRIVE_INSECURE_REGISTRIES") {
            let listed = listed
                .split(',')
                .map(str::trim)
                .filter(|host| !host.is_empty());
            insecure.extend(listed.map(str::to_owned));
        }
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let credentials = Credentials::new(&options.auth_files, &variable);
        credentials.check()?;
        let configuration = Configuration::load(&variable)?;
        Self::with(options, insecure, &credentials, configuration)
    }

    fn with(
        options: ClientOptions,
        insecure: Vec<String>,
        credentials: &Credentials,
        configuration: Configuration,
    ) -> Result<Self, RegistryError> {
        let agent = |insecure| -> Result<Agent, RegistryError> {
            Ok(Agent {
                http: Http::new(
                    concat!("warpdrive/", env!("CARGO_PKG_VERSION")),
                    insecure,
                    Certificates {
                        dirs: options.certificate_dirs.clone(),
                        authorities: options.authorities.clone(),
                    },
                    Proxies::new(&|name| std::env::var(name).ok()),
                    options.patience,
                    options.limit,
                )?,
                credentials: credentials.clone(),
                retry: options.retry,
            })
        };
        let more: Vec<String> = configuration.insecure_hosts().collect();
        let lenient = match more.as_slice() {
            [] => None,
            _ => Some(agent(insecure.iter().cloned().chain(more).collect())?),
        };
        Ok(Self {
            agent: agent(insecure)?,
            lenient,
            jobs: options.jobs.map(|jobs| jobs.clamp(1, MAX_JOBS)),
            chunk_size: options.chunk_size,
            platform: options.platform,
            configuration,
            hosts: Mutex::default(),
        })
    }

    /// The agent for registries that may, or may not, be reached without TLS.
    fn agent(&self, insecure: bool) -> &Agent {
        self.lenient
            .as_ref()
            .filter(|_| insecure)
            .unwrap_or(&self.agent)
    }

    #[cfg(test)]
    fn for_tests() -> Self {
        Self {
            agent: Agent::for_tests(),
            lenient: None,
            jobs: Some(1),
            chunk_size: None,
            platform: None,
            configuration: Configuration::default(),
            hosts: Mutex::default(),
        }
    }

    /// The repository of a name, on a registry that has answered at least once.
    pub(super) fn repository(
        &self,
        reference: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<Repository<'_>, RegistryError> {
        let place = self.configuration.place(reference)?;
        self.repository_at(&place, progress)
    }

    /// A repository of a registry.
    pub(super) fn repository_at(
        &self,
        place: &Endpoint,
        progress: &dyn TransferListener,
    ) -> Result<Repository<'_>, RegistryError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place.registry.clone(), place.insecure);
        let host = if let Some(host) = hosts.get(&key) {
            Arc::clone(host)
        } else {
            let host = Arc::new(self.find(&place.registry, place.insecure, progress)?);
            hosts.insert(key, Arc::clone(&host));
            host
        };
        Ok(Repository {
            client: self,
            host,
            name: place.repository.clone(),
        })
    }

    /// Finds out how a registry is reached (`GET /v2/`): https, or http where that is allowed.
    fn find(
        &self,
        name: &str,
        insecure: bool,
        progress: &dyn TransferListener,
    ) -> Result<Host, RegistryError> {
        let agent = self.agent(insecure);
        let address = if name == "docker.io" {
            "registry-1.docker.io"
        } else {
            name
        };
        let parse = |scheme: &str| {
            Url::parse(&format!("{scheme}://{address}/")).map_err(|error| RegistryError::Url {
                url: tame(name, 300),
                problem: error.to_string(),
            })
        };
        let watch = Watch {
            progress,
            ..Watch::NONE
        };
        let mut base = parse("https")?;
        if is_loopback(&base)
            && let Some(host) = self.find_plain(name, insecure, parse("http")?, &watch)?
        {
            return Ok(host);
        }
        let plain = agent.http.may_be_plain(&base);
        let mut tries = Tries::new(&Retry {
            attempts: agent.retry.attempts.min(3),
            ..agent.retry
        });
        let mut hurried = false;
        loop {
            let request = HttpRequest::get(join(&base, "v2/")?);
            let failure = match agent.http.send(&request, None, &watch)? {
                Outcome::Answer(response) => {
                    let asked = retry::retry_after(response.header("retry-after"));
                    // For any other answer, the next request gives the error.
                    let busy = matches!(response.status(), 429 | 503);
                    if busy {
                        agent.http.allows(name, asked)?;
                    }
                    if busy
                        && let Some(asked) = asked
                        && let Some(wait) = tries.next(name, Some(asked))?
                    {
                        progress.event(&Event::Retry {
                            what: name,
                            reason: &format!("it answered {}", response.status()),
                            wait,
                        });
                        pause(agent.at_most(wait), None);
                        continue;
                    }
                    let host = Host::new(name, base, insecure);
                    if response.status() == 401 && same_origin(&response.url, &host.base) {
                        host.auth.learn(agent, name, &host.base, &response)?;
                        host.auth.note_root();
                    }
                    return Ok(host);
                }
                Outcome::Lost(failure) => failure,
            };
            let no_tls = failure.connecting
                && matches!(
                    failure.kind,
                    Unreachable::Refused | Unreachable::NotTls | Unreachable::Broken
                );
            if plain && base.scheme() == "https" && no_tls {
                base = parse("http")?;
                continue;
            }
            if failure.closed && !hurried {
                hurried = true;
                continue;
            }
            let may_pass = failure.may_pass() && failure.kind != Unreachable::Refused;
            let wait = if may_pass {
                tries.next(name, None)?
            } else {
                None
            };
            let Some(wait) = wait else {
                return Err(RegistryError::Unreachable {
                    host: name.to_owned(),
                    kind: failure.kind,
                    cause: failure.cause,
                });
            };
            progress.event(&Event::Retry {
                what: name,
                reason: &failure.cause,
                wait,
            });
            pause(agent.at_most(wait), None);
        }
    }

    /// A registry of this machine that answers without TLS as registries do. No network is between, and the
    /// request has no login; a server with TLS answers something else.
    fn find_plain(
        &self,
        name: &str,
        insecure: bool,
        base: Url,
        watch: &Watch<'_>,
    ) -> Result<Option<Host>, RegistryError> {
        let request = HttpRequest::get(join(&base, "v2/")?);
        match self.agent(insecure).http.send(&request, None, watch)? {
            // One that sends everybody on to https is not it.
            Outcome::Answer(response)
                if response.status() == 200 && same_origin(&response.url, &base) =>
            {
                Ok(Some(Host::new(name, base, insecure)))
            }
            _ => Ok(None),
        }
    }

    /// How many blobs travel at once: as many as the user says, else more of small ones, whose time is
    /// that of the way there and back.
    pub(super) fn jobs_for(&self, sizes: &[u64]) -> usize {
        self.jobs.unwrap_or_else(|| {
            let small = sizes.iter().filter(|size| **size <= SMALL).count();
            JOBS.max(small / 2).min(MOST_JOBS)
        })
    }
}

/// What may be done with a repository, in the words of token servers.
pub(super) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

fn join(base: &Url, path: &str) -> Result<Url, RegistryError> {
    base.join(path).map_err(|error| RegistryError::Url {
        url: super::http::shown(base),
        problem: error.to_string(),
    })
}

/// One repository of a registry.
#[derive(Clone)]
pub(super) struct Repository<'c> {
    pub client: &'c Client,
    host: Arc<Host>,
    pub name: String,
}

/// How a request is to be made.
pub(super) struct Call<'a> {
    /// In words, for errors: "the download of sha256:…".
    pub action: &'a str,
    pub scopes: &'a [String],
    /// False for what is not simply repeated, such as the upload of a blob.
    pub repeat: bool,
    /// False: not when the connection was lost under way.
    pub after_loss: bool,
    pub progress: &'a dyn TransferListener,
    pub sent: &'a dyn Fn(u64),
    /// Waits end when another transfer has failed.
    pub stop: Option<&'a Stop>,
}

impl<'a> Call<'a> {
    /// One that is repeated.
    pub(super) fn new(
        action: &'a str,
        scopes: &'a [String],
        progress: &'a dyn TransferListener,
    ) -> Self {
        Self {
            action,
            scopes,
            repeat: true,
            after_loss: true,
            progress,
            sent: &|_| {},
            stop: None,
        }
    }
}

impl<'c> Repository<'c> {
    /// The agent for this registry.
    pub(super) fn agent(&self) -> &'c Agent {
        self.client.agent(self.host.insecure)
    }

    /// The registry's name.
    pub(super) fn host(&self) -> &str {
        &self.host.name
    }

    /// The registry itself: its name, its address and the login for it.
    pub(super) fn parts(&self) -> (&str, &Url, &Auth) {
        (&self.host.name, &self.host.base, &self.host.auth)
    }

    /// `host/repository`, for messages.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.host.name, self.name)
    }

    /// A place of this registry itself, as it was kept; `None` when it is not one.
    pub(super) fn own(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        same_origin(&url, &self.host.base).then_some(url)
    }

    /// Whether `host` or `host:port` is that of this registry itself.
    pub(super) fn is_own_host(&self, host: &str) -> bool {
        same_host(host, &self.host.base)
    }

    /// The size of the pieces that this registry takes; `None` when it takes blobs whole.
    pub(super) fn chunk(&self) -> Option<u64> {
        let found = self.host.chunk.load(Ordering::Relaxed);
        let asked = self.client.chunk_size;
        (found > 0).then_some(found).into_iter().chain(asked).min()
    }

    /// Whether it takes no blob whole.
    pub(super) fn wants_pieces(&self) -> bool {
        self.host.pieces.load(Ordering::Relaxed)
    }

    /// It takes no blob whole.
    pub(super) fn note_wants_pieces(&self) {
        self.host.pieces.store(true, Ordering::Relaxed);
    }

    /// It does not take larger pieces.
    pub(super) fn note_chunk(&self, size: u64) {
        self.host.chunk.store(size.max(1), Ordering::Relaxed);
    }

    /// The address of something in this repository: `manifests/latest`.
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        join(&self.host.base, &format!("v2/{}/{rest}", self.name))
    }

    /// An address that the registry gave in a `Location`, relative or absolute.
    pub(super) fn location(&self, given: &str, from: &Url) -> Result<Url, RegistryError> {
        joined(&self.host.name, &self.host.base, given, from)
    }

    fn purpose<'a>(&'a self, call: &Call<'a>) -> Purpose<'a> {
        Purpose {
            agent: self.agent(),
            host: &self.host.name,
            base: &self.host.base,
            repository: &self.name,
            scopes: call.scopes,
            action: call.action,
            progress: call.progress,
        }
    }

    /// Whether the registry has told the login that it may not make requests of this kind.
    pub(super) fn is_forbidden(&self, request: &HttpRequest, call: &Call<'_>) -> bool {
        let auth = &self.host.auth;
        auth.is_forbidden(&self.purpose(call), &request.method)
    }

    /// Sends a request with the login it needs. Returns whatever status comes in the end.
    pub(super) fn call(
        &self,
        request: &HttpRequest,
        call: &Call<'_>,
    ) -> Result<Outcome<'c>, RegistryError> {
        let Host { base, auth, .. } = &*self.host;
        let purpose = self.purpose(call);
        let watch = Watch {
            sent: call.sent,
            progress: call.progress,
        };
        let home = same_origin(&request.url, base);
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let mut tries = Tries::new(&self.agent().retry);
        let (mut renewed, mut sent_on, mut hurried) = (false, false, false);
        // Held over all tries of this request.
        let mut turn = None;
        loop {
            let authorization = if home {
                auth.authorization(&purpose)?
            } else {
                None
            };
            if turn.is_none()
                && let Some(sent) = &authorization
            {
                turn = auth.turn(&purpose, &request.method, sent, call.stop)?;
            }
            let value = authorization.as_ref().map(|found| &found.value);
            let mut outcome = self.agent().http.send(request, value, &watch)?;
            if let Outcome::Answer(response) = &mut outcome {
                let refused = matches!(response.status(), 401 | 403);
                let from_home = home && same_origin(&response.url, base);
                if from_home {
                    response.login = authorization.as_ref().and_then(|found| found.user.clone());
                }
                if from_home
                    && let Some(sent) = &authorization
                    && auth.came(&purpose, &request.method, sent, response)
                {
                    turn = None;
                }
                if response.status() == 401 && from_home && !renewed {
                    renewed = true;
                    if auth.answer(&purpose, response, authorization.as_ref())? {
                        continue;
                    }
                }
                // The registry's signature for another host may have expired: it gives a new one.
                if refused && home && !from_home && reads && !sent_on {
                    sent_on = true;
                    continue;
                }
            }
            if call.repeat {
                // A connection that was kept open, and that the other side had enough of: no wait is
                // needed for a new one.
                if let Outcome::Lost(failure) = &outcome
                    && failure.closed
                    && !hurried
                {
                    hurried = true;
                    continue;
                }
                let lost = matches!(&outcome, Outcome::Lost(failure) if failure.dropped());
                if (call.after_loss || !lost)
                    && let Some(wait) = self.agent().again(&mut tries, &outcome, call.progress)?
                {
                    pause(wait, call.stop);
                    if !call.stop.is_some_and(Stop::is_set) {
                        continue;
                    }
                }
            }
            if let (Some(_), Some(sent), Outcome::Lost(failure)) = (&turn, &authorization, &outcome)
                && call.repeat
                && call.after_loss
            {
                auth.lost(&purpose, sent, &self.lost(failure.clone()));
            }
            return Ok(outcome);
        }
    }

    /// Like [`Self::call`], with a lost connection as an error.
    pub(super) fn must(
        &self,
        request: &HttpRequest,
        call: &Call<'_>,
    ) -> Result<Response<'c>, RegistryError> {
        self.call(request, call)?
            .answer(|failure| self.lost(failure))
    }

    /// A lost connection, under the registry's name.
    pub(super) fn lost(&self, failure: super::http::Failure) -> RegistryError {
        let mut host = failure.host;
        if same_host(&host, &self.host.base) {
            host.clone_from(&self.host.name);
        }
        RegistryError::Unreachable {
            host,
            kind: failure.kind,
            cause: failure.cause,
        }
    }

    /// The meaning of a refusal. `thing`: what is missing if the answer is 404.
    pub(super) fn refusal(
        &self,
        mut response: Response<'_>,
        action: &str,
        thing: Option<&str>,
    ) -> RegistryError {
        let status = response.status();
        let told = response.told.take();
        let detail = told.unwrap_or_else(|| detail(&mut response));
        let host = if same_origin(&response.url, &self.host.base) {
            self.host.name.clone()
        } else {
            super::http::authority(&response.url)
        };
        // Another host knows nothing of the login for this registry.
        if host != self.host.name && matches!(status, 401 | 403) {
            return RegistryError::Status {
                host,
                repository: self.name.clone(),
                action: format!("{action}, for which {} had sent us there", self.host.name),
                status,
                detail,
            };
        }
        match (status, thing) {
            (401 | 403, _) => {
                let found = self
                    .host
                    .auth
                    .login(self.agent(), &self.host.name, &self.name, &Silent)
                    .unwrap_or_default();
                RegistryError::Unauthorized(Box::new(Denied {
                    host,
                    repository: self.name.clone(),
                    action: action.to_owned(),
                    login: response.login.take(),
                    detail,
                    note: self.host.auth.note(&found),
                    unknown_ways: self.host.auth.unknown_ways(),
                }))
            }
            (404, Some(thing)) => RegistryError::NotFound {
                host,
                what: thing.to_owned(),
                detail,
            },
            _ => RegistryError::Status {
                host,
                repository: self.name.clone(),
                action: action.to_owned(),
                status,
                detail,
            },
        }
    }
}

/// The address that the registry `name` at `base` gave in the `Location` of an answer that came from `from`.
pub(super) fn joined(
    name: &str,
    base: &Url,
    given: &str,
    from: &Url,
) -> Result<Url, RegistryError> {
    let mut url = from.join(given).map_err(|_| RegistryError::Url {
        url: tame(given, 200),
        problem: format!("{name} gave it as the place for an upload"),
    })?;
    // Registries behind a proxy that ends TLS often forget that they are reached by https.
    let forgot =
        url.scheme() == "http" && base.scheme() == "https" && url.host_str() == base.host_str();
    if forgot {
        let port = base.port();
        let _ = url.set_scheme("https");
        let _ = url.set_port(port);
    }
    // The bytes of an image, and a login, stay encrypted when the registry is reached so.
    let encrypted = from.scheme() == "https" || base.scheme() == "https";
    if encrypted && url.scheme() != "https" {
        return Err(RegistryError::Url {
            url: super::http::shown(&url),
            problem: format!("{name} gave it as the place for an upload, and it is not encrypted"),
        });
    }
    Ok(url)
}

fn same_host(authority: &str, base: &Url) -> bool {
    super::http::authority(base) == authority
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A login for the repositories of others on the same host would go over the net in the clear.
    #[test]
    fn an_insecure_repository_makes_no_other_one_insecure() {
        let mut configuration = Configuration::default();
        let text = "[[registry]]\nprefix = 'r.example/dev'\ninsecure = true\n\
                    [[registry]]\nprefix = '*.wild.example'\ninsecure = true\n";
        configuration
            .add(std::path::Path::new("r.conf"), text)
            .unwrap();
        let options = ClientOptions::default();
        let client =
            Client::with(options, Vec::new(), &Credentials::default(), configuration).unwrap();
        for (name, plain) in [
            ("r.example/dev/opal", true),
            ("r.example/prod/opal", false),
            ("r.example/development", false),
            ("a.wild.example/opal", true),
            ("other.example/opal", false),
        ] {
            let place = client.configuration.place(&name.parse().unwrap()).unwrap();
            let url = Url::parse(&format!("http://{}/", place.registry)).unwrap();
            let agent = client.agent(place.insecure);
            assert_eq!(agent.http.may_be_plain(&url), plain, "{name}");
        }
    }

    #[test]
    fn an_upload_stays_encrypted() {
        let client = Client::for_tests();
        let location = |base: &str, given: &str| {
            let base = Url::parse(base).unwrap();
            let repository = Repository {
                client: &client,
                host: Arc::new(Host::new("registry", base.clone(), false)),
                name: "opal".into(),
            };
            let url = repository.location(given, &base).ok()?;
            Some(url.to_string())
        };
        for (base, given, expected) in [
            (
                "https://r.example/",
                "/v2/u?x=1",
                Some("https://r.example/v2/u?x=1"),
            ),
            (
                "https://r.example:444/",
                "http://r.example/u",
                Some("https://r.example:444/u"),
            ),
            (
                "https://r.example/",
                "https://other.example/u",
                Some("https://other.example/u"),
            ),
            ("https://r.example/", "http://localhost:5000/u", None),
            ("https://r.example/", "http://127.0.0.1/u", None),
            ("https://r.example/", "http://other.example/u", None),
            ("https://r.example/", "ftp://r.example/u", None),
            // The positive control: a registry that is spoken to in the clear may say so.
            (
                "http://localhost:5000/",
                "http://localhost:5001/u",
                Some("http://localhost:5001/u"),
            ),
        ] {
            assert_eq!(location(base, given).as_deref(), expected, "{given}");
        }
    }
}
