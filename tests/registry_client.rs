//! What makes a registry client dependable, as the library and as a user types it: transfers that go on
//! in another process, platforms, shapes, logins, configuration, copies.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::process;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::sound_registry::{Fault, Held, SoundRegistry, answer, part};
use crate::support::stored::{image, layer, noise, store};
use crate::support::warpdrive::Warpdrive;
use serde_json::Value;
use warpdrive::oci::{
    Descriptor, MediaType, Reference, descriptor, sha256, this_architecture, to_canonical_json,
};
use warpdrive::registry::{
    Client, ClientOptions, Event, RegistryError, Retry, Silent, Transfer, TransferListener,
};
use warpdrive::store::Store;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A client that gives up at once.
fn hasty() -> Client {
    Client::new(ClientOptions {
        retry: Retry {
            attempts: 1,
            first_wait: Duration::from_millis(1),
            ..Retry::default()
        },
        ..ClientOptions::default()
    })
    .unwrap()
}

fn name(address: &str) -> Reference {
    format!("{address}/crew/opal:1").parse().unwrap()
}

#[derive(Default)]
struct Ears {
    warnings: Mutex<Vec<String>>,
    outcomes: Mutex<Vec<Transfer>>,
}

impl TransferListener for Ears {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Warning(text) => self.warnings.lock().unwrap().push((*text).to_owned()),
            Event::Done { outcome, .. } => self.outcomes.lock().unwrap().push(*outcome),
            _ => {}
        }
    }
}

#[test]
fn a_download_goes_on_in_another_process() {
    let (_a, here) = store();
    let content = noise(3_000_000, 3);
    let manifest = image(&here, &[&content], &[]);
    let registry = SoundRegistry::start(
        vec![Fault {
            method: "GET",
            part: "/blobs/",
            times: 1,
            reply: |asked, held| {
                let digest = asked.target.rsplit('/').next()?;
                let bytes = held.blobs.get(digest)?;
                let cut = bytes.get(..1_000_000)?;
                Some(Reply::new(200).body(cut).length(bytes.len() as u64))
            },
        }],
        Held::of(&here, &manifest),
    );
    let name = name(registry.address());
    let (dir, there) = store();
    let error = hasty().pull(&name, &there, &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Truncated { .. }), "{error}");
    // Another store on the same directory, as another process has it.
    let again = Store::open(Some(&dir.path().join("store"))).unwrap();
    hasty().pull(&name, &again, &Silent).unwrap();
    let ranges: Vec<String> = registry
        .asked()
        .iter()
        .filter_map(|asked| asked.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    assert!(ranges[0].starts_with("bytes=1000000-"), "{ranges:?}");
    for layer in there.image_at(&manifest).unwrap().manifest.layers() {
        there.verify_blob(layer).unwrap();
    }
    let left = fs::read_dir(there.root().join("cache/downloads")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn an_upload_goes_on_in_another_process() {
    let (dir, here) = store();
    let manifest = image(&here, &[&noise(3_000_000, 4)], &[]);
    let registry = SoundRegistry::start(vec![Fault::cut_upload()], Held::default());
    let name = name(registry.address());
    hasty().push(&manifest, &here, &name, &Silent).unwrap_err();
    let again = Store::open(Some(&dir.path().join("store"))).unwrap();
    hasty().push(&manifest, &again, &name, &Silent).unwrap();
    let begun = registry
        .asked()
        .iter()
        .filter_map(|asked| asked.header("content-range").map(str::to_owned))
        .collect::<Vec<_>>();
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert!(begun[0].starts_with("1000000-"), "{begun:?}");
    let held = registry.held();
    for blob in here.image_at(&manifest).unwrap().manifest.layers() {
        let bytes = fs::read(here.blob_path(blob.digest())).unwrap();
        assert!(held.blobs[blob.digest().as_ref()] == bytes);
    }
}

/// Opens a latch when it hears that another process is waited for.
struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl TransferListener for Latch {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning(text) = event
            && text.contains("waiting for another process")
        {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_all();
        }
    }
}

#[test]
fn two_pulls_fetch_a_blob_once() {
    let (_a, here) = store();
    let manifest = image(&here, &[&noise(500_000, 5)], &[]);
    let held = Mutex::new(Held::of(&here, &manifest));
    let large = here.image_at(&manifest).unwrap().manifest.layers()[0]
        .digest()
        .to_string();
    let latch = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&latch);
    let wanted = large.clone();
    let registry = FakeRegistry::start(move |asked| {
        if asked.method == "GET" && asked.target.ends_with(&wanted) {
            // The answer comes when the other pull waits for it.
            let open = waits.0.lock().unwrap();
            drop(waits.1.wait_while(open, |open| !*open).unwrap());
        }
        answer(asked, &mut held.lock().unwrap())
    });
    let name = name(registry.address());
    let (dir, _store) = store();
    let root = dir.path().join("store");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let store = Store::open(Some(&root)).unwrap();
                let listener = Latch(Arc::clone(&latch));
                hasty().pull(&name, &store, &listener).unwrap();
            });
        }
    });
    let fetched = registry
        .lines()
        .iter()
        .filter(|line| line.starts_with("GET") && line.ends_with(&large))
        .count();
    assert_eq!(fetched, 1, "{:#?}", registry.lines());
}

