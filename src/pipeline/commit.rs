//! Step 6 with warpdrive's own builders: the image's configuration, labels and annotations.

use serde_json::{Value, json};

use crate::app::contract::{self, PLAN_LABEL, SCRIPTS};
use crate::builder::{APP_ROOT, APP_UID, FIXED_TIME_RFC3339, LABEL_KIND, LABEL_NAME, LABEL_PYTHON};
use crate::oci::{ImageConfig, to_canonical_json};
use crate::source::Commit;

use super::application_result::Application;
use super::base::Base;
use super::context::Context;
use super::draft::{BUILD_LABELS, Committed, Draft, NewLayer, annotations, labels_of_commit};
use super::error::BuildError;
use super::installed::Dependencies;
use super::record::BuildRecord;
use super::report::LayerKind;
use super::request::Request;

/// The image's metadata.
pub(super) struct Facts<'a> {
    pub(super) request: &'a Request,
    pub(super) commit: Option<&'a Commit>,
    /// `[project] name`, `version` and `description`.
    pub(super) project: &'a crate::app::metadata::Metadata,
    pub(super) record: &'a BuildRecord,
    /// RFC 3339.
    pub(super) created: String,
}

/// The parts of an image, lowest first.
pub(super) struct ApplicationParts<'a> {
    /// The image that the application runs on.
    pub(super) base: &'a Base,
    /// The reference of the image that it was built on.
    pub(super) builder: &'a str,
    pub(super) dependencies: &'a Dependencies,
    pub(super) dependencies_hit: bool,
    pub(super) application: &'a Application,
    pub(super) application_hit: bool,
}

/// Writes configuration and manifest; the image has no name yet.
pub(super) fn commit_application(
    context: Context<'_>,
    parts: &ApplicationParts<'_>,
    facts: &Facts<'_>,
) -> Result<Committed, BuildError> {
    let base = parts.base;
    let mut draft = Draft::on(&base.image, &base.reference);
    if let Some(hardening) = &base.hardening {
        draft.harden(hardening, base.hardening_cached);
    }
    draft.push(&NewLayer {
        layer: &base.builder_layer,
        title: "warpdrive, empty virtual environment",
        kind: LayerKind::Builder,
        cached: base.builder_layer_cached,
        created: FIXED_TIME_RFC3339,
        created_by: "warpdrive: builder layer",
    });
    for titled in &parts.dependencies.layers {
        // Searches for given secrets, not for the login of an index: the content came from that index, and
        // a login that changes with each build would require reading the layer each time.
        if parts.dependencies_hit && !facts.request.secrets.is_empty() {
            draft.search(&titled.layer);
        }
        draft.push(&NewLayer {
            layer: &titled.layer,
            title: &titled.title,
            kind: LayerKind::Dependencies,
            cached: parts.dependencies_hit || titled.cached,
            created: FIXED_TIME_RFC3339,
            created_by: &format!("warpdrive: {}", titled.title),
        });
    }
    let application = &parts.application.layer;
    if parts.application_hit {
        draft.search(&application.layer);
    }
    draft.push(&NewLayer {
        layer: &application.layer,
        title: &application.title,
        kind: LayerKind::Application,
        cached: parts.application_hit,
        created: &facts.created,
        created_by: "warpdrive: application",
    });
    configure(&mut draft.config, parts, facts)?;
    draft.record(facts.record)?;
    let annotations = annotations(
        &facts.created,
        facts.project.version.as_deref(),
        base.named(),
        facts.commit,
        None,
    );
    let processes = processes(parts).map(|names| ("io.warpdrive.processes".to_owned(), names));
    draft.commit(context, annotations.into_iter().chain(processes).collect())
}

/// The user, the directory and the search path of every image.
pub(super) fn run_as_ours(config: &mut ImageConfig, path: &str) {
    config.set("User", json!(APP_UID.to_string()));
    config.set("WorkingDir", json!(format!("{APP_ROOT}/src")));
    config.set_env("PATH", &format!("{APP_ROOT}/bin:{path}"));
    config.set_env("HOME", APP_ROOT);
}

/// Sets what containers are started with (`docs/reference/image.md`).
fn configure(
    config: &mut ImageConfig,
    parts: &ApplicationParts<'_>,
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
    config.set_env(contract::APP_ROOT, APP_ROOT);
    for (name, value) in &facts.request.env {
        config.set_env(name, value);
    }
    config.set_created(&facts.created);
    // The builder's description does not describe the application.
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

/// The port that the application listens on, if it does, by the variables that the image is given.
fn port(parts: &ApplicationParts<'_>, facts: &Facts<'_>) -> Option<String> {
    if parts.application.plan.get("web") == Some(&Value::Bool(false)) {
        return None;
    }
    let port = contract::port(&|name| {
        let mut given = facts.request.env.iter().rev();
        let (_, value) = given.find(|(known, _)| known == name)?;
        Some(value.clone())
    });
    Some(port.to_string())
}

/// The names of the processes that can be started, for the annotation.
fn processes(parts: &ApplicationParts<'_>) -> Option<String> {
    let plan = &parts.application.plan;
    let others = plan.get("processes")?.as_object()?;
    let web = plan.get("web") != Some(&Value::Bool(false));
    let names: Vec<&str> = web
        .then_some("web")
        .into_iter()
        .chain(others.keys().map(String::as_str))
        .collect();
    Some(names.join(" "))
}

fn labels(
    parts: &ApplicationParts<'_>,
    facts: &Facts<'_>,
) -> Result<Vec<(String, String)>, BuildError> {
    let labels = vec![
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
        (
            PLAN_LABEL,
            String::from_utf8_lossy(&to_canonical_json(&parts.application.plan)?).into_owned(),
        ),
    ];
    let labels = labels.into_iter();
    let mut labels: Vec<(String, String)> =
        labels.map(|(key, value)| (key.to_owned(), value)).collect();
    if let Some(commit) = facts.commit {
        labels.extend(labels_of_commit(commit));
        labels.push((
            format!("{BUILD_LABELS}source-location"),
            commit.remote.clone().unwrap_or_default(),
        ));
    }
    Ok(labels)
}
