//! What is attached to an image (`attach`), listed (`referrers`) and copied with it: where the registry keeps
//! the list itself, and where it is kept under a tag.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;

use crate::support::fake_registry::Reply;
use crate::support::process;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::sound_registry::{Fault, Held, SoundRegistry};
use crate::support::stored::{image_for, index, noise, store};
use crate::support::warpdrive::Warpdrive;
use serde_json::Value;
use warpdrive::oci::{Descriptor, Reference, sha256, this_architecture};
use warpdrive::registry::{Client, ClientOptions, Silent};

const SPDX: &str = "application/spdx+json";

/// An image of this machine's platform as `crew/opal:1` on each of these registries, and the tool.
fn pushed(registries: &[&str]) -> (Warpdrive, Descriptor) {
    let (_dir, here) = store();
    let platform = format!("linux/{}", this_architecture());
    let manifest = image_for(&here, &platform, &[b"one", &noise(20_000, 4)], &[]);
    for registry in registries {
        let target: Reference = format!("{registry}/crew/opal:1").parse().unwrap();
        let client = Client::new(ClientOptions::default()).unwrap();
        client.push(&manifest, &here, &target, &Silent).unwrap();
    }
    let there = Warpdrive::new();
    fs::write(
        there.place().join("parts.json"),
        r#"{"spdxVersion":"SPDX-2.3"}"#,
    )
    .unwrap();
    fs::write(there.place().join("report.html"), noise(3_000_000, 8)).unwrap();
    (there, manifest)
}

fn json(there: &Warpdrive, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    serde_json::from_str(&there.run(&arguments)).unwrap()
}

fn attach(there: &Warpdrive, name: &str, more: &[&str]) -> Value {
    let file = there.place().join("parts.json").display().to_string();
    let mut arguments = vec!["attach", name, &file, "--artifact-type", SPDX];
    arguments.extend(more);
    json(there, &arguments)
}

fn digests(listed: &Value) -> Vec<&str> {
    let entries = listed["referrers"].as_array().unwrap().iter();
    let mut digests: Vec<&str> = entries
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    digests.sort_unstable();
    digests
}

