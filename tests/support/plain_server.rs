//! Files over plain HTTP, and a git repository as such a server gives it: shallow fetches are not
//! possible there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fake_registry::{Asked, FakeRegistry, Reply};
use super::process;

/// Makes a bare clone of a repository that files alone serve.
pub fn publish(repository: &Path, bare: &Path) {
    process::run(
        Command::new("git")
            .args(["clone", "--quiet", "--bare"])
            .arg(repository)
            .arg(bare),
    );
    process::run(
        Command::new("git")
            .arg("-C")
            .arg(bare)
            .arg("update-server-info"),
    );
}

/// Serves the files of a directory.
pub fn serve(directory: PathBuf) -> FakeRegistry {
    FakeRegistry::start(move |asked| file(asked, &directory))
}

/// The answer of a server that has the files of a directory.
pub fn file(asked: &Asked, directory: &Path) -> Reply {
    let path = asked.target.split('?').next().unwrap();
    match fs::read(directory.join(path.trim_start_matches('/'))) {
        Ok(bytes) => Reply::new(200).body(bytes),
        Err(_) => Reply::new(404),
    }
}
