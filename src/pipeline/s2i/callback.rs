//! `--callback-url`: reports to a URL how a build ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::progress::Progress;
use crate::registry::{Client, ClientOptions, Retry};

/// Number of attempts, as in the `s2i` tool; each sends the complete body.
const ATTEMPTS: u32 = 3;

/// Posts `{"labels": {…}, "success": …}`. A failure does not change the build's result: it is a
/// warning.
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
        Ok(()) => progress.step("---> Reported to the callback URL"),
        Err(error) => progress.warning(&format!(
            "could not report to the callback URL: {error}; the build is not affected"
        )),
    }
}
