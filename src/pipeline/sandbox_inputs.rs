//! What a sandbox of the build may know: the inputs of each kind contain only what its code may see.

use std::collections::BTreeMap;

use crate::app::listed::Listed;
use crate::sandbox::{Limits, Network};

use super::place::Place;
use super::request::{Request, Secret};
use super::secrets::{Redactor, without_credentials};

/// The host's variables about indexes and proxies that a build may use. They must not reach a
/// layer, a configuration or a log; credentials in them are redacted.
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

/// The host's variables that say where npm finds packages: only for the build of a front end.
pub const NPM_REGISTRY: &[&str] = &["NPM_CONFIG_REGISTRY", "npm_config_registry"];

/// Those of them that say where packages of Python come from.
pub(super) fn indexes() -> impl Iterator<Item = &'static &'static str> {
    PASSED_ON.iter().filter(|name| name.contains("INDEX"))
}

/// Names the host's bundle of certificates.
pub(super) const CERTIFICATES: &str = "SSL_CERT_FILE";

/// Whether a variable is part of a login for an index, in uv's or Poetry's form. A sandbox does not see
/// these variables unless the user passes them explicitly ([`super::locked`] uses them).
pub fn is_index_login(name: &str) -> bool {
    let rest = ["UV_INDEX_", "POETRY_HTTP_BASIC_"]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    rest.is_some_and(|rest| rest.ends_with("_USERNAME") || rest.ends_with("_PASSWORD"))
}

/// The inputs and the limits of one sandbox.
pub(super) struct SandboxInputs {
    /// The host's variables: indexes, proxies and certificates.
    pub(super) host_env: BTreeMap<String, String>,
    /// Seen by the build only.
    pub(super) build_env: Vec<(String, String)>,
    /// The application's.
    pub(super) env: Vec<(String, String)>,
    pub(super) secrets: Vec<Secret>,
    /// The list from the project's lock file.
    pub(super) listed: Option<Listed>,
    /// The versions that `verify-build` installs, as a list of constraints.
    pub(super) constraints: Option<String>,
    /// The variable of a registry of npm's packages whose login it does not see.
    pub(super) registry_without_login: Option<&'static str>,
    /// It sees the logins of the host's package indexes.
    pub(super) index_logins: bool,
    pub(super) network: Network,
    pub(super) limits: Limits,
    pub(super) place: Place,
    /// Redacts its output.
    pub(super) redactor: Redactor,
}

impl SandboxInputs {
    /// For code of the application, of its packages or of an S2I builder.
    pub(super) fn of_application(request: &Request, listed: Option<&Listed>) -> Self {
        Self {
            host_env: for_sandboxes(&request.host_env),
            build_env: request.build_env.clone(),
            env: request.env.clone(),
            secrets: request.secrets.clone(),
            listed: listed.cloned(),
            constraints: constraints(request),
            registry_without_login: None,
            index_logins: request.expose_index_credentials,
            network: request.network,
            limits: request.limits.clone(),
            place: request.place.clone(),
            redactor: request.redactor(),
        }
    }

    /// For the build of a front end, which is code of the application too.
    pub(super) fn of_front_end(request: &Request) -> Self {
        let mut told = Self::of_application(request, None);
        for name in NPM_REGISTRY {
            let Some(value) = request.host_env.get(*name) else {
                continue;
            };
            let bare = without_credentials(value);
            let shown = if request.expose_index_credentials {
                value.clone()
            } else {
                if bare != *value {
                    told.registry_without_login = Some(name);
                }
                bare
            };
            told.host_env.insert((*name).to_owned(), shown);
        }
        told
    }

    /// For a stage that fills shared caches: the user's settings about where packages come from, and
    /// nothing of the application. The resolver, the installer and the byte-code compiler run in it.
    pub(super) fn of_shared_stage(request: &Request) -> Self {
        let build_env = request.build_env.iter();
        Self {
            host_env: for_sandboxes(&request.host_env),
            build_env: build_env
                .filter(|(name, _)| PASSED_ON.contains(&name.as_str()))
                .cloned()
                .collect(),
            env: Vec::new(),
            secrets: Vec::new(),
            listed: None,
            constraints: constraints(request),
            registry_without_login: None,
            index_logins: true,
            network: request.network,
            limits: request.limits.clone(),
            place: request.place.clone(),
            redactor: request.redactor(),
        }
    }
}

