//! Scripts that lie neither in the source nor in an image.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::registry::{Client, ClientOptions};
use crate::s2i::ScriptsUrl;
use crate::s2i::scripts::{ASSEMBLE, ASSEMBLE_RUNTIME, MAX_SCRIPT, RUN, SAVE_ARTIFACTS, USAGE};

use super::error::S2iBuildError;
use super::scripts::word;

/// Gets one script; `None` when there is none of this name at a place that can be reached.
pub(super) fn script(url: &ScriptsUrl, name: &str) -> Result<Option<Vec<u8>>, S2iBuildError> {
    let failed = |problem: String| S2iBuildError::Download {
        url: format!("{}/{name}", word(url)),
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
            let client = Client::new(ClientOptions::default())?;
            Ok(client.fetch_file(&format!("{url}/{name}"), MAX_SCRIPT)?)
        }
    }
}

/// Refuses a place of `--scripts-url` that has nothing: a misspelt address is no wish for the image's
/// own scripts.
pub(super) fn must_have_some(url: &ScriptsUrl) -> Result<(), S2iBuildError> {
    if matches!(url, ScriptsUrl::Image(_)) {
        return Ok(());
    }
    for name in [ASSEMBLE, RUN, SAVE_ARTIFACTS, ASSEMBLE_RUNTIME, USAGE] {
        if script(url, name)?.is_some() {
            return Ok(());
        }
    }
    Err(S2iBuildError::NoScriptsAt { url: word(url) })
}
