//! A git remote as a URL that is safe in an image's labels: no credentials, no local path.

use crate::app::address::Address;

/// The URL, or `None` for a path of this machine or anything else that is not a server's URL.
///
/// The scp-like form `git@host:team/app.git` (git-clone, "GIT URLS") becomes `ssh://git@host/team/app.git`.
/// A user name stays only as `git@` of SSH, which is everyone's; query and fragment go.
pub(super) fn normalized(given: &str) -> Option<String> {
    let given = given.trim();
    if given.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return None;
    }
    let (scheme, user, host, path) = if let Some((scheme, rest)) = given.split_once("://") {
        let address = Address::behind(scheme, rest);
        let user = address
            .login
            .map(|login| login.split(':').next().unwrap_or(login));
        (
            scheme.to_ascii_lowercase(),
            user,
            address.place,
            address.rest.strip_prefix('/')?,
        )
    } else {
        let (user, rest) = match given.split_once('@') {
            Some((user, rest)) if !user.contains(['/', ':']) => (Some(user), rest),
            _ => (None, given),
        };
        let (host, path) = if rest.starts_with('[') {
            let end = rest.find("]:")? + 1;
            (&rest[..end], &rest[end + 1..])
        } else {
            rest.split_once(':')?
        };
        ("ssh".to_owned(), user, host, path)
    };
    let scheme = match scheme.as_str() {
        "git+ssh" | "ssh+git" => "ssh",
        known @ ("http" | "https" | "ssh" | "git" | "ftp" | "ftps") => known,
        _ => return None,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let path = path.trim_matches('/');
    let good_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if host.is_empty() || path.is_empty() || !host.chars().all(good_host) {
        return None;
    }
    let user = match (scheme, user) {
        ("ssh", Some("git")) => "git@",
        _ => "",
    };
    Some(format!(
        "{scheme}://{user}{}/{path}",
        host.to_ascii_lowercase()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn remotes_as_people_have_them() {
        for (given, expected) in [
            (
                "https://example.com/team/app.git",
                Some("https://example.com/team/app.git"),
            ),
            (
                "https://user:token@Example.com:8443/team/app.git/",
                Some("https://example.com:8443/team/app.git"),
            ),
            (
                "https://token@example.com/app",
                Some("https://example.com/app"),
            ),
            (
                "https://a@b:c@example.com/app",
                Some("https://example.com/app"),
            ),
            ("https://a?@example.com/app", None),
            ("https://a\\@example.com/app", None),
            (
                "https://example.com/app?private_token=x#frag",
                Some("https://example.com/app"),
            ),
            (
                "git@example.com:team/app.git",
                Some("ssh://git@example.com/team/app.git"),
            ),
            (
                "alice@example.com:/srv/app.git",
                Some("ssh://example.com/srv/app.git"),
            ),
            ("example.com:app", Some("ssh://example.com/app")),
            ("git@[::1]:team/app", Some("ssh://git@[::1]/team/app")),
            (
                "ssh://git:pw@example.com:2222/app",
                Some("ssh://git@example.com:2222/app"),
            ),
            (
                "git+ssh://alice@example.com/app",
                Some("ssh://example.com/app"),
            ),
            ("git://example.com/app", Some("git://example.com/app")),
            ("/srv/git/app.git", None),
            ("../app", None),
            ("./a:b", None),
            ("file:///srv/app.git", None),
            ("file://user:pw@host/app", None),
            ("ext::sh -c whoami", None),
            ("https://", None),
            ("https:///path", None),
            ("", None),
        ] {
            assert_eq!(normalized(given).as_deref(), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn no_password_survives(user in "[a-z:@%/]{0,8}", scheme in "https|ssh|git\\+ssh") {
            let given = format!("{scheme}://{user}:s3cretpw@example.com/app");
            if let Some(url) = normalized(&given) {
                // A slash in the user part ends the authority: then there is no host.
                prop_assert!(user.contains('/') || !url.contains("s3cretpw"), "{}", url);
            }
        }

        #[test]
        fn never_panics(given in "\\PC{0,60}") {
            let _ = normalized(&given);
        }
    }
}