#[test]
fn an_image_of_another_platform_is_refused_when_asked_for_and_else_warned_about() {
    let (_a, here) = store();
    let config =
        br#"{"architecture":"s390x","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let (digest, size) = here.put_blob(config).unwrap();
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(MediaType::ImageConfig, digest, size),
        "layers": [],
    });
    let bytes = to_canonical_json(&document).unwrap();
    let (digest, size) = here.put_blob(&bytes).unwrap();
    let manifest = descriptor(MediaType::ImageManifest, digest, size);
    // Its index lies.
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": MANIFEST, "digest": manifest.digest(), "size": size,
            "platform": {"os": "linux", "architecture": this_architecture()},
        }],
    });
    let mut held = Held::default();
    held.blobs
        .insert(sha256(config).to_string(), config.to_vec());
    held.manifests
        .insert(manifest.digest().to_string(), (MANIFEST.into(), bytes));
    held.manifests.insert(
        "1".into(),
        (
            "application/vnd.oci.image.index.v1+json".into(),
            index.to_string().into_bytes(),
        ),
    );
    let registry = SoundRegistry::start(Vec::new(), held);
    let name = name(registry.address());
    let this = format!("linux/{}", this_architecture());
    let asked = Client::new(ClientOptions {
        platform: Some(this.clone()),
        ..ClientOptions::default()
    })
    .unwrap();
    let (_b, there) = store();
    let error = asked.pull(&name, &there, &Silent).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("is for linux/s390x, not for") && text.contains(&this),
        "{text}"
    );
    assert!(!there.has_blob(manifest.digest()));
    let ears = Ears::default();
    hasty().pull(&name, &there, &ears).unwrap();
    let warnings = ears.warnings.into_inner().unwrap();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("will not run here")),
        "{warnings:?}"
    );
}

/// An image as `docker save` gives it: one layer without compression.
fn plain_image(store: &Store, content: &[u8]) -> Descriptor {
    let made = image(store, &[content], &[]);
    let (tar, _) = layer(content);
    let (digest, size) = store.put_blob(&tar).unwrap();
    let made = store.image_at(&made).unwrap();
    let mut manifest: Value = serde_json::from_slice(&made.manifest_bytes).unwrap();
    manifest["layers"][0] =
        serde_json::to_value(descriptor(MediaType::ImageLayer, digest, size)).unwrap();
    let (digest, size) = store
        .put_blob(&to_canonical_json(&manifest).unwrap())
        .unwrap();
    descriptor(MediaType::ImageManifest, digest, size)
}

