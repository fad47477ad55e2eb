//! The end of steps 2 to 6, for both kinds of builder: the image is audited, and the report is made.

use serde_json::Value;

use super::audit_gate;
use super::context::Context;
use super::draft::Committed;
use super::error::BuildError;
use super::report::{Built, CacheReport, Explanation, NameAndDigest, Report};
use super::timings::Timings;

/// Facts that only the builder knows.
pub(super) struct Made {
    /// The image that it runs on, and the number of layers from it.
    pub(super) base: NameAndDigest,
    pub(super) base_layers: usize,
    /// The image that it was built on.
    pub(super) builder: NameAndDigest,
    pub(super) cache: CacheReport,
    pub(super) plan: Value,
    pub(super) explain: Vec<Explanation>,
    pub(super) lock: Option<String>,
}

/// Audits an image that has no name yet, and reports.
pub(super) fn finish(
    context: Context<'_>,
    committed: Committed,
    made: Made,
    mut timings: Timings,
) -> Result<Built, BuildError> {
    let image = context.store.image_at(&committed.descriptor)?;
    context.progress.doing("Auditing the image");
    let audit = audit_gate::image(context, &image, &made.base.reference, made.base_layers)?;
    timings.step("commit");
    Ok(Built {
        report: Report {
            name: context.request.name.as_given().to_owned(),
            digest: committed.descriptor.digest().to_string(),
            config_digest: committed.config.digest().to_string(),
            media_type: committed.descriptor.media_type().to_string(),
            user: committed.user,
            base: made.base,
            builder: made.builder,
            layers: committed.layers,
            cache: made.cache,
            audit,
            plan: made.plan,
            explain: made.explain,
            sandbox: None,
            runtime: None,
            timings_ms: timings.steps,
            pushed: Vec::new(),
            lock: made.lock,
            because: String::new(),
        },
        descriptor: committed.descriptor,
    })
}
