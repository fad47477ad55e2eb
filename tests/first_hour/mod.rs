//! What a new user meets within the first hour: the first image as an ordinary user, containers in the
//! background, and the answers to mistakes that everybody makes.

#![allow(clippy::unwrap_used, reason = "a test")]

mod background;
mod builders;
mod mistakes;

use std::fs;

/// A source tree with these files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}
