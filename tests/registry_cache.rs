//! A cache in a registry: machines with an empty disk find there what another one made.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::path::{Path, PathBuf};

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use warpdrive::layer::decompressor;
use warpdrive::oci::{MediaType, Reference, descriptor, sha256, to_canonical_json};
use warpdrive::registry::{Client, ClientOptions, Silent};

use crate::support::package_index::{PackageIndex, Wheel};
use crate::support::process;
use crate::support::registry::Registry;
use crate::support::stored;
use crate::support::warpdrive::{PYTHON_311, Warpdrive, example};

/// A registry with the builder in it, and a machine that has made an image and filled the cache.
struct Setting {
    registry: Registry,
    builder: String,
    cache: String,
    name: String,
    first: Value,
}

impl Setting {
    fn new(source: &Path) -> Self {
        let registry = Registry::start();
        let local = Warpdrive::with(PYTHON_311);
        let builder = registry.reference("team/python:3.11");
        local.run(&["push", PYTHON_311, &format!("docker://{builder}")]);
        let cache = registry.reference("team/cache");
        let name = registry.reference("team/app:1");
        let writer = Warpdrive::new();
        let path = source.to_str().unwrap();
        let arguments = [
            "image",
            &name,
            "--path",
            path,
            "--builder",
            &builder,
            "--cache-to",
            &cache,
            "--push",
            "--json",
        ];
        let output = writer.output(&arguments);
        let words = process::words(&output);
        assert!(output.status.success(), "{words}");
        // A cache that is not whole is a warning for a build.
        assert!(!words.contains("could not be written"), "{words}");
        let first = serde_json::from_slice(&output.stdout).unwrap();
        Self {
            registry,
            builder,
            cache,
            name,
            first,
        }
    }

    /// A build on a machine with an empty disk.
    fn fresh(&self, source: &Path, more: &[&str]) -> (Value, String) {
        let machine = Warpdrive::new();
        let path = source.to_str().unwrap();
        let fixed = [
            "image",
            &self.name,
            "--path",
            path,
            "--builder",
            &self.builder,
            "--cache-from",
            &self.cache,
            "--push",
            "--json",
        ];
        let output = machine.output(&[&fixed[..], more].concat());
        let words = process::words(&output);
        assert!(output.status.success(), "{words}");
        (serde_json::from_slice(&output.stdout).unwrap(), words)
    }

    /// The same of another name, for which only fragments are known.
    fn fresh_other(&self, source: &Path) -> (Value, String) {
        let machine = Warpdrive::new();
        let path = source.to_str().unwrap();
        let name = self.registry.reference("team/other:1");
        let output = machine.output(&[
            "image",
            &name,
            "--path",
            path,
            "--builder",
            &self.builder,
            "--cache-from",
            &self.cache,
            "--json",
        ]);
        let words = process::words(&output);
        assert!(output.status.success(), "{words}");
        (serde_json::from_slice(&output.stdout).unwrap(), words)
    }

    fn tags(&self, kind: &str) -> Vec<String> {
        let tags = self.registry.tags("team/cache");
        tags.into_iter()
            .filter(|tag| tag.starts_with(kind))
            .collect()
    }
}

fn flask() -> PathBuf {
    example("flask")
}

/// The same where git knows nothing of it, since who owns it is another question.
fn flask_alone(place: &Path) -> PathBuf {
    alone("flask", place)
}

fn alone(name: &str, place: &Path) -> PathBuf {
    let source = place.join("source");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([&example(name), &source])
        .status()
        .unwrap();
    assert!(copied.success());
    source
}

#[test]
fn an_empty_disk_has_distributions_from_the_registry_and_gives_the_same_image() {
    let setting = Setting::new(&flask());
    assert!(
        setting.tags("f1-").len() > 3,
        "{:?}",
        setting.registry.tags("team/cache")
    );
    let (second, words) = setting.fresh_other(&flask());
    assert_eq!(second["digest"], setting.first["digest"], "{words}");
    assert!(words.contains("distributions from the cache"), "{words}");
    assert!(
        !words.contains("Installed "),
        "nothing was made anew: {words}"
    );
}

/// An item as it stands in the registry, for someone who may write there.
struct Item {
    name: Reference,
    manifest: Value,
    record: Value,
    /// Uncompressed.
    layer: Vec<u8>,
}

