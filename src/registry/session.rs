//! A registry and one of its repositories: where it is reached, requests with a login, repetition of
//! what failed, and the meaning of refusals.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::auth::{Auth, Purpose};
use super::certificates;
use super::credential::Secret;
use super::credentials::Credentials;
use super::detail::detail;
use super::error::{Denied, RegistryError, Unreachable, tame};
use super::http::{Http, Request, Response, Url, is_loopback, same_origin};
use super::progress::{Event, Progress, Silent};
use super::retry::{self, Patience, Retry};
use crate::oci::Reference;

/// What a [`Client`] can be told.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Auth files that are looked at before the usual places.
    pub auth_files: Vec<PathBuf>,
    /// Registries (`host` or `host:port`) that may speak plain HTTP or have any certificate.
    /// Those of `WARPDRIVE_INSECURE_REGISTRIES` (separated by commas) are added.
    pub insecure_registries: Vec<String>,
    /// Directories with certificates for hosts; the usual ones by default.
    pub certificate_dirs: Vec<PathBuf>,
    /// The platform to choose from an index, `OS/ARCH[/VARIANT]`; that of this machine when `None`.
    pub platform: Option<String>,
    /// How many blobs travel at once.
    pub jobs: usize,
    pub retry: Retry,
    pub patience: Patience,
}

/// Auth files that the command line named for this run of the program.
static NAMED_AUTH_FILES: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Names auth files (`config.json`, `auth.json`) that every client of this process looks at first.
/// Counts once, before the first client is made.
pub fn name_auth_files(files: Vec<PathBuf>) {
    let _ = NAMED_AUTH_FILES.set(files);
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            auth_files: NAMED_AUTH_FILES.get().cloned().unwrap_or_default(),
            insecure_registries: Vec::new(),
            certificate_dirs: certificates::default_dirs(),
            platform: None,
            jobs: 3,
            retry: Retry::default(),
            patience: Patience::default(),
        }
    }
}

/// Speaks to registries. Synchronous; several threads may use one client.
pub struct Client {
    pub(super) http: Http,
    pub(super) credentials: Credentials,
    pub(super) retry: Retry,
    pub(super) jobs: usize,
    pub(super) platform: Option<String>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// A registry that has been spoken to.
struct Host {
    /// As in names: `docker.io`.
    name: String,
    base: Url,
    auth: Auth,
}

impl Client {
    pub fn new(options: ClientOptions) -> Result<Self, RegistryError> {
        let mut insecure = options.insecure_registries;
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
        Ok(Self {
            http: Http::new(
                concat!("warpdrive/", env!("CARGO_PKG_VERSION")),
                insecure,
                options.certificate_dirs,
                options.patience,
            )?,
            credentials: Credentials::new(&options.auth_files, &variable),
            retry: options.retry,
            jobs: options.jobs.clamp(1, 16),
            platform: options.platform,
            hosts: Mutex::default(),
        })
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        Self {
            http: Http::new("test", Vec::new(), Vec::new(), Patience::default()).unwrap(),
            credentials: Credentials::default(),
            retry: Retry::default(),
            jobs: 1,
            platform: None,
            hosts: Mutex::default(),
        }
    }

    /// The repository of a name, on a registry that has answered at least once.
    pub(super) fn repository(
        &self,
        reference: &Reference,
    ) -> Result<Repository<'_>, RegistryError> {
        let name = reference.registry();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = if let Some(host) = hosts.get(name) {
            Arc::clone(host)
        } else {
            let host = Arc::new(self.find(name)?);
            hosts.insert(name.to_owned(), Arc::clone(&host));
            host
        };
        Ok(Repository {
            client: self,
            host,
            name: reference.repository(),
        })
    }

    /// Finds out how a registry is reached (`GET /v2/`): https, or http where that is allowed.
    fn find(&self, name: &str) -> Result<Host, RegistryError> {
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
        let mut base = parse("https")?;
        if is_loopback(&base)
            && let Some(host) = self.find_plain(name, parse("http")?)?
        {
            return Ok(host);
        }
        let plain = self.http.may_be_plain(&base);
        let mut failed = 0;
        loop {
            let request = Request::get(join(&base, "v2/")?);
            let failure = match self.http.send(&request, None, &|_| {})? {
                Ok(response) => {
                    let host = Host {
                        name: name.to_owned(),
                        base,
                        auth: Auth::default(),
                    };
                    if response.status() == 401 && same_origin(&response.url, &host.base) {
                        host.auth.learn(self, name, &host.base, &response)?;
                    }
                    return Ok(host);
                }
                Err(failure) => failure,
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
            failed += 1;
            let may_pass = failure.may_pass() && failure.kind != Unreachable::Refused;
            if !may_pass || failed >= self.retry.attempts.min(3) {
                return Err(RegistryError::Unreachable {
                    host: name.to_owned(),
                    kind: failure.kind,
                    cause: failure.cause,
                });
            }
            std::thread::sleep(self.retry.wait(failed, None));
        }
    }

    /// A registry of this machine that answers without TLS as registries do. Nobody listens in
    /// between, and no login goes with the question; a server of TLS answers something else.
    fn find_plain(&self, name: &str, base: Url) -> Result<Option<Host>, RegistryError> {
        let request = Request::get(join(&base, "v2/")?);
        match self.http.send(&request, None, &|_| {})? {
            // One that sends everybody on to https is not it.
            Ok(response) if response.status() == 200 && same_origin(&response.url, &base) => {
                Ok(Some(Host {
                    name: name.to_owned(),
                    base,
                    auth: Auth::default(),
                }))
            }
            _ => Ok(None),
        }
    }

    /// A request outside of any repository, repeated while it fails in a way that may pass.
    pub(super) fn repeat(
        &self,
        request: &Request,
        authorization: Option<&Secret>,
    ) -> Result<Response<'_>, RegistryError> {
        let mut failed = 0;
        loop {
            let outcome = self.http.send(request, authorization, &|_| {})?;
            failed += 1;
            if let Some(wait) = self.again(failed, &outcome, &Silent) {
                std::thread::sleep(wait);
                continue;
            }
            return Ok(outcome?);
        }
    }

