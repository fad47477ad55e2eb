//! The command: every place that an image may lie in, its outputs and statuses, the builder images.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use warpdrive::audit;
use warpdrive::store::Store;

use crate::support::made::{Layer, Made};
use crate::support::sound::{PASSWD, sound, with};
use crate::support::warpdrive::{PYTHON_39, PYTHON_311, PYTHON_313_RUN, Warpdrive};

fn warpdrive(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warpdrive"))
        .args(arguments)
        .env_remove("WARPDRIVE_STORE")
        .output()
        .unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_command_gives_the_same_verdict_for_every_place() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    let bad = with(Layer::new().file("srv/id", 0o4711, "id"));
    sound().put(&store, "sound");
    bad.put(&store, "bad:1");
    let archive = |name: &str, made: &Made| {
        let path = directory.path().join(format!("{name}.tar"));
        fs::write(&path, made.docker_archive(&format!("{name}:latest"))).unwrap();
        path.display().to_string()
    };
    let (sound_tar, bad_tar) = (archive("sound", &sound()), archive("bad", &bad));
    // The store is an OCI layout, so a tar of it is an archive of one.
    let oci_tar = directory.path().join("oci.tar");
    let made = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&oci_tar)
        .args(["oci-layout", "index.json", "blobs"])
        .status()
        .unwrap();
    assert!(made.success());
    let store_option = format!("--store={}", root.display());
    for (place, status) in [
        ("sound".to_owned(), 0),
        ("bad:1".into(), 4),
        (format!("oci:{}:sound", root.display()), 0),
        (format!("oci:{}:bad:1", root.display()), 4),
        (format!("oci-archive:{}:sound", oci_tar.display()), 0),
        (format!("oci-archive:{}:bad:1", oci_tar.display()), 4),
        (format!("docker-archive:{sound_tar}"), 0),
        (format!("docker-archive:{bad_tar}:bad"), 4),
        (format!("docker-archive:{bad_tar}:bad:latest"), 4),
    ] {
        let output = warpdrive(&["audit", &place, "--json", &store_option]);
        assert_eq!(output.status.code(), Some(status), "{place}: {output:?}");
        let value = json_of(&output);
        let verdict = if status == 0 { "passed" } else { "refused" };
        assert_eq!(value["verdict"], verdict, "{place}");
        if status == 4 {
            let finding = &value["findings"][0];
            assert_eq!(finding["rule"], "setuid");
            assert_eq!(finding["path"], "/srv/id");
            assert_eq!(finding["layer"]["number"], 3);
            assert!(
                finding["layer"]["digest"]
                    .as_str()
                    .unwrap()
                    .starts_with("sha256:")
            );
            assert!(!finding["remedy"].as_str().unwrap().is_empty());
        }
        let text = warpdrive(&["audit", &place, &store_option]);
        assert_eq!(text.status.code(), Some(status));
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.lines().last().unwrap().starts_with(verdict), "{text}");
    }
    let sarif = json_of(&warpdrive(&["audit", "bad:1", "--sarif", &store_option]));
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "setuid");

    let policy = directory.path().join("policy.toml");
    fs::write(&policy, "[rules]\nsetuid = 'off'\n").unwrap();
    let policy = policy.display().to_string();
    let excused = warpdrive(&["audit", "bad:1", "--policy", &policy, &store_option]);
    assert_eq!(excused.status.code(), Some(0));
    fs::write(&policy, "[rules]\nsetiud = 'off'\n").unwrap();
    let wrong = warpdrive(&["audit", "bad:1", "--policy", &policy, &store_option]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `setuid`"));
}

/// What `manifest.json` says of an image, and the image's members of the archive.
type Saved = (Value, Vec<(String, Vec<u8>)>);

/// A layout in a directory with the blobs of a store, and this index.
fn layout(blobs: &Store, place: &Path, index: &Value) {
    fs::create_dir(place).unwrap();
    let made = Command::new("cp")
        .args(["--recursive", "--link"])
        .args(["oci-layout", "blobs"].map(|name| blobs.root().join(name)))
        .arg(place)
        .status();
    assert!(made.unwrap().success());
    fs::write(place.join("index.json"), index.to_string()).unwrap();
}

