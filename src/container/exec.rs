//! `container exec`: a command beside the one that runs, in its namespaces, with its environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ContainerError;
use super::attach::Attach;
use super::environment::{Variable, merge};
use super::prepare::user_text;
use super::record::{Record, Status};
use super::session::{Session, exit_status};
use crate::rootfs::find_user_in;
use crate::sandbox::{self, JoinSpec};

/// How long to wait for a command's last output while its children keep its streams open.
const LINGER: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub struct ExecOptions {
    pub command: Vec<String>,
    pub user: Option<String>,
    pub variables: Vec<Variable>,
    pub cwd: Option<PathBuf>,
    pub interactive: bool,
    pub terminal: bool,
}

/// Runs a command in a running container and gives its exit status.
///
/// Call it in the process that did *not* call `sandbox::enter`: a process inside its own user
/// namespace cannot join the container's.
pub fn exec(
    record: &Record,
    options: &ExecOptions,
    caller_env: impl Fn(&str) -> Option<String>,
) -> Result<i32, ContainerError> {
    let not_running = || ContainerError::NotRunning {
        name: record.config.name.clone(),
    };
    let (status, state) = record.status()?;
    let process = match (status, state.process) {
        (Status::Running, Some(process)) if process.is_alive() => process,
        _ => return Err(not_running()),
    };
    let config = &record.config;
    let (uid, gid) = match &options.user {
        None => (config.uid, config.gid),
        Some(text) => {
            let root = PathBuf::from(format!("/proc/{}/root", process.pid));
            let own = format!("{}:{}", config.uid, config.gid);
            let user = find_user_in(&root, &user_text(Some(text), &own))?;
            (user.uid, user.gid)
        }
    };
    if config.map == "single" && (uid, gid) != (1001, 0) {
        return Err(ContainerError::OnlyOneUid { uid, gid });
    }
    let mut env = config.env.clone();
    if options.terminal && !env.iter().any(|(name, _)| name == "TERM") {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    merge(&mut env, options.variables.iter().cloned(), caller_env);
    let cwd = match &options.cwd {
        Some(cwd) => Path::new("/").join(cwd),
        None => config.cwd.clone(),
    };
    let attach = Attach {
        foreground: true,
        interactive: options.interactive,
        folded: false,
        patience: Duration::ZERO,
    };
    let mut session = Session::new(options.terminal, attach, config.stop_signal)?;
    let spec = JoinSpec {
        target: process.pid,
        command: options.command.clone(),
        env,
        cwd,
        uid,
        gid,
        umask: 0o022,
    };
    let mut joined = sandbox::join(&spec, session.io())?;
    session.connect(&mut joined, None)?;
    let exit = session.wait(&mut joined)?;
    session.drain(Some(LINGER));
    Ok(exit_status(exit))
}
