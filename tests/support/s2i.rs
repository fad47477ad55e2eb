//! Builds with S2I builders as tests do them, and their images as tests look at them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use warpdrive::store::Store;

use super::process::words;
use super::s2i_builders::{Builder, RUN, source};
use super::warpdrive::Warpdrive;

/// An image as it lies in a store.
pub struct Looked {
    pub config: Value,
    pub manifest: Value,
    pub store: PathBuf,
}

impl Looked {
    pub fn at(warpdrive: &Warpdrive, name: &str) -> Self {
        let store = Store::open(Some(&warpdrive.store())).unwrap();
        let image = store.image(name).unwrap().unwrap();
        Self {
            config: serde_json::from_slice(&image.config_bytes).unwrap(),
            manifest: serde_json::from_slice(&image.manifest_bytes).unwrap(),
            store: warpdrive.store(),
        }
    }

    pub fn inner(&self, key: &str) -> &Value {
        &self.config["config"][key]
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.inner("Labels").get(key)?.as_str()
    }

    /// The decompressed bytes of the layers above the builder's two.
    pub fn layers(&self) -> Vec<Vec<u8>> {
        self.manifest["layers"].as_array().unwrap()[2..]
            .iter()
            .map(|layer| {
                let digest = layer["digest"].as_str().unwrap();
                let path = self
                    .store
                    .join("blobs/sha256")
                    .join(digest.trim_start_matches("sha256:"));
                let mut bytes = Vec::new();
                flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap())
                    .read_to_end(&mut bytes)
                    .unwrap();
                bytes
            })
            .collect()
    }

    /// What the new layers hold: path → (mode, uid, gid, content).
    pub fn files(&self) -> BTreeMap<String, (u32, u64, u64, String)> {
        let mut files = BTreeMap::new();
        for layer in self.layers() {
            let mut archive = tar::Archive::new(&layer[..]);
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_string_lossy().into_owned();
                let header = entry.header().clone();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                if let Some(link) = header.link_name().unwrap() {
                    content = link.to_string_lossy().into_owned().into_bytes();
                }
                files.insert(
                    path.trim_end_matches('/').to_owned(),
                    (
                        header.mode().unwrap(),
                        header.uid().unwrap(),
                        header.gid().unwrap(),
                        String::from_utf8_lossy(&content).into_owned(),
                    ),
                );
            }
        }
        files
    }

    pub fn content(&self, path: &str) -> String {
        match self.files().remove(path) {
            Some((_, _, _, content)) => content,
            None => panic!("{path} is not in {:?}", self.files().keys()),
        }
    }
}

/// `warpdrive s2i build SOURCE BUILDER app`.
pub fn build(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Value {
    let output = try_build(warpdrive, builder, source, more);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn try_build(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Output {
    let path = source.to_str().unwrap();
    let mut arguments = vec!["s2i", "build", path, builder, "app", "--json"];
    arguments.extend_from_slice(more);
    warpdrive.output(&arguments)
}

/// Builds what must fail; gives the exit code, the error as JSON and all the words.
pub fn refused(
    warpdrive: &Warpdrive,
    builder: &str,
    source: &Path,
    more: &[&str],
) -> (i32, Value, String) {
    let output = try_build(warpdrive, builder, source, more);
    assert!(!output.status.success(), "{}", words(&output));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (
        output.status.code().unwrap(),
        error["error"].clone(),
        words(&output),
    )
}

/// A store with one builder image, `box`.
pub fn with(builder: Builder) -> Warpdrive {
    let warpdrive = Warpdrive::new();
    builder.put(&warpdrive.store(), "box");
    warpdrive
}

/// A builder whose assemble is this, after `set -e`.
pub fn assembling(script: &str) -> Builder {
    Builder::new()
        .script("assemble", &format!("#!/bin/sh\nset -e\n{script}\n"))
        .script("run", RUN)
}

/// A source of one file.
pub fn hello() -> tempfile::TempDir {
    source(&[("a.txt", "hello"), ("sub/b.txt", "there")])
}

/// `warpdrive image` with an S2I builder.
pub fn image(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Value {
    let output = try_image(warpdrive, builder, source, more);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn try_image(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Output {
    let path = source.to_str().unwrap();
    let mut arguments = vec![
        "image",
        "app",
        "--builder",
        builder,
        "--path",
        path,
        "--json",
    ];
    arguments.extend_from_slice(more);
    warpdrive.output(&arguments)
}

pub fn s2i(warpdrive: &Warpdrive, arguments: &[&str]) -> Output {
    let mut all = vec!["s2i"];
    all.extend_from_slice(arguments);
    warpdrive.output(&all)
}

/// `warpdrive s2i build --json` of these words; gives the report.
pub fn report(warpdrive: &Warpdrive, arguments: &[&str]) -> Value {
    let mut all = vec!["build", "--json"];
    all.extend_from_slice(arguments);
    let output = s2i(warpdrive, &all);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn config(warpdrive: &Warpdrive, name: &str) -> Value {
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    let image = store.image(name).unwrap().unwrap();
    serde_json::from_slice::<Value>(&image.config_bytes).unwrap()["config"].clone()
}

pub fn label(warpdrive: &Warpdrive, name: &str, key: &str) -> Option<String> {
    let labels = config(warpdrive, name)["Labels"].clone();
    labels.get(key)?.as_str().map(str::to_owned)
}

/// What the built image's `run` prints: the file that assemble wrote.
pub fn printed(warpdrive: &Warpdrive, name: &str, command: &[&str]) -> String {
    let mut arguments = vec!["run", "--rm", "--network", "none", name, "--"];
    arguments.extend_from_slice(command);
    warpdrive.run(&arguments)
}

pub fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

pub fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}

/// With a plain builder `box` in its store, which has a `usage`.
pub fn with_a_box() -> Warpdrive {
    let warpdrive = Warpdrive::new();
    Builder::plain()
        .script("usage", "#!/bin/sh\necho This is the box.\n")
        .put(&warpdrive.store(), "box");
    warpdrive
}
