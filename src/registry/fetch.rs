//! Pinned files and small pages from elsewhere than a registry: a wheel from a package index, and the
//! index's page (PEP 503, PEP 691) to find it.

use std::io::Write;

use super::detail::detail;
use super::error::RegistryError;
use super::http::{HttpRequest, Url, same_origin, shown};
use super::progress::Silent;
use super::retry::{Tries, pause};
use super::session::Client;
use crate::oci::{Digest, Sha256Writer};

/// A page, and where it came from after redirects (what relative links on it start from).
#[derive(Debug, Clone)]
pub struct Page {
    pub url: String,
    pub content_type: String,
    pub text: String,
}

/// Whether programs differ in which host an address names. The URL standard of browsers reads `\` as `/`, leaves
/// out control characters, and takes any number of slashes behind the scheme; RFC 3986 does none of it.
pub fn is_ambiguous(url: &str) -> bool {
    let has_host = url
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.starts_with('/'));
    url.contains(|c: char| c == '\\' || c.is_control()) || !has_host
}

/// A URL of which all programs say that it names the same host.
fn parse(url: &str) -> Result<Url, RegistryError> {
    let bad = |problem: String| RegistryError::Url {
        url: super::error::tame(url, 300),
        problem,
    };
    if is_ambiguous(url) {
        return Err(bad("programs differ in which host it names".into()));
    }
    Url::parse(url).map_err(|error| bad(error.to_string()))
}

impl Client {
    /// Fetches a file and verifies its SHA-256. `into` gets bytes as they come: on an error, what it
    /// has got is to be thrown away. A login in the URL is used, and shown in no message.
    pub fn download(
        &self,
        url: &str,
        expected: &Digest,
        max_bytes: u64,
        into: &mut dyn Write,
    ) -> Result<u64, RegistryError> {
        let url = parse(url)?;
        let what = shown(&url);
        let mut into = Sha256Writer::new(into);
        let mut received = 0;
        let mut tries = Tries::new(&self.agent.retry);
        loop {
            let before = received;
            let Some(reason) = self.rest(&url, &what, max_bytes, &mut into, &mut received)? else {
                break;
            };
            tries.headway(received - before);
            let Some(wait) = tries.next(&what, None)? else {
                return Err(RegistryError::Url {
                    url: what,
                    problem: format!("the download broke off after {received} bytes: {reason}"),
                });
            };
            pause(wait, None);
        }
        let (_, found, size) = into.finish();
        if found != *expected {
            // Its digest is not shown: for a short answer it would reveal the content.
            return Err(RegistryError::Url {
                url: what,
                problem: format!(
                    "the received file does not have the digest {expected}: it was changed there or on the way"
                ),
            });
        }
        Ok(size)
    }

    /// Fetches what is missing; the reason when it broke off.
    fn rest(
        &self,
        url: &Url,
        what: &str,
        max_bytes: u64,
        into: &mut dyn Write,
        received: &mut u64,
    ) -> Result<Option<String>, RegistryError> {
        // The bytes are verified by their hash, so plain HTTP is allowed.
        let mut request = HttpRequest::get(url.clone()).even_plain();
        if *received > 0 {
            request = request.header("range", format!("bytes={received}-"));
        }
        let mut response = self.agent.repeat(&request, None, &Silent)?;
        let mut skip = match response.status() {
            200 => *received,
            206 => 0,
            status => return Err(refused(&mut response, what, status)),
        };
        let length = response.content_length();
        let whole = length.map(|length| {
            if response.status() == 206 {
                *received + length
            } else {
                length
            }
        });
        let too_large = || RegistryError::TooLarge {
            what: what.to_owned(),
            limit: max_bytes,
        };
        if whole.is_some_and(|whole| whole > max_bytes) {
            return Err(too_large());
        }
        loop {
            let chunk = match response.chunk(&Silent) {
                Ok(Some(chunk)) => chunk,
                Ok(None) if whole.is_some_and(|whole| *received < whole) => {
                    return Ok(Some("it ended too early".into()));
                }
                Ok(None) => return Ok(None),
                Err(failure) => return Ok(Some(failure.cause)),
            };
            let bytes = chunk.as_ref();
            let leave_out = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = &bytes[leave_out..];
            skip -= leave_out as u64;
            if *received + bytes.len() as u64 > max_bytes {
                return Err(too_large());
            }
            into.write_all(bytes)
                .map_err(|source| RegistryError::Local {
                    doing: format!("writing {what}"),
                    source,
                })?;
            *received += bytes.len() as u64;
        }
    }

