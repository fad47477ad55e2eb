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
        // Plain text helps; of a proxy's HTML page, the title does.
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim();
        return Detail(if text.starts_with('<') {
            title(text)
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

/// What a page calls itself.
fn title(page: &str) -> String {
    // Letters of ASCII alone change, so that places stay the same.
    let lower = page.to_ascii_lowercase();
    let found = lower.find("<title").and_then(|begin| {
        let begin = begin + lower[begin..].find('>')? + 1;
        let end = begin + lower[begin..].find("</title")?;
        page.get(begin..end)
    });
    let words: Vec<&str> = found.unwrap_or_default().split_whitespace().collect();
    tame(&words.join(" "), 200)
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
            ("404 page not found\n", "404 page not found"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("", ""),
            (r#"{"errors": 3}"#, r#"{"errors": 3}"#),
        ] {
            assert_eq!(words(body.as_bytes()).0, expected, "{body}");
        }
    }
}
