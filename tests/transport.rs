//! Images in and out of other people's forms, with skopeo as the other side.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::stored::{image, layer, leftovers, noise, store};
use crate::support::{process, skopeo};
use serde_json::{Value, json};
use warpdrive::oci::{Descriptor, ImageConfig, MediaType, descriptor, sha256};
use warpdrive::registry::{Platforms, Silent};
use warpdrive::store::Store;
use warpdrive::transport::{self, Imported, Location, TransportError};

fn export(store: &Store, image: &Descriptor, to: &str) {
    transport::export(
        store,
        image,
        "crew/opal",
        &Location::parse(to).unwrap(),
        &Silent,
    )
    .unwrap();
}

fn import(store: &Store, from: &str) -> Result<Imported, TransportError> {
    transport::import(store, &Location::parse(from).unwrap(), &Silent)
}

/// All blobs of an image are in the store, and right.
fn is_whole(store: &Store, image: &Descriptor) {
    let image = store.image_at(image).unwrap();
    for blob in image
        .manifest
        .layers()
        .iter()
        .chain([image.manifest.config()])
    {
        store.verify_blob(blob).unwrap();
    }
    assert_eq!(leftovers(store), 0);
}

fn blobs(store: &Store) -> usize {
    fs::read_dir(store.root().join("blobs/sha256"))
        .unwrap()
        .count()
}

#[test]
fn oci_forms_keep_the_digest_both_ways() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one", &noise(300_000, 3), b"one"], &[("a", "b")]);
    let at = |name: &str| dir.path().join(name).display().to_string();
    for (ours, theirs) in [
        (
            format!("oci:{}", at("layout")),
            format!("oci:{}", at("skopeo")),
        ),
        (
            format!("oci-archive:{}", at("a.tar")),
            format!("oci-archive:{}", at("b.tar")),
        ),
    ] {
        for tag in ["", ":1.2"] {
            let (ours, theirs) = (format!("{ours}{tag}"), format!("{theirs}{tag}"));
            export(&here, &manifest, &ours);
            skopeo::copy(&ours, &theirs);
            let inspected = skopeo::inspect(&theirs);
            assert_eq!(inspected["Digest"], manifest.digest().to_string(), "{ours}");
            let (_b, there) = store();
            let imported = import(&there, &theirs).unwrap();
            assert_eq!(imported.descriptor, manifest);
            assert_eq!(imported.name.as_deref(), tag.strip_prefix(':'));
            is_whole(&there, &manifest);
        }
    }
    // Two images are in the layout now; without a name it is not clear which is meant.
    let error = import(&here, &format!("oci:{}", at("layout"))).unwrap_err();
    assert!(error.to_string().contains("`1.2`"), "{error}");
    let error = import(&here, &format!("oci:{}:9", at("layout"))).unwrap_err();
    assert!(error.to_string().contains("no image `9`"), "{error}");
}

/// A blob of the right size that is there already may be damaged: a second export mends it.
#[test]
fn what_is_in_a_layout_already_is_looked_at() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one", &noise(300_000, 3)], &[]);
    let layout = format!("oci:{}:1", dir.path().join("layout").display());
    export(&here, &manifest, &layout);
    let layers = here.image_at(&manifest).unwrap();
    let layer = layers.manifest.layers()[1].digest().digest().to_owned();
    let blob = dir.path().join("layout/blobs/sha256").join(layer);
    let right = fs::read(&blob).unwrap();
    let mut wrong = right.clone();
    wrong[1000] ^= 1;
    fs::write(&blob, &wrong).unwrap();
    let (_there, there) = store();
    assert!(import(&there, &layout).is_err(), "control");
    export(&here, &manifest, &layout);
    assert_eq!(fs::read(&blob).unwrap(), right);
    import(&there, &layout).unwrap();
    is_whole(&there, &manifest);
}

