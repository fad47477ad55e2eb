//! Logging in: which way a registry asks for, and what came of a login there.
//!
//! A login goes to the registry itself or to the token server (`realm`) that the registry names,
//! and only encrypted, unless the registry itself is spoken to in the clear. A challenge from
//! another host (after a redirect, say) is never answered (CVE-2020-15157).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::agent::Agent;
use super::challenge;
use super::credential::{Credential, Secret};
use super::credentials::Found;
use super::detail::{self, detail};
use super::error::{Denied, Detail, RegistryError, Unreachable, tame};
use super::helper;
use super::http::{
    HttpRequest, Method, Outcome, Response, Url, Watch, authority, same_origin, shown,
};
use super::parallel::Stop;
use super::progress::TransferListener;
use super::retry;
use super::token::{Purpose, Token, basic, bearer, fetch, realm};

/// Most bytes that are read of the answer to a login.
const MAX_PAGE: u64 = 1024 * 1024;

/// How a registry wants to be logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// What came of a password that was shown to a registry.
enum Shown {
    Taken,
    /// Neither taken nor refused: a 403 says that the password is wrong, or that the user may not ask this.
    Unclear,
    Failed(RegistryError),
}

/// What came of the first request of a kind with a login.
enum First {
    Allowed,
    Forbidden(Denied),
}

/// One registry's way to log in and the tokens it has given.
#[derive(Default)]
pub(crate) struct Auth {
    way: Mutex<Option<Way>>,
    /// By the scopes asked for, in one text.
    tokens: Mutex<HashMap<String, Token>>,
    /// By repository.
    logins: Mutex<HashMap<String, Found>>,
    /// What came of a login when it was used first, by user. No login is sent again after it was refused once,
    /// by whatever thread: some registries lock accounts out.
    outcomes: Mutex<HashMap<String, Shown>>,
    /// The registry asks for a login at `/v2/`, so that it can be shown there.
    at_root: AtomicBool,
    /// By user, method and scopes; without the method where it was a 401, which is of the login and not of what was
    /// asked. While nothing is known, one request goes alone, see [`Self::turn`].
    firsts: Mutex<HashMap<String, First>>,
    queue: Queue,
    /// Why there is no token, by the scopes asked for: with a login or without, asking once is enough.
    refusals: Mutex<HashMap<String, RegistryError>>,
    /// Ways to log in that the registry offers, when none of them is known here.
    unknown: Mutex<Vec<String>>,
}

/// One at a time. Those that wait are woken.
#[derive(Default)]
struct Queue {
    busy: Mutex<bool>,
    free: Condvar,
}

impl Queue {
    fn take(&self) -> Turn<'_> {
        let mut busy = lock(&self.busy);
        while *busy {
            let woken = self.free.wait(busy);
            busy = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *busy = true;
        Turn(self)
    }
}

/// Until it is dropped, the next one waits.
pub(crate) struct Turn<'a>(&'a Queue);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.busy) = false;
        self.0.free.notify_one();
    }
}

/// What goes with a request.
pub(crate) struct Authorization {
    pub value: Secret,
    /// Whose login it is, or came of.
    pub user: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    /// The challenge came from `/v2/`.
    pub(crate) fn note_root(&self) {
        self.at_root.store(true, Ordering::Relaxed);
    }

    /// Takes in the challenge of a 401. Says whether it can be answered.
    pub(crate) fn learn(
        &self,
        agent: &Agent,
        host: &str,
        base: &Url,
        response: &Response<'_>,
    ) -> Result<bool, RegistryError> {
        let challenges: Vec<_> = response
            .headers("www-authenticate")
            .iter()
            .flat_map(|header| challenge::parse(header))
            .collect();
        let find = |scheme: &str| challenges.iter().find(|c| c.scheme == scheme);
        let way = if let Some(bearer) = find("bearer") {
            let address = bearer.parameters.get("realm").map_or("", String::as_str);
            Way::Bearer {
                realm: self::realm(agent, host, base, address)?,
                service: bearer.parameters.get("service").cloned(),
            }
        } else if find("basic").is_some() {
            Way::Basic
        } else {
            let named = challenges.iter().map(|c| tame(&c.scheme, 40));
            *lock(&self.unknown) = named.take(5).collect();
            return Ok(false);
        };
        *lock(&self.way) = Some(way);
        Ok(true)
    }