/// A place with two images is hostile when one of them passes and the other is what arrives.
#[test]
fn what_is_judged_is_what_is_imported_or_both_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&directory.path().join("store"))).unwrap();
    let bad = with(Layer::new().file("srv/id", 0o4711, "id"));
    let entry = |made: &Made, name: &str| {
        let put = made.put(&store, name);
        json!({"mediaType": put.media_type(), "digest": put.digest().to_string(), "size": put.size()})
    };
    let (good, evil) = (entry(&sound(), "good"), entry(&bad, "evil"));
    let of = |entry: &Value, more: Value| {
        let mut entry = entry.clone();
        let more = more.as_object().unwrap().clone();
        entry.as_object_mut().unwrap().extend(more);
        entry
    };
    let platform = |entry: &Value, architecture: &str, variant: Option<&str>| {
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        of(entry, json!({"platform": platform}))
    };
    let named = |entry: &Value, name: &str| {
        of(
            entry,
            json!({"annotations": {"org.opencontainers.image.ref.name": name}}),
        )
    };
    let index = |entries: &[Value]| {
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": entries})
    };
    let nested = |entries: &[Value]| {
        let bytes = warpdrive::oci::to_canonical_json(&index(entries)).unwrap();
        let (digest, size) = store.put_blob(&bytes).unwrap();
        index(&[
            json!({"mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest.to_string(), "size": size}),
        ])
    };
    let this = warpdrive::oci::this_architecture();
    let other = if this == "s390x" { "ppc64le" } else { "s390x" };
    let mut places = Vec::new();
    for (number, (index, tag)) in [
        (
            nested(&[
                platform(&good, this, Some("v3")),
                platform(&evil, this, None),
            ]),
            "",
        ),
        (
            nested(&[
                platform(&evil, this, Some("v3")),
                platform(&good, this, None),
            ]),
            "",
        ),
        (
            nested(&[platform(&good, other, None), platform(&evil, this, None)]),
            "",
        ),
        (nested(&[good.clone(), evil.clone()]), ""),
        (
            nested(&[platform(&good, other, None), platform(&evil, "mips", None)]),
            "",
        ),
        (index(&[named(&good, "app"), named(&evil, "app")]), ":app"),
        (
            index(&[named(&evil, "app"), named(&good, "app:latest")]),
            ":app",
        ),
        (
            index(&[
                of(
                    &good,
                    json!({"annotations": {"io.containerd.image.name": "app"}}),
                ),
                named(&evil, "app"),
            ]),
            ":app",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let place = directory.path().join(format!("layout-{number}"));
        layout(&store, &place, &index);
        places.push(format!("oci:{}{tag}", place.display()));
    }

    // What stands before the colon is the path, whatever else there is.
    layout(
        &store,
        &directory.path().join("both"),
        &index(&[named(&evil, "tag")]),
    );
    layout(
        &store,
        &directory.path().join("both:tag"),
        &index(&[named(&good, "tag")]),
    );
    places.push(format!("oci:{}/both:tag", directory.path().display()));

    // An archive of `docker save` has `manifest.json`, and may be a layout, too.
    let archive = |name: &str, members: &[(&str, Vec<u8>)]| {
        let mut tar = Layer::new();
        for (path, bytes) in members {
            tar = tar.file(path, 0o644, bytes);
        }
        let path = directory.path().join(name);
        fs::write(&path, tar.bytes()).unwrap();
        format!("docker-archive:{}", path.display())
    };
    let saved = |made: &Made, prefix: &str, names: &[&str]| {
        let layers: Vec<String> = (0..made.layers.len())
            .map(|number| format!("{prefix}-{number}.tar"))
            .collect();
        let config = format!("{prefix}-config.json");
        let mut members: Vec<(String, Vec<u8>)> = layers
            .iter()
            .cloned()
            .zip(made.layers.iter().cloned())
            .collect();
        members.push((config.clone(), made.config.to_bytes()));
        (
            json!({"Config": config, "RepoTags": names, "Layers": layers}),
            members,
        )
    };
    let docker = |file: &str, items: &[&Saved], layout: Option<&Value>| {
        let said: Vec<&Value> = items.iter().map(|(said, _)| said).collect();
        let mut members: Vec<(&str, Vec<u8>)> = items
            .iter()
            .flat_map(|(_, members)| members.iter().map(|(path, bytes)| (&**path, bytes.clone())))
            .collect();
        members.push(("manifest.json", json!(said).to_string().into_bytes()));
        let blobs: Vec<(String, Vec<u8>)> = fs::read_dir(store.root().join("blobs/sha256"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap();
                (format!("blobs/sha256/{name}"), fs::read(&path).unwrap())
            })
            .collect();
        if let Some(index) = layout {
            members.push(("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
            members.push(("index.json", index.to_string().into_bytes()));
            members.extend(blobs.iter().map(|(path, bytes)| (&**path, bytes.clone())));
        }
        archive(file, &members)
    };
    // As Docker 25 writes it: the members are the layout's.
    let manifest = |entry: &Value| -> Value {
        let digest = entry["digest"].as_str().unwrap().replace(':', "/");
        let bytes = fs::read(store.root().join("blobs").join(digest)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let as_layout = |entry: &Value| -> Saved {
        let blob = |part: &Value| {
            part["digest"]
                .as_str()
                .unwrap()
                .replace("sha256:", "blobs/sha256/")
        };
        let manifest = manifest(entry);
        let layers: Vec<String> = manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(blob)
            .collect();
        let said = json!({"Config": blob(&manifest["config"]), "RepoTags": ["app:latest"], "Layers": layers});
        (said, Vec::new())
    };
    // The same configuration, and another uppermost layer.
    let disguised = {
        let mut disguised = manifest(&good);
        let layers = disguised["layers"].as_array_mut().unwrap();
        layers.pop();
        layers.push(
            manifest(&evil)["layers"]
                .as_array()
                .unwrap()
                .last()
                .unwrap()
                .clone(),
        );
        let bytes = warpdrive::oci::to_canonical_json(&disguised).unwrap();
        let (digest, size) = store.put_blob(&bytes).unwrap();
        json!({"mediaType": good["mediaType"], "digest": digest.to_string(), "size": size})
    };
    let new = as_layout(&good);
    let app = ["app:latest"];
    let full = ["docker.io/library/app:latest"];
    let (good_app, evil_app) = (saved(&sound(), "g", &app), saved(&bad, "e", &app));
    let evil_full = saved(&bad, "f", &full);
    for (place, tag) in [
        (
            docker(
                "a.tar",
                &[&good_app],
                Some(&index(std::slice::from_ref(&evil))),
            ),
            "",
        ),
        (
            docker(
                "b.tar",
                &[&good_app],
                Some(&index(&[named(&evil, "app:latest"), named(&good, "x")])),
            ),
            "",
        ),
        (
            docker(
                "c.tar",
                &[&good_app],
                Some(&index(std::slice::from_ref(&good))),
            ),
            "",
        ),
        (
            docker("g.tar", &[&new], Some(&index(std::slice::from_ref(&good)))),
            "",
        ),
        (
            docker(
                "h.tar",
                &[&new],
                Some(&index(std::slice::from_ref(&disguised))),
            ),
            "",
        ),
        (
            docker(
                "i.tar",
                &[&good_app],
                Some(&index(std::slice::from_ref(&disguised))),
            ),
            "",
        ),
        (docker("d.tar", &[&good_app, &evil_app], None), ":app"),
        (
            docker("e.tar", &[&evil_full, &good_app], None),
            ":app:latest",
        ),
        (
            docker("f.tar", &[&good_app, &evil_full], None),
            ":docker.io/library/app:latest",
        ),
    ] {
        places.push(format!("{place}{tag}"));
    }

    let mut verdicts = String::new();
    for (number, place) in places.iter().enumerate() {
        let own = format!(
            "--store={}",
            directory.path().join(format!("own-{number}")).display()
        );
        let judged = warpdrive(&["audit", place, "--json", &own]);
        let imported = warpdrive(&["import", place, "arrived", &own]);
        let arrived = if imported.status.success() {
            let again = warpdrive(&["audit", "arrived", "--json", &own]);
            assert_eq!(
                again.status.code(),
                judged.status.code(),
                "{place}: {judged:?}"
            );
            json_of(&again)["verdict"].to_string()
        } else {
            "not imported".to_owned()
        };
        let verdict = json_of(&judged)["verdict"].clone();
        // What does not arrive may be judged, but one that passes is at least the only one for Linux.
        writeln!(
            verdicts,
            "{}: {verdict}, {arrived}",
            place.replace(&directory.path().display().to_string(), "…")
        )
        .unwrap();
    }
    insta::assert_snapshot!(verdicts);
}

#[test]
fn what_cannot_be_judged_is_no_pass() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    sound().put(&store, "sound");
    let loaded = store.image("sound").unwrap().unwrap();
    let layer = loaded.manifest.layers()[0].digest().clone();
    let option = format!("--store={}", root.display());
    let place = format!("oci:{}:sound", root.display());
    for name in [
        "unknown",
        &format!("oci:{}:unknown", root.display()),
        "oci:/does/not/exist",
        "docker-archive:/dev/null",
    ] {
        let output = warpdrive(&["audit", name, &option]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
    }
    // Other bytes in the blob's place, valid as they are.
    let other = Layer::new().file("etc/passwd", 0o644, PASSWD).bytes();
    let blob = store.blob_path(&layer);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &other).unwrap();
    for name in ["sound", &place] {
        let output = warpdrive(&["audit", name, "--json", &option]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(
            json_of(&output)["error"]["message"]
                .as_str()
                .unwrap()
                .contains("sha256:")
        );
    }
    fs::remove_file(&blob).unwrap();
    assert_eq!(warpdrive(&["audit", &place]).status.code(), Some(1));
    // What one program takes for an image and another for an index, and a member that is there twice.
    let mut both: Value = serde_json::from_slice(&loaded.manifest_bytes).unwrap();
    both["manifests"] = json!([loaded.descriptor]);
    let (digest, size) = store.put_blob(&serde_json::to_vec(&both).unwrap()).unwrap();
    let media_type = loaded.descriptor.media_type().clone();
    let both = warpdrive::oci::descriptor(media_type, digest, size);
    store.tag("both", &both).unwrap();
    let output = warpdrive(&["audit", &format!("oci:{}:both", root.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("as an image and as an index"), "{said}");
    // What `import` refuses too: other programs would not take it for an image.
    let original: Value = serde_json::from_slice(&loaded.manifest_bytes).unwrap();
    let tagged = |name: &str, manifest: &Value, media_type: &str| {
        let (digest, size) = store
            .put_blob(&serde_json::to_vec(manifest).unwrap())
            .unwrap();
        let descriptor = warpdrive::oci::descriptor(media_type, digest, size);
        store.tag(name, &descriptor).unwrap();
    };
    let kind = loaded.descriptor.media_type().to_string();
    let mut page = original.clone();
    page["config"]["mediaType"] = "text/html".into();
    tagged("page", &page, &kind);
    tagged("entry", &original, "text/html");
    let mut old = original.clone();
    old["schemaVersion"] = 1.into();
    tagged("old", &old, &kind);
    let mut named = original.clone();
    named["mediaType"] = "text/html".into();
    tagged("named", &named, &kind);
    for (name, words) in [
        ("page", "its configuration has the type `text/html`"),
        ("entry", "has the type `text/html`"),
        ("named", "has the type `text/html`"),
        ("old", "does not have the schemaVersion 2"),
    ] {
        let output = warpdrive(&["audit", &format!("oci:{}:{name}", root.display())]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{name}: {said}");
    }
    let mut twice = sound().docker_archive("x:1");
    let once = twice.clone();
    twice.truncate(twice.len() - 1024);
    twice.extend(once);
    let file = directory.path().join("twice.tar");
    fs::write(&file, twice).unwrap();
    let output = warpdrive(&["audit", &format!("docker-archive:{}", file.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("twice"), "{said}");
    // An archive whose layer is not the one of the configuration.
    let mut made = sound();
    made.layers[1] = other;
    let file = directory.path().join("x.tar");
    fs::write(&file, made.docker_archive("x:1")).unwrap();
    let output = warpdrive(&["audit", &format!("docker-archive:{}", file.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_rules_are_listed() {
    let output = warpdrive(&["audit", "--rules"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), audit::RULES.len());
    let value = json_of(&warpdrive(&["audit", "--rules", "--json"]));
    assert_eq!(value["rules"][0]["id"], "user-missing");
    assert_eq!(warpdrive(&["audit"]).status.code(), Some(2));
}

/// Debian's own, as `builder build` makes them; what is found in them is a reviewed snapshot. The
/// configuration does not count here: every image on them gets its own.
#[test]
fn the_plain_builders() {
    let mut found = String::new();
    for builder in [PYTHON_39, PYTHON_311, PYTHON_313_RUN] {
        let output = Warpdrive::with(builder).output(&["audit", builder, "--json"]);
        let report = json_of(&output);
        for finding in report["findings"].as_array().unwrap() {
            let Some(path) = finding["path"].as_str() else {
                continue;
            };
            assert_ne!(finding["severity"], "high", "{finding:#}");
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            let path = path.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
            let (severity, rule) = (text("severity"), text("rule"));
            writeln!(found, "{builder}: {severity} {rule} {path}").unwrap();
        }
    }
    insta::assert_snapshot!("plain-builders", found);
}

/// What other programs refuse is not an image that could be judged.
#[test]
fn a_layout_that_contradicts_itself_is_no_image() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    sound().put(&store, "sound");
    let index_file = root.join("index.json");
    let index: Value = serde_json::from_slice(&fs::read(&index_file).unwrap()).unwrap();
    let entry = |index: &Value| index["manifests"][0].clone();
    let digest = entry(&index)["digest"].as_str().unwrap().to_owned();
    let blob = |digest: &str| root.join("blobs").join(digest.replace(':', "/"));
    let manifest: Value = serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap();
    let judged = |index: &Value| {
        fs::write(&index_file, index.to_string()).unwrap();
        let output = warpdrive(&["audit", &format!("oci:{}:sound", root.display())]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), words)
    };
    let with_manifest = |change: &dyn Fn(&mut Value)| {
        let mut manifest = manifest.clone();
        change(&mut manifest);
        let bytes = manifest.to_string().into_bytes();
        let digest = warpdrive::oci::sha256(&bytes).to_string();
        fs::write(blob(&digest), &bytes).unwrap();
        let mut index = index.clone();
        index["manifests"][0]["digest"] = json!(digest);
        index["manifests"][0]["size"] = json!(bytes.len());
        judged(&index)
    };
    // The control: written anew and otherwise as it was.
    assert_eq!(with_manifest(&|_| ()).0, Some(0));
    let (code, words) = with_manifest(&|manifest| {
        manifest["layers"][0]["mediaType"] = json!("text/html");
    });
    assert!(
        code != Some(0) && words.contains("text/html"),
        "{code:?} {words}"
    );
    for field in ["layers", "config"] {
        let (code, words) = with_manifest(&|manifest| {
            let entry = match field {
                "layers" => &mut manifest["layers"][0],
                _ => &mut manifest["config"],
            };
            entry["size"] = json!(entry["size"].as_u64().unwrap() + 1);
        });
        assert!(
            code != Some(0) && words.contains("its descriptor says"),
            "{field}: {code:?} {words}"
        );
    }
    let mut wrong = index.clone();
    wrong["manifests"][0]["size"] = json!(3);
    let (code, words) = judged(&wrong);
    assert!(
        code != Some(0) && words.contains("its descriptor says"),
        "{code:?} {words}"
    );
}