/// The names of the files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_exchanged_with_skopeo() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one", &noise(300_000, 3), b"one"], &[("a", "b")]);
    let at = |name: &str| dir.path().join(name);
    let place = |name: &str| format!("dir:{}", at(name).display());
    export(&here, &manifest, &place("ours"));
    // skopeo reads ours, and what it makes of an OCI layout is the same to the file.
    skopeo::copy(&place("ours"), &place("copied"));
    let layout = format!("oci:{}", at("layout").display());
    export(&here, &manifest, &layout);
    skopeo::copy(&layout, &place("theirs"));
    for other in ["copied", "theirs"] {
        assert_eq!(names(&at("ours")), names(&at(other)), "{other}");
        for name in names(&at("ours")) {
            let read = |directory: &str| fs::read(at(directory).join(&name)).unwrap();
            assert_eq!(read("ours"), read(other), "{other}/{name}");
        }
    }
    let (_b, there) = store();
    let imported = import(&there, &place("theirs")).unwrap();
    assert_eq!((&imported.descriptor, imported.name), (&manifest, None));
    is_whole(&there, &manifest);

    // Another image takes the place of the first one, whichever of the two wrote it; a file of somebody
    // else's stays.
    let second = image(&here, &[b"two"], &[]);
    fs::write(at("theirs").join("notes.txt"), "mine").unwrap();
    export(&here, &second, &place("theirs"));
    assert_eq!(names(&at("theirs")).len(), 2 + 2 + 1);
    assert_eq!(
        skopeo::inspect(&place("theirs"))["Digest"],
        second.digest().to_string()
    );
    export(&here, &second, &place("ours"));
    skopeo::copy(&layout, &place("ours"));
    assert_eq!(import(&there, &place("ours")).unwrap().descriptor, manifest);
}

#[test]
fn a_directory_that_is_damaged_or_of_somebody_else_is_refused() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one"], &[]);
    let at = dir.path().join("image");
    let place = format!("dir:{}", at.display());
    let refused = |part: &str| {
        let (_b, there) = store();
        let error = import(&there, &place).unwrap_err();
        assert!(error.to_string().contains(part), "{part}: {error}");
        assert_eq!(blobs(&there), 0, "{part}");
    };
    fs::create_dir(&at).unwrap();
    refused("it has no manifest.json");
    // A directory with other things in it is not filled with blobs.
    fs::write(at.join("thesis.txt"), "years of work").unwrap();
    let to = Location::parse(&place).unwrap();
    let error = transport::export(&here, &manifest, "x", &to, &Silent).unwrap_err();
    assert!(error.to_string().contains("it has files in it"), "{error}");
    assert_eq!(names(&at), ["thesis.txt"]);
    fs::remove_file(at.join("thesis.txt")).unwrap();

    let anew = || transport::export(&here, &manifest, "x", &to, &Silent).unwrap();
    anew();
    fs::write(at.join("version"), "Directory Transport Version: 2.0\n").unwrap();
    refused("version");
    fs::write(at.join("version"), "Directory Transport Version: 1.2\n").unwrap();
    let config = here.image_at(&manifest).unwrap();
    let config = at.join(config.manifest.config().digest().digest());
    let right = fs::read(&config).unwrap();
    let mut wrong = right.clone();
    wrong[0] ^= 1;
    fs::write(&config, &wrong).unwrap();
    refused("damaged");
    // What is there already is not taken to be right by its name and size.
    anew();
    assert_eq!(fs::read(&config).unwrap(), right);
    // A blob that is a link to somewhere else.
    fs::remove_file(&config).unwrap();
    fs::write(dir.path().join("outside"), &right).unwrap();
    symlink(dir.path().join("outside"), &config).unwrap();
    refused("could not open");
}

