//! Configuration and manifest of an image that scripts of others assembled: those of the base image, with
//! the command, the variables and the labels that the protocol adds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::builder::FIXED_TIME_RFC3339;
use crate::s2i::labels::{DESCRIPTION, DISPLAY_NAME, MAX_LABELS};
use crate::store::{self, Needs};

use super::super::BuildError;
use super::super::context::Context;
use super::super::draft::{
    BUILD_LABELS, Committed, Draft, NewLayer, annotations, labels_of_commit,
};
use super::super::harden;
use super::super::record::{BuildRecord, LABEL_BUILD};
use super::base_image::BaseImage;
use super::error::S2iBuildError;
use super::layers::Made;
use super::request::{S2iRequest, Source};

/// The result of a build, as the cache keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct S2iResult {
    pub(super) layers: Vec<Made>,
    /// From `image_metadata.json`.
    pub(super) labels: Vec<(String, String)>,
    pub(super) changes: Changes,
    /// assemble had the saved artifacts of an earlier image.
    pub(super) restored: bool,
}

impl store::Record for S2iResult {
    const KIND: &'static str = "s2i";

    fn needs(&self) -> Needs {
        let layers = self.layers.iter();
        Needs::blobs(layers.map(|made| &made.titled.layer.descriptor))
    }
}

/// The changes to the base image's configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Changes {
    pub(super) cmd: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) env: Vec<(String, String)>,
    pub(super) user: Option<String>,
    pub(super) working_dir: Option<String>,
}

/// The parts of an image.
pub(super) struct S2iParts<'a> {
    /// The image that it runs on.
    pub(super) on: &'a BaseImage,
    /// The reference of its builder.
    pub(super) builder: &'a str,
    pub(super) result: &'a S2iResult,
    pub(super) hit: bool,
    pub(super) request: &'a S2iRequest,
    pub(super) source: &'a Source,
    pub(super) record: &'a BuildRecord,
    /// RFC 3339.
    pub(super) created: &'a str,
}

/// Writes configuration and manifest; the image has no name yet.
pub(super) fn commit_s2i(
    context: Context<'_>,
    parts: &S2iParts<'_>,
) -> Result<Committed, BuildError> {
    let &S2iParts {
        on,
        builder,
        result,
        hit,
        request,
        source,
        record,
        created,
    } = parts;
    let mut draft = Draft::on(&on.image, &on.reference);
    if context.request.harden
        && let (Some(hardening), cached) = harden::layer(
            context.store,
            &on.image,
            &on.reference,
            &context.request.budget,
        )?
    {
        draft.harden(&hardening, cached);
    }
    for made in &result.layers {
        let titled = &made.titled;
        if hit {
            draft.search(&titled.layer);
        }
        draft.push(&NewLayer {
            layer: &titled.layer,
            title: &titled.title,
            kind: made.kind(),
            cached: hit,
            created: if made.dependencies {
                FIXED_TIME_RFC3339
            } else {
                created
            },
            created_by: &format!("warpdrive: {}", titled.title),
        });
    }
    let config = &mut draft.config;
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
    // The triggers have run, and must not run again in builds on the result.
    config.set("OnBuild", Value::Null);
    for (name, value) in &changes.env {
        config.set_env(name, value);
    }
    config.set_created(created);
    // The base image's record of its own build is wrong for this one.
    for key in config.labels().into_keys() {
        if key.starts_with(BUILD_LABELS) {
            config.remove_label(&key);
        }
    }
    for (key, value) in generated(builder, request, source) {
        config.set_label(&key, &value);
    }
    for (key, value) in request.labels.iter().chain(&result.labels) {
        config.set_label(key, value);
    }
    // The protocol's limit applies to the protocol's own values.
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
    draft.record(record)?;
    let annotations = annotations(
        created,
        None,
        on.named(),
        source.tree.commit.as_ref(),
        source.location.as_deref(),
    );
    draft.commit(context, annotations)
}

/// All labels that are known before assemble runs.
pub(super) fn labels(
    request: &S2iRequest,
    source: &Source,
    builder: &str,
) -> BTreeMap<String, String> {
    let mut labels = generated(builder, request, source);
    labels.extend(request.labels.iter().cloned());
    labels
}

/// The labels of the protocol; empty ones are left out.
fn generated(builder: &str, request: &S2iRequest, source: &Source) -> BTreeMap<String, String> {
    let commit = source.tree.commit.as_ref();
    let build = |key: &str| format!("{BUILD_LABELS}{key}");
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
        (
            build("commit.ref"),
            source
                .reference
                .clone()
                .or_else(|| commit.and_then(|commit| commit.reference.clone())),
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
    .chain(commit.into_iter().flat_map(labels_of_commit))
    .filter(|(_, value)| !value.is_empty())
    .collect()
}
