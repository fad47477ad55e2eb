//! Configuration and manifest of an image that scripts of others assembled: the base image's, but for the
//! command, the variables and the labels that the protocol adds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::oci::{Descriptor, HistoryEntry};
use crate::s2i::labels::{BUILD_PREFIX, DESCRIPTION, DISPLAY_NAME, MAX_LABELS};
use crate::store::Store;

use super::super::BuildError;
use super::super::commit::{self, in_oci_words, report, rfc3339};
use super::super::harden;
use super::super::record::{LABEL_BUILD, Record};
use super::super::request::{LayerKind, LayerReport};
use super::base_image::BaseImage;
use super::error::S2iBuildError;
use super::layers::Made;
use super::request::{Request, Source};

/// What a build gave, as the cache keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) layers: Vec<Made>,
    /// From `image_metadata.json`.
    pub(super) labels: Vec<(String, String)>,
    pub(super) changes: Changes,
    pub(super) blobs: Vec<Descriptor>,
    /// What an earlier image had saved was there for assemble.
    pub(super) restored: bool,
}

/// What becomes of the base image's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Changes {
    pub(super) cmd: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) env: Vec<(String, String)>,
    pub(super) user: Option<String>,
    pub(super) working_dir: Option<String>,
}

/// An image in the store.
pub(super) struct Committed {
    pub(super) descriptor: Descriptor,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<LayerReport>,
    pub(super) user: String,
}

/// What an image is made of.
pub(super) struct Parts<'a> {
    /// What it runs on.
    pub(super) on: &'a BaseImage,
    /// The reference of what it was built by.
    pub(super) builder: &'a str,
    pub(super) result: &'a Outcome,
    pub(super) hit: bool,
    pub(super) request: &'a Request,
    pub(super) source: &'a Source,
    pub(super) record: &'a Record,
    /// RFC 3339.
    pub(super) created: &'a str,
}

/// Writes configuration and manifest; the image has no name yet.
pub(super) fn commit(store: &Store, parts: &Parts<'_>) -> Result<Committed, BuildError> {
    let &Parts {
        on,
        builder,
        result,
        hit,
        request,
        source,
        record,
        created,
    } = parts;
    let mut config = on.image.config.clone();
    let mut layers: Vec<(Descriptor, LayerReport)> = Vec::new();
    let diff_ids = config.diff_ids();
    for (layer, diff_id) in on.image.manifest.layers().iter().zip(&diff_ids) {
        let layer = in_oci_words(layer);
        let report = report(
            &layer,
            diff_id.as_ref(),
            LayerKind::Base,
            true,
            &on.reference,
        );
        layers.push((layer, report));
    }
    // Directly on the base image, whose files it changes.
    let (hardening, cached) = if request.common.harden {
        harden::layer(store, &on.image, &on.reference, &request.common.budget)?
    } else {
        (None, false)
    };
    if let Some(hardening) = hardening {
        config.push_layer(
            &hardening.diff_id(),
            &HistoryEntry {
                created: crate::builder::FIXED_TIME_RFC3339.to_owned(),
                created_by: harden::CREATED_BY.to_owned(),
                empty_layer: false,
            },
        );
        let report = report(
            &hardening.descriptor,
            &hardening.diff_id,
            LayerKind::Builder,
            cached,
            harden::TITLE,
        );
        layers.push((hardening.descriptor, report));
    }
    for made in &result.layers {
        let titled = &made.titled;
        config.push_layer(
            &titled.layer.diff_id(),
            &HistoryEntry {
                created: if made.dependencies {
                    crate::builder::FIXED_TIME_RFC3339.to_owned()
                } else {
                    created.to_owned()
                },
                created_by: format!("warpdrive: {}", titled.title),
                empty_layer: false,
            },
        );
        let report = report(
            &titled.layer.descriptor,
            &titled.layer.diff_id,
            made.kind(),
            hit,
            &titled.title,
        );
        layers.push((titled.layer.descriptor.clone(), report));
    }
    let changes = &result.changes;
    if let Some(cmd) = &changes.cmd {
        config.set("Cmd", json!(cmd));
    }
    if let Some(entrypoint) = &changes.entrypoint {
        config.set("Entrypoint", json!(entrypoint));
        if changes.cmd.is_none() {
            config.set("Cmd", Value::Null);
        }
    }
    if let Some(user) = &changes.user {
        config.set("User", json!(user));
    }
    if let Some(directory) = &changes.working_dir {
        config.set("WorkingDir", json!(directory));
    }
    // They have been carried out, and are not for those who build on the result.
    config.set("OnBuild", Value::Null);
    for (name, value) in &changes.env {
        config.set_env(name, value);
    }
    config.set_created(created);
    // What the base image says of its own build is not true of this one.
    for key in config.labels().into_keys() {
        if key.starts_with(BUILD_PREFIX) {
            config.remove_label(&key);
        }
    }
    for (key, value) in generated(builder, request, source) {
        config.set_label(&key, &value);
    }
    for (key, value) in request.labels.iter().chain(&result.labels) {
        config.set_label(key, value);
    }
    // The protocol's limit is for what the protocol's words are.
    config.remove_label(LABEL_BUILD);
    let size: usize = config
        .labels()
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if size > MAX_LABELS {
        return Err(S2iBuildError::Labels {
            size,
            limit: MAX_LABELS,
        }
        .into());
    }
    // Nothing that a script says is taken for it.
    config.set_label(LABEL_BUILD, &record.to_label()?);
    let user = config.user().to_owned();

    let annotations = commit::annotations(
        created,
        None,
        on.named(),
        source.tree.commit.as_ref(),
        source.location.as_deref(),
    );
    let made = commit::put(store, &request.common, &config, layers, annotations)?;
    Ok(Committed {
        descriptor: made.descriptor,
        config: made.config,
        layers: made.layers,
        user,
    })
}

/// All labels that are known before assemble has run.
pub(super) fn labels(
    request: &Request,
    source: &Source,
    builder: &str,
) -> BTreeMap<String, String> {
    let mut labels = generated(builder, request, source);
    labels.extend(request.labels.iter().cloned());
    labels
}

/// The labels that the protocol asks for; what is empty is left out.
fn generated(builder: &str, request: &Request, source: &Source) -> BTreeMap<String, String> {
    let commit = source.tree.commit.as_ref();
    let of_commit = |text: fn(&crate::source::Commit) -> String| commit.map(text);
    let build = |key: &str| format!("{BUILD_PREFIX}{key}");
    [
        (build("image"), Some(builder.to_owned())),
        (
            build("source-location"),
            source
                .location
                .clone()
                .or_else(|| commit.and_then(|commit| commit.remote.clone())),
        ),
        (build("source-context-dir"), source.context_dir.clone()),
        (build("commit.id"), of_commit(|commit| commit.id.clone())),
        (
            build("commit.ref"),
            source
                .reference
                .clone()
                .or_else(|| commit.and_then(|commit| commit.reference.clone())),
        ),
        (
            build("commit.author"),
            of_commit(|commit| commit.author.clone()),
        ),
        (
            build("commit.date"),
            of_commit(|commit| rfc3339(commit.time)),
        ),
        // S2I keeps 80 characters of the message.
        (
            build("commit.message"),
            of_commit(|commit| commit.message.chars().take(80).collect()),
        ),
        (DISPLAY_NAME.to_owned(), request.display_name()),
        (DESCRIPTION.to_owned(), request.description.clone()),
        (
            "io.warpdrive.version".to_owned(),
            Some(env!("CARGO_PKG_VERSION").to_owned()),
        ),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
    .filter(|(_, value)| !value.is_empty())
    .collect()
}
