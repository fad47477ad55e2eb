//! The source as S2I delivers it: in `/tmp/src`.

use std::fs;
use std::path::Path;

use super::AssembleError;

/// Moves the source where S2I put it to where it belongs. Nothing to do if it is not there.
pub(super) fn take_source(from: &Path, to: &Path) -> Result<(), AssembleError> {
    if !from.is_dir() {
        return Ok(());
    }
    copy_tree(from, to)?;
    // A mount point cannot be removed; what it held is not needed any more.
    let _ = fs::remove_dir_all(from);
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), AssembleError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AssembleError::Io {
            doing: "copy",
            path,
            source,
        }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            copy_tree(&path, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&path).map_err(failed(&path))?;
            let _ = fs::remove_file(&target);
            std::os::unix::fs::symlink(link, &target).map_err(failed(&target))?;
        } else if kind.is_file() {
            fs::copy(&path, &target).map_err(failed(&path))?;
        }
    }
    Ok(())
}
