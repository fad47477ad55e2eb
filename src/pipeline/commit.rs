//! Step 6: layers, configuration and manifest become an image in the store.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::builder::{APP_ROOT, APP_UID, FIXED_TIME_RFC3339, LABEL_KIND, LABEL_NAME, LABEL_PYTHON};
use crate::oci::{
    Descriptor, HistoryEntry, ImageConfig, ImageManifestBuilder, MediaType, descriptor, docker,
    to_canonical_json,
};
use crate::source::Commit;
use crate::store::Store;

use super::application::Application;
use super::base::Base;
use super::dependencies::{Dependencies, TitledLayer};
use super::error::BuildError;
use super::harden;
use super::leaks::Leaks;
use super::record::{LABEL_BUILD, Record};
use super::request::{LayerKind, LayerReport, NameAndDigest, Request};

/// The S2I scripts' place in every image.
const SCRIPTS: &str = "/opt/app-root/s2i/bin";

/// Label: how the app is started, as JSON; every image that warpdrive builds has it.
pub const LABEL_PLAN: &str = "io.warpdrive.plan";

/// What the image says of itself besides its layers.
pub(super) struct Facts<'a> {
    pub(super) request: &'a Request,
    pub(super) commit: Option<&'a Commit>,
    /// `[project] name`, `version` and `description`.
    pub(super) project: &'a crate::app::metadata::Metadata,
    pub(super) record: &'a Record,
    /// RFC 3339.
    pub(super) created: String,
}

/// The parts of an image, lowest first.
pub(super) struct Parts<'a> {
    /// What the application runs on.
    pub(super) base: &'a Base,
    /// The reference of what it was built on.
    pub(super) builder: &'a str,
    pub(super) dependencies: &'a Dependencies,
    pub(super) dependencies_hit: bool,
    pub(super) application: &'a Application,
    pub(super) application_hit: bool,
}

/// An image in the store.
pub(super) struct Committed {
    pub(super) descriptor: Descriptor,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<LayerReport>,
}

/// Writes configuration and manifest. The image has no name yet: whoever judges it gives it one.
pub(super) fn commit(
    store: &Store,
    parts: &Parts<'_>,
    facts: &Facts<'_>,
) -> Result<Committed, BuildError> {
    let mut config = parts.base.image.config.clone();
    let mut layers: Vec<(Descriptor, LayerReport)> = Vec::new();
    let diff_ids = config.diff_ids();
    for (layer, diff_id) in parts.base.image.manifest.layers().iter().zip(&diff_ids) {
        let layer = in_oci_words(layer);
        let report = report(
            &layer,
            diff_id.as_ref(),
            LayerKind::Base,
            true,
            &parts.base.reference,
        );
        layers.push((layer, report));
    }
    let mut push = |titled: &TitledLayer, kind, cached, created: &str, created_by: &str| {
        config.push_layer(
            &titled.layer.diff_id(),
            &HistoryEntry {
                created: created.to_owned(),
                created_by: created_by.to_owned(),
                empty_layer: false,
            },
        );
        let report = report(
            &titled.layer.descriptor,
            &titled.layer.diff_id,
            kind,
            cached,
            &titled.title,
        );
        layers.push((titled.layer.descriptor.clone(), report));
    };
    if let Some(hardening) = &parts.base.hardening {
        push(
            &TitledLayer {
                layer: hardening.clone(),
                title: harden::TITLE.into(),
                cached: parts.base.hardening_cached,
            },
            LayerKind::Builder,
            parts.base.hardening_cached,
            FIXED_TIME_RFC3339,
            harden::CREATED_BY,
        );
    }
    push(
        &TitledLayer {
            layer: parts.base.builder_layer.clone(),
            title: "warpdrive, empty virtual environment".into(),
            cached: parts.base.builder_layer_cached,
        },
        LayerKind::Builder,
        parts.base.builder_layer_cached,
        FIXED_TIME_RFC3339,
        "warpdrive: builder layer",
    );
    for titled in &parts.dependencies.layers {
        let created_by = format!("warpdrive: {}", titled.title);
        push(
            titled,
            LayerKind::Dependencies,
            parts.dependencies_hit || titled.cached,
            FIXED_TIME_RFC3339,
            &created_by,
        );
    }
    push(
        &parts.application.layer,
        LayerKind::Application,
        parts.application_hit,
        &facts.created,
        "warpdrive: application",
    );
    configure(&mut config, parts, facts)?;

    put(
        store,
        facts.request,
        &config,
        layers,
        annotations(
            &facts.created,
            facts.project.version.as_deref(),
            parts.base.named(),
            facts.commit,
            None,
        )
        .into_iter()
        .chain(processes(parts).map(|names| ("io.warpdrive.processes".to_owned(), names)))
        .collect(),
    )
}

/// Writes configuration and manifest into the store, unless one of the build's secrets is in them.
pub(super) fn put(
    store: &Store,
    request: &Request,
    config: &ImageConfig,
    layers: Vec<(Descriptor, LayerReport)>,
    annotations: HashMap<String, String>,
) -> Result<Committed, BuildError> {
    let leaks = Leaks::new(request);
    let config_bytes = config.to_bytes();
    leaks.check("the image's configuration", &config_bytes)?;
    let (config_digest, config_size) = store.put_blob(&config_bytes)?;
    let config = descriptor(MediaType::ImageConfig, config_digest, config_size);
    let (descriptors, layers): (Vec<Descriptor>, Vec<LayerReport>) = layers.into_iter().unzip();
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers(descriptors)
        .annotations(annotations)
        .build()
        .map_err(|error| crate::oci::OciError::Shape {
            what: "the new manifest".into(),
            problem: error.to_string(),
        })?;
    let manifest = to_canonical_json(&manifest)?;
    leaks.check("the image's manifest", &manifest)?;
    let (digest, size) = store.put_blob(&manifest)?;
    Ok(Committed {
        descriptor: descriptor(MediaType::ImageManifest, digest, size),
        config,
        layers,
    })
}

