//! Passes the version that git knows to a build backend.

use crate::app::files::Files;
use crate::app::git_version::{self, Described};
use crate::app::project::Project;
use crate::source::Tree;

use super::context::Context;
use super::error::BuildError;
use super::request::Request;

/// The request with the version among its build variables, if the project takes its version from git.
///
/// # Errors
/// If git does not know the version and it is not set: the build backend would fail or invent one.
pub(super) fn given(
    context: Context<'_>,
    files: &dyn Files,
    project: &Project,
    tree: &Tree,
) -> Result<Option<Request>, BuildError> {
    let Context {
        request, progress, ..
    } = context;
    let Some(from) = git_version::of_project(files, project) else {
        return Ok(None);
    };
    let said = request.build_env.iter().chain(&request.env);
    if from.is_said(said.map(|(name, _)| name.as_str())) {
        return Ok(None);
    }
    let unknown = |problem: String| {
        // It has a version for this case.
        if from.has_other {
            return Ok(None);
        }
        Err(BuildError::NoVersion {
            tool: from.tool,
            variable: from.variable.clone(),
            problem,
        })
    };
    let Some(commit) = &tree.commit else {
        return unknown("the source is not a git repository".to_owned());
    };
    let described = Described {
        tag: commit.tag.clone(),
        distance: commit.distance,
        commit: commit.id.clone(),
        changed: commit.changed,
    };
    let Some(version) = from.version(&described) else {
        let tag = commit.tag.as_deref().unwrap_or_default();
        return unknown(format!("the tag {tag} is not one"));
    };
    progress.step(&format!("---> Version {version}, from git ({})", from.tool));
    let mut request = request.clone();
    request.build_env.push((from.variable, version));
    Ok(Some(request))
}