impl Setting {
    /// The item of a distribution's fragment.
    fn item(&self, distribution: &str) -> Item {
        let client = Client::new(ClientOptions::default()).unwrap();
        let found = self.tags("f1-").into_iter().find_map(|tag| {
            let name: Reference = format!("{}:{tag}", self.cache).parse().unwrap();
            let (_, bytes) = client.manifest(&name).unwrap().unwrap();
            let manifest: Value = serde_json::from_slice(&bytes).unwrap();
            let data = manifest["config"]["data"].as_str().unwrap();
            let record: Value = serde_json::from_slice(&STANDARD.decode(data).unwrap()).unwrap();
            (record["pin"]["name"] == distribution).then_some((name, manifest, record))
        });
        let (name, manifest, record) = found.unwrap();
        let blob = serde_json::from_value(manifest["layers"][0].clone()).unwrap();
        let mut layer = Vec::new();
        let stream = client.stream(&name, &blob, &Silent).unwrap();
        decompressor(stream).read_to_end(&mut layer).unwrap();
        Item {
            name,
            manifest,
            record,
            layer,
        }
    }
}

impl Item {
    /// Puts it back with all digests as they have to be, so that only what it says is wrong.
    fn put(mut self) -> String {
        let (_place, store) = stored::store();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&self.layer).unwrap();
        let (digest, size) = store.put_blob(&gzip.finish().unwrap()).unwrap();
        let layer =
            serde_json::to_value(descriptor(MediaType::ImageLayerGzip, digest, size)).unwrap();
        self.manifest["layers"][0] = layer.clone();
        self.record["layer"]["descriptor"] = layer;
        self.record["layer"]["diff_id"] = sha256(&self.layer).to_string().into();
        let record = to_canonical_json(&self.record).unwrap();
        let (digest, size) = store.put_blob(&record).unwrap();
        self.manifest["config"]["digest"] = digest.to_string().into();
        self.manifest["config"]["size"] = size.into();
        self.manifest["config"]["data"] = STANDARD.encode(&record).into();
        let bytes = to_canonical_json(&self.manifest).unwrap();
        let (digest, size) = store.put_blob(&bytes).unwrap();
        let entry = descriptor(MediaType::ImageManifest, digest.clone(), size);
        let client = Client::new(ClientOptions::default()).unwrap();
        client.push(&entry, &store, &self.name, &Silent).unwrap();
        digest.to_string()
    }

    /// Another content of the same length.
    fn replace(&mut self, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let at = self
            .layer
            .windows(old.len())
            .position(|bytes| bytes == old.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{old} is not in the layer"));
        self.layer[at..at + new.len()].copy_from_slice(new.as_bytes());
    }

    /// The same in the header of the first member whose path contains `path`, checksum included.
    fn edit_header(&mut self, path: &str, edit: impl Fn(&mut tar::Header)) {
        let at = (0..self.layer.len()).step_by(512).find(|at| {
            let block = &self.layer[*at..*at + 512];
            block[257..262] == *b"ustar" && String::from_utf8_lossy(&block[..100]).contains(path)
        });
        let at = at.unwrap_or_else(|| panic!("{path} is not in the layer"));
        let mut header = tar::Header::new_old();
        header
            .as_mut_bytes()
            .copy_from_slice(&self.layer[at..at + 512]);
        edit(&mut header);
        header.set_cksum();
        self.layer[at..at + 512].copy_from_slice(header.as_bytes());
    }
}

#[test]
fn what_the_cache_should_not_hold_is_refused_and_made_here() {
    type Change = fn(&mut Item);
    let setting = Setting::new(&flask());
    let cases: [(&str, &str, Change); 7] = [
        ("click", "record of something else", |item| {
            item.record["pin"]["version"] = "9.9".into();
        }),
        ("flask", "record of something else", |item| {
            item.record["key"] = "0".repeat(64).into();
        }),
        ("jinja2", "not what RECORD says", |item| {
            item.replace("Metadata-Version", "Metadata-Verzion");
        }),
        ("werkzeug", "not what RECORD says", |item| {
            let text = String::from_utf8_lossy(&item.layer).into_owned();
            let start = "METADATA,sha256=";
            let at = text.find(start).unwrap() + start.len();
            item.replace(&text[at..at + 43], &"A".repeat(43));
        }),
        ("itsdangerous", "says more than its files", |item| {
            item.edit_header("METADATA", |header| header.set_mode(0o4664));
        }),
        ("blinker", "not a plain file", |item| {
            item.edit_header("METADATA", |header| {
                header.set_entry_type(tar::EntryType::Fifo);
            });
        }),
        ("markupsafe", "is in no RECORD", |item| {
            let pth = "opt/app-root/lib/python3.11/site-packages/evil.pth";
            let what = serde_json::json!({"File": b"import os".to_vec()});
            item.record["deferred"] = serde_json::json!([{"path": pth, "what": what}]);
        }),
    ];
    for (distribution, _, change) in cases {
        let mut item = setting.item(distribution);
        change(&mut item);
        item.put();
    }
    let (built, words) = setting.fresh_other(&flask());
    for (distribution, expected, _) in cases {
        let start = format!("what the cache has of {distribution} ");
        let line = words.lines().find(|line| line.contains(&start));
        assert!(
            line.is_some_and(|line| line.contains(expected)),
            "{expected}: {words}"
        );
    }
    assert_eq!(built["digest"], setting.first["digest"]);
}