#[test]
fn layers_without_compression_are_pushed_compressed() {
    let registry = Registry::start();
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let manifest = plain_image(&store, &vec![7; 5_000_000]);
    store.tag("opal:1", &manifest).unwrap();
    let place = here.place();
    let digestfile = place.join("digest.txt");
    let names = ["a:1", "b:1"].map(|name| registry.reference(&format!("crew/{name}")));
    let push = |more: &[&str]| {
        let mut arguments = vec!["push", "opal:1", &names[0], &names[1], "--json"];
        arguments.extend(more);
        here.output(&arguments)
    };
    let output = push(&["--digestfile", digestfile.to_str().unwrap()]);
    assert!(output.status.success(), "{}", process::words(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["pushed"].as_array().unwrap().len(), 2, "{report}");
    assert!(report["pushed"][0]["uploaded_bytes"].as_u64().unwrap() < 200_000);
    assert_eq!(report["pushed"][1]["mounted"], 2, "{report}");
    let digest = fs::read_to_string(&digestfile).unwrap();
    assert_eq!(report["digest"], digest);
    for name in &names {
        assert_eq!(
            skopeo::inspect(&format!("docker://{name}"))["Digest"],
            digest
        );
    }
    // Again: the same layer, which is not made again, and nothing to send.
    let again: Value = serde_json::from_slice(&push(&[]).stdout).unwrap();
    assert_eq!(again["digest"], digest);
    assert_eq!(again["pushed"][0]["existing"], 2, "{again}");
    // What was pushed unpacks to the same.
    let there = Warpdrive::new();
    there.run(&["pull", &names[0]]);
    let pulled = Store::open(Some(&there.store())).unwrap();
    let pulled = pulled.image(&names[0]).unwrap().unwrap();
    let before = store.image_at(&manifest).unwrap();
    assert_eq!(pulled.config_bytes, before.config_bytes);

    let manifest_of = |name: &str| {
        let text = process::run(skopeo::command("inspect").args([
            "--raw",
            "--tls-verify=false",
            &format!("docker://{name}"),
        ]));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert!(push(&["--compression", "zstd"]).status.success());
    let zstd = manifest_of(&names[0]);
    assert_eq!(
        zstd["layers"][0]["mediaType"],
        "application/vnd.oci.image.layer.v1.tar+zstd"
    );
    assert!(push(&["--format", "docker"]).status.success());
    let docker = manifest_of(&names[0]);
    assert_eq!(docker["mediaType"], warpdrive::oci::docker::MANIFEST);
    assert_eq!(
        docker["layers"][0]["mediaType"],
        warpdrive::oci::docker::LAYER_GZIP
    );
    let refused = push(&["--format", "docker", "--compression", "zstd"]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "{}",
        process::words(&refused)
    );
}

#[test]
fn a_login_is_verified_kept_and_forgotten() {
    let registry = FakeRegistry::start(|asked| {
        // captain:engage
        if asked.header("authorization") != Some("Basic Y2FwdGFpbjplbmdhZ2U=") {
            return Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#);
        }
        match asked.target.as_str() {
            "/v2/" => Reply::new(200),
            "/v2/crew/opal/tags/list?n=1000" => Reply::new(200).body(r#"{"tags":["1","2"]}"#),
            _ => Reply::new(404),
        }
    });
    let address = registry.address();
    let here = Warpdrive::new();
    let place = here.place();
    let home = format!("HOME={}", place.join("home").display());
    let runtime = format!("XDG_RUNTIME_DIR={}", place.join("run").display());
    let env = [home.as_str(), runtime.as_str()];
    let file = place.join("run/containers/auth.json");
    let login = |password: &str| {
        let arguments = ["login", "-u", "captain", "--password-stdin", address];
        process::with_input(here.command_in(&place, &env, &arguments), password)
    };
    let (code, words) = login("hunter2\n");
    assert_eq!(code, 5, "{words}");
    assert!(
        words.contains("for captain") && !words.contains("hunter2"),
        "{words}"
    );
    assert!(!file.exists());
    let tried = registry
        .asked()
        .iter()
        .filter(|asked| asked.header("authorization").is_some())
        .count();
    assert_eq!(tried, 1);
    let (code, words) = login("engage\n");
    assert_eq!(code, 0, "{words}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let tags = |env: &[&str]| {
        let name = format!("{address}/crew/opal");
        process::output(&mut here.command_in(&place, env, &["tags", &name]))
    };
    assert_eq!(String::from_utf8_lossy(&tags(&env).stdout), "1\n2\n");
    let logout = || process::output(&mut here.command_in(&place, &env, &["logout", address]));
    assert!(logout().status.success());
    assert_eq!(tags(&env).status.code(), Some(5));
    assert_eq!(logout().status.code(), Some(1));
}

/// Neither a no nor a yes: what is kept may be a good login.
#[test]
fn a_login_that_is_not_proven_is_not_kept() {
    for (what, reply) in [
        ("403", Reply::new(403)),
        ("404", Reply::new(404)),
        ("429", Reply::new(429)),
        ("500", Reply::new(500)),
        ("503", Reply::new(503)),
        ("cannot reach", Reply::hang_up_after(0)),
    ] {
        let answer = reply.clone();
        let registry = FakeRegistry::start(move |asked| match asked.header("authorization") {
            // captain:engage
            Some("Basic Y2FwdGFpbjplbmdhZ2U=") => Reply::new(200),
            Some(_) => answer.clone(),
            None => Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#),
        });
        let here = Warpdrive::new();
        let file = here.place().join("auth.json");
        let login = |password: &str| {
            let path = file.display().to_string();
            let arguments = [
                "login",
                "-u",
                "captain",
                "--password-stdin",
                "--authfile",
                &path,
            ];
            let mut command = here.command_in(&here.place(), &[], &arguments);
            command.arg(registry.address());
            process::with_input(command, password)
        };
        let (code, words) = login("engage\n");
        assert_eq!(code, 0, "{what}: {words}");
        let before = fs::read(&file).unwrap();
        let (code, words) = login("hunter2\n");
        assert_eq!(code, 5, "{what}: {words}");
        let told = if what == "403" { "for captain" } else { what };
        assert!(words.contains(told), "{what}: {words}");
        assert_eq!(fs::read(&file).unwrap(), before, "{what}");
    }
}

/// A refusal of the target says nothing of the source, and a second source may have another image.
#[test]
fn a_copy_takes_no_other_source_when_the_target_refuses() {
    let (_a, here) = store();
    let images = [image(&here, &[b"a"], &[]), image(&here, &[b"b"], &[])];
    let [one, two] = images
        .each_ref()
        .map(|image| SoundRegistry::start(Vec::new(), Held::of(&here, image)));
    let refuses = SoundRegistry::start(
        vec![Fault {
            method: "PUT",
            part: "/blobs/uploads/",
            times: 1,
            reply: |asked, _| asked.complete.then(|| Reply::new(403)),
        }],
        Held::default(),
    );
    let there = Warpdrive::new();
    let place = there.place();
    let conf = place.join("registries.conf");
    let (a, b) = (one.address(), two.address());
    let text = format!(
        "unqualified-search-registries = ['{a}/crew', '{b}/crew']\n\
         [[registry]]\nlocation = '{b}'\n[[registry.mirror]]\nlocation = '{a}'\n"
    );
    fs::write(&conf, text).unwrap();
    let env = format!("CONTAINERS_REGISTRIES_CONF={}", conf.display());
    let target = format!("docker://{}/crew/opal:1", refuses.address());
    let copy = |source: &str| {
        let output =
            process::output(&mut there.command_in(&place, &[&env], &["copy", source, &target]));
        (output.status.code().unwrap(), process::words(&output))
    };
    let (code, words) = copy("docker://opal:1");
    assert_eq!(code, 5, "{words}");
    assert!(
        words.contains(refuses.address()) && !words.contains("is asked instead"),
        "{words}"
    );
    assert!(refuses.held().manifests.is_empty());
    // What the mirror does not have comes from the registry itself.
    one.held().blobs.clear();
    one.held().manifests = Held::of(&here, &images[1]).manifests;
    let (code, words) = copy(&format!("docker://{b}/crew/opal:1"));
    assert_eq!(code, 0, "{words}");
    assert!(words.contains("is asked instead"), "{words}");
}

#[test]
fn registries_conf_blocks_and_leads_elsewhere() {
    let registry = Registry::start();
    let (_a, here) = store();
    let manifest = image(&here, &[b"x"], &[]);
    let target: Reference = registry.reference("mirror/crew/opal:1").parse().unwrap();
    hasty().push(&manifest, &here, &target, &Silent).unwrap();
    let there = Warpdrive::new();
    let place = there.place();
    let conf = place.join("registries.conf");
    let address = registry.address();
    let text = format!(
        "[[registry]]\nlocation = 'r.invalid'\n[[registry.mirror]]\nlocation = '{address}/none'\n\
         [[registry.mirror]]\nlocation = '{address}/mirror'\n\
         [[registry]]\nlocation = 'bad.invalid'\nblocked = true\n\
         [[registry]]\nprefix = 'corp.invalid'\nlocation = '{address}/mirror'\n\
         [[registry]]\nprefix = '*.wild.invalid'\n[[registry.mirror]]\nlocation = '{address}/mirror'\n\
         [aliases]\n'opal' = 'r.invalid/crew/opal'\n"
    );
    fs::write(&conf, text).unwrap();
    let env = format!("CONTAINERS_REGISTRIES_CONF={}", conf.display());
    let run = |arguments: &[&str]| {
        let output = process::output(&mut there.command_in(&place, &[&env], arguments));
        (output.status.code().unwrap(), process::words(&output))
    };
    for name in [
        "r.invalid/crew/opal:1",
        "corp.invalid/crew/opal:1",
        "a.b.wild.invalid/crew/opal:1",
        "opal:1",
    ] {
        let (code, words) = run(&["pull", name]);
        assert_eq!(code, 0, "{name}: {words}");
        assert!(words.contains(manifest.digest().as_ref()), "{words}");
    }
    for arguments in [
        &["pull", "bad.invalid/x"][..],
        &["push", "opal:1", "bad.invalid/x"],
    ] {
        let (code, words) = run(arguments);
        assert_eq!(code, 4, "{words}");
        assert!(words.contains("registries.conf blocks it"), "{words}");
    }
    let login = ["login", "bad.invalid", "-u", "captain", "--password-stdin"];
    let (code, words) = process::with_input(there.command_in(&place, &[&env], &login), "hunter2\n");
    assert_eq!(code, 4, "{words}");
    let text = "[[registry]]\nprefix = '*.wild.invalid:5000'\n";
    fs::write(&conf, text).unwrap();
    let (code, words) = run(&["pull", "r.invalid/x"]);
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("registries.conf") && words.contains("*.wild.invalid:5000"),
        "{words}"
    );
    fs::write(&conf, "[[registry]\n").unwrap();
    let (code, words) = run(&["pull", "r.invalid/x"]);
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("registries.conf") && words.contains("line 1"),
        "{words}"
    );
}

#[test]
fn an_image_goes_from_registry_to_registry() {
    let (one, two) = (Registry::start(), Registry::start());
    let (_a, here) = store();
    let manifest = image(&here, &[&noise(300_000, 9), b"x"], &[]);
    let source = one.reference("crew/opal:1");
    hasty()
        .push(&manifest, &here, &source.parse().unwrap(), &Silent)
        .unwrap();
    let there = Warpdrive::new();
    let copy = |to: &str, more: &[&str]| {
        let (from, to) = (format!("docker://{source}"), format!("docker://{to}"));
        let mut arguments = vec!["copy", &from, &to, "--json"];
        arguments.extend(more);
        let report: Value = serde_json::from_str(&there.run(&arguments)).unwrap();
        assert_eq!(report["digest"], manifest.digest().to_string());
        report
    };
    let within = copy(&one.reference("prod/opal:2"), &[]);
    assert_eq!(
        (&within["mounted"], &within["uploaded"]),
        (&3.into(), &0.into())
    );
    let across = copy(&two.reference("crew/opal:1"), &[]);
    assert_eq!(across["uploaded"], 3);
    let again = copy(&two.reference("crew/opal:2"), &["--all"]);
    assert_eq!(again["existing"], 3);
    let blobs = there.store().join("blobs/sha256");
    assert_eq!(fs::read_dir(blobs).unwrap().count(), 0, "nothing is stored");

    let name = two.reference("crew/opal");
    assert_eq!(there.run(&["tags", &name]), "1\n2\n");
    let inspected: Value =
        serde_json::from_str(&there.run(&["inspect", &format!("docker://{name}:1"), "--json"]))
            .unwrap();
    assert_eq!(inspected["digest"], manifest.digest().to_string());
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 2);
    let layout = there.place().join("layout");
    let to = format!("oci:{}:1", layout.display());
    there.run(&["copy", &format!("docker://{name}:1"), &to]);
    assert_eq!(
        skopeo::inspect(&to)["Digest"],
        manifest.digest().to_string()
    );
}

