//! What a program sees during the build: its variables, and the files that are mounted only while it runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::app::contract::{self, Phase, RUN};
use crate::app::pip_variables;
use crate::builder::{APP_ROOT, FIXED_TIME};
use crate::oci::{OciError, to_canonical_json};
use crate::sandbox::{Mount, Network};

use super::request::Request;
use super::sandbox_inputs::{CERTIFICATES, NPM_REGISTRY, PASSED_ON, SandboxInputs};
use super::secrets::without_credentials;
use super::tools::Tools;

/// Bytes of the tmpfs on `/run`: the mounts of warpdrive below it do not count.
const RUN_SIZE: u64 = 64 << 20;

/// Paths at which Linux distributions keep the bundle of certificate authorities.
const CA_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Tells the linker, through the compiler, to leave out debug information (Debian's Python asks for it):
/// it contains the directory of the compilation, which uv and pip choose at random. Linker flags are
/// added to a package's own flags; `CFLAGS` would replace some of them.
const STRIP_DEBUG: &str = "-Wl,--strip-debug";

/// The versions that `verify-build` installs.
const CONSTRAINTS: &str = "resolved.txt";

/// The list from the project's lock file.
const LISTED: &str = "listed.json";

/// The host's certificates.
const CA_INSIDE: &str = "ca-certificates.crt";

/// The path of a file that exists only during the build.
fn inside(name: &str) -> String {
    format!("{RUN}/{name}")
}

/// The variables by which programs find the bundle.
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
        .get(CERTIFICATES)
        .map(PathBuf::from)
        .into_iter()
        .chain(CA_BUNDLES.iter().map(PathBuf::from))
        .find(|path| path.is_file())
}

/// The variables of a phase. `path` is the base image's search path, `time` the value of
/// `SOURCE_DATE_EPOCH` inside.
pub(super) fn variables(
    inputs: &SandboxInputs,
    phase: Phase,
    base_env: &[(String, String)],
    path: &str,
    time: i64,
) -> Result<Vec<(String, String)>, OciError> {
    let mut env: BTreeMap<String, String> = base_env.iter().cloned().collect();
    let mut set = |name: &str, value: &str| {
        env.insert(name.to_owned(), value.to_owned());
    };
    set("PATH", &format!("{APP_ROOT}/bin:{RUN}/tools/bin:{path}"));
    set("HOME", APP_ROOT);
    set("VIRTUAL_ENV", APP_ROOT);
    set(contract::APP_ROOT, APP_ROOT);
    set(contract::SRC_ROOT, &format!("{APP_ROOT}/src"));
    set(contract::LIFE_PHASE, "build");
    set(contract::BUILD_SYSTEM, "warpdrive");
    set(contract::BUILD_PHASE, phase.name());
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
    if inputs.network == Network::None {
        // Half a minute of further tries finds no network either.
        set("UV_HTTP_RETRIES", "0");
        set("PIP_RETRIES", "0");
    }
    let time = match phase {
        Phase::Dependencies => FIXED_TIME,
        Phase::Application => time,
    };
    set("SOURCE_DATE_EPOCH", &time.to_string());
    for (name, value) in of_the_host(inputs) {
        set(name, &value);
    }
    if inputs.constraints.is_some() {
        for name in ["UV_CONSTRAINT", "PIP_CONSTRAINT"] {
            set(name, &inside(CONSTRAINTS));
        }
    }
    if phase == Phase::Application {
        for (name, value) in &inputs.env {
            set(name, value);
        }
    }
    for (name, value) in &inputs.build_env {
        set(name, value);
    }
    let env_of_phase = match phase {
        Phase::Application => inputs.env.as_slice(),
        Phase::Dependencies => &[],
    };
    let said = env_of_phase.iter().chain(&inputs.build_env);
    let said: Vec<&str> = said.map(|(name, _)| name.as_str()).collect();
    set(contract::SAID_VARIABLES, &said.join(" "));
    set(contract::IMAGE_ENVIRONMENT, &images_own(base_env, path)?);
    if inputs.listed.is_some() {
        env.insert(contract::LISTED.to_owned(), inside(LISTED));
    }
    env.extend(pip_variables::for_uv(&env));
    let linker = env.get("LDFLAGS").map_or("", String::as_str);
    let linker = format!("{linker} {STRIP_DEBUG}").trim_start().to_owned();
    env.insert("LDFLAGS".to_owned(), linker);
    Ok(env.into_iter().collect())
}