    /// Notes a 401, and says whether the same request may succeed now.
    pub(crate) fn answer(
        &self,
        purpose: &Purpose<'_>,
        response: &Response<'_>,
        sent: Option<&Authorization>,
    ) -> Result<bool, RegistryError> {
        if !self.learn(purpose.agent, purpose.host, purpose.base, response)? {
            return Ok(false);
        }
        let Some(sent) = sent else {
            return Ok(true);
        };
        let mut tokens = lock(&self.tokens);
        let key = purpose.scopes.join(" ");
        let Some(known) = tokens.get(&key) else {
            // Another thread has forgotten it already; a password, or a token of the user's, stays what
            // it is.
            return Ok(sent.value.reveal().starts_with("Bearer ") && self.fetches(purpose));
        };
        // Unless another thread has a new one by now.
        if bearer(&known.value) == sent.value {
            tokens.remove(&key);
        }
        Ok(true)
    }

    /// Whether tokens are fetched for this purpose, rather than given by the user.
    fn fetches(&self, purpose: &Purpose<'_>) -> bool {
        let login = self.found(purpose);
        !matches!(
            login.unwrap_or_default().credential,
            Some(Credential::RegistryToken(_))
        )
    }

    /// Ways to log in that the registry offers and that are not known here.
    pub(crate) fn unknown_ways(&self) -> Vec<String> {
        lock(&self.unknown).clone()
    }

    /// What stood in the way of a login, in words.
    pub(crate) fn note(&self, found: &Found) -> Option<String> {
        let unknown = self.unknown_ways();
        if unknown.is_empty() {
            return found.note.clone();
        }
        Some(format!(
            "it asks for a login by {}, which warpdrive does not know",
            unknown.join(" or ")
        ))
    }

    /// The login of a repository, looked up once.
    pub(crate) fn login(
        &self,
        agent: &Agent,
        host: &str,
        repository: &str,
        progress: &dyn TransferListener,
    ) -> Result<Found, RegistryError> {
        let mut logins = lock(&self.logins);
        if let Some(found) = logins.get(repository) {
            return Ok(found.clone());
        }
        let found = agent.credentials.find(
            host,
            repository,
            helper::Wait {
                // There has to be time for the registry's own answer.
                most: agent.http.left().map(|left| left * 3 / 4),
                progress,
            },
        )?;
        logins.insert(repository.to_owned(), found.clone());
        Ok(found)
    }

    fn found(&self, purpose: &Purpose<'_>) -> Result<Found, RegistryError> {
        let Purpose {
            agent,
            host,
            repository,
            progress,
            ..
        } = purpose;
        self.login(agent, host, repository, *progress)
    }

    /// The `Authorization` header for a purpose; `None` to go without. A login that was refused before
    /// is the same error again.
    pub(crate) fn authorization(
        &self,
        purpose: &Purpose<'_>,
    ) -> Result<Option<Authorization>, RegistryError> {
        let Some(way) = lock(&self.way).clone() else {
            return Ok(None);
        };
        let login = self.found(purpose)?;
        let user = login.credential.as_ref().map(|c| tame(c.user(), 100));
        if let Some(Credential::RegistryToken(token)) = &login.credential {
            let value = bearer(token);
            return Ok(Some(Authorization { value, user }));
        }
        match way {
            Way::Basic => {
                let Some(Credential::Basic {
                    user: name,
                    password,
                }) = &login.credential
                else {
                    return Ok(None);
                };
                let value = basic(name, password);
                self.prove(purpose, &tame(name, 100), &value, &login)?;
                Ok(Some(Authorization { value, user }))
            }
            Way::Bearer { realm, service } => {
                let key = purpose.scopes.join(" ");
                // Held while the token is fetched, so that parallel transfers ask once.
                let mut tokens = lock(&self.tokens);
                if let Some(token) = tokens.get(&key)
                    && token.until > Instant::now()
                {
                    let value = bearer(&token.value);
                    return Ok(Some(Authorization { value, user }));
                }
                if let Some(user) = &user
                    && let Some(Shown::Failed(error)) = lock(&self.outcomes).get(user)
                    && let Some(error) = again(error, purpose)
                {
                    return Err(error);
                }
                if let Some(error) = lock(&self.refusals).get(&key)
                    && let Some(error) = again(error, purpose)
                {
                    return Err(error);
                }
                let token = match fetch(purpose, &realm, service.as_deref(), &login) {
                    Ok(token) => token,
                    Err((error, status)) => {
                        // Also one that may pass: each thread would ask as often again.
                        if let Some(same) = again(&error, purpose) {
                            match user {
                                Some(user) if status == 401 => {
                                    lock(&self.outcomes).insert(user, Shown::Failed(same));
                                }
                                // It may concern this repository alone.
                                _ => {
                                    lock(&self.refusals).insert(key, same);
                                }
                            }
                        }
                        return Err(error);
                    }
                };
                let value = bearer(&token.value);
                tokens.insert(key, token);
                Ok(Some(Authorization { value, user }))
            }
        }
    }