#[test]
fn docker_archives_are_exchanged() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one", &noise(300_000, 3), b"one"], &[]);
    let file = dir.path().join("opal.tar");
    let ours = format!("docker-archive:{}", file.display());
    export(&here, &manifest, &ours);

    // skopeo reads ours: the layers have the same content, and the configuration is the same.
    let copied = format!("dir:{}", dir.path().join("dir").display());
    skopeo::copy(&ours, &copied);
    let expected = here.image_at(&manifest).unwrap();
    assert_eq!(
        skopeo::manifest(&copied)["config"]["digest"],
        expected.manifest.config().digest().to_string()
    );
    let named = skopeo::inspect(&ours);
    assert_eq!(named["Layers"].as_array().unwrap().len(), 3, "{named}");
    let tar = process::run(
        std::process::Command::new("tar")
            .arg("-xOf")
            .arg(&file)
            .arg("manifest.json"),
    );
    let tar: Value = serde_json::from_str(&tar).unwrap();
    assert_eq!(tar[0]["RepoTags"], json!(["crew/opal:latest"]));

    // We read ours: layers as they were.
    let (_b, there) = store();
    let imported = import(&there, &ours).unwrap();
    assert_eq!(imported.name.as_deref(), Some("crew/opal:latest"));
    is_whole(&there, &imported.descriptor);
    let again = there.image_at(&imported.descriptor).unwrap();
    assert_eq!(again.config_bytes, expected.config_bytes);
    assert_eq!(again.manifest.layers(), expected.manifest.layers());

    // And skopeo's, which are not compressed, plain and gzipped as a whole.
    let theirs = dir.path().join("theirs.tar");
    skopeo::copy(
        &ours,
        &format!("docker-archive:{}:opal:1", theirs.display()),
    );
    process::run(
        std::process::Command::new("gzip")
            .arg("--keep")
            .arg(&theirs),
    );
    for file in [theirs.clone(), dir.path().join("theirs.tar.gz")] {
        let (_c, there) = store();
        let imported = import(&there, &format!("docker-archive:{}", file.display())).unwrap();
        assert!(
            imported.name.as_deref().unwrap().ends_with("opal:1"),
            "{:?}",
            imported.name
        );
        is_whole(&there, &imported.descriptor);
        let found = there.image_at(&imported.descriptor).unwrap();
        assert_eq!(found.config_bytes, expected.config_bytes);
        let by_name = format!("docker-archive:{}:opal:1", file.display());
        assert_eq!(
            import(&there, &by_name).unwrap().descriptor,
            imported.descriptor
        );
        let error =
            import(&there, &format!("docker-archive:{}:other", file.display())).unwrap_err();
        assert!(error.to_string().contains("no image `other`"), "{error}");
    }
}

#[test]
fn what_is_written_depends_on_the_image_only() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one", b"two"], &[]);
    for transport in ["oci-archive", "docker-archive"] {
        let bytes: Vec<Vec<u8>> = ["a", "b"]
            .iter()
            .map(|name| {
                let file = dir.path().join(format!("{transport}-{name}"));
                export(&here, &manifest, &format!("{transport}:{}", file.display()));
                fs::read(file).unwrap()
            })
            .collect();
        assert!(bytes[0] == bytes[1]);
    }
    let mut layouts = Vec::new();
    for name in ["x", "y"] {
        export(
            &here,
            &manifest,
            &format!("oci:{}:1", dir.path().join(name).display()),
        );
        layouts.push(fs::read(dir.path().join(name).join("index.json")).unwrap());
    }
    assert_eq!(layouts[0], layouts[1]);
}

#[test]
fn an_oci_archive_holds_several_images() {
    let (dir, here) = store();
    let [one, two, three] =
        [&b"one"[..], b"two", b"three"].map(|of| image(&here, &[b"base", of], &[]));
    let file = dir.path().join("all.tar");
    let place = |tag: &str| format!("oci-archive:{}:{tag}", file.display());
    export(&here, &one, &place("a"));
    export(&here, &two, &place("b"));
    let members = || process::run(std::process::Command::new("tar").arg("tf").arg(&file));
    assert_eq!(members().lines().count(), 4 + 2 + 5);
    export(&here, &three, &place("a"));
    for (tag, image) in [("a", &three), ("b", &two)] {
        let (_dir, there) = store();
        assert_eq!(import(&there, &place(tag)).unwrap().descriptor, *image);
        is_whole(&there, image);
        assert_eq!(
            skopeo::inspect(&place(tag))["Digest"],
            image.digest().to_string()
        );
    }
    // Nothing of the image that lost its place is left.
    assert_eq!(members().lines().count(), 4 + 2 + 5);
}

