//! Skopeo with nothing of the machine's configuration: no policy, no short names, no credentials.

use std::process::Command;

use serde_json::Value;

use super::process;

/// Skopeo with `subcommand`; a registry of the tests speaks plain HTTP.
pub fn command(subcommand: &str) -> Command {
    let mut command = Command::new(process::tool("skopeo"));
    command
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
        .env("REGISTRY_AUTH_FILE", "/nonexistent/auth.json")
        .env_remove("DOCKER_HOST")
        .args(["--insecure-policy", subcommand]);
    command
}

/// Copies an image between any two transports.
#[track_caller]
pub fn copy(source: &str, destination: &str) {
    process::run(command("copy").args([
        "--quiet",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        source,
        destination,
    ]));
}

/// Copies an image into a Docker daemon, as `docker-daemon:NAME:TAG`.
#[track_caller]
pub fn copy_to_daemon(source: &str, name: &str, host: &str) {
    let destination = format!("docker-daemon:{name}");
    process::run(command("copy").args([
        "--quiet",
        "--dest-daemon-host",
        host,
        source,
        &destination,
    ]));
}

/// Name, digest, labels, layers and environment of an image.
#[track_caller]
pub fn inspect(image: &str) -> Value {
    json(&["--no-tags", image])
}

/// The manifest as it lies there.
#[track_caller]
pub fn manifest(image: &str) -> Value {
    json(&["--raw", image])
}

/// The configuration.
#[track_caller]
pub fn config(image: &str) -> Value {
    json(&["--config", image])
}

#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let text = process::run(command("inspect").arg("--tls-verify=false").args(arguments));
    serde_json::from_str(&text).expect("skopeo speaks JSON")
}