/// The variables of the resolver when it runs directly on this machine, with its own home.
pub(super) fn of_the_resolver(
    inputs: &SandboxInputs,
    home: &Path,
) -> Result<Vec<(String, String)>, OciError> {
    let bundle = ca_bundle(&inputs.host_env);
    let inside_bundle = inside(CA_INSIDE);
    let home = home.display().to_string();
    let variables = variables(inputs, Phase::Dependencies, &[], "", FIXED_TIME)?;
    let own = |(name, value): (String, String)| {
        let value = match name.as_str() {
            "HOME" | "TMPDIR" | "XDG_CACHE_HOME" => home.clone(),
            "UV_CACHE_DIR" => format!("{home}/cache"),
            "PATH" => "/usr/bin:/bin".to_owned(),
            "VIRTUAL_ENV" => return None,
            _ if value == inside_bundle => bundle.as_ref()?.display().to_string(),
            _ => value,
        };
        Some((name, value))
    };
    Ok(variables.into_iter().filter_map(own).collect())
}

/// The variables of a container of the finished image, with those of the build below them.
pub(super) fn of_a_container(
    inputs: &SandboxInputs,
    base_env: &[(String, String)],
    path: &str,
) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = base_env.iter().cloned().collect();
    env.extend(inputs.build_env.iter().cloned());
    for (name, value) in [
        ("PATH", format!("{APP_ROOT}/bin:{path}")),
        ("HOME", APP_ROOT.to_owned()),
        ("VIRTUAL_ENV", APP_ROOT.to_owned()),
        (contract::APP_ROOT, APP_ROOT.to_owned()),
        (contract::LIFE_PHASE, "build".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ] {
        env.insert(name.to_owned(), value);
    }
    env.extend(inputs.env.iter().cloned());
    env.into_iter().collect()
}

/// The variables that every image on this base has by default, as JSON.
fn images_own(base_env: &[(String, String)], path: &str) -> Result<String, OciError> {
    let mut own: BTreeMap<&str, String> = base_env
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    own.insert("PATH", format!("{APP_ROOT}/bin:{path}"));
    for name in ["HOME", "VIRTUAL_ENV", contract::APP_ROOT] {
        own.insert(name, APP_ROOT.to_owned());
    }
    serde_json::to_string(&own).map_err(|source| OciError::Unwritable { source })
}

/// The same as a map.
pub(super) fn of_the_image(base_env: &[(String, String)], path: &str) -> BTreeMap<String, String> {
    let text = images_own(base_env, path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Variables that say where the host's certificates are mounted. They contain no value of the host.
pub(super) fn certificates(inputs: &SandboxInputs) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if ca_bundle(&inputs.host_env).is_some() {
        found.extend(CA_VARIABLES.map(|name| (name, inside(CA_INSIDE))));
    }
    found
}

/// Variables about the host's certificates, indexes and proxies, for code of the application, of a
/// package or of an image: without the logins of the indexes, unless the caller passes these on.
pub(super) fn of_the_host(inputs: &SandboxInputs) -> Vec<(&'static str, String)> {
    let mut found = certificates(inputs);
    for (name, value) in passed_on(inputs) {
        let value = if inputs.index_logins || !is_index(name) {
            value.to_owned()
        } else {
            without_credentials(value)
        };
        found.push((name, value));
    }
    found
}

fn passed_on(inputs: &SandboxInputs) -> impl Iterator<Item = (&'static str, &str)> {
    PASSED_ON
        .iter()
        .filter_map(|name| Some((*name, inputs.host_env.get(*name)?.as_str())))
}

/// Whether a variable says where packages are. (Every program that uses the network needs a proxy's login.)
fn is_index(name: &str) -> bool {
    name.contains("INDEX")
}

/// The names of the variables whose logins the application's code does not see.
pub(super) fn withheld(inputs: &SandboxInputs) -> Vec<&'static str> {
    if inputs.index_logins {
        return Vec::new();
    }
    passed_on(inputs)
        .filter(|(name, value)| is_index(name) && without_credentials(value) != *value)
        .map(|(name, _)| name)
        .collect()
}