#[test]
fn a_file_that_is_no_archive_is_not_replaced() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one"], &[]);
    for transport in ["oci-archive", "docker-archive"] {
        let file = dir.path().join(transport);
        let other = dir.path().join(format!("{transport}.tar"));
        fs::write(&file, "notes").unwrap();
        let tar = [
            "cf",
            other.to_str().unwrap(),
            "-C",
            dir.path().to_str().unwrap(),
            transport,
        ];
        process::run(std::process::Command::new("tar").args(tar));
        for file in [&file, &other] {
            let before = fs::read(file).unwrap();
            let place = Location::parse(&format!("{transport}:{}", file.display())).unwrap();
            let error = transport::export(&here, &manifest, "opal", &place, &Silent).unwrap_err();
            assert!(error.to_string().contains("name another file"), "{error}");
            assert_eq!(fs::read(file).unwrap(), before);
        }
        // An empty file has nothing to lose.
        fs::write(&file, "").unwrap();
        export(&here, &manifest, &format!("{transport}:{}", file.display()));
    }
}

#[test]
fn a_directory_with_other_things_is_left_alone() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one"], &[]);
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("letter"), "x").unwrap();
    let place = Location::parse(&format!("oci:{}", home.display())).unwrap();
    let error = transport::export(&here, &manifest, "opal", &place, &Silent).unwrap_err();
    assert!(
        error.to_string().contains("not an OCI image layout"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
}

#[test]
fn cut_archives_leave_nothing_behind() {
    let (dir, here) = store();
    let manifest = image(&here, &[&noise(100_000, 1), &noise(100_000, 2)], &[]);
    for transport in ["oci-archive", "docker-archive"] {
        let file = dir.path().join(format!("{transport}.tar"));
        export(&here, &manifest, &format!("{transport}:{}", file.display()));
        let whole = fs::read(&file).unwrap();
        for keep in [
            0,
            1,
            511,
            512,
            1000,
            50_000,
            110_000,
            whole.len() - 1500,
            whole.len() - 1100,
        ] {
            fs::write(&file, &whole[..keep]).unwrap();
            let (_b, there) = store();
            let outcome = import(&there, &format!("{transport}:{}", file.display()));
            let error = outcome
                .expect_err(&format!("{transport} cut at {keep}"))
                .to_string();
            assert!(error.contains(&file.display().to_string()), "{error}");
            assert_eq!(
                (blobs(&there), leftovers(&there)),
                (0, 0),
                "{transport} {keep}"
            );
        }
    }
}

#[test]
fn changed_bytes_are_found() {
    let (dir, here) = store();
    let content = noise(50_000, 9);
    let manifest = image(&here, &[&content], &[]);
    let (_, gzip) = layer(&content);
    for transport in ["oci-archive", "docker-archive"] {
        let file = dir.path().join(format!("{transport}-x.tar"));
        export(&here, &manifest, &format!("{transport}:{}", file.display()));
        let mut bytes = fs::read(&file).unwrap();
        let place = bytes
            .windows(64)
            .position(|window| window == &gzip[1000..1064])
            .unwrap();
        bytes[place] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let (_b, there) = store();
        let error = import(&there, &format!("{transport}:{}", file.display())).unwrap_err();
        assert!(error.to_string().contains("x.tar"), "{error}");
        assert!(!there.has_blob(&sha256(&gzip)));
        assert_eq!(leftovers(&there), 0);
    }
    let layout = dir.path().join("layout");
    export(&here, &manifest, &format!("oci:{}", layout.display()));
    let blob = layout.join("blobs/sha256").join(sha256(&gzip).digest());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let (_b, there) = store();
    let error = import(&there, &format!("oci:{}", layout.display())).unwrap_err();
    assert!(matches!(error, TransportError::Digest { .. }), "{error}");
    fs::remove_file(&blob).unwrap();
    let error = import(&there, &format!("oci:{}", layout.display())).unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
    fs::write(&blob, &bytes[..1000]).unwrap();
    let error = import(&there, &format!("oci:{}", layout.display())).unwrap_err();
    assert!(error.to_string().contains("only 1000"), "{error}");
    assert_eq!(leftovers(&there), 0);
}

/// What `index.json` says of an image holds, or the image is refused.
#[test]
fn an_index_with_a_wrong_size_or_type_is_refused() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"content"], &[]);
    let layout = dir.path().join("layout");
    export(&here, &manifest, &format!("oci:{}", layout.display()));
    let place = layout.join("index.json");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    let (_b, there) = store();
    for (change, said) in [
        (1, Some("bytes and has")),
        (-1, Some("bytes and has")),
        (1_000_000, Some("bytes and has")),
        // The positive control.
        (0, None),
    ] {
        let mut index = good.clone();
        let size = index["manifests"][0]["size"].as_i64().unwrap();
        index["manifests"][0]["size"] = json!(size + change);
        fs::write(&place, index.to_string()).unwrap();
        let outcome = import(&there, &format!("oci:{}", layout.display()));
        match said {
            Some(said) => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains(said), "{change}: {error}");
                assert!(!there.has_blob(manifest.digest()), "{change}");
            }
            None => assert_eq!(outcome.unwrap().descriptor, manifest),
        }
    }
    let bytes = here.read_blob(manifest.digest(), 1 << 20).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let page = text.replace(&MediaType::ImageLayerGzip.to_string(), "text/html");
    assert_ne!(page, text);
    let (digest, size) = here.put_blob(page.as_bytes()).unwrap();
    fs::write(layout.join("blobs/sha256").join(digest.digest()), &page).unwrap();
    let mut index = good;
    index["manifests"][0]["digest"] = json!(digest);
    index["manifests"][0]["size"] = json!(size);
    fs::write(&place, index.to_string()).unwrap();
    let error = import(&there, &format!("oci:{}", layout.display())).unwrap_err();
    assert!(
        error.to_string().contains("media type text/html"),
        "{error}"
    );
}