    /// Until a password is known to be right or wrong, only one request of a kind is sent at a time: if several
    /// threads send a wrong password, a registry may lock the account. Gives what to hold until the answer is here.
    pub(crate) fn turn(
        &self,
        purpose: &Purpose<'_>,
        method: &Method,
        sent: &Authorization,
        stop: Option<&Stop>,
    ) -> Result<Option<Turn<'_>>, RegistryError> {
        let Some((user, key)) = first_of(purpose, method, sent) else {
            return Ok(None);
        };
        let mut turn = None;
        loop {
            {
                let firsts = lock(&self.firsts);
                match firsts.get(&key) {
                    Some(First::Allowed) => return Ok(None),
                    Some(First::Forbidden(denied)) => return Err(anew(denied, purpose)),
                    None => {}
                }
                if let Some(First::Forbidden(denied)) = firsts.get(&any(user, purpose)) {
                    return Err(anew(denied, purpose));
                }
            }
            if let Some(Shown::Failed(error)) = lock(&self.outcomes).get(user)
                && let Some(error) = again(error, purpose)
            {
                return Err(error);
            }
            // The one that has the turn stops as well, and wakes the next one.
            if stop.is_some_and(Stop::is_set) {
                return Err(RegistryError::Unreachable {
                    host: purpose.host.to_owned(),
                    kind: Unreachable::Broken,
                    cause: "another transfer has failed".into(),
                });
            }
            if turn.is_some() {
                return Ok(turn);
            }
            turn = Some(self.queue.take());
        }
    }

    /// Notes the registry's own answer to a request with a login. False: the answer does not say whether the
    /// login is accepted.
    pub(crate) fn came(
        &self,
        purpose: &Purpose<'_>,
        method: &Method,
        sent: &Authorization,
        response: &mut Response<'_>,
    ) -> bool {
        let Some((user, key)) = first_of(purpose, method, sent) else {
            return true;
        };
        if matches!(lock(&self.firsts).get(&key), Some(First::Allowed)) {
            return true;
        }
        let status = response.status();
        if !matches!(status, 401 | 403) {
            let says = !retry::is_transient(status);
            if says {
                lock(&self.firsts).insert(key, First::Allowed);
                lock(&self.outcomes).insert(user.to_owned(), Shown::Taken);
            }
            return says;
        }
        let told = detail(response);
        response.told = Some(told.clone());
        let denied = Denied {
            host: purpose.host.to_owned(),
            repository: purpose.repository.to_owned(),
            action: purpose.action.to_owned(),
            login: Some(user.to_owned()),
            detail: told,
            note: None,
            unknown_ways: Vec::new(),
        };
        let mut outcomes = lock(&self.outcomes);
        if status == 401 && !matches!(outcomes.get(user), Some(Shown::Taken)) {
            let error = RegistryError::Unauthorized(Box::new(denied));
            outcomes.insert(user.to_owned(), Shown::Failed(error));
        } else {
            // What `/v2/` has taken is refused below it.
            let key = if status == 401 {
                any(user, purpose)
            } else {
                key
            };
            lock(&self.firsts).insert(key, First::Forbidden(denied));
        }
        true
    }

    /// The first request with a login failed, also when it was sent again.
    pub(crate) fn lost(&self, purpose: &Purpose<'_>, sent: &Authorization, error: &RegistryError) {
        if let Some(user) = &sent.user
            && let Some(error) = again(error, purpose)
        {
            lock(&self.outcomes).insert(user.clone(), Shown::Failed(error));
        }
    }

    /// Whether the registry has forbidden requests of this kind to the login.
    pub(crate) fn is_forbidden(&self, purpose: &Purpose<'_>, method: &Method) -> bool {
        let login = self.found(purpose).unwrap_or_default();
        let Some(Credential::Basic { user, .. }) = &login.credential else {
            return false;
        };
        let user = tame(user, 100);
        let keys = [kind(&user, method, purpose), any(&user, purpose)];
        let firsts = lock(&self.firsts);
        let is_forbidden = |key| matches!(firsts.get(key), Some(First::Forbidden(_)));
        keys.iter().any(is_forbidden)
    }

    /// Shows a password to the registry once, before several requests send it at the same time.
    fn prove(
        &self,
        purpose: &Purpose<'_>,
        user: &str,
        value: &Secret,
        login: &Found,
    ) -> Result<(), RegistryError> {
        let mut outcomes = lock(&self.outcomes);
        match outcomes.get(user) {
            Some(Shown::Failed(error)) => return again(error, purpose).map_or(Ok(()), Err),
            Some(_) => return Ok(()),
            None => {}
        }
        // A server that answers without a login does not check passwords.
        if !self.at_root.load(Ordering::Relaxed) {
            return Ok(());
        }
        let shown = match show(purpose, Some(value))? {
            Outcome::Answer(mut response) if response.status() == 401 => {
                let denied = refused(purpose, user, login, &mut response);
                let error = RegistryError::Unauthorized(Box::new(denied.clone()));
                outcomes.insert(user.to_owned(), Shown::Failed(error));
                return Err(RegistryError::Unauthorized(Box::new(denied)));
            }
            Outcome::Answer(response) if is_taken(purpose, &response) => Shown::Taken,
            // What comes next says more.
            _ => Shown::Unclear,
        };
        outcomes.insert(user.to_owned(), shown);
        Ok(())
    }
}

