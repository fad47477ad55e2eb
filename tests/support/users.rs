//! Unprivileged users: one with a range of subordinate ids, one with its own id only.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::enclosure::{Enclosure, Identity};
use super::process;

/// A user with an empty home of its own. What it starts ends when it is dropped.
pub struct User {
    enclosure: Enclosure,
    name: &'static str,
    home: PathBuf,
    env: Vec<String>,
}

impl User {
    pub const SINGLE_ID: &'static str = "warpdrive-single";

    /// `warpdrive-tester`, who has ranges in `/etc/subuid` and `/etc/subgid`.
    #[track_caller]
    pub fn with_subids() -> Self {
        process::tool("newuidmap");
        let ranges = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        assert!(
            ranges
                .lines()
                .any(|line| line.starts_with("warpdrive-tester:")),
            "`warpdrive-tester` has no range in /etc/subuid: run `make test-deps`"
        );
        Self::new("warpdrive-tester")
    }

    /// `warpdrive-single`, who has no subordinate ids.
    #[track_caller]
    pub fn single_id() -> Self {
        Self::new(Self::SINGLE_ID)
    }

    #[track_caller]
    fn new(name: &'static str) -> Self {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        assert!(
            users
                .lines()
                .any(|line| line.split(':').next() == Some(name)),
            "the user `{name}` does not exist, and the integration tests need it: run `make test-deps`"
        );
        let enclosure = Enclosure::new();
        let home = enclosure.directory().join("home");
        let within = |name: &str| home.join(name).display().to_string();
        let env = vec![
            format!("HOME={}", home.display()),
            format!("USER={name}"),
            format!("LOGNAME={name}"),
            "SHELL=/bin/sh".into(),
            "LANG=C.UTF-8".into(),
            format!("TMPDIR={}", within("tmp")),
            format!("XDG_CACHE_HOME={}", within(".cache")),
            format!("XDG_CONFIG_HOME={}", within(".config")),
            format!("XDG_DATA_HOME={}", within(".local/share")),
            format!("XDG_STATE_HOME={}", within(".local/state")),
            format!("XDG_RUNTIME_DIR={}", within("run")),
        ];
        let install = |path: &Path| {
            let owner = ["-d", "-m", "700", "-o", name, "-g", name];
            process::run(process::as_root("install").args(owner).arg(path));
        };
        install(&home);
        install(&home.join("run"));
        install(&home.join("tmp"));
        Self {
            enclosure,
            name,
            home,
            env,
        }
    }

    pub fn name(&self) -> &str {
        self.name
    }

    /// Mode 0700: what shall be read from outside is read by [`User::read`].
    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn enclosure(&self) -> &Enclosure {
        &self.enclosure
    }

    /// `program` as this user in its home, with a clean environment.
    #[track_caller]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_in(&self.home, &[], program)
    }

    /// As [`User::command`], in another directory and with more variables (`K=V`). The usual
    /// methods of `Command` for these two do not reach the program.
    #[track_caller]
    pub fn command_in(&self, cwd: &Path, env: &[&str], program: impl AsRef<OsStr>) -> Command {
        let env: Vec<String> = self
            .env
            .iter()
            .cloned()
            .chain(env.iter().map(ToString::to_string))
            .collect();
        self.enclosure
            .command(Identity::User(self.name), cwd, &env, program)
    }

    /// Copies a file or a directory into the home (`NAME` below it) and gives it to the user: a
    /// checkout below /root, and the executables in it, are out of such a user's reach. What was given
    /// by this name before is gone: `cp` would put a directory into it.
    #[track_caller]
    pub fn give(&self, source: &Path, name: &str) -> PathBuf {
        let target = self.home.join(name);
        let owner = format!("{0}:{0}", self.name);
        process::run(process::as_root("rm").arg("-rf").arg(&target));
        process::run(
            process::as_root("cp")
                .args(["-R", "--preserve=mode,timestamps,links"])
                .arg(source)
                .arg(&target),
        );
        process::run(
            process::as_root("chown")
                .args(["-R", "-h", &owner])
                .arg(&target),
        );
        target
    }

    /// A file of the user's.
    #[track_caller]
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        process::run(process::as_root("cat").arg(self.home.join(path)))
    }
}
