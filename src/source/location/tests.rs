use super::*;
use proptest::prelude::*;

fn url(text: &str) -> Result<(String, Option<String>), String> {
    GitUrl::parse(text)
        .map(|url| (url.url, url.reference))
        .map_err(|error| error.to_string())
}

#[test]
fn the_forms_that_people_use() {
    for (given, address, reference) in [
        (
            "https://example.com/a/b.git",
            "https://example.com/a/b.git",
            None,
        ),
        (
            "HTTPS://example.com:8443/a",
            "https://example.com:8443/a",
            None,
        ),
        (
            "https://u:p%40x@example.com/a#v1",
            "https://example.com/a",
            Some("v1"),
        ),
        ("http://127.0.0.1:80/a", "http://127.0.0.1:80/a", None),
        (
            "ssh://git@example.com:2222/a#feature/x",
            "ssh://git@example.com:2222/a",
            Some("feature/x"),
        ),
        ("git+ssh://git@[::1]/a", "ssh://git@[::1]/a", None),
        (
            "ssh://git:pw@example.com/a",
            "ssh://git@example.com/a",
            None,
        ),
        (
            "git@example.com:team/a.git#main",
            "git@example.com:team/a.git",
            Some("main"),
        ),
        ("example.com:a", "example.com:a", None),
        ("git@[::1]:a", "git@[::1]:a", None),
        ("file:///srv/a.git", "file:///srv/a.git", None),
        ("file://localhost/srv/a", "file:///srv/a", None),
    ] {
        let found = GitUrl::parse(given).unwrap_or_else(|error| panic!("{given}: {error}"));
        assert_eq!(found.url(), address, "{given}");
        assert_eq!(found.reference(), reference, "{given}");
        assert!(!format!("{found:?}{found}").contains("p@x"));
    }
    let login = GitUrl::parse("https://u:p%40x@example.com/a")
        .unwrap()
        .login;
    assert_eq!(login, Some(("u".into(), "p@x".into())));
    let token = GitUrl::parse("https://t0ken@example.com/a").unwrap().login;
    assert_eq!(token, Some(("t0ken".into(), String::new())));
}

#[test]
fn what_could_run_a_program_is_refused_with_its_own_reason() {
    for (given, reason) in [
        ("--upload-pack=touch /tmp/x", "begins with `-`"),
        ("-oProxyCommand=x", "begins with `-`"),
        ("ext::sh -c whoami", "`ext`"),
        ("fd::17", "`fd`"),
        ("transport::https://example.com/a", "`transport`"),
        ("git://example.com/a", "`git`"),
        ("ftp://example.com/a", "`ftp`"),
        ("javascript://x/y", "`javascript`"),
        ("ssh://-oProxyCommand=x/a", "host begins with `-`"),
        ("ssh://-x@example.com/a", "user name"),
        ("-oProxyCommand=x:a", "begins with `-`"),
        ("git@-oProxyCommand=x:a", "host begins with `-`"),
        ("git@example.com:-x", "begins with `-`"),
        ("ssh://example.com/-x", "begins with `-`"),
        ("ssh://%2DoProxyCommand/a", "character that no host has"),
        ("https://exa mple.com/a", "space"),
        ("https://example.com", "names no repository"),
        ("https:///a", "no host"),
        ("https://u:%0ahost=evil@example.com/a", "percent-encoded"),
        ("file://host/a", "three slashes"),
        ("https://example.com/a\nb", "control character"),
        ("https://example.com/a#-x", "reference `-x` begins with `-`"),
        ("https://example.com/a#x..y", "not the name of a branch"),
        ("https://example.com/a#x y", "a character that no branch"),
        ("https://example.com/a#", "it is empty"),
        ("", "it is empty"),
        ("name", "neither https"),
    ] {
        let error = url(given).expect_err(given);
        assert!(error.contains(reason), "{given}: {error}");
    }
}

