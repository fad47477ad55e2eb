//! Gives a build backend the version that git knows.

use crate::app::files::Files;
use crate::app::git_version::{self, Described};
use crate::app::project::Project;
use crate::source::Tree;

use super::context::Context;
use super::request::Request;

/// The request with the version among its build variables, where the project's version is git's.
pub(super) fn given(
    context: Context<'_>,
    files: &dyn Files,
    project: &Project,
    tree: &Tree,
) -> Option<Request> {
    let Context {
        request, progress, ..
    } = context;
    let from = git_version::of_project(files, project)?;
    let said = request.build_env.iter().chain(&request.env);
    if from.is_said(said.map(|(name, _)| name.as_str())) {
        return None;
    }
    let how = format!("--build-env {}=VERSION says it", from.variable);
    let Some(commit) = &tree.commit else {
        progress.warning(&format!(
            "{} takes the version from git, and the source is not a git repository: {how}",
            from.tool
        ));
        return None;
    };
    let described = Described {
        tag: commit.tag.clone(),
        distance: commit.distance,
        commit: commit.id.clone(),
        changed: commit.changed,
    };
    let Some(version) = from.version(&described) else {
        progress.warning(&format!(
            "{} takes the version from git, and the tag {} is not one: {how}",
            from.tool,
            commit.tag.as_deref().unwrap_or_default()
        ));
        return None;
    };
    progress.step(&format!("---> Version {version}, from git ({})", from.tool));
    let mut request = request.clone();
    request.build_env.push((from.variable, version));
    Some(request)
}
