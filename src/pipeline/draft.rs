//! An unfinished image, for both kinds of builder: adds layers, labels and configuration to those
//! of a base, then makes a manifest.

use std::collections::HashMap;

use crate::builder::FIXED_TIME_RFC3339;
use crate::builder::layer::StoredLayer;
use crate::oci::{
    Descriptor, HistoryEntry, ImageConfig, ImageManifestBuilder, MediaType, OciError, descriptor,
    docker, to_canonical_json,
};
use crate::source::Commit;
use crate::store::{Image, Store};

use super::context::Context;
use super::error::BuildError;
use super::harden;
use super::leaks::Leaks;
use super::record::{BuildRecord, LABEL_BUILD};
use super::report::{LayerKind, LayerReport, NameAndDigest};

/// The protocol's prefix of labels about a build and its source.
pub(super) const BUILD_LABELS: &str = crate::s2i::labels::BUILD_PREFIX;

/// An image that is not in the store yet.
pub(super) struct Draft {
    pub(super) config: ImageConfig,
    /// The lowest first.
    layers: Vec<(Descriptor, LayerReport)>,
    /// Layers of an earlier build, which did not know this build's secrets.
    kept: Vec<Descriptor>,
}

/// A layer of warpdrive, and its description.
pub(super) struct NewLayer<'a> {
    pub(super) layer: &'a StoredLayer,
    pub(super) title: &'a str,
    pub(super) kind: LayerKind,
    pub(super) cached: bool,
    /// RFC 3339.
    pub(super) created: &'a str,
    /// The line of history.
    pub(super) created_by: &'a str,
}

/// An image in the store.
pub(super) struct Committed {
    pub(super) descriptor: Descriptor,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<LayerReport>,
    /// The user that it runs as.
    pub(super) user: String,
}

impl Draft {
    /// The start of an image: everything of the image that it runs on.
    pub(super) fn on(base: &Image, reference: &str) -> Self {
        let config = base.config.clone();
        let diff_ids = config.diff_ids();
        let layers = base.manifest.layers().iter().zip(&diff_ids);
        let layers = layers.map(|(layer, diff_id)| {
            let layer = in_oci_words(layer);
            let report = report(&layer, diff_id.as_ref(), LayerKind::Base, true, reference);
            (layer, report)
        });
        Self {
            layers: layers.collect(),
            kept: Vec::new(),
            config,
        }
    }

    /// Adds a layer.
    pub(super) fn push(&mut self, new: &NewLayer<'_>) {
        self.config.push_layer(
            &new.layer.diff_id(),
            &HistoryEntry {
                created: new.created.to_owned(),
                created_by: new.created_by.to_owned(),
                empty_layer: false,
            },
        );
        let report = report(
            &new.layer.descriptor,
            &new.layer.diff_id,
            new.kind,
            new.cached,
            new.title,
        );
        self.layers.push((new.layer.descriptor.clone(), report));
    }

    /// Searches a layer of an earlier build, which did not know this build's secrets.
    pub(super) fn search(&mut self, layer: &StoredLayer) {
        self.kept.push(layer.descriptor.clone());
    }

    /// Adds the layer of `--harden`, directly on the base.
    pub(super) fn harden(&mut self, layer: &StoredLayer, cached: bool) {
        self.push(&NewLayer {
            layer,
            title: harden::TITLE,
            kind: LayerKind::Builder,
            cached,
            created: FIXED_TIME_RFC3339,
            created_by: harden::CREATED_BY,
        });
    }

    /// Adds the record of the build. It is the last label, so that no other source can replace it.
    pub(super) fn record(&mut self, record: &BuildRecord) -> Result<(), BuildError> {
        self.config.set_label(LABEL_BUILD, &record.to_label()?);
        Ok(())
    }

    /// Writes configuration and manifest into the store, unless one of the build's secrets is in them.
    /// The image has no name yet: it gets one when it has passed the audit.
    pub(super) fn commit(
        self,
        context: Context<'_>,
        annotations: HashMap<String, String>,
    ) -> Result<Committed, BuildError> {
        let Context { store, request, .. } = context;
        let leaks = Leaks::new(request);
        for layer in &self.kept {
            leaks.check_layer(store, layer)?;
        }
        let user = self.config.user().to_owned();
        let config_bytes = self.config.to_bytes();
        leaks.check("the image's configuration", &config_bytes)?;
        let (config_digest, config_size) = store.put_blob(&config_bytes)?;
        let config = descriptor(MediaType::ImageConfig, config_digest, config_size);
        let (descriptors, layers): (Vec<Descriptor>, Vec<LayerReport>) =
            self.layers.into_iter().unzip();
        let manifest = manifest(config.clone(), descriptors, annotations)?;
        leaks.check("the image's manifest", &manifest)?;
        request.unsearched.warn(context.progress);
        let (digest, size) = store.put_blob(&manifest)?;
        Ok(Committed {
            descriptor: descriptor(MediaType::ImageManifest, digest, size),
            config,
            layers,
            user,
        })
    }