/// A docker-archive made by hand.
fn archive(path: &Path, members: &[(&str, Member<'_>)]) {
    let mut tar = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, member) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // Past `set_path`, which refuses what a hostile archive may have.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        match member {
            Member::Bytes(bytes) => {
                header.set_size(bytes.len() as u64);
                header.set_cksum();
                tar.append(&header, *bytes).unwrap();
            }
            Member::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_link_name_literal(target).unwrap();
                header.set_cksum();
                tar.append(&header, std::io::empty()).unwrap();
            }
        }
    }
    tar.into_inner().unwrap().flush().unwrap();
}

enum Member<'a> {
    Bytes(&'a [u8]),
    Link(&'a str),
}

#[test]
fn hostile_docker_archives_are_refused_and_odd_ones_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let from = format!("docker-archive:{}", file.display());
    let (tar, gzip) = layer(b"content");
    let mut config = ImageConfig::new(
        "linux",
        warpdrive::oci::this_platform().split_once('/').unwrap().1,
    );
    let history = warpdrive::oci::HistoryEntry {
        created: "1980-01-01T00:00:01Z".into(),
        created_by: "test".into(),
        empty_layer: false,
    };
    config.push_layer(&sha256(&tar), &history);
    let config = config.to_bytes();
    let manifest = |config: &str, layer: &str| {
        json!([{"Config": config, "RepoTags": null, "Layers": [layer]}])
            .to_string()
            .into_bytes()
    };
    let plain = manifest("c.json", "l/layer.tar");

    // As old docker wrote it: layers through links; and as podman may: compressed ones.
    for bytes in [&tar, &gzip] {
        archive(
            &file,
            &[
                ("./c.json", Member::Bytes(&config)),
                ("l/layer.tar", Member::Link("../real/layer.tar")),
                ("real/layer.tar", Member::Bytes(bytes)),
                ("manifest.json", Member::Bytes(&plain)),
            ],
        );
        let (_a, store) = store();
        let imported = import(&store, &from).unwrap();
        assert_eq!(imported.name, None);
        is_whole(&store, &imported.descriptor);
        assert!(store.has_blob(&sha256(bytes)));
    }

    let outside = dir.path().join("outside");
    fs::write(&outside, &tar).unwrap();
    let wrong_id = format!("{}.json", "a".repeat(64));
    let outside = outside.display().to_string();
    let by_path = manifest("c.json", &outside);
    let by_parent = manifest("c.json", "../outside");
    let by_id = manifest(&wrong_id, "l/layer.tar");
    let no_layers = json!([{"Config": "c.json", "Layers": []}]).to_string();
    let cases: Vec<(&str, Vec<(&str, Member<'_>)>)> = vec![
        ("no manifest.json", vec![("c.json", Member::Bytes(&config))]),
        (
            "its manifest.json",
            vec![("manifest.json", Member::Bytes(b"{"))],
        ),
        (
            "none with a name",
            vec![("manifest.json", Member::Bytes(b"[]"))],
        ),
        (
            "configuration that its manifest.json names is missing",
            vec![("manifest.json", Member::Bytes(&plain))],
        ),
        (
            "is missing",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("manifest.json", Member::Bytes(&plain)),
            ],
        ),
        (
            "is missing",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("manifest.json", Member::Bytes(&by_path)),
            ],
        ),
        (
            "is missing",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("manifest.json", Member::Bytes(&by_parent)),
            ],
        ),
        (
            "is missing",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("l/layer.tar", Member::Link(&outside)),
                ("manifest.json", Member::Bytes(&plain)),
            ],
        ),
        (
            "is missing",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("l/layer.tar", Member::Link("layer.tar")),
                ("manifest.json", Member::Bytes(&plain)),
            ],
        ),
        (
            "twice",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("c.json", Member::Bytes(&config)),
            ],
        ),
        (
            "has the digest",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("l/layer.tar", Member::Bytes(b"other")),
                ("manifest.json", Member::Bytes(&plain)),
            ],
        ),
        (
            "has the digest",
            vec![
                (&wrong_id, Member::Bytes(&config)),
                ("manifest.json", Member::Bytes(&by_id)),
            ],
        ),
        (
            "0 layers",
            vec![
                ("c.json", Member::Bytes(&config)),
                ("manifest.json", Member::Bytes(no_layers.as_bytes())),
            ],
        ),
    ];
    for (part, members) in cases {
        archive(&file, &members);
        let (_a, store) = store();
        let error = import(&store, &from).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
        assert_eq!((blobs(&store), leftovers(&store)), (0, 0));
    }
}

