//! Credential helpers: executables named `docker-credential-NAME` that read a server's name on
//! standard input and answer with a login in JSON (docker-credential-helpers, "Development").

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::credential::{Credential, Secret};
use super::error::tame;
use super::http::TELL_EVERY;
use super::progress::{Event, Silent, TransferListener};

/// A helper may ask its user something, or a cloud's service.
const PATIENCE: Duration = Duration::from_mins(1);
const MAX_ANSWER: u64 = 1024 * 1024;
const MAX_COMPLAINT: u64 = 4096;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// How long to wait for a helper, and where the wait is reported.
#[derive(Clone, Copy)]
pub(crate) struct Wait<'a> {
    pub most: Option<Duration>,
    pub progress: &'a dyn TransferListener,
}

impl Wait<'static> {
    /// As long as a helper may take, and silently.
    pub(crate) const SILENT: Self = Wait {
        most: None,
        progress: &Silent,
    };
}

/// Asks a helper. `None` when it knows no login for the server; an error in words that name it.
pub(crate) fn get(name: &str, server: &str, wait: Wait<'_>) -> Result<Option<Credential>, String> {
    let Some(answer) = call(name, "get", server.as_bytes(), wait)? else {
        return Ok(None);
    };
    let answer: Answer = serde_json::from_slice(&answer).map_err(|_| {
        format!("docker-credential-{name}, which answered something that is not JSON")
    })?;
    Ok(match (answer.username.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        ("<token>", secret) => Some(Credential::IdentityToken(Secret::new(secret))),
        (user, secret) => Some(Credential::Basic {
            user: user.to_owned(),
            password: Secret::new(secret),
        }),
    })
}

/// Has a helper keep a login.
pub(crate) fn store(name: &str, server: &str, user: &str, password: &str) -> Result<(), String> {
    let login = serde_json::json!({"ServerURL": server, "Username": user, "Secret": password});
    call(name, "store", login.to_string().as_bytes(), Wait::SILENT)?;
    Ok(())
}

/// Has a helper forget a login. False when it knew none.
pub(crate) fn erase(name: &str, server: &str) -> Result<bool, String> {
    Ok(call(name, "erase", server.as_bytes(), Wait::SILENT)?.is_some())
}

/// Runs a helper. `None` when it says that it knows no login.
fn call(
    name: &str,
    verb: &str,
    input_bytes: &[u8],
    wait: Wait<'_>,
) -> Result<Option<Vec<u8>>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        return Err(format!(
            "a credential helper `{}`, which is not a helper's name",
            tame(name, 64)
        ));
    }
    let program = format!("docker-credential-{name}");
    let failed = |problem: &str| format!("{program}, which {problem}");
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format!("cannot be run: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input has its own way to fail.
        let _ = input.write_all(input_bytes);
    }
    // What it complains of is read beside, so that it can't be held up by it.
    let complaint = child.stderr.take().map(|errors| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut errors = errors;
            let _ = (&mut errors).take(MAX_COMPLAINT).read_to_end(&mut bytes);
            // What is more goes nowhere; the helper is not to wait for a reader.
            let _ = std::io::copy(&mut errors, &mut std::io::sink());
            bytes
        })
    });
    let (send, receive) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(MAX_ANSWER).read_to_end(&mut bytes);
            let _ = send.send(read.map(|_| bytes));
        });
    }
    let (begin, most) = (Instant::now(), wait.most.unwrap_or(PATIENCE).min(PATIENCE));
    let answer = loop {
        let left = most.saturating_sub(begin.elapsed());
        let slice = left.min(TELL_EVERY);
        match receive.recv_timeout(slice) {
            Ok(answer) => break answer,
            Err(RecvTimeoutError::Disconnected) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed("ended without an answer"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if slice == left {
            let _ = child.kill();
            let _ = child.wait();
            let seconds = most.as_secs_f32().ceil();
            return Err(failed(&format!("did not answer within {seconds} s")));
        }
        wait.progress.event(&Event::Quiet {
            what: &program,
            waited: begin.elapsed(),
        });
    };
    let answer = answer.map_err(|error| failed(&format!("cannot be read: {error}")))?;
    let status = child
        .wait()
        .map_err(|error| failed(&format!("cannot be waited for: {error}")))?;
    if !status.success() {
        // Helpers tell their error on standard output; this one means "no login for that server".
        let text = tame(&String::from_utf8_lossy(&answer), 200);
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let complaint = complaint.and_then(|thread| thread.join().ok());
        let complaint = tame(
            &String::from_utf8_lossy(&complaint.unwrap_or_default()),
            300,
        );
        let said = [text, complaint]
            .into_iter()
            .filter(|words| !words.is_empty());
        let said: Vec<String> = said.collect();
        return Err(failed(&format!("failed: {}", said.join("; "))));
    }
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        for name in ["", "../x", "a/b", "a b"] {
            assert!(
                get(name, "x.example", Wait::SILENT)
                    .unwrap_err()
                    .contains("not a helper's name")
            );
        }
    }
}
