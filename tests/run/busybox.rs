//! The image: busybox, a page, a service.

use std::fs;

use serde_json::json;
use warpdrive::layer::{self, Compression, Entry, Kind, Mtime, with_parents};
use warpdrive::oci::{
    HistoryEntry, ImageConfig, ImageManifestBuilder, MediaType, descriptor, to_canonical_json,
};
use warpdrive::store::Store;

use crate::support::process;

pub(super) const PAGE: &str = "engage\n";

/// Ends on SIGTERM, says so, and counts until then.
pub(super) const SERVICE: &str = "trap 'echo bye; exit 3' TERM; echo begin; echo problem >&2; \
                       while :; do sleep 0.1; done";

pub(super) fn image(store: &Store) {
    let entry = |path: &str, kind: Kind, mode: u32| Entry {
        kind,
        ..Entry::directory(path, mode, Mtime::Fixed(1))
    };
    let file = |path: &str, text: &str| entry(path, Kind::Bytes(text.into()), 0o644);
    let busybox = process::tool("busybox");
    let mut entries = vec![
        entry(
            "bin/busybox",
            Kind::Bytes(fs::read(busybox).unwrap()),
            0o755,
        ),
        entry(
            "bin/not-executable",
            Kind::Bytes(b"#!/bin/sh\n".to_vec()),
            0o644,
        ),
        file(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\napp:x:1001:0::/home/app:/bin/sh\n",
        ),
        file("www/index.html", PAGE),
        entry("tmp", Kind::Directory, 0o1777),
        entry("work", Kind::Directory, 0o777),
    ];
    for applet in [
        "cat", "echo", "env", "hostname", "httpd", "id", "ls", "mkdir", "nc", "pwd", "sh", "sleep",
        "stat", "touch", "wc", "yes", "head", "stty", "kill", "wget",
    ] {
        entries.push(entry(
            &format!("bin/{applet}"),
            Kind::Symlink("busybox".into()),
            0o777,
        ));
    }
    let mut entries = with_parents(entries, |path| {
        Entry::directory(path, 0o755, Mtime::Fixed(1))
    });
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut blob = store.blob_writer().unwrap();
    let written = layer::write(&entries, Compression::Gzip(1), &mut blob).unwrap();
    let (digest, size) = blob.commit(Some(&written.digest)).unwrap();
    let layer = descriptor(MediaType::ImageLayerGzip, digest, size);
    // Below it and above it: a layer that an image has twice, as many have.
    let entries = [
        Entry::directory("srv", 0o755, Mtime::Fixed(1)),
        file("srv/twice", "twice\n"),
    ];
    let mut blob = store.blob_writer().unwrap();
    let again = layer::write(&entries, Compression::Gzip(1), &mut blob).unwrap();
    let (digest, size) = blob.commit(Some(&again.digest)).unwrap();
    let twice = descriptor(MediaType::ImageLayerGzip, digest, size);

    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut config = ImageConfig::new("linux", architecture);
    let history = HistoryEntry {
        created: "1980-01-01T00:00:01Z".into(),
        created_by: "test".into(),
        empty_layer: false,
    };
    for layer in [&again, &written, &again] {
        config.push_layer(&layer.diff_id, &history);
    }
    config.set("User", json!("app"));
    config.set("WorkingDir", json!("/work"));
    config.set("Env", json!(["PATH=/bin", "FROM_IMAGE=1"]));
    config.set("Cmd", json!(["sh", "-c", SERVICE]));
    let (digest, size) = store.put_blob(&config.to_bytes()).unwrap();
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, digest, size))
        .layers(vec![twice.clone(), layer, twice])
        .build()
        .unwrap();
    let bytes = to_canonical_json(&manifest).unwrap();
    let (digest, size) = store.put_blob(&bytes).unwrap();
    let manifest = descriptor(MediaType::ImageManifest, digest, size);
    store.tag("busy", &manifest).unwrap();
}
