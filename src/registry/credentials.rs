//! Logins that other tools have stored: podman's `auth.json`, Docker's `config.json`, and the
//! credential helpers that these name (containers-auth.json(5), docker-credential-helpers).
//!
//! Where they are looked for, the first that knows the registry wins: the files given in the
//! options; `$REGISTRY_AUTH_FILE` (then nothing else); `$XDG_RUNTIME_DIR/containers/auth.json`;
//! `$XDG_CONFIG_HOME/containers/auth.json`; `$DOCKER_CONFIG/config.json`, else
//! `~/.docker/config.json`. In each file a helper for this very registry comes first, then the
//! stored logins, then the helper for all registries (`credsStore`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Deserialize;

use super::credential::{Credential, Secret};
use super::error::{RegistryError, tame};
use super::file;
use super::helper;

/// Auth files are small; a larger one is something else.
const MAX_FILE: u64 = 8 * 1024 * 1024;

/// What was found for a repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub credential: Option<Credential>,
    /// A helper that failed on the way, or a file that is not there: told only when the registry then asks for a login.
    pub note: Option<String>,
}

/// The files in which logins are looked for, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    files: Vec<PathBuf>,
    /// The first of them, which the user named: they have to be there.
    named: usize,
    /// After these there is the one of `REGISTRY_AUTH_FILE` alone.
    only: bool,
}

/// What such a file is called in a directory: by Docker, by podman, and by Kubernetes in the volume of a
/// secret (`kubernetes.io/dockerconfigjson`, `kubernetes.io/dockercfg`).
const NAMES: [&str; 4] = ["config.json", "auth.json", ".dockerconfigjson", LEGACY];
/// Docker's first form: what is below `auths` in later ones is at the top.
const LEGACY: &str = ".dockercfg";

impl Credentials {
    /// The usual places, after those given. `variable` reads the environment.
    pub(crate) fn new(given: &[PathBuf], variable: &dyn Fn(&str) -> Option<PathBuf>) -> Self {
        let named = given.len();
        let mut files = given.to_vec();
        if let Some(only) = variable("REGISTRY_AUTH_FILE") {
            files.push(only);
            return Self {
                files,
                named,
                only: true,
            };
        }
        let home = variable("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        files.extend(variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")));
        files.extend(
            variable("XDG_CONFIG_HOME")
                .or_else(|| below_home(".config"))
                .map(|dir| dir.join("containers/auth.json")),
        );
        let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
        for name in ["config.json", ".dockerconfigjson", LEGACY] {
            files.extend(docker.iter().map(|dir| dir.join(name)));
        }
        files.extend(below_home(LEGACY));
        Self {
            files,
            named,
            only: false,
        }
    }

    /// A file that was named has to be there, whether a registry asks for a login or not: with a slip in its
    /// name the pull of a public image would go well, and the next one not.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        for path in self.files.iter().take(self.named) {
            AuthFile::read(&Self::meant(path), true)?;
        }
        Ok(())
    }

    /// The file that a named one means: in a directory, the one with a usual name.
    fn meant(path: &Path) -> PathBuf {
        let inside = || NAMES.iter().map(|name| path.join(name));
        match inside().find(|path| path.is_file()) {
            Some(found) if path.is_dir() => found,
            _ => path.to_owned(),
        }
    }

    /// Looks a repository's login up. A file that is there but cannot be read is an error.
    pub(crate) fn find(
        &self,
        host: &str,
        repository: &str,
        wait: helper::Wait<'_>,
    ) -> Result<Found, RegistryError> {
        let keys = keys(host, repository);
        let mut found = Found::default();
        for (at, path) in self.files.iter().enumerate() {
            let path = &Self::meant(path);
            let Some(file) = AuthFile::read(path, at < self.named)? else {
                if self.only && at >= self.named && !path.exists() {
                    let words = "which does not exist";
                    found.note = Some(format!(
                        "REGISTRY_AUTH_FILE names {}, {words}",
                        path.display()
                    ));
                }
                continue;
            };
            found.credential = file.find(path, host, &keys, wait, &mut found.note)?;
            if found.credential.is_some() {
                break;
            }
        }
        Ok(found)
    }
}

/// The keys that may hold a repository's login, the narrowest first:
/// `host/team/opal`, `host/team`, `host`.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        keys.push(format!("{host}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.push(host.to_owned());
    keys
}

/// `https://index.docker.io/v1/`, `http://host/v2` and the like as a bare key.
pub(super) fn normalise(key: &str) -> String {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let bare = bare
        .strip_suffix("/v1")
        .or_else(|| bare.strip_suffix("/v2"))
        .unwrap_or(bare);
    for alias in ["index.docker.io", "registry-1.docker.io"] {
        if let Some(rest) = bare.strip_prefix(alias)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return format!("docker.io{rest}");
        }
    }
    bare.to_owned()
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Option<AuthEntry>>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity_token: Option<String>,
    #[serde(default, rename = "registrytoken")]
    registry_token: Option<String>,
}

