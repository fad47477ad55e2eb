//! `--callback-url`: reports to a URL how a build ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::progress::Progress;
use crate::registry::{Client, ClientOptions, Retry};

/// Tries in all, as in the `s2i` tool; each sends the whole body.
const ATTEMPTS: u32 = 3;

/// Posts `{"labels": {…}, "success": …}`. Whatever comes of it, the build is what it is: a failure is
/// a warning.
pub fn notify(
    url: &str,
    success: bool,
    labels: &BTreeMap<String, String>,
    progress: &dyn Progress,
) {
    let body = json!({"success": success, "labels": labels}).to_string();
    let sent = Client::new(ClientOptions {
        retry: Retry {
            attempts: ATTEMPTS,
            first_wait: Duration::from_millis(500),
            ..Retry::default()
        },
        ..ClientOptions::default()
    })
    .and_then(|client| client.post_json(url, body.as_bytes()));
    match sent {
        Ok(()) => progress.step("---> Told the callback URL"),
        Err(error) => progress.warning(&format!(
            "the callback URL was not told, which changes nothing about the build: {error}"
        )),
    }
}
