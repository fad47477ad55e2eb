//! A builder image in a registry: pulled, verified, built upon, and the result pushed.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use crate::support::process;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::stored::image_for;
use crate::support::warpdrive::{PYTHON_311, Warpdrive, example};
use warpdrive::oci::{descriptor, to_canonical_json};
use warpdrive::store::Store;

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

/// Puts another image under a builder's name in a registry: the same but for a label.
fn move_builder(local: &Warpdrive, reference: &str) -> String {
    let store = Store::open(Some(&local.store())).unwrap();
    let image = store.image(PYTHON_311).unwrap().unwrap();
    let mut config = image.config.clone();
    config.set_label("moved", "yes");
    let (digest, size) = store.put_blob(&config.to_bytes()).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest_bytes).unwrap();
    manifest["config"]["digest"] = digest.to_string().into();
    manifest["config"]["size"] = size.into();
    let bytes = to_canonical_json(&manifest).unwrap();
    let (digest, size) = store.put_blob(&bytes).unwrap();
    let media_type = image.descriptor.media_type().clone();
    let moved = descriptor(media_type, digest.clone(), size);
    store.tag("moved", &moved).unwrap();
    local.run(&["push", "moved", reference]);
    digest.to_string()
}

#[test]
fn a_base_that_moved_is_seen_when_it_is_asked_for() {
    let registry = Registry::start();
    let local = Warpdrive::with(PYTHON_311);
    let builder = registry.reference("team/python:3.11");
    local.run(&["push", PYTHON_311, &builder]);
    let here = Warpdrive::new();
    let source = example("flask");
    let build = |pull: &str| {
        let path = source.to_str().unwrap();
        let output = here.output(&[
            "image",
            "flask",
            "--path",
            path,
            "--builder",
            &builder,
            "--pull",
            pull,
            "--json",
        ]);
        let base: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let base = base["base"]["digest"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (output.status.code(), base, process::words(&output))
    };
    let (code, _, words) = build("never");
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("--pull never asks no registry"), "{words}");
    let (code, first, words) = build("missing");
    assert_eq!(code, Some(0), "{words}");

    let moved = move_builder(&local, &builder);
    assert_eq!(build("missing").1, first);
    assert_eq!(build("never").1, first);
    let (_, base, words) = build("newer");
    assert_eq!(base, moved, "{words}");
    assert!(
        words.contains("has moved") && words.contains(&first) && words.contains(&moved),
        "{words}"
    );
    // Again: one question, and nothing to tell.
    let before = registry.log().matches("/v2/team/python/manifests/").count();
    let (_, base, words) = build("newer");
    assert_eq!(base, moved);
    assert!(!words.contains("has moved"), "{words}");
    let after = registry.log().matches("/v2/team/python/manifests/").count();
    assert!(after - before <= 2, "{before} {after}"); // a request is a line or two of the log

    drop(registry);
    let (code, base, words) = build("newer");
    assert_eq!((code, base), (Some(0), moved), "{words}");
    assert!(words.contains("could not ask for a newer"), "{words}");
    assert_eq!(build("always").0, Some(5));
}

/// Said as an error, and not as a warning before it; nothing but the configuration is fetched.
#[test]
fn a_builder_of_another_machine_is_refused_once() {
    let registry = Registry::start();
    let local = Warpdrive::new();
    let store = Store::open(Some(&local.store())).unwrap();
    let other = image_for(&store, "linux/s390x", &[b"x"], &[]);
    store.tag("crew/other:1", &other).unwrap();
    let builder = registry.reference("crew/other:1");
    local.run(&["push", "crew/other:1", &builder]);
    let here = Warpdrive::new();
    let source = example("flask");
    let path = source.to_str().unwrap();
    let arguments = ["image", "opal", "--path", path, "--builder", &builder];
    let output = here.output(&arguments);
    let words = process::words(&output);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("is for linux/s390x"), "{words}");
    assert_eq!(words.matches("linux/s390x").count(), 1, "{words}");
}
