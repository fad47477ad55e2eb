//! The audit of what a build makes: of the builder before anything runs on it (`--policy strict`), and
//! of the image before it gets a name.

use std::time::SystemTime;

use crate::audit::{self, AuditError, Date, Finding, Severity};
use crate::builder::layer::StoredLayer;
use crate::oci::{Digest, HistoryEntry, ImageConfig};
use crate::store::{Image, Store};

use super::base::Base;
use super::commit;
use super::context::Context;
use super::error::BuildError;
use super::harden;
use super::report::Verdict;

/// Number of findings that are listed one by one.
const TOLD: usize = 8;

const UNKNOWN: Verdict = Verdict {
    verdict: "unknown",
    high: 0,
    medium: 0,
    low: 0,
    info: 0,
    from_base: 0,
};

/// Audits the builder as part of a finished image: with the image's user, the added layers and,
/// with `--harden`, its layer.
pub(super) fn builder(context: Context<'_>, base: &Base) -> Result<(), BuildError> {
    let request = context.request;
    if !request.audit.builder_too || request.place.base_file().is_some() {
        return Ok(());
    }
    let mut config = base.image.config.clone();
    commit::run_as_ours(&mut config, &base.search_path());
    let layers = base.own_layers();
    of_builder(context, &base.reference, &base.image, config, &layers)
}

/// Audits an S2I builder, whose user and variables the image will have.
pub(super) fn s2i_builder(
    context: Context<'_>,
    reference: &str,
    image: &Image,
) -> Result<(), BuildError> {
    let Context { store, request, .. } = context;
    if !request.audit.builder_too {
        return Ok(());
    }
    let hardening = if request.harden {
        harden::layer(store, image, reference, &request.budget)?.0
    } else {
        None
    };
    let layers: Vec<(&StoredLayer, &str)> = hardening
        .iter()
        .map(|layer| (layer, harden::CREATED_BY))
        .collect();
    let config = image.config.clone();
    of_builder(context, reference, image, config, &layers)
}

fn of_builder(
    context: Context<'_>,
    reference: &str,
    image: &Image,
    config: ImageConfig,
    layers: &[(&StoredLayer, &str)],
) -> Result<(), BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let mut image = with_layers(store, reference, image, config, layers)?;
    image.spending = request.budget.begin();
    let report = audit::audit_remembering(store, &image, &request.audit.policy, today()?)?;
    if report.is_refused() {
        return Err(refused("the builder image", reference, &report));
    }
    progress.step(&format!("---> The builder {reference} passes the audit"));
    Ok(())
}

/// An image with more layers, each with the step that made it, and this configuration.
pub(super) fn with_layers<'s>(
    store: &'s Store,
    reference: &str,
    image: &Image,
    mut config: ImageConfig,
    layers: &[(&StoredLayer, &str)],
) -> Result<audit::Image<'s>, AuditError> {
    let mut digests: Vec<Digest> = image
        .manifest
        .layers()
        .iter()
        .map(|layer| layer.digest().clone())
        .collect();
    for (layer, created_by) in layers {
        config.push_layer(
            &layer.diff_id(),
            &HistoryEntry {
                created: String::new(),
                created_by: (*created_by).to_owned(),
                empty_layer: false,
            },
        );
        digests.push(layer.descriptor.digest().clone());
    }
    audit::of_blobs(store, reference, config, &digests)
}

/// Audits a finished image that has no name yet. Its lowest `in_base` layers are those of the image
/// `base`.
pub(super) fn image(
    context: Context<'_>,
    image: &Image,
    base: &str,
    in_base: usize,
) -> Result<Verdict, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let name = request.name.as_given();
    let elsewhere = request.place.base_file();
    let layers = image.manifest.layers().iter();
    let absent = layers.filter(|layer| !store.has_whole_blob(layer)).count();
    if elsewhere.is_none() && absent > 0 && !request.audit.required {
        progress.warning(&format!(
            "the image is not audited: {absent} of its layers stay in the registry; \
             `warpdrive audit docker://{name}` reads them there"
        ));
        return Ok(UNKNOWN);
    }
    let judged = audit::from_store(store, name, image).and_then(|mut image| {
        if elsewhere.is_some() {
            image.absent = in_base;
        }
        image.spending = request.budget.begin();
        audit::audit_remembering(store, &image, &request.audit.policy, today()?)
    });
    let report = match judged {
        Ok(report) => report,
        Err(error @ (AuditError::Interrupted | AuditError::TimedOut)) => return Err(error.into()),
        Err(error) if request.audit.required => return Err(error.into()),
        Err(error) => {
            progress.warning(&format!("the image could not be audited: {error}"));
            return Ok(UNKNOWN);
        }
    };
    let of_base = |finding: &&Finding| finding.layer.is_some_and(|layer| layer < in_base);
    if report.is_refused() {
        if request.audit.required {
            return Err(refused("the image", name, &report));
        }
        let least = report.fail_on.unwrap_or(Severity::High);
        let grave = || report.findings.iter().filter(|f| f.severity >= least);
        let brought = grave().filter(of_base).count();
        let by_base = format!("{brought} of them from the base {base}");
        progress.warning(&format!(
            "the image does not pass the audit: {}, {by_base}",
            count(grave().count())
        ));
        for line in lines(&report) {
            progress.warning(&line);
        }
    }
    // The findings about the base are known since its image was made for pods.
    let found = elsewhere.map(|base| base.audit.clone()).unwrap_or_default();
    if found.refused {
        if request.audit.required {
            return Err(BuildError::AuditRefused {
                what: "the base",
                name: base.to_owned(),
                findings: Vec::new(),
            });
        }
        progress.warning(&format!("the base {base} does not pass the audit"));
    }
    Ok(Verdict {
        verdict: if report.is_refused() || found.refused {
            "refused"
        } else {
            "passed"
        },
        high: found.high + report.count(Severity::High),
        medium: found.medium + report.count(Severity::Medium),
        low: found.low + report.count(Severity::Low),
        info: found.info + report.count(Severity::Info),
        from_base: report.findings.iter().filter(of_base).count()
            + found.high
            + found.medium
            + found.low
            + found.info,
    })
}

fn today() -> Result<Date, audit::AuditError> {
    Date::of(SystemTime::now()).ok_or(audit::AuditError::Clock)
}

fn refused(what: &'static str, name: &str, report: &audit::Report) -> BuildError {
    BuildError::AuditRefused {
        what,
        name: name.to_owned(),
        findings: lines(report),
    }
}

fn count(number: usize) -> String {
    if number == 1 {
        "1 finding".into()
    } else {
        format!("{number} findings")
    }
}

/// The most severe findings, a line each.
fn lines(report: &audit::Report) -> Vec<String> {
    let least = report.fail_on.unwrap_or(Severity::High);
    let grave: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.severity >= least)
        .collect();
    let mut lines: Vec<String> = grave
        .iter()
        .take(TOLD)
        .map(|finding| {
            let place = finding.path.as_deref().unwrap_or("configuration");
            let layer = report
                .layer(finding)
                .map_or_else(String::new, |(number, layer)| {
                    let kind = layer
                        .kind
                        .map(|kind| format!(", {kind}"))
                        .unwrap_or_default();
                    format!(" (layer {number}{kind})")
                });
            format!(
                "{} {}: {place}: {}{layer}",
                finding.severity.word(),
                finding.rule,
                finding.message
            )
        })
        .collect();
    if grave.len() > TOLD {
        lines.push(format!("and {} more", grave.len() - TOLD));
    }
    lines
}
