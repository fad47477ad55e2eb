//! Images made entry by entry, without any tool: for what no tool would pack.

use std::io::Write;

use serde_json::{Value, json};
use warpdrive::oci::{
    Descriptor, HistoryEntry, ImageConfig, MediaType, descriptor, sha256, to_canonical_json,
};
use warpdrive::store::Store;

/// An uncompressed layer in the making.
pub struct Layer {
    tar: tar::Builder<Vec<u8>>,
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    pub fn new() -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
        }
    }

    fn entry(
        mut self,
        path: &str,
        kind: tar::EntryType,
        (mode, uid, gid): (u32, u64, u64),
        content: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        header.set_size(content.len() as u64);
        header.set_mtime(1);
        change(&mut header);
        header.set_cksum();
        self.tar.append(&header, content).expect("an entry");
        self
    }

    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.owned(path, mode, (0, 0), content)
    }

    #[must_use]
    pub fn owned(
        self,
        path: &str,
        mode: u32,
        (uid, gid): (u64, u64),
        content: impl AsRef<[u8]>,
    ) -> Self {
        let kind = tar::EntryType::Regular;
        self.entry(path, kind, (mode, uid, gid), content.as_ref(), |_| {})
    }

    #[must_use]
    pub fn dir(self, path: &str, mode: u32, (uid, gid): (u64, u64)) -> Self {
        let kind = tar::EntryType::Directory;
        self.entry(path, kind, (mode, uid, gid), b"", |_| {})
    }

    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        let kind = tar::EntryType::Symlink;
        self.entry(path, kind, (0o777, 0, 0), b"", |header| {
            header.set_link_name(target).expect("a target");
        })
    }

    #[must_use]
    pub fn hard_link(self, path: &str, mode: u32, target: &str) -> Self {
        self.owned_hard_link(path, mode, (0, 0), target)
    }

    #[must_use]
    pub fn owned_hard_link(
        self,
        path: &str,
        mode: u32,
        (uid, gid): (u64, u64),
        target: &str,
    ) -> Self {
        let kind = tar::EntryType::Link;
        self.entry(path, kind, (mode, uid, gid), b"", |header| {
            header.set_link_name(target).expect("a target");
        })
    }

    #[must_use]
    pub fn device(self, path: &str, block: bool, major: u32, minor: u32) -> Self {
        let kind = if block {
            tar::EntryType::Block
        } else {
            tar::EntryType::Char
        };
        self.entry(path, kind, (0o660, 0, 6), b"", |header| {
            header.set_device_major(major).expect("a number");
            header.set_device_minor(minor).expect("a number");
        })
    }

    /// The next entry gets this extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        self.tar
            .append_pax_extensions([(key.as_str(), value)])
            .expect("an attribute");
        self
    }

    /// Hides what lower layers have at `path`.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let slash = if directory.is_empty() { "" } else { "/" };
        self.file(&format!("{directory}{slash}.wh.{name}"), 0o644, b"")
    }

    /// Hides all that lower layers have in the directory.
    #[must_use]
    pub fn opaque(self, directory: &str) -> Self {
        self.file(&format!("{directory}/.wh..wh..opq"), 0o644, b"")
    }

    pub fn bytes(self) -> Vec<u8> {
        self.tar.into_inner().expect("a tar archive")
    }
}

/// A configuration and layers, to be put somewhere.
pub struct Made {
    pub config: ImageConfig,
    pub layers: Vec<Vec<u8>>,
}

impl Made {
    /// With the inner `config` object given.
    pub fn new(inner: &Value) -> Self {
        let mut config = ImageConfig::new("linux", "amd64");
        for (key, value) in inner.as_object().expect("an object") {
            config.set(key, value.clone());
        }
        Self {
            config,
            layers: Vec::new(),
        }
    }

    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.set(key, value.into());
        self
    }

    #[must_use]
    pub fn layer(self, layer: Layer) -> Self {
        self.layer_by(layer, "made by hand")
    }

    #[must_use]
    pub fn layer_by(mut self, layer: Layer, created_by: &str) -> Self {
        let bytes = layer.bytes();
        let history = HistoryEntry {
            created: "1980-01-01T00:00:01Z".into(),
            created_by: created_by.into(),
            empty_layer: false,
        };
        self.config.push_layer(&sha256(&bytes), &history);
        self.layers.push(bytes);
        self
    }

    /// Puts it into a store, layers compressed with gzip and zstd by turns, and names it.
    pub fn put(&self, store: &Store, name: &str) -> Descriptor {
        let mut layers = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let (bytes, media_type) = if index % 2 == 0 {
                (gzip(layer), MediaType::ImageLayerGzip)
            } else {
                (
                    zstd::encode_all(&layer[..], 3).expect("zstd"),
                    MediaType::ImageLayerZstd,
                )
            };
            let (digest, size) = store.put_blob(&bytes).expect("a blob");
            layers.push(descriptor(media_type, digest, size));
        }
        let (digest, size) = store.put_blob(&self.config.to_bytes()).expect("a blob");
        let config = descriptor(MediaType::ImageConfig, digest, size);
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = to_canonical_json(&json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
        }))
        .unwrap();
        let (digest, size) = store.put_blob(&manifest).expect("a blob");
        let descriptor = descriptor(media_type, digest, size);
        store.tag(name, &descriptor).expect("a name");
        descriptor
    }

    /// As `docker save` writes it, under this name.
    pub fn docker_archive(&self, name: &str) -> Vec<u8> {
        let mut archive = Layer::new();
        let mut names = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let name = format!("{index}/layer.tar");
            archive = archive.file(&name, 0o644, layer);
            names.push(name);
        }
        let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": names}]);
        archive
            .file("config.json", 0o644, self.config.to_bytes())
            .file("manifest.json", 0o644, manifest.to_string())
            .bytes()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// An image of the store with more layers on it and another configuration, under a new name.
pub fn on_top(
    store: &Store,
    base: &str,
    name: &str,
    layers: Vec<Layer>,
    change: impl FnOnce(&mut ImageConfig),
) {
    let mut image = store.image(base).unwrap().expect("the base is there");
    let mut manifest: Value = serde_json::from_slice(&image.manifest_bytes).unwrap();
    for layer in layers {
        let tar = layer.bytes();
        let (digest, size) = store.put_blob(&tar).unwrap();
        let history = HistoryEntry {
            created: "1980-01-01T00:00:01Z".into(),
            created_by: "RUN something".into(),
            empty_layer: false,
        };
        image.config.push_layer(&sha256(&tar), &history);
        let layer = descriptor(MediaType::ImageLayer, digest, size);
        let layers = manifest["layers"].as_array_mut().unwrap();
        layers.push(serde_json::to_value(&layer).unwrap());
    }
    change(&mut image.config);
    let (config, config_size) = store.put_blob(&image.config.to_bytes()).unwrap();
    manifest["config"]["digest"] = config.to_string().into();
    manifest["config"]["size"] = config_size.into();
    let (digest, size) = store
        .put_blob(&to_canonical_json(&manifest).unwrap())
        .unwrap();
    let manifest = descriptor(MediaType::ImageManifest, digest, size);
    store.tag(name, &manifest).unwrap();
}