/// The user of a request that shows a password, and the kind of the request.
fn first_of<'a>(
    purpose: &Purpose<'_>,
    method: &Method,
    sent: &'a Authorization,
) -> Option<(&'a str, String)> {
    let user = sent.user.as_deref()?;
    let shows = sent.value.reveal().starts_with("Basic ");
    shows.then(|| (user, kind(user, method, purpose)))
}

fn kind(user: &str, method: &Method, purpose: &Purpose<'_>) -> String {
    let method = match *method {
        Method::HEAD => "HEAD",
        Method::GET => "GET",
        _ => "write",
    };
    format!("{user} {method} {}", purpose.scopes.join(" "))
}

/// Requests of all kinds.
fn any(user: &str, purpose: &Purpose<'_>) -> String {
    format!("{user} {}", purpose.scopes.join(" "))
}

/// Asks the registry itself with a password.
fn show<'a>(purpose: &Purpose<'a>, value: Option<&Secret>) -> Result<Outcome<'a>, RegistryError> {
    let url = purpose
        .base
        .join("v2/")
        .map_err(|error| RegistryError::Url {
            url: shown(purpose.base),
            problem: error.to_string(),
        })?;
    let watch = Watch {
        progress: purpose.progress,
        ..Watch::NONE
    };
    let request = HttpRequest::get(url);
    let outcome = purpose.agent.http.send(&request, value, &watch)?;
    match outcome {
        // A connection that was kept open for too long: nothing was read of what it carried.
        Outcome::Lost(failure) if failure.closed => {
            purpose.agent.http.send(&request, value, &watch)
        }
        outcome => Ok(outcome),
    }
}

/// Whether the registry, which asks for a login here, was content with the one that was shown.
fn is_taken(purpose: &Purpose<'_>, response: &Response<'_>) -> bool {
    matches!(response.status(), 200..=299) && is_root(purpose, &response.url)
}

/// Whether an answer is that of the registry itself. It may lead on to a page, such as a form to log in at, which
/// answers every request.
fn is_root(purpose: &Purpose<'_>, url: &Url) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let root = purpose.base.join("v2/");
    same_origin(url, purpose.base) && root.is_ok_and(|root| path(&root) == path(url))
}

