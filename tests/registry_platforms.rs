//! Images for several platforms: `copy --platform`, `copy --all` between all places that hold an index, and
//! `index create`; read by skopeo.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::path::Path;

use crate::support::process;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::stored::{image_for, index, noise, store};
use crate::support::warpdrive::Warpdrive;
use serde_json::{Value, json};
use warpdrive::oci::{Descriptor, Reference, descriptor, docker, sha256, to_canonical_json};
use warpdrive::registry::{Client, ClientOptions, Silent};
use warpdrive::store::Store;
use warpdrive::transport::{Format, Shape, shaped};

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "linux/s390x"];

fn push(registry: &Registry, name: &str, store: &Store, image: &Descriptor) {
    let target: Reference = registry.reference(name).parse().unwrap();
    let client = Client::new(ClientOptions::default()).unwrap();
    client.push(image, store, &target, &Silent).unwrap();
}

/// An image for each platform, and their index, as `crew/opal:1`.
fn with_index(registry: &Registry, store: &Store) -> (Vec<Descriptor>, Descriptor) {
    let images: Vec<Descriptor> = PLATFORMS
        .iter()
        .map(|platform| {
            let own = noise(
                100_000,
                platform.len() as u64 + u64::from(platform.as_bytes()[7]),
            );
            image_for(store, platform, &[b"same", &own], &[("platform", platform)])
        })
        .collect();
    let entries: Vec<(&str, &Descriptor)> = PLATFORMS.into_iter().zip(&images).collect();
    let list = index(store, &entries);
    push(registry, "crew/opal:1", store, &list);
    (images, list)
}