impl fmt::Debug for AuthEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[login]")
    }
}

impl AuthFile {
    fn read(path: &Path, required: bool) -> Result<Option<Self>, RegistryError> {
        let bad = |problem: String| RegistryError::File {
            path: path.to_owned(),
            problem,
        };
        let Some(bytes) = file::read(path, MAX_FILE)? else {
            if required {
                return Err(bad("there is no such file".to_owned()));
            }
            return Ok(None);
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let legacy = path.file_name().is_some_and(|name| name == LEGACY);
        Self::parse(&bytes, legacy).map(Some).map_err(bad)
    }

    pub(crate) fn parse(bytes: &[u8], legacy: bool) -> Result<Self, String> {
        let parsed = if legacy {
            serde_json::from_slice(bytes).map(|auths| Self {
                auths,
                ..Self::default()
            })
        } else {
            serde_json::from_slice(bytes)
        };
        // serde_json's messages can repeat a value, and values are passwords here: line and column only.
        parsed.map_err(|error| {
            format!(
                "it is not an auth file in JSON (line {}, column {})",
                error.line(),
                error.column()
            )
        })
    }

    /// Reads every login that is in it.
    pub(crate) fn all(&self) -> impl Iterator<Item = Result<Option<Credential>, String>> {
        let entries = self.auths.values().flatten();
        entries.map(AuthEntry::credential)
    }

    fn find(
        &self,
        path: &Path,
        host: &str,
        keys: &[String],
        wait: helper::Wait<'_>,
        note: &mut Option<String>,
    ) -> Result<Option<Credential>, RegistryError> {
        let mut ask = |name: &str, server: &str| match helper::get(name, server, wait) {
            Ok(found) => found,
            Err(problem) => {
                *note = Some(format!("{} names {problem}", path.display()));
                None
            }
        };
        for key in keys {
            for (server, name) in &self.helpers {
                if normalise(server) == *key
                    && let Some(found) = ask(name, server)
                {
                    return Ok(Some(found));
                }
            }
            for (server, entry) in &self.auths {
                if normalise(server) == *key
                    && let Some(entry) = entry
                    && let Some(found) =
                        entry.credential().map_err(|problem| RegistryError::File {
                            path: path.to_owned(),
                            problem: format!("the login for `{}` {problem}", tame(server, 120)),
                        })?
                {
                    return Ok(Some(found));
                }
            }
        }
        let Some(name) = self.store.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let servers: &[&str] = if host == "docker.io" {
            &["https://index.docker.io/v1/", "docker.io"]
        } else {
            &[host]
        };
        Ok(servers.iter().find_map(|server| ask(name, server)))
    }
}

impl AuthEntry {
    fn credential(&self) -> Result<Option<Credential>, String> {
        let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        if let Some(token) = set(&self.identity_token) {
            return Ok(Some(Credential::IdentityToken(Secret::new(token))));
        }
        if let Some(token) = set(&self.registry_token) {
            return Ok(Some(Credential::RegistryToken(Secret::new(token))));
        }
        if let Some(auth) = set(&self.auth) {
            return decode_auth(&auth).map(Some);
        }
        Ok(set(&self.username).map(|user| Credential::Basic {
            user,
            password: Secret::new(self.password.clone().unwrap_or_default()),
        }))
    }
}

/// `auth` is base64 of `user:password`.
fn decode_auth(auth: &str) -> Result<Credential, String> {
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let bytes = engine
        .decode(auth.trim())
        .map_err(|_| "is not base64".to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let (user, password) = text
        .split_once(':')
        .ok_or("has no colon between user and password")?;
    if user.is_empty() {
        return Err("has no user name".into());
    }
    Ok(Credential::Basic {
        user: user.to_owned(),
        // Old versions of docker filled it up with NUL.
        password: Secret::new(password.trim_end_matches('\0')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic {
            user: user.into(),
            password: Secret::new(password),
        }
    }

    fn look_up(json: &str, host: &str, repository: &str) -> Result<Found, RegistryError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, json).unwrap();
        Credentials {
            files: vec![path],
            named: 1,
            only: false,
        }
        .find(host, repository, helper::Wait::SILENT)
    }

    #[test]
    fn the_narrowest_key_wins() {
        // a:1, b:2, c:3
        let json = r#"{"auths": {
            "quay.example": {"auth": "YToxCg=="},
            "quay.example/team": {"auth": "Yjoy"},
            "https://index.docker.io/v1/": {"auth": "Yzoz"},
            "tok.example": {"identitytoken": "idt", "auth": "YTox"},
            "reg.example": {"registrytoken": "rt"},
            "plain.example": {"username": "u", "password": "p"},
            "empty.example": {},
            "null.example": null
        }}"#;
        let cases = [
            ("quay.example", "team/opal", Some(basic("b", "2"))),
            ("quay.example", "team", Some(basic("b", "2"))),
            ("quay.example", "teams/opal", Some(basic("a", "1\n"))),
            ("docker.io", "library/python", Some(basic("c", "3"))),
            (
                "tok.example",
                "x",
                Some(Credential::IdentityToken(Secret::new("idt"))),
            ),
            (
                "reg.example",
                "x",
                Some(Credential::RegistryToken(Secret::new("rt"))),
            ),
            ("plain.example", "x", Some(basic("u", "p"))),
            ("empty.example", "x", None),
            ("null.example", "x", None),
            ("other.example", "x", None),
            ("quay.example:5000", "team", None),
        ];
        for (host, repository, expected) in cases {
            let found = look_up(json, host, repository).unwrap();
            assert_eq!(found.credential, expected, "{host}/{repository}");
        }
    }

