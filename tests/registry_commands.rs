//! `push`, `pull`, `export` and `import` as a user types them, with Docker and podman on the other side.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::process::Command;
use std::sync::Mutex;

use crate::support::docker::Docker;
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::made::{Layer, Made};
use crate::support::podman::Podman;
use crate::support::process;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::sound_registry::{self, Held};
use crate::support::stored::{image, noise};
use crate::support::warpdrive::{Warpdrive, binary};
use serde_json::{Value, json};
use warpdrive::oci::{Descriptor, docker};
use warpdrive::store::Store;

/// A store with an image called `crew/opal:1`.
fn with_image() -> (Warpdrive, Descriptor) {
    let warpdrive = Warpdrive::new();
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    let manifest = image(&store, &[b"one", &noise(2_000_000, 5)], &[]);
    store.tag("crew/opal:1", &manifest).unwrap();
    (warpdrive, manifest)
}

/// Runs it; gives the exit code, standard output and standard error.
fn said(command: &mut Command) -> (i32, String, String) {
    let output = process::output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn push_and_pull() {
    let registry = Registry::start();
    let (here, manifest) = with_image();
    let name = registry.reference("crew/opal:1");
    let (code, out, err) = said(&mut here.command(&["push", "crew/opal:1", &name]));
    assert_eq!(
        (code, out),
        (0, format!("{name}@{}\n", manifest.digest())),
        "{err}"
    );
    assert!(err.contains("3 blobs sent"), "{err}");
    let report = here.run(&["push", "crew/opal:1", &format!("docker://{name}"), "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["existing"], 3, "{report}");

    let there = Warpdrive::new();
    let pulled: Value = serde_json::from_str(&there.run(&["pull", &name, "--json"])).unwrap();
    assert_eq!(pulled["digest"], manifest.digest().to_string());
    assert_eq!(pulled["name"], name);
    let by_digest = format!("{name}@{}", manifest.digest());
    assert_eq!(there.run(&["pull", &by_digest]), format!("{by_digest}\n"));
    let store = Store::open(Some(&there.store())).unwrap();
    assert_eq!(
        store.resolve(&name).unwrap().unwrap().digest(),
        manifest.digest()
    );
}

/// What was pushed before another place refused is told, and a name that has its digest has it once.
#[test]
fn several_places_of_which_one_refuses() {
    let registry = Registry::start();
    let (here, manifest) = with_image();
    let refuses = FakeRegistry::start(|asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::new(403),
    });
    let (one, two) = (registry.reference("one:1"), registry.reference("two:1"));
    let three = format!("{}/three:1", refuses.address());
    let arguments = ["push", "crew/opal:1", &one, &two, &three, "--json"];
    let (code, out, err) = said(&mut here.command(&arguments));
    assert_eq!(code, 5, "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert!(told["error"]["message"].is_string(), "{told}");
    let pushed: Vec<&Value> = told["pushed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|report| &report["reference"])
        .collect();
    assert_eq!(pushed, [&json!(one), &json!(two)]);

    let by_digest = registry.reference(&format!("three@{}", manifest.digest()));
    let (from, to) = (format!("docker://{one}"), format!("docker://{by_digest}"));
    assert_eq!(here.run(&["copy", &from, &to]), format!("{by_digest}\n"));
}

/// A level that is named is that of all layers afterwards.
#[test]
fn a_level_that_is_named_compresses_anew() {
    let registry = Registry::start();
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let words = (0..40_000).map(|n| (n * 7919 % 1000).to_string());
    let text = words.collect::<Vec<_>>().join(" ");
    let manifest = image(&store, &[text.as_bytes()], &[]);
    store.tag("crew/opal:1", &manifest).unwrap();
    let size = |compression: &str| {
        let name = registry.reference("crew/opal:1");
        let arguments = ["push", "crew/opal:1", &name, "--compression", compression];
        here.run(&arguments);
        let shown = here.run(&["inspect", &format!("docker://{name}"), "--raw=manifest"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown["layers"][0]["size"].as_u64().unwrap()
    };
    let before = store.image_at(&manifest).unwrap().manifest.layers()[0].size();
    assert_eq!(size("gzip"), before, "gzip layers stay as they are");
    assert!(size("gzip:12") < before);
}

/// Layers of a registry are read as they come, and kept nowhere.
#[test]
fn the_audit_reads_a_registry_without_storing() {
    let registry = Registry::start();
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let sound = || {
        Made::new(&json!({"User": "1001", "WorkingDir": "/srv"})).layer_by(
            Layer::new().file("srv/data", 0o644, noise(3_000_000, 7)),
            "one",
        )
    };
    let bad = sound().layer_by(Layer::new().file("srv/id", 0o4711, "ELF"), "two");
    let there = Warpdrive::new();
    for (made, name, status) in [(sound(), "sound", 0), (bad, "bad", 4)] {
        made.put(&store, name);
        let reference = registry.reference(&format!("crew/{name}:1"));
        here.run(&["push", name, &reference]);
        for place in [reference.clone(), format!("docker://{reference}")] {
            let output = there.output(&["audit", &place, "--json"]);
            assert_eq!(
                output.status.code(),
                Some(status),
                "{}",
                process::words(&output)
            );
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let local: Value =
                serde_json::from_slice(&here.output(&["audit", name, "--json"]).stdout).unwrap();
            for key in ["digest", "findings", "layers", "verdict"] {
                assert_eq!(report[key], local[key], "{name} {key}");
            }
        }
    }
    let blobs = there.store().join("blobs/sha256");
    assert_eq!(
        fs::read_dir(blobs).map_or(0, Iterator::count),
        0,
        "nothing is stored"
    );
    let (code, _, err) = said(&mut there.command(&["audit", &registry.reference("crew/none:1")]));
    assert_eq!(code, 5, "{err}");
}

#[test]
fn failures_have_the_promised_exit_codes_and_words() {
    let registry = Registry::start();
    let (here, _) = with_image();
    let closed = crate::support::http::free_port();
    for (arguments, code, parts) in [
        (
            vec!["push", "crew/opal:1"],
            2,
            vec!["names no registry", "registry.example.com/team/opal"],
        ),
        (
            vec!["push", "none", "localhost:1/x"],
            1,
            vec!["no image `none`"],
        ),
        (
            vec!["push", "crew/opal:1", "NOT A NAME"],
            2,
            vec!["not an image name"],
        ),
        (
            vec!["pull", &registry.reference("crew/none")],
            5,
            vec!["crew/none", "check the name"],
        ),
        (
            vec!["pull", &format!("127.0.0.1:{closed}/x")],
            5,
            vec!["cannot reach", "that the registry runs"],
        ),
        (
            vec!["pull", "x", "--platform", "linux"],
            2,
            vec!["not a platform"],
        ),
        (
            vec!["export", "crew/opal:1", "tape:1"],
            2,
            vec!["not a place", "docker-archive:FILE"],
        ),
        (vec!["import", "oci:/nonexistent"], 1, vec!["/nonexistent"]),
        (
            vec!["import", "oci:/nonexistent", "Opal"],
            2,
            vec!["upper-case"],
        ),
    ] {
        let (found, out, err) = said(&mut here.command(&arguments));
        assert_eq!((found, out.as_str()), (code, ""), "{arguments:?}: {err}");
        for part in parts {
            assert!(err.contains(part), "{part} in {err}");
        }
    }
    let name = registry.reference("crew/none");
    let (_, out, _) = said(&mut here.command(&["pull", &name, "--json"]));
    let error: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(error["error"]["code"], "registry-not-found", "{error}");
}

#[test]
fn a_login_comes_from_an_auth_file_or_a_helper() {
    let held = Mutex::new(Held::default());
    let registry = FakeRegistry::start(move |asked| {
        // captain:engage
        if asked.header("authorization") != Some("Basic Y2FwdGFpbjplbmdhZ2U=") {
            return Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#);
        }
        sound_registry::answer(asked, &mut held.lock().unwrap())
    });
    let address = registry.address();
    let (here, _) = with_image();
    let name = format!("{address}/crew/opal:1");
    let place = here.place();
    let push =
        |env: &[&str]| said(&mut here.command_in(&place, env, &["push", "crew/opal:1", &name]));
    let nowhere = format!("HOME={}", place.join("nowhere").display());

    let (code, _, err) = push(&[&nowhere]);
    assert_eq!(code, 5);
    assert!(
        err.contains("without a login") && err.contains(&format!("podman login {address}")),
        "{err}"
    );

    let auth = place.join("auth.json");
    let write = |json: String| fs::write(&auth, json).unwrap();
    write(format!(
        r#"{{"auths": {{"{address}": {{"auth": "Y2FwdGFpbjplbmdhZ2U="}}}}}}"#
    ));
    let file = format!("REGISTRY_AUTH_FILE={}", auth.display());
    let (code, _, err) = push(&[&nowhere, &file]);
    assert_eq!(code, 0, "{err}");

    // A helper, as cloud registries have them.
    let helper = place.join("docker-credential-starfleet");
    fs::write(
        &helper,
        format!("#!/bin/sh\nread server\n[ \"$1 $server\" = 'get {address}' ] || {{ echo credentials not found; exit 1; }}\necho '{{\"Username\": \"captain\", \"Secret\": \"engage\"}}'\n"),
    )
    .unwrap();
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!(
        "PATH={}:{}",
        place.display(),
        std::env::var("PATH").unwrap()
    );
    write(format!(
        r#"{{"credHelpers": {{"{address}": "starfleet"}}}}"#
    ));
    let (code, _, err) = push(&[&nowhere, &file, &path]);
    assert_eq!(code, 0, "{err}");
    write(r#"{"credsStore": "starfleet"}"#.into());
    let (code, _, err) = push(&[&nowhere, &file, &path]);
    assert_eq!(code, 0, "{err}");
    // Not installed: said when it is missed.
    let (code, _, err) = push(&[&nowhere, &file]);
    assert_eq!(code, 5);
    assert!(
        err.contains("docker-credential-starfleet, which cannot be run"),
        "{err}"
    );
    // Also with an auth file on the command line.
    write(format!(
        r#"{{"auths": {{"{address}/crew": {{"auth": "Y2FwdGFpbjplbmdhZ2U="}}}}}}"#
    ));
    let arguments = [
        "push",
        "crew/opal:1",
        &name,
        "--authfile",
        &auth.display().to_string(),
    ];
    let (code, _, err) = said(&mut here.command_in(&place, &[&nowhere], &arguments));
    assert_eq!(code, 0, "{err}");
}

#[test]
fn docker_takes_and_gives_images() {
    let docker = Docker::start();
    let (here, manifest) = with_image();
    let place = here.place();
    let host = format!("DOCKER_HOST={}", docker.host());
    let config = Store::open(Some(&here.store()))
        .unwrap()
        .image_at(&manifest)
        .unwrap();
    let id = config.manifest.config().digest().to_string();

    let archive = place.join("opal.tar");
    here.run(&[
        "export",
        "crew/opal:1",
        &format!("docker-archive:{}", archive.display()),
    ]);
    assert!(docker.load(&archive).contains("crew/opal:1"));
    assert_eq!(docker.inspect("crew/opal:1")["Id"], id);

    let mut export = here.command_in(
        &place,
        &[&host],
        &["export", "crew/opal:1", "docker-daemon:direct:2"],
    );
    assert_eq!(process::run(&mut export), "docker-daemon:direct:2\n");
    assert_eq!(docker.inspect("direct:2")["Id"], id);

    let there = Warpdrive::new();
    let mut import = there.command_in(
        &place,
        &[&host],
        &["import", "docker-daemon:direct:2", "--json"],
    );
    let imported: Value = serde_json::from_str(&process::run(&mut import)).unwrap();
    assert_eq!(imported["name"], "direct:2");
    let store = Store::open(Some(&there.store())).unwrap();
    let found = store.image("direct:2").unwrap().unwrap();
    assert_eq!(found.manifest.config().digest().to_string(), id);
    for layer in found.manifest.layers() {
        store.verify_blob(layer).unwrap();
    }

    let (code, _, err) =
        said(&mut there.command_in(&place, &[&host], &["import", "docker-daemon:none"]));
    assert_eq!(code, 5);
    assert!(err.contains("has no image `none`"), "{err}");
    let (code, _, err) = said(&mut there.command_in(
        &place,
        &["DOCKER_HOST=unix:///nonexistent.sock"],
        &["import", "docker-daemon:none"],
    ));
    assert_eq!(code, 5);
    assert!(
        err.contains("/nonexistent.sock") && err.contains("DOCKER_HOST"),
        "{err}"
    );
    let mut export = here.command_in(
        &place,
        &["DOCKER_HOST=unix:///nonexistent.sock"],
        &["export", "crew/opal:1", "docker-daemon:x"],
    );
    let (code, _, err) = said(&mut export);
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("/nonexistent.sock"), "{err}");
}

#[test]
fn podman_takes_and_gives_images() {
    let podman = Podman::new();
    let (here, manifest) = with_image();
    let warpdrive = |arguments: &[&str], of: &Warpdrive| {
        let mut command = podman.other(binary());
        command.arg("--store").arg(of.store()).args(arguments);
        process::run(&mut command)
    };
    warpdrive(
        &["export", "crew/opal:1", "containers-storage:crew/opal:2"],
        &here,
    );
    let inspected = podman.inspect("localhost/crew/opal:2");
    assert_eq!(inspected["Digest"], manifest.digest().to_string());

    let archive = here.place().join("opal.tar");
    here.run(&[
        "export",
        "crew/opal:1",
        &format!("docker-archive:{}:opal", archive.display()),
    ]);
    assert!(podman.load(&archive).contains("opal:latest"));

    let there = Warpdrive::new();
    warpdrive(
        &["import", "containers-storage:localhost/crew/opal:2"],
        &there,
    );
    let store = Store::open(Some(&there.store())).unwrap();
    let found = store.image("localhost/crew/opal:2").unwrap().unwrap();
    let expected = Store::open(Some(&here.store()))
        .unwrap()
        .image_at(&manifest)
        .unwrap();
    assert_eq!(found.config.diff_ids(), expected.config.diff_ids());

    // An image with Docker's media types has the ID that podman shows.
    let registry = Registry::start();
    let name = registry.reference("crew/opal:docker");
    here.run(&["push", "crew/opal:1", &name, "--format", "docker"]);
    podman.pull(&format!("docker://{name}"));
    let inspected = podman.inspect(&name);
    assert_eq!(inspected["ManifestType"], docker::MANIFEST);
    warpdrive(&["import", &format!("containers-storage:{name}")], &there);
    let found = store.image(&name).unwrap().unwrap();
    let id = found.manifest.config().digest().digest();
    assert_eq!(inspected["Id"], id);
}

/// An OCI layout takes Docker's media types, which others do not read there.
#[test]
fn a_layout_gets_the_media_types_that_are_asked_for() {
    let (here, manifest) = with_image();
    let place = |name: &str| format!("oci:{}:1", here.place().join(name).display());
    let docker = format!("dir:{}", here.place().join("docker").display());
    here.run(&["export", "crew/opal:1", &docker, "--format", "docker"]);
    let mut copy = here.command(&["copy", &docker, &place("as-it-is")]);
    let (code, _, err) = said(&mut copy);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("Docker's media types") && err.contains("--format oci"),
        "{err}"
    );
    let (code, _, err) =
        said(&mut here.command(&["copy", &docker, &place("oci"), "--format", "oci", "--json"]));
    assert_eq!((code, err.contains("warning")), (0, false), "{err}");
    let found = skopeo::inspect(&place("oci"));
    assert_eq!(found["Digest"], manifest.digest().to_string());
}

#[test]
fn an_archive_goes_through_a_pipe() {
    let (here, manifest) = with_image();
    let there = Warpdrive::new();
    let script = format!(
        "'{0}' --store '{1}' export crew/opal:1 oci-archive:/dev/stdout:opal | '{0}' --store '{2}' import oci-archive:/dev/stdin",
        binary().display(),
        here.store().display(),
        there.store().display()
    );
    let out = process::run(Command::new("sh").args(["-c", &script]));
    assert_eq!(out, format!("opal@{}\n", manifest.digest()));
}