#[test]
fn what_refers_to_an_image_is_listed_and_copied() {
    let (one, two) = (Registry::start(), Registry::start());
    let (_a, here) = store();
    let manifest = image(&here, &[b"x"], &[]);
    let source: Reference = one.reference("crew/opal:1").parse().unwrap();
    hasty().push(&manifest, &here, &source, &Silent).unwrap();
    // A list of parts, as other tools attach it: under the tag, since this registry keeps no list.
    let (digest, size) = here.put_blob(b"{}").unwrap();
    let empty = descriptor("application/vnd.oci.empty.v1+json", digest, size);
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/spdx+json",
        "config": empty,
        "layers": [empty],
        "subject": manifest,
    });
    let (digest, size) = here
        .put_blob(&to_canonical_json(&document).unwrap())
        .unwrap();
    let attached = descriptor(MediaType::ImageManifest, digest.clone(), size);
    let by_digest: Reference = one
        .reference(&format!("crew/opal@{digest}"))
        .parse()
        .unwrap();
    hasty().push(&attached, &here, &by_digest, &Silent).unwrap();
    let mut entry = serde_json::to_value(&attached).unwrap();
    entry["artifactType"] = "application/spdx+json".into();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageIndex, "manifests": [entry],
    });
    let (list, size) = here.put_blob(&to_canonical_json(&index).unwrap()).unwrap();
    let tag = one.reference(&format!("crew/opal:sha256-{}", manifest.digest().digest()));
    hasty()
        .push(
            &descriptor(MediaType::ImageIndex, list, size),
            &here,
            &tag.parse().unwrap(),
            &Silent,
        )
        .unwrap();

    let there = Warpdrive::new();
    let listed = |name: &str| -> Value {
        serde_json::from_str(&there.run(&["referrers", name, "--json"])).unwrap()
    };
    let name = one.reference("crew/opal:1");
    assert_eq!(listed(&name)["referrers"][0]["digest"], digest.to_string());
    let to = two.reference("crew/opal:1");
    there.run(&[
        "copy",
        &format!("docker://{name}"),
        &format!("docker://{to}"),
        "--referrers",
    ]);
    let copied = listed(&to);
    assert_eq!(
        copied["referrers"][0]["digest"],
        digest.to_string(),
        "{copied}"
    );
    assert_eq!(
        copied["referrers"][0]["artifactType"],
        "application/spdx+json"
    );
    let other = ["referrers", &to, "--artifact-type", "x/y", "--json"];
    let other: Value = serde_json::from_str(&there.run(&other)).unwrap();
    assert_eq!(other["referrers"].as_array().unwrap().len(), 0);
}

