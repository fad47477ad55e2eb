//! The store as other tools see it: an OCI image layout that `skopeo` reads and writes as it stands.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use warpdrive::oci::{self, Descriptor, MediaType};
use warpdrive::store::Store;

/// A gzip member that holds an empty tar archive (two blocks of zeros, stored).
fn empty_layer() -> (Vec<u8>, Vec<u8>) {
    let tar = vec![0; 1024];
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1, 0, 4, 0xff, 0xfb];
    gzip.extend(&tar);
    gzip.extend(0xefb5_af2e_u32.to_le_bytes());
    gzip.extend(1024_u32.to_le_bytes());
    (tar, gzip)
}

fn put(store: &Store, media_type: MediaType, bytes: &[u8]) -> Descriptor {
    let (digest, size) = store.put_blob(bytes).unwrap();
    oci::descriptor(media_type, digest, size)
}

fn image(store: &Store, author: &str) -> Descriptor {
    let (tar, gzip) = empty_layer();
    let layer = put(store, MediaType::ImageLayerGzip, &gzip);
    let config = json!({
        "architecture": "amd64", "os": "linux", "author": author, "config": {},
        "rootfs": {"type": "layers", "diff_ids": [oci::sha256(&tar)]},
    });
    let config = put(
        store,
        MediaType::ImageConfig,
        &oci::to_canonical_json(&config).unwrap(),
    );
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageManifest.to_string(),
        "config": config, "layers": [layer],
    });
    put(
        store,
        MediaType::ImageManifest,
        &oci::to_canonical_json(&manifest).unwrap(),
    )
}

fn skopeo(arguments: &[&str]) -> Output {
    Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .output()
        .unwrap()
}

fn place(dir: &Path, name: &str) -> String {
    format!("oci:{}", dir.join(name).display())
}

#[test]
fn skopeo_copies_out_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    let (opal, beryl) = (image(&store, "opal"), image(&store, "beryl"));
    store.tag("opal", &opal).unwrap();
    store.tag("opal:1.2", &opal).unwrap();
    store
        .tag("registry.example.com/team/beryl:2", &beryl)
        .unwrap();
    for (name, descriptor) in [
        ("opal", &opal),
        ("opal:1.2", &opal),
        ("registry.example.com/team/beryl:2", &beryl),
    ] {
        let from = place(dir.path(), &format!("store:{name}"));
        let to = place(dir.path(), "elsewhere:copy");
        let output = skopeo(&["copy", &from, &to]);
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let copy = dir
            .path()
            .join("elsewhere/blobs/sha256")
            .join(descriptor.digest().digest());
        assert!(copy.exists(), "{name}");
    }
}

#[test]
fn skopeo_copies_into_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    let other = Store::open(Some(&dir.path().join("other"))).unwrap();
    let (opal, beryl) = (image(&store, "opal"), image(&other, "beryl"));
    store.tag("opal", &opal).unwrap();
    other.tag("beryl", &beryl).unwrap();
    let (from, to) = (
        place(dir.path(), "other:beryl"),
        place(dir.path(), "store:gem"),
    );
    let output = skopeo(&["copy", &from, &to]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names: Vec<_> = store
        .images()
        .unwrap()
        .into_iter()
        .map(|named| named.name)
        .collect();
    assert_eq!(names, ["gem", "opal"]);
    let gem = store.image("gem").unwrap().unwrap();
    assert_eq!(gem.descriptor.digest(), beryl.digest());
}

#[test]
fn skopeo_reads_a_store_after_pruning() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    let (opal, beryl) = (image(&store, "opal"), image(&store, "beryl"));
    store.tag("opal", &opal).unwrap();
    store.tag("beryl", &beryl).unwrap();
    store.untag("beryl").unwrap();
    let pruned = store
        .prune(&warpdrive::store::PruneOptions::default())
        .unwrap();
    assert_eq!(
        pruned.blobs, 2,
        "beryl's manifest and configuration; the layer is shared"
    );
    let from = place(dir.path(), "store:opal");
    let output = skopeo(&["copy", &from, &place(dir.path(), "elsewhere:copy")]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
