//! What a program sees during the build: its variables, the files mounted for its time only, and
//! which words must not appear in its output.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::app::listed;
use crate::app::pip_variables;
use crate::builder::{APP_ROOT, FIXED_TIME};
use crate::progress::without_logins;
use crate::sandbox::Mount;

use super::assemble::Phase;
use super::request::Request;
use super::tools::Tools;

/// Bytes of the tmpfs on `/run`: what we mount there has a place of its own.
const RUN_SIZE: u64 = 64 << 20;

/// Where everything that is there for the build only is mounted.
pub(super) const RUN: &str = "/run/warpdrive";

/// The host's variables about indexes and proxies that a build may use. They reach no layer, no
/// configuration and no log; credentials in them are redacted.
pub const PASSED_ON: &[&str] = &[
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX_STRATEGY",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Whether a variable is a part of a login for an index, as uv and Poetry have it. None of these is seen
/// in a sandbox unless the build's owner says it there ([`super::locked`] uses them).
pub fn is_index_login(name: &str) -> bool {
    let rest = ["UV_INDEX_", "POETRY_HTTP_BASIC_"]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    rest.is_some_and(|rest| rest.ends_with("_USERNAME") || rest.ends_with("_PASSWORD"))
}

/// Where Linux distributions keep the bundle of certificate authorities.
const CA_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Tells the linker, through the compiler, to leave debug information out (Debian's Python asks for it):
/// it names the directory of the compilation, which uv and pip choose by chance. Flags of the linker are
/// added to a package's own, where `CFLAGS` would take the place of some.
const STRIP_DEBUG: &str = "-Wl,--strip-debug";

/// The versions that `verify-build` installs.
const CONSTRAINTS: &str = "/run/warpdrive/resolved.txt";

/// What the project's lock file comes to.
const LISTED: &str = "/run/warpdrive/listed.json";

const CA_INSIDE: &str = "/run/warpdrive/ca-certificates.crt";

/// What programs read to find the bundle.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
];

/// The host's certificate bundle: `SSL_CERT_FILE`, else the distribution's.
fn ca_bundle(host_env: &BTreeMap<String, String>) -> Option<PathBuf> {
    host_env
        .get("SSL_CERT_FILE")
        .map(PathBuf::from)
        .into_iter()
        .chain(CA_BUNDLES.iter().map(PathBuf::from))
        .find(|path| path.is_file())
}

/// The variables of a phase. `path` is the base image's search path, `time` what
/// `SOURCE_DATE_EPOCH` says inside.
pub(super) fn variables(
    request: &Request,
    phase: Phase,
    base_env: &[(String, String)],
    path: &str,
    time: i64,
) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = base_env.iter().cloned().collect();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    set("PATH", &format!("{APP_ROOT}/bin:{RUN}/tools/bin:{path}"));
    set("HOME", APP_ROOT);
    set("VIRTUAL_ENV", APP_ROOT);
    set("WARPDRIVE_APP_ROOT", APP_ROOT);
    set("WARPDRIVE_SRC_ROOT", &format!("{APP_ROOT}/src"));
    set("WARPDRIVE_PHASE", "build");
    set("WARPDRIVE_BUILD_SYSTEM", "warpdrive");
    set("WARPDRIVE_BUILD_PHASE", phase.name());
    set("XDG_CACHE_HOME", "/tmp/.cache");
    set("TMPDIR", "/tmp");
    set("UV_CACHE_DIR", &format!("{RUN}/cache"));
    set("UV_LINK_MODE", "copy");
    set("UV_NO_PROGRESS", "1");
    set("UV_PYTHON_DOWNLOADS", "never");
    set("PIP_NO_CACHE_DIR", "1");
    set("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    set("PYTHONHASHSEED", "0");
    set("PYTHONDONTWRITEBYTECODE", "1");
    let time = match phase {
        Phase::Dependencies => FIXED_TIME,
        Phase::Application => time,
    };
    set("SOURCE_DATE_EPOCH", &time.to_string());
    for (name, value) in of_the_host(request) {
        set(name, &value);
    }
    if request.pinned.is_some() {
        for name in ["UV_CONSTRAINT", "PIP_CONSTRAINT"] {
            set(name, CONSTRAINTS);
        }
    }
    if phase == Phase::Application {
        for (name, value) in &request.env {
            set(name, value);
        }
    }
    for (name, value) in &request.build_env {
        set(name, value);
    }
    let env_of_phase = match phase {
        Phase::Application => request.env.as_slice(),
        Phase::Dependencies => &[],
    };
    let said = env_of_phase.iter().chain(&request.build_env);
    let said: Vec<&str> = said.map(|(name, _)| name.as_str()).collect();
    set("WARPDRIVE_SAID_VARIABLES", &said.join(" "));
    set("WARPDRIVE_IMAGE_ENVIRONMENT", &images_own(base_env, path));
    if request.listed.is_some() {
        env.insert(listed::VARIABLE.to_owned(), LISTED.to_owned());
    }
    env.extend(pip_variables::for_uv(&env));
    let linker = env.get("LDFLAGS").map_or("", String::as_str);
    let linker = format!("{linker} {STRIP_DEBUG}").trim_start().to_owned();
    env.insert("LDFLAGS".to_owned(), linker);
    env.into_iter().collect()
}

/// The variables of a container of the finished image, with those of the build below them.
pub(super) fn of_a_container(
    request: &Request,
    base_env: &[(String, String)],
    path: &str,
) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = base_env.iter().cloned().collect();
    env.extend(request.build_env.iter().cloned());
    for (name, value) in [
        ("PATH", format!("{APP_ROOT}/bin:{path}")),
        ("HOME", APP_ROOT.to_owned()),
        ("VIRTUAL_ENV", APP_ROOT.to_owned()),
        ("WARPDRIVE_APP_ROOT", APP_ROOT.to_owned()),
        ("WARPDRIVE_PHASE", "build".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ] {
        env.insert(name.to_owned(), value);
    }
    env.extend(request.env.iter().cloned());
    env.into_iter().collect()
}

/// The variables that every image on this base has, before anybody says anything, as JSON.
fn images_own(base_env: &[(String, String)], path: &str) -> String {
    let mut own: BTreeMap<&str, String> = base_env
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    own.insert("PATH", format!("{APP_ROOT}/bin:{path}"));
    for name in ["HOME", "VIRTUAL_ENV", "WARPDRIVE_APP_ROOT"] {
        own.insert(name, APP_ROOT.to_owned());
    }
    serde_json::to_string(&own).unwrap_or_default()
}

/// Variables that say where the host's certificates are mounted. They hold no value of the host's.
pub(super) fn certificates(request: &Request) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if ca_bundle(&request.host_env).is_some() {
        found.extend(CA_VARIABLES.map(|name| (name, CA_INSIDE.to_owned())));
    }
    found
}