#[test]
fn a_pipe_is_read_and_written() {
    let (dir, here) = store();
    let manifest = image(&here, &[b"one"], &[]);
    let fifo = dir.path().join("fifo");
    process::run(std::process::Command::new("mkfifo").arg(&fifo));
    // Through a link, as /dev/stdout is one.
    let link = dir.path().join("link");
    symlink(&fifo, &link).unwrap();
    let (_b, there) = store();
    let imported = std::thread::scope(|scope| {
        scope.spawn(|| export(&here, &manifest, &format!("oci-archive:{}", link.display())));
        import(&there, &format!("oci-archive:{}", fifo.display())).unwrap()
    });
    assert_eq!(imported.descriptor, manifest);
    is_whole(&there, &manifest);
}

#[test]
fn zstd_is_unpacked_for_docker_and_read_from_anywhere() {
    let (dir, here) = store();
    let (tar, _) = layer(&noise(50_000, 2));
    let zstd = zstd::encode_all(tar.as_slice(), 3).unwrap();
    let mut config = ImageConfig::new(
        "linux",
        warpdrive::oci::this_platform().split_once('/').unwrap().1,
    );
    let history = warpdrive::oci::HistoryEntry {
        created: "1980-01-01T00:00:01Z".into(),
        created_by: "test".into(),
        empty_layer: false,
    };
    config.push_layer(&sha256(&tar), &history);
    let put = |media_type: MediaType, bytes: &[u8]| {
        let (digest, size) = here.put_blob(bytes).unwrap();
        descriptor(media_type, digest, size)
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "config": put(MediaType::ImageConfig, &config.to_bytes()),
        "layers": [put(MediaType::ImageLayerZstd, &zstd)],
    });
    let manifest = put(MediaType::ImageManifest, manifest.to_string().as_bytes());

    let file = dir.path().join("x.tar");
    export(
        &here,
        &manifest,
        &format!("docker-archive:{}", file.display()),
    );
    let (_b, there) = store();
    let imported = import(&there, &format!("docker-archive:{}", file.display())).unwrap();
    is_whole(&there, &imported.descriptor);
    assert!(there.has_blob(&sha256(&tar)) && !there.has_blob(&sha256(&zstd)));

    // The whole archive compressed, and a layer in it that still is.
    let oci = dir.path().join("oci.tar");
    export(&here, &manifest, &format!("oci-archive:{}", oci.display()));
    fs::write(
        &oci,
        zstd::encode_all(fs::read(&oci).unwrap().as_slice(), 1).unwrap(),
    )
    .unwrap();
    let (_c, there) = store();
    let imported = import(&there, &format!("oci-archive:{}", oci.display())).unwrap();
    assert_eq!(imported.descriptor, manifest);
    is_whole(&there, &manifest);
}

