//! Who runs warpdrive, with a store that has the image in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use warpdrive::store::Store;

use crate::run::SOON;
use crate::run::busybox::image;
use crate::support::enclosure::{Enclosure, Identity};
use crate::support::process;
use crate::support::users::User;

/// Who runs warpdrive, and where.
enum Who {
    Root(Enclosure),
    User(User),
}

pub(super) struct Host {
    who: Who,
    pub(super) store: PathBuf,
    pub(super) program: PathBuf,
}

impl Host {
    pub(super) fn root() -> Self {
        Self::new(Who::Root(Enclosure::new()))
    }

    pub(super) fn subids() -> Self {
        Self::new(Who::User(User::with_subids()))
    }

    pub(super) fn single() -> Self {
        Self::new(Who::User(User::single_id()))
    }

    fn new(who: Who) -> Self {
        let made = tempfile::tempdir().unwrap();
        let source = made.path().join("store");
        image(&Store::open(Some(&source)).unwrap());
        let program = Path::new(env!("CARGO_BIN_EXE_warpdrive"));
        let (store, program) = match &who {
            Who::Root(enclosure) => {
                let store = enclosure.directory().join("store");
                process::run(process::as_root("cp").arg("-R").arg(&source).arg(&store));
                (store, program.to_owned())
            }
            Who::User(user) => (user.give(&source, "store"), user.give(program, "warpdrive")),
        };
        Self {
            who,
            store,
            program,
        }
    }

    pub(super) fn enclosure(&self) -> &Enclosure {
        match &self.who {
            Who::Root(enclosure) => enclosure,
            Who::User(user) => user.enclosure(),
        }
    }

    /// A directory of its own.
    pub(super) fn home(&self) -> PathBuf {
        match &self.who {
            Who::Root(enclosure) => enclosure.directory().to_owned(),
            Who::User(user) => user.home().to_owned(),
        }
    }

    pub(super) fn is_single(&self) -> bool {
        matches!(&self.who, Who::User(user) if user.name() == "warpdrive-single")
    }

    pub(super) fn any(&self, program: impl AsRef<std::ffi::OsStr>, env: &[&str]) -> Command {
        match &self.who {
            Who::Root(enclosure) => {
                let mut env: Vec<String> = env.iter().map(ToString::to_string).collect();
                env.push(format!("HOME={}", enclosure.directory().display()));
                enclosure.command(Identity::Root, enclosure.directory(), &env, program)
            }
            Who::User(user) => user.command_in(user.home(), env, program),
        }
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let store = format!("WARPDRIVE_STORE={}", self.store.display());
        let mut command = self.any(&self.program, &[&store, "CALLERS=value"]);
        command.args(words).stdin(Stdio::null());
        command
    }

    pub(super) fn warpdrive(&self, words: &[&str]) -> Output {
        process::output_within(&mut self.command(words), Duration::from_mins(1))
    }

    /// What a command prints that has to succeed.
    #[track_caller]
    pub(super) fn ok(&self, words: &[&str]) -> String {
        let output = self.warpdrive(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The status and both outputs of a command that has to fail.
    #[track_caller]
    pub(super) fn fails(&self, status: i32, words: &[&str]) -> String {
        let output = self.warpdrive(words);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{words:?}: {}",
            text(&output)
        );
        text(&output)
    }

    #[track_caller]
    pub(super) fn listed(&self, name: &str) -> Option<Value> {
        let list: Value = serde_json::from_str(&self.ok(&["container", "ls", "--json"])).unwrap();
        list["containers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|container| container["name"] == name)
            .cloned()
    }

    #[track_caller]
    pub(super) fn status(&self, name: &str) -> String {
        let listed = self.listed(name);
        listed.map_or_else(String::new, |it| it["status"].as_str().unwrap().to_owned())
    }

    /// Nothing is left over: no process, no mount, no half-made container.
    #[track_caller]
    pub(super) fn is_clean(&self) {
        let clean = process::poll(SOON, || {
            self.enclosure().processes().is_empty().then_some(())
        });
        assert!(
            clean.is_some(),
            "left over: {:?}",
            self.enclosure().processes()
        );
        let mounts = self.enclosure().mounts_below(&self.store);
        assert!(mounts.is_empty(), "{mounts:?}");
        let left = process::run(
            process::as_root("ls")
                .arg("-A")
                .arg(self.store.join("containers")),
        );
        assert_eq!(left.trim(), ".lock", "containers are left");
    }
}

pub(super) fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", without_notes(&output.stderr))
}

/// Whether there is an outbound network depends on the machine.
pub(super) fn without_notes(err: &[u8]) -> String {
    String::from_utf8_lossy(err)
        .lines()
        .filter(|line| !line.starts_with("no outbound network"))
        .flat_map(|line| [line, "\n"])
        .collect()
}
