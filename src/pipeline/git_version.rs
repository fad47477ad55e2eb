//! Passes the version that git knows to a build backend.

use crate::app::files::Files;
use crate::app::git_version::{self, Described};
use crate::app::project::Project;
use crate::source::Tree;

use super::context::Context;
use super::error::BuildError;
use super::request::Request;

/// The request with the versions among its build variables that the project, and projects of the tree that are
/// installed with it, take from git.
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
    let mut found = git_version::of_projects(files, project);
    found.retain(|from| {
        let said = request.build_env.iter().chain(&request.env);
        !from.is_said(said.map(|(name, _)| name.as_str()))
    });
    let mut given = request.clone();
    let known = given.build_env.len();
    for from in found {
        let unknown = |problem: String| {
            // It has a version for this case.
            if from.has_other {
                return Ok(());
            }
            Err(BuildError::NoVersion {
                tool: from.tool,
                project: from.directory.clone(),
                variable: from.variable.clone(),
                problem,
            })
        };
        let Some(commit) = &tree.commit else {
            unknown("the source is not a git repository".to_owned())?;
            continue;
        };
        let described = Described {
            tag: commit.tag.clone(),
            distance: commit.distance,
            commit: commit.id.clone(),
            changed: commit.changed,
        };
        let Some(version) = from.version(&described) else {
            let tag = commit.tag.as_deref().unwrap_or_default();
            unknown(format!("the tag {tag} is not one"))?;
            continue;
        };
        let of = match from.directory.as_str() {
            "" => String::new(),
            place => format!(" of {place}"),
        };
        progress.step(&format!(
            "---> Version {version}{of}, from git ({})",
            from.tool
        ));
        given.build_env.push((from.variable, version));
    }
    Ok((given.build_env.len() > known).then_some(given))
}