/// The caller's variables about indexes and proxies, in every spelling.
pub(super) fn indexes_and_proxies(inputs: &SandboxInputs) -> Vec<String> {
    let of_host = inputs.host_env.iter();
    let of_build = inputs.build_env.iter().map(|(name, value)| (name, value));
    of_host
        .chain(of_build)
        .filter(|(name, _)| {
            let name = name.as_str();
            let known = PASSED_ON.contains(&name) || NPM_REGISTRY.contains(&name);
            known && !name.eq_ignore_ascii_case("NO_PROXY")
        })
        .map(|(_, value)| value.clone())
        .collect()
}

/// The same for scripts of another builder: only the variables that the caller passed by name, and
/// nothing else of the host. `.s2i/environment` belongs to the source and does not count.
pub(super) fn named_for_scripts(request: &Request) -> Vec<String> {
    let said = request.env.iter().chain(&request.build_env);
    said.filter(|(name, _)| {
        let name = name.to_ascii_uppercase();
        // Builders for other languages have their own names (`NPM_MIRROR`, `NPM_CONFIG_REGISTRY`).
        ["INDEX", "PROXY", "MIRROR", "REGISTRY"]
            .iter()
            .any(|word| name.contains(word))
            && name != "NO_PROXY"
    })
    .map(|(_, value)| value.clone())
    .collect()
}

/// How the wheel cache is mounted.
pub(super) enum WheelCache {
    /// Only the code of uv and of the base image, to which the cache belongs, runs in this sandbox:
    /// it may fill the cache ([`super::fetch`]).
    Shared(PathBuf),
    /// Foreign code runs: it reads the shared cache, and writes go to a separate directory.
    Private {
        shared: PathBuf,
        upper: crate::sandbox::Upper,
    },
}

/// The mounts of a phase.
pub(super) fn mounts(
    inputs: &SandboxInputs,
    tools: &Tools,
    cache: WheelCache,
) -> Result<Vec<Mount>, OciError> {
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
    mounts.extend(mounts_of_the_host(inputs, "")?);
    Ok(mounts)
}

/// The host's certificates and resolver files (`hosts` are lines to add), and the secrets.
pub(super) fn mounts_of_the_host(
    inputs: &SandboxInputs,
    hosts: &str,
) -> Result<Vec<Mount>, OciError> {
    let mut mounts = Vec::new();
    if let Some(source) = ca_bundle(&inputs.host_env) {
        mounts.push(Mount::Bind {
            source,
            target: inside(CA_INSIDE).into(),
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
    if let Some(constraints) = &inputs.constraints {
        mounts.push(Mount::File {
            target: inside(CONSTRAINTS).into(),
            contents: constraints.clone().into_bytes(),
            mode: 0o444,
        });
    }
    if let Some(listed) = &inputs.listed {
        mounts.push(Mount::File {
            target: inside(LISTED).into(),
            contents: to_canonical_json(listed)?,
            mode: 0o444,
        });
    }
    for secret in &inputs.secrets {
        mounts.push(Mount::File {
            target: Path::new("/run/secrets").join(&secret.id),
            contents: secret.contents.clone(),
            mode: 0o400,
        });
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use super::super::sandbox_inputs::tests::request;
    use super::*;

    #[test]
    fn without_a_network_nothing_is_asked_a_second_time() {
        let tries = |network: Network, build_env: &[(String, String)]| {
            let mut request = request();
            request.network = network;
            request.build_env = build_env.to_vec();
            let inputs = SandboxInputs::of_application(&request, None);
            let all = variables(&inputs, Phase::Dependencies, &[], "/bin", FIXED_TIME).unwrap();
            let find = |wanted: &str| all.iter().find(|(name, _)| name == wanted).cloned();
            [find("UV_HTTP_RETRIES"), find("PIP_RETRIES")].map(|pair| pair.map(|(_, value)| value))
        };
        let said = |value: &str| Some(value.to_owned());
        assert_eq!(tries(Network::Host, &[]), [None, None]);
        assert_eq!(tries(Network::None, &[]), [said("0"), said("0")]);
        let own = [("PIP_RETRIES".to_owned(), "2".to_owned())];
        assert_eq!(tries(Network::None, &own), [said("0"), said("2")]);
    }
}