pub(super) fn report(
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
        docker::LAYER => MediaType::ImageLayer,
        _ => layer.media_type().clone(),
    };
    descriptor(media_type, layer.digest().clone(), layer.size())
}

/// Whom every image runs as, where, and with which search path.
pub(super) fn run_as_ours(config: &mut ImageConfig, path: &str) {
    config.set("User", json!(APP_UID.to_string()));
    config.set("WorkingDir", json!(format!("{APP_ROOT}/src")));
    config.set_env("PATH", &format!("{APP_ROOT}/bin:{path}"));
    config.set_env("HOME", APP_ROOT);
}

/// Sets what containers are started with (DESIGN: "The image").
fn configure(
    config: &mut ImageConfig,
    parts: &Parts<'_>,
    facts: &Facts<'_>,
) -> Result<(), BuildError> {
    run_as_ours(config, &parts.base.search_path());
    config.set("Entrypoint", Value::Null);
    config.set("Cmd", json!([format!("{SCRIPTS}/run")]));
    let port = port(parts, facts);
    config.set(
        "ExposedPorts",
        port.as_ref()
            .map_or(Value::Null, |port| json!({(format!("{port}/tcp")): {}})),
    );
    config.set("StopSignal", json!("SIGTERM"));
    config.set_env("VIRTUAL_ENV", APP_ROOT);
    config.set_env("WARPDRIVE_APP_ROOT", APP_ROOT);
    for (name, value) in &facts.request.env {
        config.set_env(name, value);
    }
    config.set_created(&facts.created);
    // What the builder says of itself is not true of the application.
    for key in [LABEL_NAME, LABEL_PYTHON, LABEL_KIND, "io.openshift.tags"] {
        config.remove_label(key);
    }
    for (key, value) in labels(parts, facts)? {
        if value.is_empty() {
            config.remove_label(&key);
        } else {
            config.set_label(&key, &value);
        }
    }
    Ok(())
}

/// The port that the application listens on, where it does: what `PORT` among the image's variables
/// says, else 8080.
fn port(parts: &Parts<'_>, facts: &Facts<'_>) -> Option<String> {
    if parts.application.plan.get("web") == Some(&Value::Bool(false)) {
        return None;
    }
    let said = |name: &str| {
        let (_, value) = facts
            .request
            .env
            .iter()
            .rev()
            .find(|(known, _)| known == name)?;
        value.parse::<u16>().ok().filter(|port| *port > 0)
    };
    let port = said("PORT")
        .or_else(|| said("WARPDRIVE_HTTP_PORT"))
        .unwrap_or(8080);
    Some(port.to_string())
}

/// The names of what can be started, for the annotation.
fn processes(parts: &Parts<'_>) -> Option<String> {
    let plan = &parts.application.plan;
    let named = plan.get("processes")?.as_object()?;
    let web = plan.get("web") != Some(&Value::Bool(false));
    let names: Vec<&str> = web
        .then_some("web")
        .into_iter()
        .chain(named.keys().map(String::as_str))
        .collect();
    Some(names.join(" "))
}

fn labels(parts: &Parts<'_>, facts: &Facts<'_>) -> Result<Vec<(String, String)>, BuildError> {
    let mut labels = vec![
        ("io.openshift.s2i.scripts-url", format!("image://{SCRIPTS}")),
        (
            "io.openshift.expose-services",
            port(parts, facts).map_or_else(String::new, |port| format!("{port}:http")),
        ),
        (
            "io.k8s.display-name",
            facts.project.name.clone().unwrap_or_default(),
        ),
        (
            "io.k8s.description",
            facts.project.description.clone().unwrap_or_default(),
        ),
        ("io.openshift.s2i.build.image", parts.builder.to_owned()),
        ("io.warpdrive.version", env!("CARGO_PKG_VERSION").to_owned()),
        (LABEL_BUILD, facts.record.to_label()?),
        (
            LABEL_PLAN,
            String::from_utf8_lossy(&to_canonical_json(&parts.application.plan)?).into_owned(),
        ),
    ];
    if let Some(commit) = facts.commit {
        labels.extend([
            ("io.openshift.s2i.build.commit.id", commit.id.clone()),
            (
                "io.openshift.s2i.build.commit.author",
                commit.author.clone(),
            ),
            ("io.openshift.s2i.build.commit.date", rfc3339(commit.time)),
            // S2I keeps 80 characters of the message.
            (
                "io.openshift.s2i.build.commit.message",
                commit.message.chars().take(80).collect(),
            ),
            (
                "io.openshift.s2i.build.source-location",
                commit.remote.clone().unwrap_or_default(),
            ),
        ]);
    }
    let labels = labels.into_iter();
    Ok(labels.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// What a manifest says of an image. `location` of the source is one without credentials.
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
    // humantime covers the years 1970 to 9999; a commit of another age gets the fixed time.
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
