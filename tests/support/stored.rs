//! Images in a store, made by hand, so that a test knows every byte of them.

use std::fs;
use std::io::Write;

use warpdrive::oci::this_platform;
use warpdrive::oci::{
    Descriptor, HistoryEntry, ImageConfig, MediaType, descriptor, sha256, to_canonical_json,
};
use warpdrive::store::Store;

/// A tar with one file, gzipped: enough of a layer for any tool.
pub fn layer(content: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1);
    tar.append_data(&mut header, "file", content).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    (tar, gzip.finish().unwrap())
}

/// Puts an image of some layers into the store.
pub fn image(store: &Store, contents: &[&[u8]], annotations: &[(&str, &str)]) -> Descriptor {
    let platform = this_platform();
    image_for(store, &platform, contents, annotations)
}

/// The same for another platform, `OS/ARCH`.
pub fn image_for(
    store: &Store,
    platform: &str,
    contents: &[&[u8]],
    annotations: &[(&str, &str)],
) -> Descriptor {
    let (os, architecture) = platform.split_once('/').unwrap();
    let mut config = ImageConfig::new(os, architecture);
    let mut layers = Vec::new();
    for content in contents {
        let (tar, gzip) = layer(content);
        let (digest, size) = store.put_blob(&gzip).unwrap();
        layers.push(descriptor(MediaType::ImageLayerGzip, digest, size));
        let history = HistoryEntry {
            created: "1980-01-01T00:00:01Z".into(),
            created_by: "test".into(),
            empty_layer: false,
        };
        config.push_layer(&sha256(&tar), &history);
    }
    let (digest, size) = store.put_blob(&config.to_bytes()).unwrap();
    let config = descriptor(MediaType::ImageConfig, digest, size);
    let annotations: std::collections::BTreeMap<_, _> = annotations.iter().copied().collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "config": config,
        "layers": layers,
        "annotations": annotations,
    });
    let (digest, size) = store
        .put_blob(&to_canonical_json(&manifest).unwrap())
        .unwrap();
    descriptor(MediaType::ImageManifest, digest, size)
}

/// Puts an index of these images into the store.
pub fn index(store: &Store, images: &[(&str, &Descriptor)]) -> Descriptor {
    let entries: Vec<_> = images
        .iter()
        .map(|(platform, image)| {
            let mut entry = serde_json::to_value(image).unwrap();
            let (os, architecture) = platform.split_once('/').unwrap();
            entry["platform"] = serde_json::json!({"os": os, "architecture": architecture});
            entry
        })
        .collect();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageIndex,
        "manifests": entries,
    });
    let (digest, size) = store.put_blob(&to_canonical_json(&index).unwrap()).unwrap();
    descriptor(MediaType::ImageIndex, digest, size)
}

pub fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    (dir, store)
}

pub fn leftovers(store: &Store) -> usize {
    fs::read_dir(store.root().join("tmp")).unwrap().count()
}

/// Bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
