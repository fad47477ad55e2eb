//! A builder image in a registry: pulled, verified, built upon, and the result pushed.

use crate::support::process;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::warpdrive::{PYTHON_311, Warpdrive, example};

#[test]
fn a_builder_in_a_registry_gives_the_same_layers_as_a_local_one() {
    let registry = Registry::start();
    let local = Warpdrive::with(PYTHON_311);
    let builder = registry.reference("team/python:3.11");
    local.run(&["push", PYTHON_311, &format!("docker://{builder}")]);
    let first = local.image("flask", &example("flask"), &[]);

    let remote = Warpdrive::new();
    let name = registry.reference("team/flask:1");
    let second = remote.image(&name, &example("flask"), &["--builder", &builder, "--push"]);
    let digests = |report: &serde_json::Value| -> Vec<String> {
        report["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(digests(&first), digests(&second));
    assert_eq!(second["pushed"][0], name);

    let pushed = process::run(
        skopeo::command("inspect").args(["--tls-verify=false", &format!("docker://{name}")]),
    );
    let pushed: serde_json::Value = serde_json::from_str(&pushed).unwrap();
    assert_eq!(pushed["Digest"], second["digest"]);

    let third = Warpdrive::new();
    third.run(&["pull", &name]);
    let inspected: serde_json::Value =
        serde_json::from_str(&third.run(&["inspect", &name, "--json"])).unwrap();
    assert_eq!(inspected["digest"], second["digest"]);
}
