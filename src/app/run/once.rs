//! The hook `deploy-cfg`: once in a container's life, before the first `start`, `setup` or
//! `migrate`, however many of them begin at the same time.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::environment::Environment;
use super::error::RunError;
use super::supervise::Supervisor;
use super::{home, hook};
use crate::progress::StepProgress;

const HOOK: &str = "deploy-cfg";

/// Runs the hook unless it has already run. `Some` is the status to end with.
pub(super) fn configure(
    environment: &Environment,
    supervisor: &mut Supervisor,
    progress: &dyn StepProgress,
) -> Result<Option<u8>, RunError> {
    let Some(program) = hook::find(HOOK, environment)? else {
        return Ok(None);
    };
    // First: the name depends on where the directory is.
    home::make(&environment.private, &environment.private);
    let path = environment.private.join(marker_name(environment));
    let mut marker = match open_locked(&path) {
        Ok(marker) => Some(marker),
        Err(error) => {
            progress.warn(&format!(
                "{} cannot be written ({error}): deploy-cfg will run again next time",
                path.display()
            ));
            None
        }
    };
    if let Some(marker) = &mut marker {
        let mut content = String::new();
        if marker.read_to_string(&mut content).is_ok() && !content.is_empty() {
            return Ok(None);
        }
    }
    let ended = program.run(environment, supervisor)?;
    if let Some(signal) = ended.asked {
        return Ok(Some(128 + u8::try_from(signal).unwrap_or(0)));
    }
    if ended.status != 0 {
        return Err(RunError::HookFailed {
            name: HOOK,
            status: ended.status,
        });
    }
    if let Some(mut marker) = marker {
        let _ = marker.write_all(b"done\n");
    }
    Ok(None)
}

fn open_locked(path: &Path) -> io::Result<std::fs::File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = open(path, flags, Mode::RUSR | Mode::WUSR)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file.into())
}

/// One name per application. A separate file system at `/tmp` (a volume of a pod) may exist longer
/// than the container; then the start time of process 1 identifies the container.
fn marker_name(environment: &Environment) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    environment.roots.app.hash(&mut hasher);
    environment.roots.source.hash(&mut hasher);
    let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev()).ok();
    if device(Path::new("/")) != device(&environment.private) {
        start_of_process_one().hash(&mut hasher);
    }
    PathBuf::from(format!("{HOOK}-{:016x}", hasher.finish()))
}

/// In clock ticks since the machine's start: field 22 of `/proc/1/stat`, counted behind the name
/// in parentheses.
fn start_of_process_one() -> Option<String> {
    let stat = std::fs::read_to_string("/proc/1/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}