#[test]
fn files_are_attached_listed_and_copied_where_the_list_is_under_a_tag() {
    let (one, two) = (Registry::start(), Registry::start());
    let (there, manifest) = pushed(&[one.address()]);
    let name = one.reference("crew/opal:1");
    let first = attach(
        &there,
        &name,
        &["--media-type", SPDX, "--annotation", "by=crew"],
    );
    assert_eq!(first["subject"], manifest.digest().to_string());
    // The same again is the same manifest, and is listed once.
    let again = attach(
        &there,
        &name,
        &["--media-type", SPDX, "--annotation", "by=crew"],
    );
    assert_eq!(again["digest"], first["digest"]);
    let report = there.place().join("report.html").display().to_string();
    let file = there.place().join("parts.json").display().to_string();
    let plain = there.run(&[
        "attach",
        &name,
        &file,
        "--artifact-type",
        SPDX,
        "--media-type",
        SPDX,
        "--annotation",
        "by=crew",
    ]);
    let place = one.reference("crew/opal");
    assert_eq!(
        plain,
        format!("{place}@{}\n", first["digest"].as_str().unwrap())
    );
    let second = json(
        &there,
        &[
            "attach",
            &format!("docker://{name}"),
            &format!("{report}:text/html"),
            "--artifact-type",
            "application/vnd.example.report",
        ],
    );
    let mut both = vec![
        first["digest"].as_str().unwrap(),
        second["digest"].as_str().unwrap(),
    ];
    both.sort_unstable();
    let listed = json(&there, &["referrers", &name]);
    assert_eq!(digests(&listed), both, "{listed}");
    let entries = listed["referrers"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|e| e["digest"] == first["digest"])
        .unwrap();
    assert_eq!(entry["artifactType"], SPDX);
    assert_eq!(entry["annotations"]["by"], "crew");
    let of_type = json(&there, &["referrers", &name, "--artifact-type", SPDX]);
    assert_eq!(digests(&of_type), [first["digest"].as_str().unwrap()]);

    // As other tools see it: the manifest, its subject, the file's bytes and name.
    let digest = second["digest"].as_str().unwrap();
    let place = format!("docker://{}", one.reference(&format!("crew/opal@{digest}")));
    let found = skopeo::manifest(&place);
    assert_eq!(found["subject"]["digest"], manifest.digest().to_string());
    assert_eq!(
        found["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    let layer = &found["layers"][0];
    assert_eq!(layer["mediaType"], "text/html");
    assert_eq!(
        layer["annotations"]["org.opencontainers.image.title"],
        "report.html"
    );
    let bytes = sha256(&fs::read(&report).unwrap());
    assert_eq!(layer["digest"], bytes.to_string());
    let tag = format!("sha256-{}", manifest.digest().digest());
    assert!(one.tags("crew/opal").contains(&tag));
    // The image is what it was.
    assert_eq!(
        skopeo::inspect(&format!("docker://{name}"))["Digest"],
        manifest.digest().to_string()
    );

    // What refers to what refers to it is copied as well.
    let to_it = one.reference(&format!("crew/opal@{digest}"));
    let third = attach(&there, &to_it, &[]);
    let to = two.reference("prod/opal:2");
    let copied = json(
        &there,
        &[
            "copy",
            &format!("docker://{name}"),
            &format!("docker://{to}"),
            "--referrers",
        ],
    );
    assert_eq!(copied["referrers"], 3, "{copied}");
    assert_eq!(digests(&json(&there, &["referrers", &to])), both);
    let nested = json(
        &there,
        &["referrers", &two.reference(&format!("prod/opal@{digest}"))],
    );
    assert_eq!(digests(&nested), [third["digest"].as_str().unwrap()]);
}

#[test]
fn a_registry_that_lists_itself_gets_no_tag() {
    let one = SoundRegistry::start(vec![], Held::listing());
    let two = SoundRegistry::start(vec![], Held::listing());
    let (there, manifest) = pushed(&[one.address()]);
    let name = format!("{}/crew/opal:1", one.address());
    let attached = attach(&there, &name, &[]);
    let listed = json(&there, &["referrers", &name]);
    assert_eq!(digests(&listed), [attached["digest"].as_str().unwrap()]);
    assert_eq!(listed["referrers"][0]["artifactType"], SPDX);
    let to = format!("{}/crew/opal:1", two.address());
    json(
        &there,
        &[
            "copy",
            &format!("docker://{name}"),
            &format!("docker://{to}"),
            "--referrers",
        ],
    );
    assert_eq!(
        json(&there, &["referrers", &to])["referrers"],
        listed["referrers"]
    );
    for registry in [&one, &two] {
        let tag = format!("sha256-{}", manifest.digest().digest());
        let asked = registry.lines();
        assert!(!asked.iter().any(|line| line.contains(&tag)), "{asked:?}");
    }
}

/// From a registry with the list to one without it, and back: the list is made, and found.
#[test]
fn referrers_go_between_the_two_kinds() {
    let lists = SoundRegistry::start(vec![], Held::listing());
    let tags = Registry::start();
    let (there, _) = pushed(&[lists.address()]);
    let new = format!("{}/crew/opal:1", lists.address());
    let old = tags.reference("crew/opal:1");
    attach(&there, &new, &[]);
    let listed = json(&there, &["referrers", &new]);
    let copy = |from: &str, to: &str| {
        let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
        json(&there, &["copy", &from, &to, "--referrers"])
    };
    assert_eq!(copy(&new, &old)["referrers"], 1);
    assert_eq!(
        digests(&json(&there, &["referrers", &old])),
        digests(&listed)
    );
    let back = SoundRegistry::start(vec![], Held::listing());
    let to = format!("{}/crew/opal:1", back.address());
    assert_eq!(copy(&old, &to)["referrers"], 1);
    assert_eq!(
        digests(&json(&there, &["referrers", &to])),
        digests(&listed)
    );
}

/// Two programs that attach at the same time: the list that one has written over is written again.
#[test]
fn a_list_that_another_program_has_written_over_is_written_again() {
    // The first list that is put is lost.
    let lost = Fault {
        method: "PUT",
        part: "/manifests/sha256-",
        times: 1,
        reply: |asked, _| asked.complete.then(|| Reply::new(201)),
    };
    let registry = SoundRegistry::start(vec![lost], Held::default());
    let (there, _) = pushed(&[registry.address()]);
    let name = format!("{}/crew/opal:1", registry.address());
    let attached = attach(&there, &name, &[]);
    let listed = json(&there, &["referrers", &name]);
    assert_eq!(digests(&listed), [attached["digest"].as_str().unwrap()]);
    // One that is always lost is an error that says so.
    let lost = Fault {
        method: "PUT",
        part: "/manifests/sha256-",
        times: usize::MAX,
        reply: |asked, _| asked.complete.then(|| Reply::new(201)),
    };
    let registry = SoundRegistry::start(vec![lost], Held::default());
    let (there, _) = pushed(&[registry.address()]);
    let name = format!("{}/crew/opal:1", registry.address());
    let file = there.place().join("parts.json").display().to_string();
    let output = there.output(&["attach", &name, &file, "--artifact-type", SPDX]);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(5), "{words}");
    assert!(words.contains("at the same time"), "{words}");
}

/// A manifest that is there and on no list is not attached, whatever else went well.
#[test]
fn a_list_that_is_refused_is_an_error() {
    for status in [400, 404, 501] {
        let refused = Fault {
            method: "PUT",
            part: "/manifests/sha256-",
            times: usize::MAX,
            reply: match status {
                400 => |_, _| Some(Reply::new(400).body("no indexes here")),
                404 => |_, _| Some(Reply::new(404).body("no indexes here")),
                _ => |_, _| Some(Reply::new(501).body("no indexes here")),
            },
        };
        let registry = SoundRegistry::start(vec![refused], Held::default());
        let (there, _) = pushed(&[registry.address()]);
        let name = format!("{}/crew/opal:1", registry.address());
        let file = there.place().join("parts.json").display().to_string();
        let output = there.output(&["attach", &name, &file, "--artifact-type", SPDX]);
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(5), "{status}: {words}");
    }
}