    /// How long to wait before the same is tried again; `None` when it should not be.
    fn again(
        &self,
        failed: u32,
        outcome: &Result<Response<'_>, super::http::Failure>,
        progress: &dyn Progress,
    ) -> Option<std::time::Duration> {
        if failed >= self.retry.attempts {
            return None;
        }
        let (what, reason, asked) = match outcome {
            Ok(response) if retry::is_transient(response.status()) => (
                super::http::authority(&response.url),
                format!("it answered {}", response.status()),
                retry::retry_after(response.header("retry-after")),
            ),
            Err(failure) if failure.may_pass() => {
                (failure.host.clone(), failure.cause.clone(), None)
            }
            _ => return None,
        };
        let wait = self.retry.wait(failed, asked);
        progress.event(&Event::Retry {
            what: &what,
            reason: &reason,
            wait,
        });
        Some(wait)
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
    pub progress: &'a dyn Progress,
    pub sent: &'a dyn Fn(u64),
}

impl<'c> Repository<'c> {
    /// The registry's name.
    pub(super) fn host(&self) -> &str {
        &self.host.name
    }

    /// `host/repository`, for messages.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.host.name, self.name)
    }

    /// The address of something in this repository: `manifests/latest`.
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        join(&self.host.base, &format!("v2/{}/{rest}", self.name))
    }

    /// An address that the registry gave in a `Location`, relative or absolute.
    pub(super) fn location(&self, given: &str, from: &Url) -> Result<Url, RegistryError> {
        let mut url = from.join(given).map_err(|_| RegistryError::Url {
            url: tame(given, 200),
            problem: format!("{} gave it as the place for an upload", self.host.name),
        })?;
        // Registries behind a proxy that ends TLS often forget that they are reached by https.
        let forgot = url.scheme() == "http"
            && self.host.base.scheme() == "https"
            && url.host_str() == self.host.base.host_str();
        if forgot {
            let port = self.host.base.port();
            let _ = url.set_scheme("https");
            let _ = url.set_port(port);
        }
        // The bytes of an image, and a login, stay encrypted when the registry is reached so.
        let encrypted = from.scheme() == "https" || self.host.base.scheme() == "https";
        if encrypted && url.scheme() != "https" {
            return Err(RegistryError::Url {
                url: super::http::shown(&url),
                problem: format!(
                    "{} gave it as the place for an upload, and it is not encrypted",
                    self.host.name
                ),
            });
        }
        Ok(url)
    }

    /// Sends a request with the login it needs. Returns whatever status comes in the end.
    pub(super) fn call(
        &self,
        request: &Request,
        call: &Call<'_>,
    ) -> Result<Result<Response<'c>, super::http::Failure>, RegistryError> {
        let Host { name, base, auth } = &*self.host;
        let purpose = Purpose {
            client: self.client,
            host: name,
            repository: &self.name,
            scopes: call.scopes,
            action: call.action,
        };
        let home = same_origin(&request.url, base);
        let mut failed = 0;
        let mut renewed = false;
        loop {
            let authorization = if home {
                auth.authorization(&purpose)?
            } else {
                None
            };
            let outcome = self
                .client
                .http
                .send(request, authorization.as_ref(), call.sent)?;
            if let Ok(response) = &outcome
                && response.status() == 401
                && same_origin(&response.url, base)
                && !renewed
            {
                renewed = true;
                auth.forget(call.scopes);
                if auth.learn(self.client, name, base, response)? {
                    continue;
                }
            }
            failed += 1;
            if call.repeat
                && let Some(wait) = self.client.again(failed, &outcome, call.progress)
            {
                std::thread::sleep(wait);
                continue;
            }
            return Ok(outcome);
        }
    }

    /// Like [`Self::call`], with a lost connection as an error.
    pub(super) fn must(
        &self,
        request: &Request,
        call: &Call<'_>,
    ) -> Result<Response<'c>, RegistryError> {
        self.call(request, call)?
            .map_err(|failure| self.lost(failure))
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
        let detail = detail(&mut response);
        let host = if same_origin(&response.url, &self.host.base) {
            self.host.name.clone()
        } else {
            super::http::authority(&response.url)
        };
        match (status, thing) {
            (401 | 403, _) => {
                let login = self
                    .host
                    .auth
                    .login(self.client, &self.host.name, &self.name)
                    .unwrap_or_default();
                RegistryError::Unauthorized(Box::new(Denied {
                    host,
                    repository: self.name.clone(),
                    action: action.to_owned(),
                    login: login.credential.map(|c| tame(c.user(), 100)),
                    detail,
                    note: login.note,
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

fn same_host(authority: &str, base: &Url) -> bool {
    super::http::authority(base) == authority
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_stays_encrypted() {
        let client = Client::for_tests();
        let location = |base: &str, given: &str| {
            let base = Url::parse(base).unwrap();
            let repository = Repository {
                client: &client,
                host: Arc::new(Host {
                    name: "registry".into(),
                    base: base.clone(),
                    auth: Auth::default(),
                }),
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
