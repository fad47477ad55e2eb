//! Logins in URLs and in variables.

use crate::app::address::{Address, percent_decoded};

/// Whether a variable's name says that its value is secret.
pub(in super::super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let anywhere = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "API_KEY",
        "APIKEY",
        "ACCESS_KEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
        "AUTHORIZATION",
    ];
    // `DB_PASS`, npm's `_auth`; but not `PASS_COUNT`, and `PWD` is a directory.
    let last = ["_PASS", "_PWD", "_AUTH", "_PAT", "SIGNATURE"];
    !name.ends_with("_KEY_ID")
        && (anywhere.iter().any(|word| name.contains(word))
            || last.iter().any(|word| name.ends_with(word)))
}

/// The values of parameters in the URLs of a value that are logins (`?token=…`).
pub(in super::super) fn parameters(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in value.split([' ', '\t', '\n', '\r', '"', '\'']) {
        let Some((_, query)) = word.split_once('?') else {
            continue;
        };
        for pair in query.split(['&', ';', '#']) {
            if let Some((name, value)) = pair.split_once('=')
                && (is_secret(name) || ["key", "auth", "sig"].contains(&name))
            {
                found.push(value.to_owned());
            }
        }
    }
    found
}

/// The logins of the URLs in a value. A value without a scheme may be a proxy's address: `me:word@proxy:8080`.
fn logins(value: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for word in value.split([' ', '\t', '\n', '\r', ',', '"', '\'']) {
        let rest = match word.split_once("://") {
            Some((_, rest)) => rest,
            None if word
                .split_once('@')
                .is_some_and(|(login, _)| login.contains(':')) =>
            {
                word
            }
            None => continue,
        };
        // Of two programs one ends a host at a `\`, and the other does not: both logins are secret.
        for scheme in ["ssh", "https"] {
            found.extend(
                Address::behind(scheme, rest)
                    .login
                    .filter(|login| !found.contains(login)),
            );
        }
    }
    found
}

/// What of a value is a credential, as it may stand in a file: passwords, logins, and the login with
/// its host, each with its least length. The last is searched for even if the password is short.
pub(in super::super) fn credentials_in(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in passwords(value) {
        if word.len() >= 8 {
            found.push(word);
        }
    }
    for login in logins(value) {
        if login.len() >= 8 && login.contains(':') {
            found.push(login.to_owned());
        }
        let start = value.find(&format!("{login}@"));
        let rest = start.and_then(|at| value.get(at..)).unwrap_or_default();
        let end = rest
            .find(|c: char| c.is_whitespace() || "/?#,\"'".contains(c))
            .unwrap_or(rest.len());
        if let Some(authority) = rest.get(..end).filter(|text| text.len() >= 8) {
            found.push(authority.to_owned());
        }
    }
    found
}

/// The `user:password` parts of the URLs in a value, whole and as password alone.
pub(super) fn credentials(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for login in logins(value) {
        found.push(login.to_owned());
        if let Some((_, password)) = login.split_once(':') {
            found.push(password.to_owned());
        }
    }
    found
}

/// The passwords of the URLs in a value, as they stand there and without percent-encoding. A login
/// without a colon is a token.
pub(in super::super) fn passwords(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for login in logins(value) {
        let password = login
            .split_once(':')
            .map_or(login, |(_, password)| password);
        found.push(password.to_owned());
        if let Ok(decoded) = String::from_utf8(percent_decoded(password))
            && decoded != password
        {
            found.push(decoded);
        }
    }
    found
}

/// A URL list without its credentials, for cache keys.
pub(in super::super) fn without_credentials(value: &str) -> String {
    let mut clean = value.to_owned();
    for word in credentials(value) {
        clean = clean.replace(&format!("{word}@"), "");
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_in_every_url_of_a_value() {
        let value = "https://me:hunter22@a.example/simple https://token@b.example:8080/x";
        assert_eq!(credentials(value), ["me:hunter22", "hunter22", "token"]);
        assert_eq!(
            without_credentials(value),
            "https://a.example/simple https://b.example:8080/x"
        );
    }

    #[test]
    fn short_passwords_are_known_by_their_host() {
        assert_eq!(
            credentials_in("https://u:pw@pypi.example/simple"),
            ["u:pw@pypi.example"]
        );
        assert_eq!(
            credentials_in("http://me:hunter22@h:81/ x"),
            ["hunter22", "me:hunter22", "me:hunter22@h:81"]
        );
        assert!(credentials_in("https://pypi.example/simple").is_empty());
    }

    #[test]
    fn passwords_are_known_in_both_forms() {
        for (value, expected) in [
            (
                "http://me:p%40ss%2Fword@h/",
                &["p%40ss%2Fword", "p@ss/word"][..],
            ),
            ("https://token@h/", &["token"]),
            ("me:word@proxy:8080", &["word"]),
            ("me@example.com", &[]),
            ("host:80", &[]),
            (
                "[global]\nindex-url = https://u:pw1@a/\nextra-index-url=https://u:pw2@b/",
                &["pw1", "pw2"],
            ),
            ("http://u:100%@h", &["100%"]),
            ("http://u:pw1@h\\:pw2@i/", &["pw1@h\\:pw2", "pw1"]),
            ("http://u:a@b@h/", &["a@b"]),
        ] {
            assert_eq!(passwords(value), expected, "{value}");
        }
    }

    #[test]
    fn logins_among_the_parameters_of_urls_are_found() {
        assert_eq!(
            parameters(
                "https://a.example/x?page=2&access_token=abcdefgh#top http://b/?key=zyxwvuts"
            ),
            ["abcdefgh", "zyxwvuts"]
        );
        assert!(parameters("a=b https://a.example/token=x").is_empty());
    }

    #[test]
    fn names_tell_which_values_are_secret() {
        for (name, secret) in [
            ("PIP_TOKEN", true),
            ("db_password", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("npm_config__auth", true),
            ("DB_PASS", true),
            ("REGISTRY_AUTH", true),
            ("AWS_ACCESS_KEY", true),
            ("AWS_ACCESS_KEY_ID", false),
            ("PWD", false),
            ("AUTH_BACKEND", false),
            ("DJANGO_SETTINGS_MODULE", false),
            ("KEYBOARD", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }
}