fn refused(
    purpose: &Purpose<'_>,
    user: &str,
    login: &Found,
    response: &mut Response<'_>,
) -> Denied {
    Denied {
        host: purpose.host.to_owned(),
        repository: purpose.repository.to_owned(),
        action: purpose.action.to_owned(),
        login: Some(tame(user, 100)),
        detail: detail(response),
        note: login.note.clone(),
        unknown_ways: Vec::new(),
    }
}

/// Shows a login to a registry that has been spoken to. False: it asks for none. Whatever is neither a yes nor
/// that is an error: a login that may be wrong takes no other one's place.
pub(crate) fn verify(
    auth: &Auth,
    purpose: &Purpose<'_>,
    user: &str,
    password: &Secret,
) -> Result<bool, RegistryError> {
    let login = Found {
        credential: Some(Credential::Basic {
            user: user.to_owned(),
            password: password.clone(),
        }),
        note: None,
    };
    let way = lock(&auth.way).clone();
    let value = match way {
        Some(Way::Basic) => Some(basic(user, password)),
        // Some token servers give any client a token: only the registry's answer to it is a proof.
        Some(Way::Bearer { realm, service }) => {
            let token = fetch(purpose, &realm, service.as_deref(), &login);
            Some(bearer(&token.map_err(|(error, _)| error)?.value))
        }
        // Only an answer without a login shows that it asks for none: an error or a page is not one.
        None if auth.unknown_ways().is_empty() => None,
        None => {
            return Err(RegistryError::Unauthorized(Box::new(Denied {
                host: purpose.host.to_owned(),
                repository: String::new(),
                action: purpose.action.to_owned(),
                login: None,
                detail: Detail::default(),
                note: auth.note(&login),
                unknown_ways: auth.unknown_ways(),
            })));
        }
    };
    let mut response = show(purpose, value.as_ref())?.answer(Into::into)?;
    let no_proof = |page: &str| RegistryError::Challenge {
        host: purpose.host.to_owned(),
        problem: format!("{page}, which says nothing of the login"),
    };
    if !is_root(purpose, &response.url) {
        let place = shown(&response.url);
        return Err(no_proof(&format!(
            "it leads on to {place}, and that answered {}",
            response.status()
        )));
    }
    match response.status() {
        200..=299 => match response.bytes(MAX_PAGE, purpose.progress)? {
            Some(bytes) if detail::page(&bytes).is_some() => {
                Err(no_proof("it answers with a page of HTML or XML"))
            }
            _ => Ok(value.is_some()),
        },
        401 | 403 if value.is_some() => {
            let denied = refused(purpose, user, &login, &mut response);
            Err(RegistryError::Unauthorized(Box::new(denied)))
        }
        status => Err(RegistryError::Status {
            host: authority(&response.url),
            repository: String::new(),
            action: purpose.action.to_owned(),
            status,
            detail: detail(&mut response),
        }),
    }
}

/// The failure of a login, for another purpose; `None` for what is not one.
fn again(error: &RegistryError, purpose: &Purpose<'_>) -> Option<RegistryError> {
    Some(match error {
        RegistryError::Unauthorized(denied) => anew(denied, purpose),
        RegistryError::Unreachable { host, kind, cause } => RegistryError::Unreachable {
            host: host.clone(),
            kind: *kind,
            cause: cause.clone(),
        },
        RegistryError::Status {
            host,
            repository,
            action,
            status,
            detail,
        } => RegistryError::Status {
            host: host.clone(),
            repository: repository.clone(),
            action: action.clone(),
            status: *status,
            detail: detail.clone(),
        },
        RegistryError::Busy { host, wait, limit } => RegistryError::Busy {
            host: host.clone(),
            wait: *wait,
            limit: *limit,
        },
        RegistryError::Challenge { host, problem } => RegistryError::Challenge {
            host: host.clone(),
            problem: problem.clone(),
        },
        _ => return None,
    })
}

/// The refusal of a login, for another purpose.
fn anew(denied: &Denied, purpose: &Purpose<'_>) -> RegistryError {
    RegistryError::Unauthorized(Box::new(Denied {
        repository: purpose.repository.to_owned(),
        action: purpose.action.to_owned(),
        ..denied.clone()
    }))
}
