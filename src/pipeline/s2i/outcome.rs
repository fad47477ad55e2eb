//! The result of the scripts: from the store, if all inputs are the same as before, else by
//! running them.

use std::os::unix::ffi::OsStrExt as _;

use crate::oci::{Digest, sha256_hex};

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::inputs::{FILES, Inputs, explain};
use super::super::report::Explanation;
use super::assembled::assembled;
use super::commit::S2iResult;
use super::incremental;
use super::plan::Plan;

/// Raised when the same inputs give another result.
const FORMAT: u32 = 4;

/// Everything that decides the result of the scripts. `restored`: it uses artifacts of an earlier
/// build.
fn inputs(plan: &Plan<'_>, source: &Digest, restored: bool) -> Result<Inputs, BuildError> {
    let request = plan.request;
    let mut inputs = Inputs::default();
    inputs.add("the format of the cache", &FORMAT)?;
    inputs.add(FILES, &source.to_string())?;
    inputs.name_files(&plan.source.tree);
    inputs.add("the time of the source", &plan.time)?;
    inputs.add("the builder image", &plan.builder.identity())?;
    if let Some(runtime) = plan.runtime {
        inputs.add("the runtime image", &runtime.identity())?;
    }
    for (scripts, place) in [
        (&plan.scripts, ""),
        (&plan.runtime_scripts, " of the runtime image"),
    ] {
        for (name, script) in scripts {
            let what = match script {
                crate::s2i::Where::Image(path) => path.clone(),
                crate::s2i::Where::External { content, .. } => sha256_hex(content),
            };
            inputs.add(&format!("the script {name}{place}"), &what)?;
        }
    }
    inputs.add("the destination", &plan.destination)?;
    inputs.add("--assemble-user", &request.assemble_user)?;
    inputs.add("--assemble-runtime-user", &request.assemble_runtime_user)?;
    // A result that was allowed under another policy does not count under this one: its user may
    // come from a script or from an earlier image.
    let allowed = request.allowed_uids.as_ref().map(ToString::to_string);
    inputs.add("--allowed-uids", &allowed)?;
    inputs.add("--runtime-artifact", &request.runtime_artifacts)?;
    inputs.add_variables("the variable", &plan.env)?;
    inputs.add_variables("the build variable", &request.common.build_env)?;
    inputs.add_secrets(&request.common)?;
    inputs.add("--network", &format!("{:?}", request.common.network))?;
    inputs.add(
        "--max-layer and --max-written",
        &request.common.budget.bounds(),
    )?;
    inputs.add("what is injected", &plan.injections.digest)?;
    inputs.add("--split", &request.split)?;
    inputs.add("the compression", &request.common.compression.to_string())?;
    inputs.add("--cap-drop", &request.cap_drop)?;
    inputs.add("--add-host", &request.add_hosts)?;
    if !plan.modes.is_empty() {
        let modes: Vec<_> = plan
            .modes
            .iter()
            .map(|(path, mode)| (path.as_os_str().as_bytes(), mode))
            .collect();
        inputs.add("the modes of the source's files", &modes)?;
    }
    if restored {
        inputs.add("what an earlier image has saved", &true)?;
    }
    Ok(inputs)
}

/// Runs the scripts, or finds their earlier result; prints why.
pub(super) fn outcome(
    plan: &Plan<'_>,
    source: &Digest,
) -> Result<(S2iResult, Explanation), BuildError> {
    const PHASE: &str = "assemble";
    let context = plan.context;
    let Context {
        store, progress, ..
    } = context;
    let request = plan.request;
    let common = &request.common;
    let fresh = inputs(plan, source, false)?;
    let restored = inputs(plan, source, true)?;
    // The content of a mounted directory is not checked, and may change each time.
    let lasting = request.volumes.is_empty();
    if !common.no_cache && !common.upgrade && lasting {
        let wanted: &[&Inputs] = if request.incremental {
            &[&fresh, &restored]
        } else {
            &[&fresh]
        };
        for inputs in wanted {
            if let Some(outcome) = store.cached::<S2iResult>(&inputs.key()?)? {
                progress.step("---> Source, scripts and builder unchanged: nothing to run");
                return Ok((outcome, explain(context, PHASE, inputs, true)?));
            }
        }
    }
    let artifacts = if request.incremental {
        incremental::restore(plan)?
    } else {
        None
    };
    let inputs = if artifacts.is_some() { restored } else { fresh };
    let outcome = S2iResult {
        restored: artifacts.is_some(),
        ..assembled(plan, artifacts)?
    };
    let mut explanation = explain(context, PHASE, &inputs, false)?;
    if !lasting {
        explanation.because = vec!["what --volume mounts may have changed".to_owned()];
    }
    // A result that is made for a comparison is not kept for the next build.
    if common.pinned.is_none() && lasting {
        store.remember(&inputs.key()?, &outcome)?;
    }
    Ok((outcome, explanation))
}