#[test]
fn of_several_platforms_this_machines_is_imported() {
    let (dir, here) = store();
    let mine = image(&here, &[b"mine"], &[]);
    let other = image(&here, &[b"other"], &[]);
    let platform = warpdrive::oci::this_platform();
    let (os, architecture) = platform.split_once('/').unwrap();
    let entry = |image: &Descriptor, architecture: &str| {
        let mut entry = serde_json::to_value(image).unwrap();
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageIndex,
        "manifests": [entry(&other, "s390x"), entry(&mine, architecture)],
    });
    let (digest, size) = here.put_blob(index.to_string().as_bytes()).unwrap();
    let index = descriptor(MediaType::ImageIndex, digest, size);
    let place = format!("oci:{}:both", dir.path().join("layout").display());
    export(&here, &index, &place);
    let (_b, there) = store();
    assert_eq!(import(&there, &place).unwrap().descriptor, mine);
    is_whole(&there, &mine);
    assert!(!there.has_blob(other.digest()));
}

/// An image that is not of the platform that was named is refused, in a layout and in a directory, whether its
/// index said otherwise or there is none.
#[test]
fn an_image_of_another_platform_than_the_one_named_is_refused() {
    let (dir, here) = store();
    let mine = image(&here, &[b"mine"], &[]);
    let platform = warpdrive::oci::this_platform();
    let (os, _) = platform.split_once('/').unwrap();
    let mut entry = serde_json::to_value(&mine).unwrap();
    entry["platform"] = json!({"os": os, "architecture": "s390x"});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageIndex,
        "manifests": [entry],
    });
    let (digest, size) = here.put_blob(index.to_string().as_bytes()).unwrap();
    let index = descriptor(MediaType::ImageIndex, digest, size);
    let at = |name: &str| dir.path().join(name).display().to_string();
    let places = [
        format!("oci:{}:1", at("layout")),
        format!("dir:{}", at("dir")),
        format!("oci-archive:{}:1", at("a.tar")),
    ];
    for place in &places {
        export(&here, &mine, place);
    }
    let lies = format!("oci:{}:lies", at("layout"));
    export(&here, &index, &lies);
    let of = |place: &str, platform: &str| {
        let (_there, there) = store();
        let platforms = Platforms::One(Some(platform.to_owned()));
        let source = Location::parse(place).unwrap();
        transport::import_of(&there, &source, &platforms, &Silent).map(|found| found.descriptor)
    };
    for place in &places {
        assert_eq!(of(place, &platform).unwrap(), mine, "{place}");
    }
    for place in places.iter().chain([&lies]) {
        let error = of(place, &format!("{os}/s390x")).unwrap_err().to_string();
        let words = format!("is for {platform}, not for {os}/s390x");
        assert!(error.contains(&words), "{place}: {error}");
    }
}