#[test]
fn an_index_and_one_of_its_images_are_two_things_to_attach_to() {
    let (one, two) = (Registry::start(), Registry::start());
    let (_dir, here) = store();
    let images = ["linux/amd64", "linux/arm64"].map(|platform| {
        (
            platform,
            image_for(&here, platform, &[platform.as_bytes()], &[]),
        )
    });
    let entries: Vec<(&str, &Descriptor)> = images.iter().map(|(p, i)| (*p, i)).collect();
    let list = index(&here, &entries);
    let target: Reference = one.reference("crew/opal:1").parse().unwrap();
    let client = Client::new(ClientOptions::default()).unwrap();
    client.push(&list, &here, &target, &Silent).unwrap();
    let (there, _) = pushed(&[]);
    let name = one.reference("crew/opal:1");
    assert_eq!(
        attach(&there, &name, &[])["subject"],
        list.digest().to_string()
    );
    let to_one = attach(&there, &name, &["--platform", "linux/arm64"]);
    assert_eq!(to_one["subject"], images[1].1.digest().to_string());
    let to = two.reference("crew/opal:1");
    let copied = json(
        &there,
        &[
            "copy",
            &format!("docker://{name}"),
            &format!("docker://{to}"),
            "--all",
            "--referrers",
        ],
    );
    assert_eq!(
        copied["referrers"], 2,
        "of the index and of its image: {copied}"
    );
}

#[test]
fn what_cannot_be_attached_says_why() {
    let registry = Registry::start();
    let (there, _) = pushed(&[registry.address()]);
    let name = registry.reference("crew/opal:1");
    let none = registry.reference("crew/none:1");
    let file = there.place().join("parts.json").display().to_string();
    let directory = there.place().display().to_string();
    for (arguments, code, part) in [
        (
            vec![&*name, "/nonexistent", "--artifact-type", SPDX],
            2,
            "there is no file",
        ),
        (
            vec![&*name, &*directory, "--artifact-type", SPDX],
            1,
            "not a file",
        ),
        (vec![&*name, &*file], 2, "--artifact-type"),
        (
            vec![&*name, &*file, "--artifact-type", "spdx"],
            2,
            "not a media type",
        ),
        (
            vec![&*none, &*file, "--artifact-type", SPDX],
            5,
            "crew/none",
        ),
        (
            vec!["opal", &*file, "--artifact-type", SPDX],
            2,
            "names no registry",
        ),
    ] {
        let mut all = vec!["attach"];
        all.extend(arguments);
        let output = there.output(&all);
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(code), "{part}: {words}");
        assert!(words.contains(part), "{part}: {words}");
    }
}