/// Variables about the host's certificates, indexes and proxies.
pub(super) fn of_the_host(request: &Request) -> Vec<(&'static str, String)> {
    let mut found = certificates(request);
    for name in PASSED_ON {
        if let Some(value) = request.host_env.get(*name) {
            found.push((*name, value.clone()));
        }
    }
    found
}

/// What the caller says about indexes and proxies, whatever the name of the variable.
pub(super) fn indexes_and_proxies(request: &Request) -> Vec<String> {
    let of_host = request.host_env.iter();
    let of_build = request.build_env.iter().map(|(name, value)| (name, value));
    of_host
        .chain(of_build)
        .filter(|(name, _)| {
            PASSED_ON.contains(&name.as_str()) && !name.eq_ignore_ascii_case("NO_PROXY")
        })
        .map(|(_, value)| value.clone())
        .collect()
}

/// How the wheel cache is mounted.
pub(super) enum WheelCache {
    /// Nobody's code runs in this sandbox but uv's and the base image's, whose cache it is: it may be
    /// filled ([`super::fetch`]).
    Shared(PathBuf),
    /// Foreign code runs: it reads the shared cache, and writes go to a directory of its own.
    Private {
        shared: PathBuf,
        upper: crate::sandbox::Upper,
    },
}

/// The mounts of a phase.
pub(super) fn mounts(request: &Request, tools: &Tools, cache: WheelCache) -> Vec<Mount> {
    let tmpfs = |target: &str, size, mode| Mount::Tmpfs {
        target: target.into(),
        size,
        mode,
    };
    let mut mounts = vec![
        tmpfs("/tmp", None, 0o1777),
        tmpfs("/var/tmp", None, 0o1777),
        tmpfs("/run", Some(RUN_SIZE), 0o755),
        Mount::Bind {
            source: tools.directory.clone(),
            target: format!("{RUN}/tools").into(),
            read_only: true,
        },
    ];
    let target = PathBuf::from(format!("{RUN}/cache"));
    mounts.push(match cache {
        WheelCache::Shared(source) => Mount::Bind {
            source,
            target,
            read_only: false,
        },
        WheelCache::Private { shared, upper } => Mount::Overlay {
            lower: shared,
            upper,
            target,
        },
    });
    mounts.extend(mounts_of_the_host(request, ""));
    mounts
}

