//! The options that say where a source is, and fetching it in the right process.

use std::path::PathBuf;
use std::time::Duration;

use crate::sandbox;
use crate::source::{self, GitUrl, Origin, SourceRequest};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::progress::Console;

/// The variable by which the outer process passes the source's path to the one in the user namespace.
const FETCHED: &str = "WARPDRIVE_FETCHED_SOURCE";

#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// The source tree: a directory, a tar or zip archive, or `-` for a tar on standard input
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// The source in a git repository: https, http, ssh, file, or `[USER@]HOST:PATH`
    #[arg(long, value_name = "URL[#REF]", conflicts_with = "path")]
    git: Option<String>,
    /// Branch, tag or commit of the repository; stronger than #REF
    #[arg(long = "ref", value_name = "REF", allow_hyphen_values = true)]
    reference: Option<String>,
    /// The directory of the source that has the app
    #[arg(long, value_name = "DIR")]
    context_dir: Option<PathBuf>,
    /// Do not fetch submodules
    #[arg(long)]
    ignore_submodules: bool,
}

impl SourceArgs {
    pub(super) fn request(&self, timeout: Option<Duration>) -> Result<SourceRequest, CommandError> {
        let origin = match &self.git {
            Some(url) => Origin::Git(GitUrl::parse(url)?),
            None => Origin::local(&self.path),
        };
        let origin = match &self.reference {
            Some(reference) => origin.at(reference)?,
            None => origin,
        };
        let mut request = SourceRequest::new(origin);
        request.context_dir.clone_from(&self.context_dir);
        request.submodules = !self.ignore_submodules;
        request.timeout = timeout.unwrap_or(source::FETCH_TIMEOUT);
        Ok(request)
    }

    /// The source's directory, if it is on this machine.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let directory = match &self.context_dir {
            Some(below) => self.path.join(below),
            None => self.path.clone(),
        };
        (self.git.is_none() && self.reference.is_none() && directory.is_dir()).then_some(directory)
    }
}

/// [`sandbox::enter`] for a command that fetches a source.
///
/// `ssh`, agents and credential helpers look up the user, and in a user namespace they find
/// another one. So the outer process fetches git repositories before, and keeps the temporary
/// directory until the inner process has ended.
pub(super) fn enter(
    request: &mut SourceRequest,
    context: &Context,
    console: &Console<'_>,
) -> Result<(), CommandError> {
    let is_git = matches!(request.origin, Origin::Git(_));
    if is_git && let Some(path) = sandbox::handed_over(FETCHED) {
        request.fetched = Some(path.into());
    } else if is_git && sandbox::will_enter() {
        catch_signals()?;
        let store = context.open_store()?;
        let fetched = source::fetch(&store, request, console, &sandbox::interrupted)?;
        let path = fetched.path.clone();
        sandbox::enter_with(&[(FETCHED, path.as_os_str())], move || drop(fetched))?;
        return Ok(());
    }
    sandbox::enter()?;
    catch_signals()
}

/// From here on, Ctrl-C ends the running sandbox, and then this program ends normally.
pub(super) fn catch_signals() -> Result<(), CommandError> {
    sandbox::install_interrupt_handler().map_err(|error| {
        CommandError::new(
            ExitStatus::Failure,
            "signals",
            format!("could not catch signals: {error}"),
        )
    })
}
