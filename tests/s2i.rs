//! Builds with S2I builder images: each behaviour of the protocol, and each defect of the Go tool in
//! the opposite sense.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use support::process::words;
use support::s2i_builders::{Builder, source};
use support::warpdrive::Warpdrive;
use warpdrive::store::Store;

/// An image as it lies in a store.
struct Looked {
    config: Value,
    manifest: Value,
    store: PathBuf,
}

impl Looked {
    fn at(warpdrive: &Warpdrive, name: &str) -> Self {
        let store = Store::open(Some(&warpdrive.store())).unwrap();
        let image = store.image(name).unwrap().unwrap();
        Self {
            config: serde_json::from_slice(&image.config_bytes).unwrap(),
            manifest: serde_json::from_slice(&image.manifest_bytes).unwrap(),
            store: warpdrive.store(),
        }
    }

    fn inner(&self, key: &str) -> &Value {
        &self.config["config"][key]
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.inner("Labels").get(key)?.as_str()
    }

    /// The decompressed bytes of the layers above the builder's two.
    fn layers(&self) -> Vec<Vec<u8>> {
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
    fn files(&self) -> BTreeMap<String, (u32, u64, u64, String)> {
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

    fn content(&self, path: &str) -> String {
        match self.files().remove(path) {
            Some((_, _, _, content)) => content,
            None => panic!("{path} is not in {:?}", self.files().keys()),
        }
    }
}

/// `warpdrive image` with an S2I builder.
fn image(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Value {
    let output = try_image(warpdrive, builder, source, more);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn try_image(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Output {
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

#[test]
fn image_takes_the_protocols_way_with_an_s2i_builder() {
    let warpdrive = Warpdrive::new();
    Builder::plain().put(&warpdrive.store(), "box");
    let source = source(&[("a.txt", "hello"), ("bin/tool*", "#!/bin/sh\n")]);
    let report = image(&warpdrive, "box", source.path(), &["-e", "GREETING=a=b,c"]);
    assert_eq!(report["user"], "1001");
    assert_eq!(report["builder"]["reference"], "box");
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(*looked.inner("Cmd"), json!(["/usr/libexec/s2i/run"]));
    assert_eq!(*looked.inner("Entrypoint"), Value::Null);
    assert_eq!(*looked.inner("ExposedPorts"), json!({"8080/tcp": {}}));
    assert_eq!(*looked.inner("WorkingDir"), "/opt/app");
    assert_eq!(
        *looked.inner("Env"),
        json!(["PATH=/bin:/usr/bin", "STACK=box", "GREETING=a=b,c"])
    );
    assert_eq!(looked.label("io.openshift.s2i.build.image"), Some("box"));
    assert_eq!(looked.label("io.k8s.display-name"), Some("app"));
    assert_eq!(looked.label("io.openshift.tags"), Some("builder,box"));
    assert_eq!(looked.label("io.openshift.s2i.build.commit.id"), None);
    let files = looked.files();
    assert_eq!(files["opt/app/a.txt"].3, "hello");
    // As `cp` left it under docker's umask, and as it was uploaded.
    assert_eq!(files["opt/app/bin/tool"].0, 0o755);
    assert_eq!(files["tmp/src/bin/tool"].0, 0o775);
    assert_eq!(files["tmp"].0, 0o1777);
    assert_eq!(files["tmp/src/a.txt"].1, 1001);
    let result = looked.content("opt/app/result");
    assert!(
        result.starts_with("uid=1001(builder) gid=0(root)"),
        "{result}"
    );

    // Nothing has changed: nothing runs, and the image is the same.
    let again = image(&warpdrive, "box", source.path(), &["-e", "GREETING=a=b,c"]);
    assert_eq!(again["cache"]["application"], "hit");
    assert_eq!(again["digest"], report["digest"]);
    // Nothing of the hour is in it.
    let anew = image(
        &warpdrive,
        "box",
        source.path(),
        &["-e", "GREETING=a=b,c", "--no-cache"],
    );
    assert_eq!(anew["cache"]["application"], "miss");
    assert_eq!(anew["digest"], report["digest"]);
}
