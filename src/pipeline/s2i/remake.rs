//! The protocol's options in an image's record, and a build that is made from them: for `verify-build`
//! and `s2i rebuild`.
//!
//! For things of the machine (injected files, volumes, hosts, scripts of a directory), the image
//! records only their number: the user of a later build gives them again.

use crate::oci::Descriptor;
use crate::s2i::mappings::Volume;
use crate::s2i::{AllowedUids, Artifact, Injection, ScriptsUrl};

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::record::BuildRecord;
use super::super::request::Request;
use super::super::timings::Timings;
use super::commit::S2iResult;
use super::options::Options;
use super::origin::Exclusion;
use super::request::{S2iRequest, Source};
use super::unnamed;

/// Options that an image does not record; the caller gives them again.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub scripts_url: Option<ScriptsUrl>,
    /// The hosts from which an image may have scripts fetched.
    pub script_hosts: Vec<String>,
    pub injections: Vec<Injection>,
    pub volumes: Vec<Volume>,
    pub add_hosts: Vec<(String, String)>,
}

/// The options in an image's record.
pub(super) fn options(request: &S2iRequest, source: &Source, outcome: &S2iResult) -> Options {
    let words = request.scripts_url.as_ref().map(tellable);
    let commit = source.tree.commit.as_ref();
    Options {
        scripts_url: words.clone().flatten(),
        image_scripts_url: request.image_scripts_url.as_ref().and_then(tellable),
        destination: request.destination.clone(),
        assemble_user: request.assemble_user.clone(),
        assemble_runtime_user: request.assemble_runtime_user.clone(),
        allowed_uids: request.allowed_uids.as_ref().map(ToString::to_string),
        runtime_artifacts: request
            .runtime_artifacts
            .iter()
            .map(|artifact| format!("{}:{}", artifact.source, artifact.destination))
            .collect(),
        display_name: request.display_name(),
        description: request.description.clone(),
        reference: source
            .reference
            .clone()
            .or_else(|| commit.and_then(|commit| commit.reference.clone())),
        exclude: source.exclude.clone(),
        split: request.split,
        cap_drop: request.cap_drop.clone(),
        restored: outcome.restored,
        scripts_elsewhere: words.is_some_and(|words| words.is_none()),
        hosts: request.add_hosts.len(),
        injections: request.injections.len(),
        volumes: request.volumes.len(),
    }
}

/// A URL of scripts without secrets.
fn tellable(url: &ScriptsUrl) -> Option<String> {
    match url {
        ScriptsUrl::Image(path) => Some(format!("image://{path}")),
        ScriptsUrl::Web(url) if !url.contains(['@', '?', '#']) => Some(url.clone()),
        ScriptsUrl::Web(_) | ScriptsUrl::File(_) => None,
    }
}

/// A kind of option that an image does not record: its name, how many the build had, and how many are
/// given now.
pub fn not_recorded(
    record: &BuildRecord,
    request: &Request,
    given: &Given,
) -> Vec<(&'static str, usize, usize)> {
    let mut all = vec![
        (
            "build variables (--build-env)",
            record.build_env,
            request.build_env.len(),
        ),
        ("secrets (--secret)", record.secrets, request.secrets.len()),
    ];
    if let Some(options) = &record.s2i {
        all.extend([
            (
                "places of scripts (--scripts-url)",
                usize::from(options.scripts_elsewhere),
                usize::from(given.scripts_url.is_some()),
            ),
            (
                "injections (--inject)",
                options.injections,
                given.injections.len(),
            ),
            ("volumes (--volume)", options.volumes, given.volumes.len()),
            ("hosts (--add-host)", options.hosts, given.add_hosts.len()),
        ]);
    }
    all
}

impl S2iRequest {
    /// The request from a record. The image has no name yet; `common` has the rest.
    pub fn of_record(
        common: &Request,
        options: &Options,
        given: &Given,
    ) -> Result<Self, BuildError> {
        let wrong = |problem: String| BuildError::NoRecord { problem };
        let builder = common.builder.clone().unwrap_or_default();
        let url = |text: &Option<String>| {
            text.as_deref()
                .map(ScriptsUrl::from_image)
                .transpose()
                .map_err(wrong)
        };
        let own = Self::of_image(common, builder);
        let mut runtime_artifacts = Vec::new();
        for text in &options.runtime_artifacts {
            runtime_artifacts.push(Artifact::parse(text).map_err(wrong)?);
        }
        Ok(Self {
            tag: false,
            scripts_url: match &given.scripts_url {
                Some(url) => Some(url.clone()),
                None => url(&options.scripts_url)?,
            },
            scripts_url_recorded: given.scripts_url.is_none(),
            image_scripts_url: url(&options.image_scripts_url)?.or(own.image_scripts_url.clone()),
            image_scripts_url_recorded: true,
            script_hosts: given.script_hosts.clone(),
            destination: options.destination.clone(),
            assemble_user: options.assemble_user.clone(),
            assemble_runtime_user: options.assemble_runtime_user.clone(),
            allowed_uids: options
                .allowed_uids
                .as_deref()
                .map(AllowedUids::parse)
                .transpose()
                .map_err(wrong)?,
            injections: given.injections.clone(),
            runtime_artifacts,
            application_name: options.display_name.clone(),
            description: options.description.clone(),
            split: options.split,
            add_hosts: given.add_hosts.clone(),
            cap_drop: options.cap_drop.clone(),
            volumes: given.volumes.clone(),
            ..own
        })
    }
}

/// Builds the image of a record again, for a comparison: it gets no name and is not delivered.
pub(in crate::pipeline) fn remake(
    context: Context<'_>,
    options: &Options,
    given: &Given,
) -> Result<Descriptor, BuildError> {
    let Context {
        store,
        request: common,
        progress,
    } = context;
    if options.restored {
        progress.warning(
            "the image was built with artifacts of an earlier image; the rebuild has none, so layers may differ",
        );
    }
    let timings = Timings::new();
    let request = S2iRequest::of_record(common, options, given)?;
    let exclusion = match &options.exclude {
        Some(text) => Exclusion::parse(text).map_err(|problem| BuildError::NoRecord { problem })?,
        None => Exclusion::default(),
    };
    let mut source = Source::take(store, &request.common.source, &exclusion, progress)?;
    let digest = source.tree.digest_with(store)?;
    if let Some(pinned) = &request.common.pinned {
        pinned.check(&digest, &mut source.tree)?;
    }
    source.call(options.reference.clone());
    let context = context.with(&request.common);
    let built = unnamed(context, &request, &source, &digest, timings)?;
    Ok(built.descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_everybody_may_read() {
        for (text, told) in [
            ("image:///usr/libexec/s2i", true),
            ("https://example.com/s2i", true),
            ("https://u:p@example.com/s2i", false),
            ("https://example.com/s2i?token=x", false),
            ("file:///home/me/scripts", false),
        ] {
            let url = ScriptsUrl::parse(text).unwrap();
            assert_eq!(tellable(&url).as_deref(), told.then_some(text), "{text}");
        }
    }
}
