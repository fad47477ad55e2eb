//! Builds in pods: in place, as OpenShift's restricted-v2 has them, and pushed by another step. The pod is
//! runc's, the registry Debian's.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::pod::{Pod, Step, readable};
use crate::support::process::{self, words};
use crate::support::registry::Registry;
use crate::support::warpdrive::{PYTHON_311, Warpdrive, binary, copy_of, example};

/// A builder, its pod's image in a registry, and that image unpacked.
struct Cluster {
    warpdrive: Warpdrive,
    registry: Registry,
    pod: Pod,
    /// Of the pod's image.
    digest: String,
}

/// The executable that pods get, without what debuggers read.
fn stripped(place: &Path) -> PathBuf {
    let program = place.join("warpdrive");
    let mut strip = Command::new("strip");
    process::run(strip.arg("-o").arg(&program).arg(binary()));
    program
}

impl Cluster {
    fn new(builder: &'static str) -> Self {
        let warpdrive = Warpdrive::with(builder);
        let registry = Registry::start();
        let target = registry.reference("builders/python:1");
        let report = push_builder(&warpdrive, builder, &target);
        let layout = warpdrive.place().join("pod");
        let to = format!("oci:{}:pod", layout.display());
        warpdrive.run(&["copy", &format!("docker://{target}"), &to]);
        let pod = Pod::unpack(&layout, "pod");
        fs::remove_dir_all(&layout).unwrap();
        Self {
            warpdrive,
            registry,
            pod,
            digest: report["digest"].as_str().unwrap().to_owned(),
        }
    }

    fn build(&self, name: &str, source: &Path) -> Step {
        readable(source);
        Step::new([
            "/opt/warpdrive/bin/warpdrive",
            "image",
            name,
            "--in-place",
            "--path",
            "/workspace/source",
            "--output",
            "oci:/out/image",
            "--json",
        ])
        .env("HOME=/tmp/home")
        .mount_read_only(source, "/workspace/source")
    }

    /// Volumes for a step: the application's root, a place for temporary files, one for what it gives.
    fn volumes(&self, step: Step, name: &str) -> Step {
        step.mount(
            &self.pod.empty_directory(&format!("{name}-app-root")),
            "/opt/app-root",
        )
        .mount(&self.pod.empty_directory(&format!("{name}-tmp")), "/tmp")
        .mount(&self.pod.empty_directory(&format!("{name}-out")), "/out")
    }

    fn out(&self, name: &str) -> PathBuf {
        self.pod.directory().join(format!("{name}-out"))
    }

    fn push(&self, name: &str, target: &str) -> Step {
        let results = self.pod.directory().join(format!("{name}-results"));
        if !results.exists() {
            self.pod.empty_directory(&format!("{name}-results"));
        }
        let tmp = self.pod.empty_directory(&format!("{name}-tmp-push"));
        let file = |what: &str, file: &str| format!("{what}=/results/{file}");
        let mut args: Vec<String> = [
            "/opt/warpdrive/bin/warpdrive",
            "push",
            target,
            "--from",
            "oci:/out/image",
        ]
        .map(str::to_owned)
        .to_vec();
        for (what, to) in [
            ("digest", "IMAGE_DIGEST"),
            ("url", "IMAGE_URL"),
            ("size", "size"),
            ("commit", "commit"),
            ("source-url", "source-url"),
            ("error-reason", "reason"),
            ("error-message", "message"),
        ] {
            args.extend(["--result".to_owned(), file(what, to)]);
        }
        Step::new(args)
            .env("HOME=/tmp/home")
            .mount(&tmp, "/tmp")
            .mount(&results, "/results")
            .mount_read_only(&self.out(name), "/out")
    }

    fn result(&self, name: &str, file: &str) -> String {
        let results = self.pod.directory().join(format!("{name}-results"));
        fs::read_to_string(results.join(file)).unwrap()
    }
}

#[track_caller]
fn push_builder(warpdrive: &Warpdrive, builder: &str, target: &str) -> Value {
    let mut push = Command::new(stripped(&warpdrive.place()));
    push.arg("--store").arg(warpdrive.store());
    let text = process::run(push.args(["builder", "push", builder, target, "--json"]));
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", words(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, status: i32, parts: &[&str]) {
    let words = words(output);
    assert_eq!(output.status.code(), Some(status), "{words}");
    for part in parts {
        assert!(words.contains(part), "`{part}` is missing in:\n{words}");
    }
}

/// Builds an example as root in a sandbox and in a pod, in place.
#[track_caller]
fn same_as_roots(cluster: &Cluster, name: &str, step: impl Fn(Step) -> Step) -> Value {
    let source = copy_of(&example(name), true);
    let expected = cluster.warpdrive.image(name, source.path(), &[]);
    let built = cluster.pod.run(&step(
        cluster.volumes(cluster.build(name, source.path()), name),
    ));
    let built = report(&built);
    assert_eq!(
        built["digest"], expected["digest"],
        "\n{}\n{}",
        built["layers"], expected["layers"]
    );
    built
}

#[test]
fn flask_is_built_in_place_and_pushed_by_another_step() {
    let cluster = Cluster::new(PYTHON_311);
    let built = same_as_roots(&cluster, "flask", |step| step);
    assert_eq!(built["audit"]["verdict"], "passed", "{built}");

    // What another step wrote there is gone, whatever it is.
    let results = cluster.pod.empty_directory("flask-results");
    fs::write(results.join("IMAGE_URL"), "evil.example/app").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", results.join("IMAGE_DIGEST")).unwrap();
    let target = cluster.registry.reference("team/flask:1");
    let pushed = cluster.pod.run(&cluster.push("flask", &target));
    assert!(pushed.status.success(), "{}", words(&pushed));
    assert_eq!(cluster.result("flask", "IMAGE_DIGEST"), built["digest"]);
    assert_eq!(cluster.result("flask", "IMAGE_URL"), target);
    assert_eq!(cluster.result("flask", "reason"), "");
    assert_eq!(cluster.result("flask", "commit").len(), 40);
    let size: u64 = cluster.result("flask", "size").parse().unwrap();
    assert!(size > 1_000_000, "{size}");
    // The base was never here: its layers are mounted.
    let base = built["layers"].as_array().unwrap().iter();
    let base = base.filter(|layer| layer["kind"] == "base");
    for layer in base {
        let file = layer["digest"]
            .as_str()
            .unwrap()
            .replace("sha256:", "blobs/sha256/");
        assert!(!cluster.out("flask").join("image").join(file).exists());
    }
    assert!(words(&pushed).contains("mounted"), "{}", words(&pushed));
    let served = cluster.warpdrive.output(&["pull", &target]);
    assert!(served.status.success(), "{}", words(&served));
}