fn constraints(request: &Request) -> Option<String> {
    let pinned = request.pinned.as_ref();
    pinned.map(|pinned| pinned.constraints.clone())
}

/// The host's variables that a sandbox may get.
fn for_sandboxes(host: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    host.iter()
        .filter(|(name, _)| PASSED_ON.contains(&name.as_str()) || *name == CERTIFICATES)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::layer::{Budget, Compression};
    use crate::pipeline::request::AuditGate;
    use crate::source::{Origin, SourceRequest};

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs.map(|(a, b)| ((*a).into(), (*b).into())).collect()
    }

    /// A request with something of each kind.
    pub(in super::super) fn request() -> Request {
        Request {
            name: "app".parse().unwrap(),
            source: SourceRequest::new(Origin::parse(".").unwrap()),
            builder: None,
            allowed_builders: Vec::new(),
            runtime_image: None,
            twin: false,
            auto_apt: false,
            pull: crate::pipeline::request::Pull::Missing,
            env: pairs(&[
                ("GREETING", "hello"),
                ("UV_INDEX_URL", "https://app.example"),
            ]),
            build_env: pairs(&[("TOKEN", "t"), ("PIP_INDEX_URL", "https://owner.example")]),
            secrets: vec![Secret {
                id: "key".into(),
                contents: b"secret".to_vec(),
            }],
            outputs: Vec::new(),
            push: false,
            no_cache: false,
            cache: crate::remote_cache::RemoteCache::default(),
            sandbox: crate::pipeline::SandboxUse::Always,
            byte_code: true,
            upgrade: false,
            compression: Compression::default(),
            incremental: false,
            network: Network::Host,
            smoke: true,
            harden: false,
            audit: AuditGate::default(),
            pinned: None,
            limits: Limits::default(),
            budget: Budget::new(1, 1, None, || false),
            unsearched: crate::pipeline::Unsearched::default(),
            source_date_epoch: None,
            host_env: pairs(&[
                ("UV_DEFAULT_INDEX", "https://me:pw@host.example"),
                ("SSL_CERT_FILE", "/ca.pem"),
                ("UV_INDEX_CORP_PASSWORD", "pw"),
            ])
            .into_iter()
            .collect(),
            expose_index_credentials: false,
            handover: crate::pipeline::request::Handover::Nothing,
            wheels: None,
            place: Place::Sandbox,
        }
    }

    #[test]
    fn a_shared_stage_knows_where_packages_are_and_nothing_of_the_application() {
        let told = SandboxInputs::of_shared_stage(&request());
        let build_env: Vec<&str> = told.build_env.iter().map(|(name, _)| &**name).collect();
        assert_eq!(build_env, ["PIP_INDEX_URL"]);
        assert!(told.env.is_empty() && told.secrets.is_empty() && told.listed.is_none());
        let host_env: Vec<&str> = told.host_env.keys().map(String::as_str).collect();
        assert_eq!(host_env, ["SSL_CERT_FILE", "UV_DEFAULT_INDEX"]);
        // The resolver and the installer open the indexes.
        assert!(told.index_logins);
    }

    #[test]
    fn code_of_the_application_knows_what_is_its_own() {
        let told = SandboxInputs::of_application(&request(), None);
        assert_eq!((told.env.len(), told.build_env.len()), (2, 2));
        assert_eq!(told.secrets.len(), 1);
        assert!(!told.index_logins && !told.host_env.contains_key("UV_INDEX_CORP_PASSWORD"));
    }

    #[test]
    fn code_of_a_front_end_does_not_see_the_login_of_the_registry() {
        let mut request = request();
        let name = "npm_config_registry";
        let with_login = "https://me:pw@npm.example/".to_owned();
        request.host_env.insert(name.into(), with_login.clone());
        let told = SandboxInputs::of_front_end(&request);
        assert_eq!(told.host_env[name], "https://npm.example/");
        assert_eq!(told.registry_without_login, Some(name));
        request.expose_index_credentials = true;
        let told = SandboxInputs::of_front_end(&request);
        assert_eq!(told.host_env[name], with_login);
        assert_eq!(told.registry_without_login, None);
    }
}