#[test]
fn an_archive_holds_several_images() {
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let images =
        [b"one".as_slice(), b"two", b"three"].map(|one| image(&store, &[b"base", one], &[]));
    let archive = here.place().join("images.tar");
    let export = |name: &str| {
        here.output(&[
            "export",
            name,
            &format!("docker-archive:{}", archive.display()),
        ])
    };
    for (image, name) in images.iter().zip(["a:1", "b:1", "b:1"]) {
        store.tag(name, image).unwrap();
        assert!(export(name).status.success());
    }
    let there = Warpdrive::new();
    for (name, image) in [("a:1", &images[0]), ("b:1", &images[2])] {
        there.run(&[
            "import",
            &format!("docker-archive:{}:{name}", archive.display()),
        ]);
        let found = Store::open(Some(&there.store())).unwrap();
        let found = found.image(name).unwrap().unwrap();
        let expected = store.image_at(image).unwrap();
        assert_eq!(found.config_bytes, expected.config_bytes);
        assert!(
            skopeo::inspect(&format!("docker-archive:{}:{name}", archive.display())).is_object()
        );
    }
}

#[test]
fn a_helper_and_a_file_that_fail_are_told() {
    let registry = FakeRegistry::start(|_| {
        Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#)
    });
    let here = Warpdrive::new();
    let place = here.place();
    let helper = place.join("docker-credential-broken");
    fs::write(
        &helper,
        "#!/bin/sh\necho 'the vault is sealed' >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let auth = place.join("auth.json");
    fs::write(&auth, r#"{"credsStore": "broken"}"#).unwrap();
    let path = format!(
        "PATH={}:{}",
        place.display(),
        std::env::var("PATH").unwrap()
    );
    let name = format!("{}/crew/opal:1", registry.address());
    let pull = |file: &str| {
        let arguments = ["pull", &name, "--authfile", file];
        let output = process::output(&mut here.command_in(&place, &[&path], &arguments));
        (output.status.code().unwrap(), process::words(&output))
    };
    let (code, words) = pull(auth.to_str().unwrap());
    assert_eq!(code, 5, "{words}");
    assert!(words.contains("the vault is sealed"), "{words}");
    let (code, words) = pull("/nonexistent/auth.json");
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("/nonexistent/auth.json"), "{words}");
    // Where no login is asked for, too.
    let open = Registry::start();
    let name = open.reference("crew/opal:1");
    let output = here.output(&["pull", &name, "--authfile", "/nonexistent/auth.json"]);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("/nonexistent/auth.json"), "{words}");
}

