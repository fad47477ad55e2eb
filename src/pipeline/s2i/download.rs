//! Fetches scripts that are neither in the source nor in an image.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::app::address::Address;
use crate::registry::{self, Client, ClientOptions};
use crate::s2i::ScriptsUrl;
use crate::s2i::scripts::{ASSEMBLE, ASSEMBLE_RUNTIME, MAX_SCRIPT, RUN, SAVE_ARTIFACTS, USAGE};

use super::error::S2iBuildError;
use super::request::S2iRequest;

/// The origin of a place of scripts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Word<'a> {
    /// The caller of this build.
    Caller,
    /// The image with this name.
    Image(&'a str),
}

/// Refuses to fetch a URL that the caller has not named: this process can reach more hosts than the
/// author of an image.
fn may_be_fetched(request: &S2iRequest, url: &str, word: Word<'_>) -> Result<(), S2iBuildError> {
    let place = ScriptsUrl::Web(url.to_owned());
    if request.offline {
        return Err(S2iBuildError::ScriptsOffline { url: shown(&place) });
    }
    let Word::Image(image) = word else {
        return Ok(());
    };
    let (host, port) = registry::host_and_port(url)?;
    let named = request.script_hosts.iter().any(|named| {
        named.eq_ignore_ascii_case(&host) || named.eq_ignore_ascii_case(&format!("{host}:{port}"))
    });
    if named {
        return Ok(());
    }
    Err(S2iBuildError::ScriptsNotAskedFor {
        image: image.to_owned(),
        url: shown(&place),
        host,
    })
}

/// Gets one script; `None` if a reachable place does not have this name.
pub(super) fn script(
    request: &S2iRequest,
    url: &ScriptsUrl,
    word: Word<'_>,
    name: &str,
) -> Result<Option<Vec<u8>>, S2iBuildError> {
    let failed = |problem: String| S2iBuildError::Download {
        url: format!("{}/{name}", shown(url)),
        problem,
    };
    match url {
        ScriptsUrl::Image(_) => Ok(None),
        ScriptsUrl::File(directory) => {
            let path = Path::new(directory).join(name);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(error.to_string())),
            };
            if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
                return Err(failed("it is not a file".into()));
            }
            let mut content = Vec::new();
            file.take(MAX_SCRIPT + 1)
                .read_to_end(&mut content)
                .map_err(|error| failed(error.to_string()))?;
            if content.len() as u64 > MAX_SCRIPT {
                return Err(failed(format!("it is larger than {MAX_SCRIPT} bytes")));
            }
            Ok(Some(content))
        }
        ScriptsUrl::Web(url) => {
            may_be_fetched(request, url, word)?;
            let client = Client::new(ClientOptions::default())?;
            Ok(client.fetch_file(&format!("{url}/{name}"), MAX_SCRIPT)?)
        }
    }
}

/// A URL as the user wrote it, without credentials.
pub(super) fn shown(url: &ScriptsUrl) -> String {
    match url {
        ScriptsUrl::Image(path) => format!("image://{path}"),
        ScriptsUrl::File(path) => format!("file://{path}"),
        ScriptsUrl::Web(url) => match Address::of(url) {
            Some(address) => address.shown().trim_end_matches('/').to_owned(),
            None => url.clone(),
        },
    }
}

/// Refuses an empty place in `--scripts-url`: a misspelt address does not mean the image's own
/// scripts.
pub(super) fn must_have_some(
    request: &S2iRequest,
    url: &ScriptsUrl,
    word: Word<'_>,
) -> Result<(), S2iBuildError> {
    if matches!(url, ScriptsUrl::Image(_)) {
        return Ok(());
    }
    for name in [ASSEMBLE, RUN, SAVE_ARTIFACTS, ASSEMBLE_RUNTIME, USAGE] {
        if script(request, url, word, name)?.is_some() {
            return Ok(());
        }
    }
    Err(S2iBuildError::NoScriptsAt { url: shown(url) })
}
