//! Sends requests, and sends them again while what failed may pass.
//!
//! It has the connections and the user's logins, and knows nothing of registries: what lies above
//! ([`super::auth`], [`super::session`]) says what is asked, and in whose name.

use std::time::Duration;

use super::credential::Secret;
use super::credentials::Credentials;
use super::error::RegistryError;
use super::http::{Http, HttpRequest, Outcome, Response, Watch, authority};
use super::parallel::Stop;
use super::progress::{Event, TransferListener};
use super::retry::{self, Retry, Tries, pause};

pub(super) struct Agent {
    pub(super) http: Http,
    pub(super) credentials: Credentials,
    pub(super) retry: Retry,
}

impl Agent {
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        use super::http::Certificates;
        use super::proxy::Proxies;
        use super::retry::Patience;
        let certificates = Certificates::default();
        let proxies = Proxies::default();
        let patience = Patience::default();
        Self {
            http: Http::new("test", Vec::new(), certificates, proxies, patience, None).unwrap(),
            credentials: Credentials::default(),
            retry: Retry::default(),
        }
    }

    /// A wait, cut at the user's own limit.
    pub(super) fn at_most(&self, wait: Duration) -> Duration {
        self.http.left().map_or(wait, |left| wait.min(left))
    }

    /// A request outside of any repository, repeated while it fails in a way that may pass.
    pub(super) fn repeat(
        &self,
        request: &HttpRequest,
        authorization: Option<&Secret>,
        progress: &dyn TransferListener,
    ) -> Result<Response<'_>, RegistryError> {
        let watch = Watch {
            progress,
            ..Watch::NONE
        };
        let mut tries = Tries::new(&self.retry);
        let mut hurried = false;
        loop {
            let outcome = self.http.send(request, authorization, &watch)?;
            if let Outcome::Lost(failure) = &outcome
                && failure.closed
                && !hurried
            {
                hurried = true;
                continue;
            }
            if let Some(wait) = self.again(&mut tries, &outcome, progress)? {
                pause(wait, None);
                continue;
            }
            return outcome.answer(Into::into);
        }
    }

    /// How long to wait before the same is tried again; `None` when it should not be.
    pub(super) fn again(
        &self,
        tries: &mut Tries,
        outcome: &Outcome<'_>,
        progress: &dyn TransferListener,
    ) -> Result<Option<Duration>, RegistryError> {
        let (what, reason, asked) = match outcome {
            Outcome::Answer(response) if retry::is_transient(response.status()) => (
                authority(&response.url),
                format!("it answered {}", response.status()),
                retry::retry_after(response.header("retry-after")),
            ),
            Outcome::Lost(failure) if failure.may_pass() => {
                (failure.host.clone(), failure.cause.clone(), None)
            }
            _ => return Ok(None),
        };
        self.http.allows(&what, asked)?;
        let Some(wait) = tries.next(&what, asked)? else {
            return Ok(None);
        };
        progress.event(&Event::Retry {
            what: &what,
            reason: &reason,
            wait,
        });
        Ok(Some(self.at_most(wait)))
    }

    /// Tells of a failed try, and waits for the next one, at least as long as a host has asked. False: it is
    /// given up.
    pub(super) fn try_again(
        &self,
        tries: &mut Tries,
        (what, reason, asked): (&str, &str, Option<(&str, Duration)>),
        progress: &dyn TransferListener,
        stop: &Stop,
    ) -> Result<bool, RegistryError> {
        if self.http.left().is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        let (host, asked) = asked.unzip();
        let host = host.unwrap_or(what);
        self.http.allows(host, asked)?;
        let Some(wait) = tries.next(host, asked)? else {
            return Ok(false);
        };
        progress.event(&Event::Retry { what, reason, wait });
        pause(self.at_most(wait), Some(stop));
        Ok(true)
    }
}