/// Architectures and digests of an index, as skopeo sees them.
fn seen(place: &str) -> Vec<(String, String)> {
    let list = skopeo::manifest(place);
    let entries = list["manifests"].as_array();
    let entries = entries.unwrap_or_else(|| panic!("{place} is not an index: {list}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    entries
        .iter()
        .map(|entry| {
            (
                text(&entry["platform"]["architecture"]),
                text(&entry["digest"]),
            )
        })
        .collect()
}

fn two_of(images: &[Descriptor]) -> Vec<(String, String)> {
    vec![
        ("amd64".into(), images[0].digest().to_string()),
        ("s390x".into(), images[2].digest().to_string()),
    ]
}

#[test]
fn an_index_is_reduced_to_the_platforms_that_are_named() {
    let (one, two) = (Registry::start(), Registry::start());
    let (_dir, here) = store();
    let (images, list) = with_index(&one, &here);
    let there = Warpdrive::new();
    let from = format!("docker://{}", one.reference("crew/opal:1"));
    let local = |name: &str| there.place().join(name).display().to_string();
    let named = ["--platform", "linux/amd64,linux/s390x"];
    let mut digests = Vec::new();
    for to in [
        format!("docker://{}", two.reference("crew/opal:1")),
        format!("docker://{}", one.reference("crew/other:1")),
        format!("oci:{}:1", local("layout")),
        format!("oci-archive:{}:1", local("archive.tar")),
        format!("dir:{}", local("dir")),
    ] {
        let report = there.run(&["copy", &from, &to, named[0], named[1], "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(seen(&to), two_of(&images), "{to}");
        digests.push(report["digest"].as_str().unwrap().to_owned());
        // All that it lists is there: skopeo takes it whole.
        let whole = format!("dir:{}", local("whole"));
        process::run(skopeo::command("copy").args([
            "--quiet",
            "--all",
            "--src-tls-verify=false",
            &to,
            &whole,
        ]));
        assert_eq!(seen(&whole), two_of(&images), "{to}");
        // And it goes on from there, to one platform and to all of them.
        let back = format!("docker://{}", two.reference("crew/back:1"));
        let report = there.run(&["copy", &to, &back, "--platform", "linux/s390x", "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["digest"], images[2].digest().to_string(), "{to}");
        let report = there.run(&["copy", &to, &back, "--all", "--json"]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["digest"], digests[0], "{to}");
        assert_eq!(seen(&back), two_of(&images), "{to}");
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "one index, wherever it lies: {digests:?}");
    // All that there is leaves the index as it is.
    let to = format!("docker://{}", two.reference("crew/all:1"));
    let all = PLATFORMS.join(",");
    for options in [&["--all"][..], &["--platform", &all]] {
        let mut arguments = vec!["copy", &from, &to, "--json"];
        arguments.extend(options);
        let report: Value = serde_json::from_str(&there.run(&arguments)).unwrap();
        assert_eq!(report["digest"], list.digest().to_string());
    }
    let blobs = fs::read_dir(there.store().join("blobs/sha256"));
    assert!(
        blobs.unwrap().count() > 0,
        "copies to files go through the store"
    );
}

#[test]
fn what_has_not_the_platforms_is_refused() {
    let registry = Registry::start();
    let (_dir, here) = store();
    let (images, _) = with_index(&registry, &here);
    push(&registry, "crew/single:1", &here, &images[0]);
    let there = Warpdrive::new();
    let place = |name: &str| format!("docker://{}", registry.reference(name));
    let archive = format!("docker-archive:{}", there.place().join("a.tar").display());
    let layout = format!("oci:{}", there.place().join("layout").display());
    let (opal, single, to) = (
        place("crew/opal:1"),
        place("crew/single:1"),
        place("to/x:1"),
    );
    for (arguments, code, part) in [
        (
            [&opal, &to, "linux/amd64,linux/riscv64"],
            5,
            "linux/riscv64, but for linux/amd64",
        ),
        (
            [&opal, &layout, "linux/amd64,linux/riscv64"],
            5,
            "linux/riscv64",
        ),
        ([&single, &to, "linux/amd64,linux/arm64"], 5, "not an index"),
        (
            [&opal, &archive, "linux/amd64,linux/arm64"],
            2,
            "one platform",
        ),
        ([&opal, &to, "linux/amd64,linux"], 2, "not a platform"),
        ([&opal, &to, "linux//v8"], 2, "not a platform"),
    ] {
        let [from, to, platforms] = arguments;
        let output = there.output(&["copy", from, to, "--platform", platforms]);
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(code), "{platforms}: {words}");
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(registry.tags("to/x").is_empty());
    assert!(!Path::new(&archive["docker-archive:".len()..]).exists());
}

#[test]
fn inspect_reads_what_lies_outside_the_store() {
    let registry = Registry::start();
    let (_dir, here) = store();
    let (images, _) = with_index(&registry, &here);
    let there = Warpdrive::new();
    let from = format!("docker://{}", registry.reference("crew/opal:1"));
    let local = |name: &str| there.place().join(name).display().to_string();
    let places = [
        format!("oci:{}:1", local("layout")),
        format!("oci-archive:{}:1", local("archive.tar")),
        format!("dir:{}", local("dir")),
    ];
    for place in &places {
        there.run(&["copy", &from, place, "--all"]);
        let arguments = ["inspect", place, "--platform", "linux/arm64", "--json"];
        let found: Value = serde_json::from_str(&there.run(&arguments)).unwrap();
        assert_eq!(found["digest"], images[1].digest().to_string(), "{place}");
        assert_eq!(found["platform"], "linux/arm64");
        assert_eq!(found["layers"].as_array().unwrap().len(), 2);
        assert!(
            there.run(&["inspect", place]).contains("sha256:"),
            "{place}"
        );
        let output = there.output(&["inspect", place, "--packages"]);
        assert_eq!(output.status.code(), Some(2), "{place}");
    }
    let archive = format!("docker-archive:{}:opal:1", local("docker.tar"));
    there.run(&["copy", &from, &archive, "--platform", "linux/amd64"]);
    let before = fs::read_dir(there.store().join("blobs/sha256"))
        .unwrap()
        .count();
    let found: Value = serde_json::from_str(&there.run(&["inspect", &archive, "--json"])).unwrap();
    let config = here.image_at(&images[0]).unwrap();
    let config = config.manifest.config().digest().to_string();
    assert_eq!(found["config_digest"], config);
    let after = fs::read_dir(there.store().join("blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(before, after, "nothing is stored");
    let output = there.output(&["inspect", "dir:/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(process::words(&output).contains("/nonexistent"));
    // An image of the store may have such a name.
    let store = Store::open(Some(&there.store())).unwrap();
    let own = image_for(&store, "linux/amd64", &[b"x"], &[]);
    store.tag("dir:1", &own).unwrap();
    let found: Value = serde_json::from_str(&there.run(&["inspect", "dir:1", "--json"])).unwrap();
    assert_eq!(found["digest"], own.digest().to_string());
}

/// How many requests of this method for blobs of a repository a registry has had, by its own log.
fn blobs_moved(registry: &Registry, method: &str, repository: &str) -> usize {
    let line = format!("\"{method} /v2/{repository}/blobs/");
    registry.log().matches(&line).count()
}

#[test]
fn an_index_is_made_of_what_is_in_registries() {
    let (one, two) = (Registry::start(), Registry::start());
    let (_dir, here) = store();
    let images: Vec<Descriptor> = PLATFORMS
        .iter()
        .map(|platform| image_for(&here, platform, &[b"same", platform.as_bytes()], &[]))
        .collect();
    push(&one, "crew/opal:amd64", &here, &images[0]);
    push(&one, "arm/opal:1", &here, &images[1]);
    push(&two, "far/opal:1", &here, &images[2]);
    let there = Warpdrive::new();
    let target = one.reference("crew/opal:all");
    let moved = || {
        let puts = ["PATCH", "PUT", "POST"].map(|way| blobs_moved(&one, way, "crew/opal"));
        (puts, blobs_moved(&one, "GET", "arm/opal"))
    };
    let before = moved();
    let report = there.run(&[
        "index",
        "create",
        &target,
        &one.reference("crew/opal:amd64"),
        &format!("docker://{}", one.reference("arm/opal:1")),
        "--json",
    ]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["uploaded"], &report["mounted"]),
        (&json!(0), &json!(2)),
        "the layer that both have is there: {report}"
    );
    let after = moved();
    assert_eq!(after.0[..2], before.0[..2], "no byte of a blob was sent");
    assert_eq!(after.1, 1, "the configuration of the other image was read");
    let expected: Vec<(String, String)> = [("amd64", 0), ("arm64", 1)]
        .map(|(architecture, at)| (architecture.to_owned(), images[at].digest().to_string()))
        .into();
    let place = format!("docker://{target}");
    assert_eq!(seen(&place), expected);
    assert_eq!(skopeo_digest(&place), report["digest"].as_str().unwrap());

    // One more, of another registry, to those that are listed already; the name is another one.
    let wider = one.reference("crew/opal:wider");
    let said = there.run(&[
        "index",
        "create",
        &wider,
        &target,
        &two.reference("far/opal:1"),
    ]);
    let mut expected = expected;
    expected.push(("s390x".into(), images[2].digest().to_string()));
    let place = format!("docker://{wider}");
    assert_eq!(seen(&place), expected);
    assert_eq!(said, format!("{wider}@{}\n", skopeo_digest(&place)));
    // skopeo takes all of it: nothing is missing.
    let whole = format!("dir:{}", there.place().join("whole").display());
    process::run(skopeo::command("copy").args([
        "--quiet",
        "--all",
        "--src-tls-verify=false",
        &place,
        &whole,
    ]));
    assert_eq!(seen(&whole), expected);
    let pulled = there.run(&["pull", &wider, "--platform", "linux/s390x", "--json"]);
    let pulled: Value = serde_json::from_str(&pulled).unwrap();
    assert_eq!(pulled["digest"], images[2].digest().to_string());
    // The same again is the same digest, and changes nothing.
    let again = there.run(&["index", "create", &wider, &wider]);
    assert_eq!(again, said);
}

fn skopeo_digest(place: &str) -> String {
    let raw = process::run(skopeo::command("inspect").args(["--tls-verify=false", "--raw", place]));
    sha256(raw.trim_end_matches('\n').as_bytes()).to_string()
}

#[test]
fn an_index_says_what_it_cannot_be_made_of() {
    let registry = Registry::start();
    let (_dir, here) = store();
    let amd64 = image_for(&here, "linux/amd64", &[b"x"], &[]);
    push(&registry, "crew/opal:1", &here, &amd64);
    let there = Warpdrive::new();
    let target = registry.reference("crew/opal:all");
    for (arguments, code, part) in [
        (vec![registry.reference("crew/none:1")], 5, "crew/none"),
        (vec![], 2, "MANIFEST"),
        (vec!["Not A Name".to_owned()], 2, "not an image name"),
    ] {
        let mut all = vec!["index", "create", &target];
        all.extend(arguments.iter().map(String::as_str));
        let output = there.output(&all);
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(code), "{words}");
        assert!(words.contains(part), "{part}: {words}");
    }
    let output = there.output(&["index", "create", "opal", "x"]);
    assert_eq!(output.status.code(), Some(2), "{}", process::words(&output));
    assert_eq!(registry.tags("crew/opal"), ["1"]);
    // Two images for one platform: told, and made.
    let other = image_for(&here, "linux/amd64", &[b"y"], &[]);
    push(&registry, "crew/opal:2", &here, &other);
    let output = there.output(&[
        "index",
        "create",
        &target,
        &registry.reference("crew/opal:1"),
        &registry.reference("crew/opal:2"),
    ]);
    let words = process::words(&output);
    assert!(
        output.status.success() && words.contains("two images"),
        "{words}"
    );
}

/// All of Docker's media types: then the index is of Docker's, too, which is what old readers know.
#[test]
fn an_index_of_dockers_images_is_dockers() {
    let registry = Registry::start();
    let (_dir, here) = store();
    let shape = Shape {
        format: Some(Format::Docker),
        ..Shape::default()
    };
    let there = Warpdrive::new();
    let target = registry.reference("crew/opal:all");
    let mut arguments = vec!["index".to_owned(), "create".into(), target.clone()];
    for (at, platform) in PLATFORMS.iter().enumerate() {
        let image = image_for(&here, platform, &[platform.as_bytes()], &[]);
        let image = shaped(&here, &image, shape, &Silent).unwrap();
        let name = format!("crew/opal:{at}");
        push(&registry, &name, &here, &image);
        arguments.push(registry.reference(&name));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    there.run(&arguments);
    let list = skopeo::manifest(&format!("docker://{target}"));
    assert_eq!(list["mediaType"], docker::MANIFEST_LIST);
    assert_eq!(list["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(list["manifests"][1]["platform"]["architecture"], "arm64");
}

/// `BuildKit` lists attestations beside the images: they stay with theirs, and nothing stumbles over them.
#[test]
fn attestations_in_an_index_stay_with_their_image() {
    let registry = Registry::start();
    let (_dir, here) = store();
    let images: Vec<Descriptor> = PLATFORMS
        .iter()
        .map(|platform| image_for(&here, platform, &[platform.as_bytes()], &[]))
        .collect();
    let mut entries: Vec<Value> = Vec::new();
    for (platform, image) in PLATFORMS.iter().zip(&images) {
        let mut entry = serde_json::to_value(image).unwrap();
        let (os, architecture) = platform.split_once('/').unwrap();
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entries.push(entry);
    }
    for image in &images {
        let statement = format!(r#"{{"about":"{}"}}"#, image.digest());
        let (digest, size) = here.put_blob(statement.as_bytes()).unwrap();
        let layer = descriptor("application/vnd.in-toto+json", digest, size);
        let (digest, size) = here
            .put_blob(br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#)
            .unwrap();
        let config = descriptor("application/vnd.oci.image.config.v1+json", digest, size);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        });
        let bytes = to_canonical_json(&manifest).unwrap();
        let (digest, size) = here.put_blob(&bytes).unwrap();
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": size,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image.digest(),
            },
        }));
    }
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    let (digest, size) = here.put_blob(&to_canonical_json(&list).unwrap()).unwrap();
    let list = descriptor("application/vnd.oci.image.index.v1+json", digest, size);
    push(&registry, "crew/opal:1", &here, &list);
    let there = Warpdrive::new();
    let from = format!("docker://{}", registry.reference("crew/opal:1"));
    let layout = format!("oci:{}:1", there.place().join("layout").display());
    let report = there.run(&["copy", &from, &layout, "--all", "--json"]);
    assert!(report.contains(list.digest().as_ref()), "{report}");
    // Through the store into a registry: neither the index nor an attestation changes.
    let to = format!("docker://{}", registry.reference("crew/copy:1"));
    let report = there.run(&["copy", &layout, &to, "--all", "--json"]);
    assert!(report.contains(list.digest().as_ref()), "{report}");
    assert_eq!(skopeo_digest(&to), list.digest().to_string());
    // Two images of the three, with their attestations.
    let two = format!("docker://{}", registry.reference("crew/two:1"));
    there.run(&["copy", &from, &two, "--platform", "linux/amd64,linux/s390x"]);
    let kept: Vec<String> = seen(&two).into_iter().map(|(_, digest)| digest).collect();
    let expected = [0, 2, 3, 5].map(|at: usize| entries[at]["digest"].as_str().unwrap());
    assert_eq!(kept, expected);
    // An index that is made of all of it is the same.
    let target = registry.reference("crew/again:1");
    let said = there.run(&[
        "index",
        "create",
        &target,
        &registry.reference("crew/opal:1"),
        "--json",
    ]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["digest"], list.digest().to_string(), "{said}");
}
