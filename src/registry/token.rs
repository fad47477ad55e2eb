//! Tokens: where a registry's token server is, and what it gives (distribution-spec, "Token Authentication"
//! and "`OAuth2`" of the distribution project).

use std::time::{Duration, Instant};

use base64::Engine;
use serde::Deserialize;

use super::agent::Agent;
use super::credential::{Credential, Secret};
use super::credentials::Found;
use super::detail::detail;
use super::error::{Denied, RegistryError, tame};
use super::http::{HttpRequest, Method, Payload, Response, Url, authority, shown};
use super::progress::TransferListener;

/// What a token lasts at the least, and when the server does not say (docs.docker.com, "Token
/// Authentication": "a token should never be returned with less than 60 seconds to live"). One that the
/// registry refuses before is renewed then.
const LEAST_LIFE: u64 = 60;
/// Tokens are renewed this long before their end.
const MARGIN: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 1024 * 1024;
/// A token longer than this would not fit into a request's header.
const MAX_TOKEN: usize = 64 * 1024;

/// The requests that need a login.
pub(crate) struct Purpose<'a> {
    pub agent: &'a Agent,
    pub host: &'a str,
    pub base: &'a Url,
    pub repository: &'a str,
    pub scopes: &'a [String],
    pub action: &'a str,
    pub progress: &'a dyn TransferListener,
}

/// What a token server gave.
pub(super) struct Token {
    pub value: Secret,
    pub until: Instant,
}

pub(super) fn basic(user: &str, password: &Secret) -> Secret {
    let pair = format!("{user}:{}", password.reveal());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    Secret::new(format!("Basic {encoded}"))
}

pub(super) fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}

/// Checks where a registry wants the login sent to.
pub(super) fn realm(
    agent: &Agent,
    host: &str,
    base: &Url,
    text: &str,
) -> Result<Url, RegistryError> {
    let refuse = |problem: String| RegistryError::Challenge {
        host: host.to_owned(),
        problem,
    };
    let url = Url::parse(text).map_err(|_| {
        refuse(format!(
            "`{}` is not a token server's address",
            tame(text, 200)
        ))
    })?;
    let trusted = match url.scheme() {
        "https" => true,
        "http" => base.scheme() == "http" && agent.http.may_be_plain(&url),
        _ => false,
    };
    if !trusted {
        return Err(refuse(format!(
            "the token server {} is not reached by https, and a login must not go over the net unencrypted",
            shown(&url)
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "the token server's address has a login in it".into(),
        ));
    }
    Ok(url)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Asks the token server. An error comes with the status that it answered, or 0.
pub(super) fn fetch(
    purpose: &Purpose<'_>,
    realm: &Url,
    service: Option<&str>,
    login: &Found,
) -> Result<Token, (RegistryError, u16)> {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    fields.extend(service.map(|service| ("service", service)));
    let (request, authorization) = if let Some(Credential::IdentityToken(token)) = &login.credential
    {
        let scopes = purpose.scopes.join(" ");
        fields.extend([
            ("grant_type", "refresh_token"),
            ("refresh_token", token.reveal()),
            ("client_id", "warpdrive"),
            ("scope", &scopes),
        ]);
        let request = HttpRequest::new(Method::POST, realm.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .payload(Payload::Bytes(form(&fields)));
        (request, None)
    } else {
        fields.extend(purpose.scopes.iter().map(|scope| ("scope", scope.as_str())));
        let mut url = realm.clone();
        url.query_pairs_mut().extend_pairs(&fields);
        let authorization = match &login.credential {
            Some(Credential::Basic { user, password }) => Some(basic(user, password)),
            _ => None,
        };
        (HttpRequest::get(url), authorization)
    };
    let sent = authorization.is_some() || matches!(request.payload, Payload::Bytes(_));
    let mut response = purpose
        .agent
        .repeat(&request, authorization.as_ref(), purpose.progress)
        .map_err(|error| (error, 0))?;
    let status = response.status();
    match status {
        200 => read(purpose, realm, &mut response).map_err(|error| (error, status)),
        400 | 401 | 403 => {
            let user = login.credential.as_ref().map(|c| tame(c.user(), 100));
            let denied = Denied {
                host: purpose.host.to_owned(),
                repository: purpose.repository.to_owned(),
                action: purpose.action.to_owned(),
                login: user.filter(|_| sent),
                detail: detail(&mut response),
                note: login.note.clone(),
                unknown_ways: Vec::new(),
            };
            Err((RegistryError::Unauthorized(Box::new(denied)), status))
        }
        _ => {
            let error = RegistryError::Status {
                host: authority(realm),
                repository: purpose.repository.to_owned(),
                action: format!("the question for a token ({})", purpose.action),
                status,
                detail: detail(&mut response),
            };
            Err((error, status))
        }
    }
}

/// The token in an answer.
fn read(
    purpose: &Purpose<'_>,
    realm: &Url,
    response: &mut Response<'_>,
) -> Result<Token, RegistryError> {
    let server = authority(realm);
    let bad = |problem: &str| RegistryError::Challenge {
        host: purpose.host.to_owned(),
        problem: format!("its token server {server} {problem}"),
    };
    let bytes = response
        .bytes(MAX_ANSWER, purpose.progress)?
        .ok_or_else(|| bad("answered more than a mebibyte"))?;
    // The parser's message could repeat the token.
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|_| bad("answered something that is not a token in JSON"))?;
    let value = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| bad("answered without a token"))?;
    if value.len() > MAX_TOKEN || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("answered a token that does not fit into a header"));
    }
    let life = answer.expires_in.unwrap_or(LEAST_LIFE);
    let life = Duration::from_secs(life.clamp(LEAST_LIFE, 86_400));
    Ok(Token {
        value: Secret::new(value),
        until: Instant::now() + life.saturating_sub(MARGIN),
    })
}

/// `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    // The same encoding as a URL's query; this URL leads nowhere.
    let Ok(mut url) = Url::parse("form:") else {
        return Vec::new();
    };
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        let bytes = form(&[("a", "x y&z"), ("scope", "repository:a/b:pull,push")]);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "a=x+y%26z&scope=repository%3Aa%2Fb%3Apull%2Cpush");
    }

    #[test]
    fn a_login_goes_to_an_encrypted_token_server_only() {
        let agent = Agent::for_tests();
        let https = Url::parse("https://reg.example/").unwrap();
        let http = Url::parse("http://127.0.0.1:5000/").unwrap();
        for (base, text, good) in [
            (&https, "https://auth.example/token", true),
            (&https, "http://auth.example/token", false),
            (&https, "http://127.0.0.1/token", false),
            (&http, "http://127.0.0.1:5001/token", true),
            (&http, "http://auth.example/token", false),
            (&http, "https://auth.example/token", true),
            (&https, "https://u:p@auth.example/token", false),
            (&https, "file:///etc/passwd", false),
            (&https, "", false),
        ] {
            assert_eq!(
                realm(&agent, "h", base, text).is_ok(),
                good,
                "{base} {text}"
            );
        }
    }
}
