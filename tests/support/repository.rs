//! Git repositories that tests build from, and sources that `image --dry-run` is asked about.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::process;
use super::warpdrive::{binary, commit};

/// A place with a repository: `main` with a submodule, a tag, another branch, a commit that no
/// branch ends at.
pub struct Repository {
    pub place: tempfile::TempDir,
}

impl Repository {
    pub fn new() -> Self {
        let this = Self {
            place: tempfile::tempdir().unwrap(),
        };
        let library = this.place.path().join("library");
        fs::create_dir(&library).unwrap();
        fs::write(library.join("lib.py"), "lib\n").unwrap();
        commit(&library);
        let root = this.root();
        fs::create_dir_all(root.join("web/static")).unwrap();
        fs::write(root.join("app.py"), "one\n").unwrap();
        fs::write(
            root.join("web/wsgi.py"),
            "def application(environ, start_response): ...\n",
        )
        .unwrap();
        fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("app.py", root.join("link")).unwrap();
        commit(&root);
        this.git(&["tag", "-a", "v1", "-m", "v1"]);
        this.git(&["checkout", "--quiet", "-b", "feature/x"]);
        fs::write(root.join("app.py"), "feature\n").unwrap();
        this.git(&["commit", "--quiet", "--all", "-m", "feature"]);
        this.git(&["checkout", "--quiet", "main"]);
        let module = format!("file://{}", library.display());
        this.git(&[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            &module,
            "lib",
        ]);
        this.git(&["commit", "--quiet", "--all", "-m", "submodule"]);
        this
    }

    pub fn root(&self) -> PathBuf {
        self.place.path().join("app")
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.root().display())
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        process::run(
            Command::new("git")
                .current_dir(self.root())
                .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
                .args(arguments)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_AUTHOR_DATE", "2024-05-06T07:08:09Z")
                .env("GIT_COMMITTER_DATE", "2024-05-06T07:08:09Z"),
        )
    }
}

/// `image app --dry-run --json` of a source: its files, and all words.
pub fn preview(
    store: &Path,
    env: &[(&str, &str)],
    stdin: Option<&[u8]>,
    arguments: &[&str],
) -> Output {
    let mut command = Command::new(binary());
    command
        .arg("--store")
        .arg(store)
        .args(["image", "app", "--dry-run", "--json"])
        .args(arguments)
        .current_dir(store.parent().unwrap())
        .env("HOME", store.parent().unwrap())
        .envs(env.iter().copied())
        .stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(bytes) = stdin {
        // A refusal closes the pipe early.
        let _ = child.stdin.take().unwrap().write_all(bytes);
    }
    child.wait_with_output().unwrap()
}

pub struct Place {
    pub directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The user's: submodules may lie on this machine.
        fs::write(
            directory.path().join(".gitconfig"),
            "[protocol \"file\"]\n\tallow = always\n",
        )
        .unwrap();
        Self { directory }
    }

    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub fn preview(&self, arguments: &[&str]) -> Output {
        preview(&self.store(), &[], None, arguments)
    }

    /// The number of files of a source.
    pub fn files(&self, arguments: &[&str]) -> (u64, String) {
        let output = self.preview(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            process::words(&output)
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (report["source"]["files"].as_u64().unwrap(), words)
    }

    pub fn refuses(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.preview(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        // Nothing temporary stays.
        let left: Vec<_> = fs::read_dir(self.store().join("tmp"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        (output.status.code().unwrap(), process::words(&output))
    }
}