    /// The same for an image without any file of a build.
    pub(super) fn write(
        self,
        store: &Store,
        annotations: HashMap<String, String>,
    ) -> Result<Descriptor, BuildError> {
        let (digest, size) = store.put_blob(&self.config.to_bytes())?;
        let config = descriptor(MediaType::ImageConfig, digest, size);
        let layers = self.layers.into_iter().map(|(layer, _)| layer).collect();
        let (digest, size) = store.put_blob(&manifest(config, layers, annotations)?)?;
        Ok(descriptor(MediaType::ImageManifest, digest, size))
    }
}

/// The manifest's bytes.
fn manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: HashMap<String, String>,
) -> Result<Vec<u8>, OciError> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .annotations(annotations)
        .build()
        .map_err(|error| OciError::Shape {
            what: "the new manifest".into(),
            problem: error.to_string(),
        })?;
    to_canonical_json(&manifest)
}

fn report(
    layer: &Descriptor,
    diff_id: &str,
    kind: LayerKind,
    cached: bool,
    title: &str,
) -> LayerReport {
    LayerReport {
        digest: layer.digest().to_string(),
        diff_id: diff_id.to_owned(),
        size: layer.size(),
        media_type: layer.media_type().to_string(),
        kind,
        cached,
        title: title.to_owned(),
    }
}

/// A base layer's descriptor with OCI's media type; the bytes are the same.
pub(super) fn in_oci_words(layer: &Descriptor) -> Descriptor {
    let media_type = match layer.media_type().to_string().as_str() {
        docker::LAYER_GZIP => MediaType::ImageLayerGzip,
        docker::LAYER_ZSTD => MediaType::ImageLayerZstd,
        docker::LAYER => MediaType::ImageLayer,
        _ => layer.media_type().clone(),
    };
    descriptor(media_type, layer.digest().clone(), layer.size())
}

/// The protocol's labels for a commit.
pub(super) fn labels_of_commit(commit: &Commit) -> [(String, String); 4] {
    let label = |name: &str, value: String| (format!("{BUILD_LABELS}commit.{name}"), value);
    [
        label("id", commit.id.clone()),
        label("author", commit.author.clone()),
        label("date", rfc3339(commit.time)),
        // S2I keeps 80 characters of the message.
        label("message", commit.message.chars().take(80).collect()),
    ]
}

/// The annotations of an image. `location` of the source has no credentials.
pub(super) fn annotations(
    created: &str,
    version: Option<&str>,
    base: NameAndDigest,
    commit: Option<&Commit>,
    location: Option<&str>,
) -> HashMap<String, String> {
    let revision = commit.map(|commit| {
        let mark = if commit.dirty { "-dirty" } else { "" };
        format!("{}{mark}", commit.id)
    });
    let location = commit.and_then(|commit| location.or(commit.remote.as_deref()));
    [
        ("created", Some(created.to_owned())),
        ("version", version.map(str::to_owned)),
        ("base.name", Some(base.reference)),
        ("base.digest", Some(base.digest)),
        ("revision", revision),
        ("source", location.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value))
    .collect()
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(super) fn rfc3339(seconds: i64) -> String {
    use std::time::{Duration, UNIX_EPOCH};
    let magnitude = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(magnitude)
    } else {
        UNIX_EPOCH.checked_add(magnitude)
    };
    // humantime covers the years 1970 to 9999; a commit outside of them gets the fixed time.
    time.filter(|_| (0..253_402_300_800).contains(&seconds))
        .map_or_else(
            || FIXED_TIME_RFC3339.to_owned(),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_in_utc() {
        assert_eq!(rfc3339(315_532_801), "1980-01-01T00:00:01Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(-1), "1980-01-01T00:00:01Z");
        assert_eq!(rfc3339(i64::MAX), "1980-01-01T00:00:01Z");
    }
}
