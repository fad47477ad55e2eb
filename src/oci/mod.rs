//! The types of the OCI image and distribution specifications, as this project uses them.
//!
//! Here: digests, references, canonical JSON, image configurations, which image of several is meant. Not here: storing bytes
//! (`store`), transferring them (`registry`, `transport`), the content of layers (`layer`).
//!
//! `oci-spec` gives descriptors, manifests and indexes. A *configuration* is kept as JSON
//! ([`ImageConfig`]), because the typed struct drops Docker's fields and its maps would give
//! another digest from run to run.

mod canonical;
mod config;
mod digest;
mod platform;
mod reference;
mod selection;

pub use canonical::{from_json, to_canonical_json};
pub use config::{HistoryEntry, ImageConfig};
pub use digest::{Sha256Reader, Sha256Writer, parse_digest, sha256, sha256_hex};
pub use oci_spec::image::{
    Descriptor, DescriptorBuilder, Digest, ImageIndex, ImageIndexBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, Platform, PlatformBuilder,
};
pub use platform::{PlatformName, for_platform, in_words_of_oci, platforms_of, this_platform};
pub use reference::{Reference, ReferenceError};
pub use selection::{CONTAINERD_NAME, MAX_INDEXES, Selected, in_index, in_saved, named_as_saved};

/// `org.opencontainers.image.ref.name`: the annotation that names an image in an `index.json`.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Largest manifest, index or configuration that is read, in bytes (distribution-spec suggests 4 MiB).
pub const MAX_METADATA: u64 = 4 * 1024 * 1024;

/// Docker's media types, which `oci-spec` knows as "other".
pub mod docker {
    pub const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub const MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub const LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Not Docker's own: containerd and `BuildKit` write it.
    pub const LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
    pub const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
}

/// Errors of reading or writing the specifications' documents.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("{what} is not valid JSON: {source}")]
    Json {
        what: String,
        source: serde_json::Error,
    },
    #[error("a record cannot be written as JSON: {source}")]
    Unwritable { source: serde_json::Error },
    #[error("{what} is not what the OCI image specification asks for: {problem}")]
    Shape { what: String, problem: String },
    #[error("`{value}` is not a digest of the form sha256:HEX")]
    Digest { value: String },
}

/// Makes a descriptor of a media type, a digest and a size in bytes.
pub fn descriptor(media_type: impl Into<MediaType>, digest: Digest, size: u64) -> Descriptor {
    Descriptor::new(media_type.into(), size, digest)
}

/// This machine's architecture in Go's names, which the image specification uses.
pub fn this_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}