#[test]
fn a_dead_proxy_is_blamed() {
    let here = Warpdrive::new();
    let place = here.place();
    let closed = crate::support::http::free_port();
    let proxy = format!("HTTPS_PROXY=http://captain:hunter2@127.0.0.1:{closed}");
    let run = |env: &[&str]| {
        let arguments = ["pull", "registry.invalid:5000/x", "--timeout", "20s"];
        let output = process::output(&mut here.command_in(&place, env, &arguments));
        (output.status.code().unwrap(), process::words(&output))
    };
    let (code, words) = run(&[&proxy]);
    assert_eq!(code, 5, "{words}");
    assert!(
        words.contains(&format!("the proxy 127.0.0.1:{closed} (HTTPS_PROXY)"))
            && words.contains("NO_PROXY")
            && !words.contains("hunter2"),
        "{words}"
    );
    let (code, words) = run(&[&proxy, "NO_PROXY=registry.invalid:5000"]);
    assert_eq!(code, 5, "{words}");
    assert!(!words.contains("the proxy"), "{words}");
}

#[test]
fn a_proxy_that_refuses_is_told_with_its_status() {
    let proxy = FakeRegistry::start(|asked| {
        let login = asked.header("proxy-authorization").is_some();
        Reply::new(if login { 451 } else { 407 })
    });
    let here = Warpdrive::new();
    let place = here.place();
    for (scheme, login, words) in [
        ("http", "", "it answered 407"),
        ("http", "captain:hunter2@", "it answered 451"),
        ("socks5", "", "of the kind socks5"),
    ] {
        let proxy = format!("HTTPS_PROXY={scheme}://{login}{}", proxy.address());
        let arguments = ["pull", "registry.invalid:5000/x", "--timeout", "20s"];
        let output = process::output(&mut here.command_in(&place, &[&proxy], &arguments));
        let text = process::words(&output);
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert!(
            text.contains(words) && text.contains("NO_PROXY") && !text.contains("hunter2"),
            "{text}"
        );
        assert!(!text.contains("unsuccessful"), "{text}");
    }
}