#[test]
fn another_content_under_a_fixed_tag_is_an_alarm_and_stays() {
    let setting = Setting::new(&flask());
    let mut item = setting.item("click");
    item.record["pin"]["version"] = "9.9".into();
    let name = item.name.clone();
    let planted = item.put();
    let machine = Warpdrive::new();
    let path = flask();
    let output = machine.output(&[
        "image",
        "app",
        "--path",
        path.to_str().unwrap(),
        "--builder",
        &setting.builder,
        "--cache-to",
        &setting.cache,
    ]);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("one of the two was not made as it should be"),
        "{words}"
    );
    assert!(words.contains(&planted), "{words}");
    let client = Client::new(ClientOptions::default()).unwrap();
    let (there, _) = client.manifest(&name).unwrap().unwrap();
    assert_eq!(there.digest().to_string(), planted);
}

#[test]
fn a_cache_that_does_not_answer_is_told_and_done_without() {
    let machine = Warpdrive::with(PYTHON_311);
    let nobody = format!("127.0.0.1:{}/cache", crate::support::http::free_port());
    let path = flask();
    let output = machine.output(&[
        "image",
        "app",
        "--path",
        path.to_str().unwrap(),
        "--builder",
        PYTHON_311,
        "--no-smoke",
        "--cache-from",
        &nobody,
        "--cache-to",
        &nobody,
        "--no-cache",
    ]);
    let words = process::words(&output);
    assert!(output.status.success(), "{words}");
    assert!(words.contains("the cache could not be written"), "{words}");
    let not_written = machine.output(&[
        "image",
        "app",
        "--path",
        path.to_str().unwrap(),
        "--builder",
        PYTHON_311,
        "--cache-from",
        "",
        "--cache-to",
        &nobody,
        "--cache-write",
        "false",
    ]);
    let words = process::words(&not_written);
    assert!(not_written.status.success(), "{words}");
    assert!(!words.contains("cache could not be"), "{words}");
}

impl Setting {
    /// Blobs that were fetched from these repositories so far, and the bytes of none of them.
    fn fetched(&self) -> usize {
        let log = self.registry.log();
        let is_fetch = |line: &&str| {
            line.contains("http.request.method=GET")
                && line.contains("/blobs/sha256:")
                && line.contains("response completed")
        };
        log.lines().filter(is_fetch).count()
    }
}

#[test]
fn an_empty_disk_passes_on_what_it_does_not_need_and_runs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let source = flask_alone(place.path());
    let setting = Setting::new(&source);
    assert_eq!(setting.tags("a1-app-").len(), 1);
    let before = setting.fetched();
    let (again, words) = setting.fresh(&source, &["--explain"]);
    assert_eq!(again["digest"], setting.first["digest"], "{words}");
    assert_eq!(again["sandbox"]["used"], false, "{words}");
    assert_eq!(setting.fetched(), before, "{words}");
    assert!(words.contains("sandbox: not used"), "{words}");
    assert!(words.contains("the image is not audited"), "{words}");

    // One line: with a sandbox and without, the same image.
    std::fs::write(source.join("more.py"), "ADDED = 1\n").unwrap();
    let (without, words) = setting.fresh(&source, &[]);
    assert_eq!(without["sandbox"]["used"], false, "{words}");
    assert_ne!(without["digest"], setting.first["digest"]);
    assert_eq!(setting.fetched(), before, "{words}");
    let (with, words) = setting.fresh(&source, &["--sandbox", "always"]);
    assert_eq!(with["sandbox"]["used"], true, "{words}");
    assert_eq!(with["digest"], without["digest"], "{words}");

    // What needs a sandbox has one, and the layers are fetched for it.
    std::fs::create_dir_all(source.join(".warpdrive/action_hooks")).unwrap();
    let hook = source.join(".warpdrive/action_hooks/build");
    std::fs::write(&hook, "#!/bin/sh\ntrue\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (hooked, words) = setting.fresh(&source, &[]);
    assert_eq!(hooked["sandbox"]["used"], true, "{words}");
    assert!(words.contains("A sandbox is needed: hooks"), "{words}");
}