/// The host's certificates and resolver files (`hosts` are lines to add), and the secrets.
pub(super) fn mounts_of_the_host(request: &Request, hosts: &str) -> Vec<Mount> {
    let mut mounts = Vec::new();
    if let Some(source) = ca_bundle(&request.host_env) {
        mounts.push(Mount::Bind {
            source,
            target: CA_INSIDE.into(),
            read_only: true,
        });
    }
    for name in ["/etc/resolv.conf", "/etc/hosts"] {
        if let Ok(mut contents) = fs::read(name) {
            if name == "/etc/hosts" && !hosts.is_empty() {
                contents.push(b'\n');
                contents.extend_from_slice(hosts.as_bytes());
            }
            mounts.push(Mount::File {
                target: name.into(),
                contents,
                mode: 0o644,
            });
        }
    }
    if let Some(pinned) = &request.pinned {
        mounts.push(Mount::File {
            target: CONSTRAINTS.into(),
            contents: pinned.constraints.clone().into_bytes(),
            mode: 0o444,
        });
    }
    if let Some(listed) = &request.listed {
        mounts.push(Mount::File {
            target: LISTED.into(),
            contents: serde_json::to_vec(listed).unwrap_or_default(),
            mode: 0o444,
        });
    }
    for secret in &request.secrets {
        mounts.push(Mount::File {
            target: Path::new("/run/secrets").join(&secret.id),
            contents: secret.contents.clone(),
            mode: 0o400,
        });
    }
    mounts
}

/// Replaces what must not be shown: secrets and the credentials of URLs.
pub(super) struct Redactor {
    words: Vec<String>,
}

impl Redactor {
    pub(super) fn new(request: &Request) -> Self {
        let mut words: Vec<String> = Vec::new();
        for (_, value) in request
            .host_env
            .iter()
            .chain(request.build_env.iter().map(|(name, value)| (name, value)))
        {
            words.extend(credentials(value));
            words.extend(passwords(value));
        }
        words.extend(
            request
                .build_env
                .iter()
                .map(|(name, value)| (name, value))
                .chain(&request.host_env)
                .filter(|(name, _)| is_secret(name))
                .map(|(_, value)| value.trim().to_owned()),
        );
        for secret in &request.secrets {
            if let Ok(text) = std::str::from_utf8(&secret.contents) {
                words.extend(text.lines().map(|line| line.trim().to_owned()));
            }
        }
        Self::of(words)
    }

    pub(super) fn of(mut words: Vec<String>) -> Self {
        // Shorter words would make the output unreadable and are no secrets worth the name.
        words.retain(|word| word.len() >= 4);
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.dedup();
        Self { words }
    }

    pub(super) fn clean(&self, line: &str) -> String {
        let mut line = without_logins(line).into_owned();
        for word in &self.words {
            if line.contains(word.as_str()) {
                line = line.replace(word.as_str(), "****");
            }
        }
        line
    }
}

/// Whether a variable's name says that its value is secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "API_KEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The logins of the URLs in a value. What is no URL may be a proxy's address: `me:word@proxy:8080`.
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
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if let Some((login, _)) = authority.rsplit_once('@') {
            found.push(login);
        }
    }
    found
}

/// What of a value is a credential, as it may stand in a file: passwords, logins, and the login with
/// its host, each with its least length. The last is searched for even if the password is short.
pub(super) fn credentials_in(value: &str) -> Vec<String> {
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
fn credentials(value: &str) -> Vec<String> {
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
pub(super) fn passwords(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for login in logins(value) {
        let password = login
            .split_once(':')
            .map_or(login, |(_, password)| password);
        found.push(password.to_owned());
        let mut bytes = Vec::with_capacity(password.len());
        let mut rest = password.as_bytes();
        while let Some((&byte, tail)) = rest.split_first() {
            let hex = tail
                .get(..2)
                .and_then(|pair| std::str::from_utf8(pair).ok());
            match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
                Some(value) if byte == b'%' => {
                    bytes.push(value);
                    rest = &tail[2..];
                }
                _ => {
                    bytes.push(byte);
                    rest = tail;
                }
            }
        }
        if let Ok(decoded) = String::from_utf8(bytes)
            && decoded != password
        {
            found.push(decoded);
        }
    }
    found
}

/// A URL list without its credentials, for cache keys.
pub(super) fn without_credentials(value: &str) -> String {
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
        ] {
            assert_eq!(passwords(value), expected, "{value}");
        }
    }

    #[test]
    fn names_tell_which_values_are_secret() {
        for (name, secret) in [
            ("PIP_TOKEN", true),
            ("db_password", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("DJANGO_SETTINGS_MODULE", false),
            ("KEYBOARD", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }

    #[test]
    fn output_shows_no_secret() {
        let redactor = Redactor::of(vec!["hunter22".into()]);
        assert_eq!(redactor.clean("got hunter22!"), "got ****!");
    }
}
