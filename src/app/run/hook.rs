//! The hooks of an application at run time: `.warpdrive/action_hooks/NAME`.

use rustix::fs::{Access, access};

use super::environment::Environment;
use super::error::RunError;
use super::launch::Program;

/// The hook of that name, which runs in the source directory. `None` if there is none.
///
/// # Errors
/// If it exists but is not executable. The original warned and continued (for `build` silently),
/// so the deployment lacked a hook that it needs.
pub(super) fn find(
    name: &'static str,
    environment: &Environment,
) -> Result<Option<Program>, RunError> {
    let source = &environment.roots.source;
    let path = source.join(".warpdrive/action_hooks").join(name);
    if !path.is_file() {
        return Ok(None);
    }
    if access(&path, Access::EXEC_OK).is_err() {
        return Err(RunError::HookNotExecutable { path });
    }
    Ok(Some(Program::at(path).in_directory(source)))
}
