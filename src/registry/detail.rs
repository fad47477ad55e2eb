//! What a registry says of a failure in its own words.

use serde::Deserialize;

use super::error::{Detail, tame};
use super::http::Response;
use super::progress::Silent;

/// Error bodies are read up to this size.
const MAX_DETAIL: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
    /// Token servers and Docker's daemon say it so.
    #[serde(default, alias = "details", alias = "error_description")]
    message: Option<String>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A registry's own words (distribution-spec, "Error Codes").
pub(super) fn detail(response: &mut Response<'_>) -> Detail {
    let Ok(Some(bytes)) = response.bytes(MAX_DETAIL, &Silent) else {
        return Detail::default();
    };
    words(&bytes)
}

fn words(bytes: &[u8]) -> Detail {
    let Ok(errors) = serde_json::from_slice::<Errors>(bytes) else {
        // Plain text helps; of a proxy's HTML page, the title does, and of S3's XML the message.
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_start_matches('\u{feff}').trim();
        return Detail(if text.starts_with('<') {
            of_markup(text)
        } else {
            tame(text, 200)
        });
    };
    let mut parts: Vec<String> = errors
        .errors
        .iter()
        .take(3)
        .map(
            |error| match (error.code.as_str(), error.message.as_str()) {
                ("", message) => tame(message, 300),
                (code, "") => tame(code, 60),
                (code, message) => format!("{} ({})", tame(message, 300), tame(code, 60)),
            },
        )
        .collect();
    if parts.is_empty() {
        parts.extend(errors.message.map(|message| tame(&message, 300)));
    }
    Detail(parts.join("; "))
}

/// The title of a page that came instead of the expected answer; `None`: it is not a page.
pub(super) fn page(bytes: &[u8]) -> Option<String> {
    let begin = &bytes[..bytes.len().min(64 * 1024)];
    let text = String::from_utf8_lossy(begin);
    let text = text.trim_start_matches('\u{feff}').trim();
    text.starts_with('<').then(|| of_markup(text))
}

/// The title of a page, or the message and the code of an error of S3, whose way others have, too.
fn of_markup(text: &str) -> String {
    let title = element(text, "title");
    if !title.is_empty() {
        return title;
    }
    match (element(text, "message"), element(text, "code")) {
        (message, code) if message.is_empty() || code.is_empty() => message + &code,
        (message, code) => format!("{message} ({code})"),
    }
}

/// The text of the first element of a name.
fn element(page: &str, name: &str) -> String {
    // Letters of ASCII alone change, so that places stay the same.
    let lower = page.to_ascii_lowercase();
    let begins =
        |at: &usize| lower[at + 1 + name.len()..].starts_with(['>', ' ', '\t', '\n', '\r']);
    let open = format!("<{name}");
    let first = lower.match_indices(&open).map(|(at, _)| at).find(begins);
    let found = first.and_then(|begin| {
        let begin = begin + lower[begin..].find('>')? + 1;
        let end = begin + lower[begin..].find(&format!("</{name}"))?;
        page.get(begin..end)
    });
    let words: Vec<&str> = found.unwrap_or_default().split_whitespace().collect();
    let mut text = words.join(" ");
    // The last one, or it would make new ones.
    for (entity, meant) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, meant);
    }
    tame(&text, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_read_and_tamed() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known","detail":{"name":"x"}}]}"#,
                "repository name not known (NAME_UNKNOWN)",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
            (r#"{"details":"incorrect username"}"#, "incorrect username"),
            ("<html>502</html>", ""),
            (
                "<!DOCTYPE html><HTML><Title lang=en>413 HttpRequest\n Entity Too Large</TITLE>",
                "413 HttpRequest Entity Too Large",
            ),
            ("<title>never ends", ""),
            ("<title", ""),
            (
                "<titles>no</titles><title>R&amp;D &lt;b&gt;</title>",
                "R&D <b>",
            ),
            ("<title>&amp;lt;</title>", "&lt;"),
            (
                "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
                "Request has expired (AccessDenied)",
            ),
            ("\u{feff}<Error><Message>gone</Message></Error>", "gone"),
            ("<Error><Code>SlowDown</Code></Error>", "SlowDown"),
            ("404 page not found\n", "404 page not found"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("", ""),
            (r#"{"errors": 3}"#, r#"{"errors": 3}"#),
        ] {
            assert_eq!(words(body.as_bytes()).0, expected, "{body}");
        }
    }
}