/// The key of what is installed from an index of its own is the same everywhere.
#[test]
fn an_empty_disk_knows_what_came_from_an_index_that_the_source_names() {
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let place = index.app(&["gunicorn==27.0.1"]);
    let setting = Setting::new(place.path());
    let before = index.asked();
    let (again, words) = setting.fresh(place.path(), &[]);
    assert_eq!(again["digest"], setting.first["digest"], "{words}");
    assert_eq!(again["sandbox"]["used"], false, "{words}");
    assert_eq!(index.asked(), before, "{words}");
}

fn require(source: &Path, line: &str) {
    let list = source.join("requirements.txt");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, format!("{text}{line}\n")).unwrap();
}

#[test]
fn one_requirement_more_on_an_empty_disk_needs_no_base_and_no_sandbox() {
    let place = tempfile::tempdir().unwrap();
    let source = flask_alone(place.path());
    let setting = Setting::new(&source);
    let base = setting.first["layers"][0]["digest"].as_str().unwrap();
    let is_fetched = || {
        let log = setting.registry.log();
        log.lines()
            .any(|line| line.contains("method=GET") && line.contains(base))
    };
    assert!(
        is_fetched(),
        "the machine that wrote the cache had the base"
    );
    let had = setting.registry.log().len();
    let before = setting.fetched();
    require(&source, "humanize==4.17.0");
    let write = ["--cache-to", setting.cache.as_str()];
    let (without, words) = setting.fresh(&source, &write);
    assert_eq!(without["sandbox"]["used"], false, "{words}");
    assert!(words.contains("without a sandbox"), "{words}");
    let asked = setting.registry.log()[had..].to_owned();
    assert!(
        !asked
            .lines()
            .any(|line| line.contains("method=GET") && line.contains(base)),
        "{asked}"
    );
    // Those that share a layer with the new one.
    let fetched = setting.fetched() - before;
    assert!((1..=4).contains(&fetched), "{fetched} {words}");
    let digests = |report: &Value| -> Vec<Value> {
        let layers = report["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["digest"].clone()).collect()
    };
    // With a sandbox it is the same image, and what was written to the cache is what a sandbox makes.
    let (with, words) = setting.fresh(&source, &["--sandbox", "always", write[0], write[1]]);
    assert_eq!(with["sandbox"]["used"], true, "{words}");
    assert_eq!(digests(&with), digests(&without), "{words}");
    assert_eq!(with["digest"], without["digest"], "{words}");
    // What was made without a sandbox is enough for the next one.
    require(&source, "six==1.17.0");
    let (more, words) = setting.fresh(&source, &write);
    assert_eq!(more["sandbox"]["used"], false, "{words}");
    let copy = source.join("requirements.txt");
    std::fs::copy(flask().join("requirements.txt"), &copy).unwrap();
    let (fewer, words) = setting.fresh(&source, &[]);
    assert_eq!(fewer["sandbox"]["used"], false, "{words}");
    assert_eq!(fewer["digest"], setting.first["digest"], "{words}");
    // What has no wheel is built by code of its own.
    require(&source, "docopt==0.6.2");
    let path = source.to_str().unwrap();
    let output = Warpdrive::new().output(&[
        "image",
        &setting.name,
        "--path",
        path,
        "--builder",
        &setting.builder,
        "--cache-from",
        &setting.cache,
        "--sandbox",
        "never",
    ]);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("the dependencies are another list than in the last build"),
        "{words}"
    );
}

#[test]
fn a_django_project_that_has_not_changed_runs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let source = alone("django", place.path());
    let setting = Setting::new(&source);
    let before = setting.fetched();
    let (again, words) = setting.fresh(&source, &[]);
    assert_eq!(again["sandbox"]["used"], false, "{words}");
    assert_eq!(again["digest"], setting.first["digest"], "{words}");
    assert_eq!(setting.fetched(), before, "{words}");
    std::fs::write(source.join("more.py"), "ADDED = 1\n").unwrap();
    let (changed, words) = setting.fresh(&source, &[]);
    assert_eq!(changed["sandbox"]["used"], true, "{words}");
    assert!(words.contains("A sandbox is needed: Django"), "{words}");
}

