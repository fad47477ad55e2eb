//! Where two images that should be the same are not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use super::process;
use super::warpdrive::Warpdrive;

/// A report of `image --json` and the store that has the image.
#[derive(Clone, Copy)]
pub struct Built<'a> {
    pub warpdrive: &'a Warpdrive,
    pub report: &'a serde_json::Value,
}

impl Built<'_> {
    /// Kind and digest of each layer.
    fn layers(&self) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        self.report["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (text(&layer["kind"]), text(&layer["digest"])))
            .collect()
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let blobs = self.warpdrive.store().join("blobs/sha256");
        blobs.join(digest.trim_start_matches("sha256:"))
    }

    /// What `tar` shows of each file of a layer, by path.
    fn listing(&self, digest: &str) -> BTreeMap<String, String> {
        let listing = process::run(
            Command::new("tar")
                .args(["--list", "--verbose", "--numeric-owner", "--full-time"])
                .args(["--gzip", "--file"])
                .arg(self.blob(digest))
                .env("TZ", "UTC"),
        );
        listing
            .lines()
            .map(|line| {
                let path = line.split_whitespace().skip(5).collect::<Vec<_>>();
                (path.join(" "), line.to_owned())
            })
            .collect()
    }
}

/// Nothing when both have one digest, else the files that differ.
pub fn difference(ours: Built<'_>, theirs: Built<'_>) -> Option<String> {
    if ours.report["digest"] == theirs.report["digest"] {
        return None;
    }
    let mut words = Vec::new();
    let (a, b) = (ours.layers(), theirs.layers());
    if a.len() != b.len() {
        words.push(format!("{} layers and {}", a.len(), b.len()));
    }
    for ((kind, a), (_, b)) in a.iter().zip(&b).filter(|(a, b)| a != b) {
        words.push(format!("{kind} layer {a} is {b}"));
        let (list_a, list_b) = (ours.listing(a), theirs.listing(b));
        let mut paths: Vec<&String> = list_a.keys().chain(list_b.keys()).collect();
        paths.sort();
        paths.dedup();
        let before = words.len();
        for path in paths {
            let (a, b) = (list_a.get(path), list_b.get(path));
            if a != b {
                let show = |line: Option<&String>| line.cloned().unwrap_or("(none)".into());
                words.push(format!("- {}\n+ {}", show(a), show(b)));
            }
        }
        if words.len() == before {
            words.push(contents(ours.blob(a), theirs.blob(b)));
        }
    }
    if words.is_empty() {
        words.push("the layers are the same: the configuration or the manifest differs".into());
    }
    words.truncate(30);
    Some(words.join("\n"))
}

/// The files whose names, sizes and times are the same and whose bytes are not.
fn contents(a: PathBuf, b: PathBuf) -> String {
    let place = tempfile::tempdir().unwrap();
    for (name, blob) in [("a", a), ("b", b)] {
        let directory = place.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        process::run(
            Command::new("tar")
                .args(["--extract", "--no-same-owner", "--gzip", "--file"])
                .arg(blob)
                .arg("--directory")
                .arg(&directory),
        );
    }
    let output = process::output(
        Command::new("diff")
            .args(["--brief", "--recursive", "--no-dereference", "a", "b"])
            .current_dir(place.path()),
    );
    let differing = String::from_utf8_lossy(&output.stdout).into_owned();
    if differing.is_empty() {
        "the files are the same: their order or the tar headers differ".into()
    } else {
        differing
    }
}