/// `--timeout` ends the whole command.
#[test]
fn the_users_own_limit_ends_a_pull() {
    let registry = FakeRegistry::start(|asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::new(503),
    });
    let here = Warpdrive::new();
    let name = format!("{}/crew/opal:1", registry.address());
    let output = here.output(&["pull", &name, "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(5));
    let words = process::words(&output);
    assert!(
        words.contains("within 1s") && words.contains("--timeout"),
        "{words}"
    );
    assert!(words.contains("trying again in"), "{words}");
}

#[test]
fn a_part_of_a_blob_is_what_a_range_says() {
    // The fake itself: what the tests above go by.
    let asked = crate::support::fake_registry::Asked {
        method: "GET".into(),
        target: "/".into(),
        headers: vec![("range".into(), "bytes=2-3".into())],
        body: Vec::new(),
        before: 0,
        complete: true,
        taken: 0,
        cut: false,
    };
    assert_eq!(part(&asked, b"abcd").body, b"cd");
    assert_eq!(part(&asked, b"ab").status, 416);
}

/// Another process fetches the blob, and makes no headway.
#[test]
fn the_limit_ends_the_wait_for_another_process() {
    let (_dir, here) = store();
    let manifest = image(&here, &[&noise(100_000, 31)], &[]);
    let registry = SoundRegistry::start(Vec::new(), Held::of(&here, &manifest));
    let layer = here.image_at(&manifest).unwrap().manifest.layers()[0].clone();
    let (_other, there) = store();
    let other = there.partial_blob(&layer, &mut || true).unwrap();
    assert!(other.is_some());
    let client = Client::new(ClientOptions {
        limit: Some(Duration::from_millis(700)),
        ..ClientOptions::default()
    })
    .unwrap();
    let error = client
        .pull(&name(registry.address()), &there, &Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not done within 700ms"), "{error}");
    drop(other);
}

/// What a registry is asked besides images is waited for aloud, too.
#[test]
fn a_list_that_fails_at_first_is_told_of() {
    let registry = FakeRegistry::start(|asked| match (asked.target.as_str(), asked.before) {
        ("/v2/", _) => Reply::new(200),
        (_, 0) => Reply::new(503).header("Retry-After", "0"),
        _ => Reply::new(200).body(r#"{"tags": ["1"]}"#),
    });
    let here = Warpdrive::new();
    let name = format!("{}/crew/opal", registry.address());
    let output = here.output(&["tags", &name]);
    let words = process::words(&output);
    assert_eq!(output.stdout, b"1\n", "{words}");
    assert!(words.contains("it answered 503; trying again"), "{words}");
}

/// A limit of the user that is shorter than the usual one counts.
#[test]
fn a_wait_is_held_against_the_users_limit() {
    let registry = FakeRegistry::start(|asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::new(429).header("Retry-After", "900"),
    });
    let here = Warpdrive::new();
    let name = format!("{}/crew/opal", registry.address());
    let output = here.output(&["tags", &name, "--timeout", "5m"]);
    let words = process::words(&output);
    assert!(
        words.contains("asks to wait 15m (") && words.contains("waits 5m at most"),
        "{words}"
    );
    assert_eq!(registry.lines().len(), 2);
}

/// A helper that waits for somebody ends with the user's limit.
#[test]
fn a_helper_that_does_not_answer_is_named() {
    let registry = FakeRegistry::start(|_| {
        Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#)
    });
    let here = Warpdrive::new();
    let place = here.place();
    let helper = place.join("docker-credential-asleep");
    fs::write(&helper, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let address = registry.address();
    let auth = place.join("auth.json");
    fs::write(
        &auth,
        format!(r#"{{"credHelpers": {{"{address}": "asleep"}}}}"#),
    )
    .unwrap();
    let path = format!("{}:{}", place.display(), std::env::var("PATH").unwrap());
    let output = process::output(
        here.command(&["tags", &format!("{address}/crew/opal"), "--timeout", "2s"])
            .arg("--authfile")
            .arg(&auth)
            .env("PATH", path),
    );
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(5), "{words}");
    assert!(
        words.contains("docker-credential-asleep, which did not answer within"),
        "{words}"
    );
}