    /// Fetches a page of at most `max_bytes`, as UTF-8. Plain `http` is allowed: files that a page of an index
    /// names are verified by hashes.
    pub fn fetch_text(
        &self,
        url: &str,
        accept: &str,
        max_bytes: u64,
    ) -> Result<Page, RegistryError> {
        let url = parse(url)?;
        let what = shown(&url);
        let mut response = self.agent.repeat(
            &HttpRequest::get(url).header("accept", accept).even_plain(),
            None,
            &Silent,
        )?;
        if response.status() != 200 {
            let status = response.status();
            return Err(refused(&mut response, &what, status));
        }
        let bytes = response
            .bytes(max_bytes, &Silent)?
            .ok_or_else(|| RegistryError::TooLarge {
                what: what.clone(),
                limit: max_bytes,
            })?;
        let text = String::from_utf8(bytes).map_err(|_| RegistryError::Url {
            url: what,
            problem: "it is not text in UTF-8".into(),
        })?;
        Ok(Page {
            url: response.url.to_string(),
            content_type: response
                .header("content-type")
                .unwrap_or_default()
                .to_owned(),
            text,
        })
    }
}

fn refused(response: &mut super::http::Response<'_>, what: &str, status: u16) -> RegistryError {
    RegistryError::Status {
        host: super::http::authority(&response.url),
        repository: String::new(),
        action: format!("the request for {what}"),
        status,
        detail: detail(response),
    }
}

/// Resolves a link on a page (`../../packages/x.whl#sha256=…`) against the page's address.
pub fn join_url(page: &str, link: &str) -> Result<String, RegistryError> {
    let joined = parse(page)?
        .join(link)
        .map_err(|error| RegistryError::Url {
            url: super::error::tame(link, 300),
            problem: error.to_string(),
        })?;
    Ok(joined.to_string())
}

/// The URL with the login of the first of these that has one for the same origin (scheme, host and
/// port); as it is where it has a login itself, or programs differ in which host it names.
pub fn with_login_of(url: &str, others: &[String]) -> String {
    let Ok(mut parsed) = parse(url) else {
        return url.to_owned();
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return url.to_owned();
    }
    let has_one = |other: &Url| !other.username().is_empty() || other.password().is_some();
    let mut known = others.iter().filter_map(|other| parse(other).ok());
    let Some(known) = known.find(|other| has_one(other) && same_origin(other, &parsed)) else {
        return url.to_owned();
    };
    // Both fail for URLs without a host only, which have no origin.
    let _ = parsed.set_username(known.username());
    let _ = parsed.set_password(known.password());
    parsed.to_string()
}

#[cfg(test)]
mod tests {
    use super::{parse, with_login_of};

    #[test]
    fn an_address_that_programs_read_in_two_ways_is_refused() {
        for good in [
            "https://pypi.org/simple/six/",
            "http://127.0.0.1:8080/simple",
            "https://me:p%5Cw@corp.example/simple/a b/",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://attacker.example\\@corp.example/simple",
            "https:\\\\attacker.example/simple",
            "https:///attacker.example/simple",
            "https:attacker.example/simple",
            "http://att\tacker.example/simple",
            "http://attacker.example/\n/simple",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("differ in which host"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_login_goes_to_its_own_origin_only() {
        let known = ["https://me:p%40ss@a.example/simple".to_owned()];
        for (url, expected) in [
            (
                "https://a.example/x.whl",
                "https://me:p%40ss@a.example/x.whl",
            ),
            (
                "https://a.example:443/x.whl",
                "https://me:p%40ss@a.example/x.whl",
            ),
            ("https://you@a.example/x.whl", "https://you@a.example/x.whl"),
            ("http://a.example/x.whl", "http://a.example/x.whl"),
            (
                "https://a.example:8443/x.whl",
                "https://a.example:8443/x.whl",
            ),
            ("https://b.example/x.whl", "https://b.example/x.whl"),
            ("x.whl", "x.whl"),
            ("https:///a.example/x.whl", "https:///a.example/x.whl"),
            ("https://a.example\\x.whl", "https://a.example\\x.whl"),
        ] {
            assert_eq!(with_login_of(url, &known), expected, "{url}");
        }
    }
}
