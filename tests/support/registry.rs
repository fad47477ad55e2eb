//! The reference implementation of the distribution specification, on a port of the loopback.

use std::path::Path;
use std::time::Duration;

use super::enclosure::{Enclosure, Inside};
use super::http;
use super::process;

/// An empty registry without authentication, gone when dropped.
pub struct Registry {
    enclosure: Enclosure, // first: its end is the server's
    _server: Inside,
    address: String,
}

impl Registry {
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// `env` holds `REGISTRY_…=…`, which override settings: `REGISTRY_STORAGE_DELETE_ENABLED=false`.
    #[track_caller]
    pub fn start_with(env: &[&str]) -> Self {
        Self::serve(Enclosure::new(), env)
    }

    /// With what another one was left with ([`Registry::keep`]).
    #[track_caller]
    pub fn start_on(kept: &Path) -> Self {
        let enclosure = Enclosure::new();
        let own = enclosure.directory().join("registry");
        process::run(enclosure.root("cp").arg("--recursive").args([kept, &own]));
        Self::serve(enclosure, &[])
    }

    /// Copies all that it has.
    #[track_caller]
    pub fn keep(&self, to: &Path) {
        let own = self.enclosure.directory().join("registry");
        process::run(
            self.enclosure
                .root("cp")
                .arg("--recursive")
                .arg(own)
                .arg(to),
        );
    }

    #[track_caller]
    fn serve(enclosure: Enclosure, env: &[&str]) -> Self {
        let directory = enclosure.directory();
        let configuration = serde_json::json!({ // YAML as well
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": directory.join("registry")}, "delete": {"enabled": true}},
            "http": {"addr": "127.0.0.1:0", "secret": "none"},
        });
        std::fs::write(directory.join("registry.yml"), configuration.to_string())
            .expect("registry.yml");
        let log = directory.join("registry.log");
        let server = Inside::spawn(
            enclosure
                .root("env")
                .args(env)
                .arg(process::tool("docker-registry"))
                .arg("serve")
                .arg(directory.join("registry.yml")),
            &log,
        );
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        let address = process::poll(Duration::from_secs(20), || {
            let text = read();
            let rest = &text[text.find("listening on ")? + "listening on ".len()..];
            rest.split_once(['"', ' ', ',', '\n'])
                .map(|(address, _)| address.to_owned())
        })
        .unwrap_or_else(|| panic!("docker-registry does not listen:\n{}", read()));
        Self {
            enclosure,
            _server: server,
            address,
        }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn port(&self) -> u16 {
        self.address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port")
    }

    /// `127.0.0.1:PORT/NAME`
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// One line per request, among others.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.enclosure.directory().join("registry.log")).unwrap_or_default()
    }

    /// Takes a blob out of a repository.
    #[track_caller]
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let answer =
            http::request("DELETE", self.port(), &path, &[]).expect("the registry answers");
        assert_eq!(answer.status, 202, "{path}");
    }

    /// The tags of a repository.
    #[track_caller]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let answer = http::get(self.port(), &format!("/v2/{repository}/tags/list"))
            .expect("the registry answers");
        let value: serde_json::Value =
            serde_json::from_slice(&answer.body).expect("the registry speaks JSON");
        value["tags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|tag| tag.as_str().map(String::from))
            .collect()
    }
}