    #[test]
    fn a_broken_login_is_named_without_its_content() {
        for json in [
            r#"{"auths": {"x.example": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"x.example": {"auth": "!hunter2!"}}}"#,
            r#"{"auths": {"x.example": {"auth": ["hunter2"]}}}"#,
            r#"{"auths": {"x.example": "hunter2"}}"#,
        ] {
            let error = look_up(json, "x.example", "a").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(error.to_string().contains("auth.json"), "{error}");
        }
    }

    #[test]
    fn a_helper_that_is_missing_is_a_note() {
        let json = r#"{"credsStore": "no-such-helper-here"}"#;
        let found = look_up(json, "x.example", "a").unwrap();
        assert_eq!(found.credential, None);
        let note = found.note.unwrap();
        assert!(
            note.contains("docker-credential-no-such-helper-here"),
            "{note}"
        );
    }

    #[test]
    fn places_come_in_order() {
        let variable = |name: &str| {
            let value = match name {
                "HOME" => "/h",
                "XDG_RUNTIME_DIR" => "/run/u",
                _ => return None,
            };
            Some(PathBuf::from(value))
        };
        let files = Credentials::new(&[PathBuf::from("/given")], &variable).files;
        let expected = [
            "/given",
            "/run/u/containers/auth.json",
            "/h/.config/containers/auth.json",
            "/h/.docker/config.json",
            "/h/.docker/.dockerconfigjson",
            "/h/.docker/.dockercfg",
            "/h/.dockercfg",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        let only = |name: &str| (name == "REGISTRY_AUTH_FILE").then(|| PathBuf::from("/only"));
        assert_eq!(Credentials::new(&[], &only).files, [PathBuf::from("/only")]);
    }

    #[test]
    fn a_mounted_secret_is_found_under_its_own_name() {
        for (name, json) in [
            (
                ".dockerconfigjson",
                r#"{"auths": {"x.example": {"auth": "YToxCg=="}}}"#,
            ),
            (
                ".dockercfg",
                r#"{"https://x.example": {"auth": "YToxCg=="}}"#,
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), json).unwrap();
            let place = dir.path().to_owned();
            let variable = |name: &str| (name == "DOCKER_CONFIG").then(|| place.clone());
            let by_variable = Credentials::new(&[], &variable);
            let by_name = Credentials::new(std::slice::from_ref(&place), &|_| None);
            for credentials in [by_variable, by_name] {
                let found = credentials
                    .find("x.example", "a", helper::Wait::SILENT)
                    .unwrap();
                assert_eq!(found.credential, Some(basic("a", "1\n")), "{name}");
            }
        }
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there() {
        let missing = PathBuf::from("/nonexistent/auth.json");
        let named = Credentials::new(std::slice::from_ref(&missing), &|_| None);
        let error = named
            .find("x.example", "a", helper::Wait::SILENT)
            .unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/auth.json"),
            "{error}"
        );
        let only = |name: &str| (name == "REGISTRY_AUTH_FILE").then(|| missing.clone());
        let found = Credentials::new(&[], &only)
            .find("x.example", "a", helper::Wait::SILENT)
            .unwrap();
        assert_eq!(found.credential, None);
        let note = found.note.unwrap();
        assert!(
            note.contains("/nonexistent/auth.json") && note.contains("REGISTRY_AUTH_FILE"),
            "{note}"
        );
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", basic("u", "hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_auth_text_is_read_or_refused(auth in "\\PC{0,60}") {
            let _ = decode_auth(&auth);
        }

        #[test]
        fn a_login_survives_base64(user in "[^:\\x00]{1,20}", password in "[^\\x00]{0,20}") {
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            prop_assert_eq!(decode_auth(&auth).unwrap(), basic(&user, &password));
        }
    }
}