#[test]
fn without_namespaces_and_privileges_an_image_is_built_and_pushed_to_a_new_place() {
    let place = tempfile::tempdir().unwrap();
    let source = flask_alone(place.path());
    let setting = Setting::new(&source);
    // In a pod: no capability, and no namespace to be had.
    let store = place.path().join("store");
    let build = |source: &Path, more: &[&str]| {
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                      exec setpriv --inh-caps=-all --bounding-set=-all --no-new-privs \"$@\"";
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", script, "sh"]);
        command
            .arg(crate::support::warpdrive::binary())
            .arg("--store")
            .arg(&store);
        command.args([
            "image",
            &setting.name,
            "--builder",
            &setting.builder,
            "--push",
            "--json",
        ]);
        command
            .args(["--cache-from", &setting.cache, "--path"])
            .arg(source)
            .args(more);
        process::output(&mut command)
    };
    let sandboxed = build(&source, &["--sandbox", "always"]);
    assert_eq!(
        sandboxed.status.code(),
        Some(1),
        "{}",
        process::words(&sandboxed)
    );
    let output = build(&source, &["--sandbox", "never"]);
    let words = process::words(&output);
    assert!(output.status.success(), "{words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["digest"], setting.first["digest"]);

    // Byte-code can be left out; what has to run is named.
    std::fs::write(source.join("more.py"), "ADDED = 1\n").unwrap();
    let output = build(&source, &["--sandbox", "never", "--no-byte-code"]);
    assert!(output.status.success(), "{}", process::words(&output));
    std::fs::write(source.join("manage.py"), "import django\n").unwrap();
    std::fs::create_dir_all(source.join(".warpdrive")).unwrap();
    std::fs::write(source.join(".warpdrive/environment"), "A=1\n").unwrap();
    let output = build(&source, &["--sandbox", "never"]);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(
        words.contains("cannot be built without a sandbox"),
        "{words}"
    );
}

#[test]
fn what_a_registry_does_not_mount_is_fetched_and_sent() {
    let place = tempfile::tempdir().unwrap();
    let source = flask_alone(place.path());
    // The target is another registry than the cache's.
    let target = Registry::start();
    let name = target.reference("team/app:1");
    let registry = Registry::start();
    let local = Warpdrive::with(PYTHON_311);
    let builder = registry.reference("team/python:3.11");
    local.run(&["push", PYTHON_311, &format!("docker://{builder}")]);
    let cache = registry.reference("team/cache");
    let arguments = ["--builder", &builder, "--cache-to", &cache, "--push"];
    let first = Warpdrive::new().image(&name, &source, &arguments);
    let layers = first["layers"].as_array().unwrap();
    target.remove_blob("team/app", layers[0]["digest"].as_str().unwrap());

    let arguments = [
        "--builder",
        &builder,
        "--cache-from",
        &cache,
        "--push",
        "--sandbox",
        "never",
    ];
    let machine = Warpdrive::new();
    let again = machine.image(&name, &source, &arguments);
    assert_eq!(again["digest"], first["digest"]);
    let pulled = Warpdrive::new().output(&["pull", &name]);
    assert!(pulled.status.success(), "{}", process::words(&pulled));
}

/// A repository is trusted by the build that names it, and by no other on the machine.
#[test]
fn what_came_from_a_cache_is_not_taken_by_builds_that_do_not_read_it() {
    let place = tempfile::tempdir().unwrap();
    let source = flask_alone(place.path());
    let setting = Setting::new(&source);
    let other = setting.registry.reference("team/other:1");
    let third = setting.registry.reference("team/third:1");
    // The last build of an application, and distributions by themselves.
    for name in [&setting.name, &other] {
        let machine = Warpdrive::new();
        let build = |name: &str, more: &[&str]| {
            let path = source.to_str().unwrap();
            let fixed = ["image", name, "--path", path, "--builder", &setting.builder];
            let output = machine.output(&[&fixed[..], more].concat());
            let words = process::words(&output);
            assert!(output.status.success(), "{words}");
            words
        };
        let from_cache = ["--cache-from", &setting.cache, "--sandbox", "always"];
        let words = build(name, &from_cache);
        assert!(words.contains("distributions from the cache"), "{words}");
        assert!(!words.contains("Installed "), "{words}");
        // Again with the cache: what was fetched is there.
        std::fs::write(source.join("more.py"), format!("NAME = {name:?}\n")).unwrap();
        let words = build(name, &from_cache);
        assert!(!words.contains("Installed "), "{words}");
        let words = build(&third, &[]);
        assert!(words.contains("Installed "), "{words}");
        assert!(!words.contains("Dependencies unchanged"), "{words}");
    }
}