#[test]
fn references() {
    for good in [
        "main",
        "v1.2",
        "feature/x-y",
        "refs/heads/x",
        "HEAD",
        &"a".repeat(40),
    ] {
        check_reference(good).unwrap();
    }
    for bad in [
        "",
        "-x",
        "--upload-pack=x",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\",
        "a..b",
        "a@{1}",
        "@",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.",
        "a\nb",
        "a\u{7f}",
        &"a".repeat(256),
    ] {
        assert!(check_reference(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn arguments_mean_what_is_there() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    for directory in [
        "plain",
        "repo/.git",
        "bare/objects",
        "bare/refs",
        "odd#name",
    ] {
        std::fs::create_dir_all(place.path().join(directory)).unwrap();
    }
    std::fs::write(place.path().join("bare/HEAD"), "ref: refs/heads/main").unwrap();
    std::fs::write(place.path().join("a.tar"), "").unwrap();
    let kind = |text: &str| match Origin::parse(text).unwrap() {
        Origin::Directory(_) => "directory",
        Origin::Git(_) => "git",
        Origin::Archive(_) => "archive",
        Origin::Stdin => "stdin",
    };
    for (text, expected) in [
        ("-".to_owned(), "stdin"),
        (at("plain"), "directory"),
        (at("repo"), "directory"),
        (at("bare"), "git"),
        (at("a.tar"), "archive"),
        (at("odd#name"), "directory"),
        (at("missing"), "directory"),
        (format!("{}#v1", at("repo")), "git"),
        (format!("file://{}", at("plain")), "directory"),
        (format!("file://{}", at("repo")), "git"),
        (format!("file://{}", at("a.tar")), "archive"),
        ("git@example.com:a".to_owned(), "git"),
        ("https://example.com/a".to_owned(), "git"),
    ] {
        assert_eq!(kind(&text), expected, "{text}");
    }
    assert!(Origin::parse("--option").is_err());
    assert!(Origin::parse("ext::sh -c x").is_err());
    let at_v1 = Origin::parse(&at("repo")).unwrap().at("v1").unwrap();
    assert!(matches!(&at_v1, Origin::Git(url) if url.reference() == Some("v1")));
    assert!(Origin::parse(&at("plain")).unwrap().at("v1").is_err());
    let stronger = Origin::parse("https://example.com/a#one")
        .unwrap()
        .at("two");
    assert!(matches!(stronger.unwrap(), Origin::Git(url) if url.reference() == Some("two")));
}

#[test]
fn credentials_are_shown_nowhere() {
    for (text, shown) in [
        ("https://u:pw@example.com/a", "https://***@example.com/a"),
        (
            "https://token@example.com/a x",
            "https://***@example.com/a x",
        ),
        (
            "fatal: 'https://u:p/w@h/a' not found",
            "fatal: 'https://***@h/a' not found",
        ),
        ("ssh://git@example.com/a", "ssh://git@example.com/a"),
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("no url", "no url"),
        (
            "a https://u:p@b c http://x:y@z",
            "a https://***@b c http://***@z",
        ),
    ] {
        assert_eq!(redacted(text), shown);
    }
}

proptest! {
    #[test]
    fn any_text_is_an_error_or_safe(text in "\\PC{0,40}|[a-z:/@#%.\\-]{0,40}") {
        if let Ok(found) = GitUrl::parse(&text) {
            prop_assert!(!found.url.starts_with('-'));
            // What git would run `git-remote-NAME` for (transport.c, `transport_get`).
            let helper = found.url.split_once("::").is_some_and(|(name, _)| {
                name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            });
            prop_assert!(!helper, "{}", found.url);
            prop_assert!(!found.url.contains(char::is_whitespace));
            if let Some(reference) = found.reference() {
                prop_assert!(!reference.starts_with('-') && !reference.contains(".."));
            }
        }
    }

    #[test]
    fn no_password_is_shown(user in "[a-z]{1,6}", host in "[a-z]{1,6}") {
        let text = format!("could not read https://{user}:s3cretpw@{host}/x.git: no");
        prop_assert!(!redacted(&text).contains("s3cretpw"));
        let url = GitUrl::parse(&format!("https://{user}:s3cretpw@{host}/x.git")).unwrap();
        let shown = format!("{url} {url:?}");
        prop_assert!(!shown.contains("s3cretpw"));
    }
}
