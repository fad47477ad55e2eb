//! Small files and short notices over HTTP, for builds: an S2I script, a callback.
//!
//! The user gave the address, so plain `http` is allowed to any host here, as in the `s2i` tool; not
//! where a redirect would lead from https to it.

use super::detail::detail;
use super::error::RegistryError;
use super::http::{HttpRequest, Method, Payload, Url, shown};
use super::progress::Silent;
use super::session::Client;

fn parse(url: &str) -> Result<Url, RegistryError> {
    let parsed = Url::parse(url).map_err(|error| RegistryError::Url {
        url: super::error::tame(url, 300),
        problem: error.to_string(),
    })?;
    if matches!(parsed.scheme(), "http" | "https") {
        return Ok(parsed);
    }
    Err(RegistryError::Url {
        url: shown(&parsed),
        problem: "it is neither http nor https".into(),
    })
}

/// The host and the port of a URL, as this client reads it.
pub fn host_and_port(url: &str) -> Result<(String, u16), RegistryError> {
    let url = parse(url)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    Ok((host, url.port_or_known_default().unwrap_or_default()))
}

impl Client {
    /// Fetches a file of at most `max_bytes`; `None` when the server has none of that name. Addresses of
    /// this machine and of its link are refused, also where a name or a redirect leads to them.
    pub fn fetch_file(&self, url: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        let url = parse(url)?;
        let what = shown(&url);
        let mut response =
            self.agent
                .repeat(&HttpRequest::get(url).even_plain().public(), None, &Silent)?;
        match response.status() {
            200 | 201 => {}
            404 | 410 => return Ok(None),
            status => {
                return Err(RegistryError::Status {
                    host: super::http::authority(&response.url),
                    repository: String::new(),
                    action: format!("the request for {what}"),
                    status,
                    detail: detail(&mut response),
                });
            }
        }
        response
            .bytes(max_bytes, &Silent)?
            .map(Some)
            .ok_or(RegistryError::TooLarge {
                what,
                limit: max_bytes,
            })
    }

    /// Sends a JSON document with POST, all of it again at each try.
    pub fn post_json(&self, url: &str, body: &[u8]) -> Result<(), RegistryError> {
        let url = parse(url)?;
        let what = shown(&url);
        let request = HttpRequest::new(Method::POST, url)
            .header("content-type", "application/json")
            .payload(Payload::Bytes(body.to_vec()))
            .even_plain();
        let mut response = self.agent.repeat(&request, None, &Silent)?;
        let status = response.status();
        if (200..300).contains(&status) {
            return Ok(());
        }
        Err(RegistryError::Status {
            host: super::http::authority(&response.url),
            repository: String::new(),
            action: format!("the notice to {what}"),
            status,
            detail: detail(&mut response),
        })
    }
}
