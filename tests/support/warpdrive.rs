//! The tool under test, with a store that has builder images in it.
//!
//! Builder images take a minute each to make. They are made once per target directory, in a store of
//! their own behind a lock, and every test gets a copy of that store: blobs are hard links, unpacked
//! trees are mounts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::process::{self, words};
use super::shared_trees::{self, SharedTrees};
use super::users::User;

/// The Debian 12 builder: what most tests build on.
pub const PYTHON_311: &str = "debian-12-python-3.11";
/// The Debian 11 builder, for Opal.
pub const PYTHON_39: &str = "debian-11-python-3.9";

/// The same without compilers, a third of the size: for apps that have a wheel for everything.
pub const PYTHON_311_RUN: &str = "debian-12-python-3.11-run";

/// The slim Debian 13 builder.
pub const PYTHON_313_RUN: &str = "debian-13-python-3.13-run";

/// Debian 13 with Node, for front ends.
pub const NODE: &str = "debian-13-python-3.13-node";

/// What the making of a builder image gets: five times what it takes on two cores.
const MAKING: Duration = Duration::from_mins(9);
/// Examples whose wheels every store with a builder has.
const WARM: [&str; 3] = ["flask", "django", "fastapi"];

/// The executable under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_warpdrive"))
}

/// A directory of the repository's examples.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// The store that has this builder image, and the wheels that earlier tests fetched.
pub fn shared_store(builder: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builders");
    fs::create_dir_all(&place).unwrap();
    let lock = File::create(place.join(format!("{builder}.lock"))).unwrap();
    lock.lock().unwrap();
    let store = place.join(builder);
    let command = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("--store").arg(&store).args(arguments);
        let output = process::output_within(&mut command, MAKING);
        assert!(output.status.success(), "{}", words(&output));
    };
    if !store.join("made").exists() {
        // Tests that are about the slim twin add it themselves.
        command(&["builder", "build", "--without-run", builder]);
        File::create(store.join("made")).unwrap();
    }
    if builder == NODE {
        return store;
    }
    // The Python in it is found, installers and wheels are fetched, once for all tests.
    if !store.join("warm").exists() {
        // Current releases of these do not run on Python 3.9.
        let names: &[&str] = if builder == PYTHON_39 {
            &WARM[..1]
        } else {
            &WARM
        };
        for name in names {
            // A copy: the repository around the examples is none of theirs.
            let source = copy_of(&example(name), false);
            let path = source.path().to_str().unwrap();
            command(&["image", "warm-up", "--builder", builder, "--path", path]);
        }
        command(&["rm", "warm-up"]);
        File::create(store.join("warm")).unwrap();
    }
    store
}

/// The same, made by a user and owned by it.
fn shared_of(user: &str, builder: &'static str) -> PathBuf {
    let root = shared_store(builder);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builders");
    let lock = File::create(place.join(format!("{builder}-of-{user}.lock"))).unwrap();
    lock.lock().unwrap();
    let kept = place.join(format!("{builder}-of-{user}"));
    if kept.exists() {
        return kept;
    }
    let user = if user == User::SINGLE_ID {
        User::single_id()
    } else {
        User::with_subids()
    };
    let archive = place.join(format!("{builder}-for-{}.tar", user.name()));
    let mut export = Command::new(binary());
    export.arg("--store").arg(&root).args(["export", builder]);
    process::run(export.arg(format!("oci-archive:{}:{builder}", archive.display())));
    let given = user.give(&archive, "builder.tar");
    fs::remove_file(archive).unwrap();
    let mut maker = Warpdrive::of_user(user);
    maker.builder = Some(builder);
    let from = format!("oci-archive:{}:{builder}", given.display());
    maker.run(&["import", &from, builder]);
    // Its tree is unpacked, the installers are fetched.
    let source = maker.give(&example(WARM[0]), "warm-up");
    maker.image("warm-up", &source, &[]);
    maker.run(&["rm", "warm-up"]);
    let user = maker.user.as_ref().unwrap();
    let draft = place.join(format!("{builder}-of-{}.draft", user.name()));
    let _ = fs::remove_dir_all(&draft);
    let mut copy = user.enclosure().root("cp");
    process::run(copy.arg("--archive").args([&maker.store(), &draft]));
    fs::rename(&draft, &kept).unwrap();
    kept
}

/// What earlier builds gave: a test's own are not among them.
const RESULTS: [&str; 2] = ["cache/dependencies", "cache/application"];

/// Gives a store all that another has, but for the unpacked trees, as hard links.
pub fn link_store(shared: &Path, store: &Path) {
    fs::create_dir_all(store).unwrap();
    for entry in fs::read_dir(shared).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "unpacked" {
            let own = store.join(entry.file_name());
            shared_trees::copy(&["--archive", "--link"], &entry.path(), &own);
        }
    }
    // These are written in place or hold names: not to be shared.
    for name in ["index.json", "index.json.lock", "lock"] {
        let path = store.join(name);
        if let Ok(bytes) = fs::read(&path) {
            fs::remove_file(&path).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// A store of one's own and the commands that work on it.
pub struct Warpdrive {
    directory: tempfile::TempDir,
    user: Option<User>,
    program: PathBuf,
    /// What `image` builds on; without one warpdrive chooses.
    builder: Option<&'static str>,
    trees: SharedTrees,
}

impl Warpdrive {
    /// With an empty store.
    pub fn new() -> Self {
        Self {
            directory: place(),
            user: None,
            program: binary().to_owned(),
            builder: None,
            trees: SharedTrees::default(),
        }
    }

    /// With a builder image in the store.
    pub fn with(builder: &'static str) -> Self {
        let mut this = Self::new();
        this.take(builder);
        this.builder = Some(builder);
        this
    }

    /// The same for tests whose commands take unpacked trees away.
    pub fn with_own_trees(builder: &'static str) -> Self {
        let mut this = Self::new();
        let shared = this.take_content(builder);
        SharedTrees::copy(&shared, &this.store());
        this.builder = Some(builder);
        this
    }

    /// With an empty store of another user's.
    pub fn of_user(user: User) -> Self {
        let program = user.give(binary(), "warpdrive");
        Self {
            directory: place(),
            user: Some(user),
            program,
            builder: None,
            trees: SharedTrees::default(),
        }
    }

    /// The same as another user.
    pub fn as_user(user: User, builder: &'static str) -> Self {
        let shared = shared_of(user.name(), builder);
        let mut this = Self::of_user(user);
        let store = this.store();
        let user = this.user.as_ref().unwrap();
        this.trees = SharedTrees::inside(user.enclosure(), &shared, &store);
        this.builder = Some(builder);
        for name in RESULTS {
            let _ = fs::remove_dir_all(store.join(name));
        }
        this
    }

    /// Adds a builder image to the store.
    pub fn take(&mut self, builder: &str) {
        let shared = self.take_content(builder);
        let store = self.store();
        self.trees.mount(&shared, &store);
    }

    /// Everything but the unpacked trees. Gives the shared store.
    fn take_content(&self, builder: &str) -> PathBuf {
        let shared = shared_store(builder);
        let store = self.store();
        link_store(&shared, &store);
        for name in RESULTS {
            let _ = fs::remove_dir_all(store.join(name));
        }
        shared
    }

    /// Takes away all unpacked trees: what needs one has to unpack it again.
    pub fn forget_trees(&mut self) {
        self.trees.unmount();
        let trees = self.store().join("unpacked");
        fs::remove_dir_all(&trees).unwrap();
        fs::create_dir(&trees).unwrap();
    }

    /// Adds a builder image to a store that has another.
    pub fn import_builder(&self, builder: &str) {
        let archive = self.place().join("builder.tar");
        let place = format!("oci-archive:{}:{builder}", archive.display());
        let mut command = Command::new(binary());
        command.arg("--store").arg(shared_store(builder));
        process::run(command.args(["export", builder, &place]));
        self.run(&["import", &place, builder]);
        fs::remove_file(archive).unwrap();
    }

    pub fn store(&self) -> PathBuf {
        match &self.user {
            Some(user) => user.home().join("store"),
            None => self.directory.path().join("store"),
        }
    }

    /// A directory of the test's, which the user may read.
    pub fn place(&self) -> PathBuf {
        match &self.user {
            Some(user) => user.home().to_owned(),
            None => self.directory.path().to_owned(),
        }
    }

    /// A source tree where the user can read it.
    pub fn give(&self, source: &Path, name: &str) -> PathBuf {
        match &self.user {
            Some(user) => user.give(source, name),
            None => source.to_owned(),
        }
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The command `warpdrive --store STORE ARGUMENTS` with these variables, in this directory.
    pub fn command_in(&self, directory: &Path, env: &[&str], arguments: &[&str]) -> Command {
        // What the rule would choose is not in this store, and would be made first.
        let chosen = self
            .builder
            .map(|builder| format!("WARPDRIVE_BUILDER_IMAGE={builder}"));
        let env: Vec<&str> = chosen
            .as_deref()
            .into_iter()
            .chain(env.iter().copied())
            .collect();
        let env = env.as_slice();
        let mut command = if let Some(user) = &self.user {
            user.command_in(directory, env, &self.program)
        } else {
            let mut command = Command::new(&self.program);
            command.current_dir(directory);
            for pair in env {
                let (name, value) = pair.split_once('=').unwrap();
                command.env(name, value);
            }
            command
        };
        command.arg("--store").arg(self.store()).args(arguments);
        command
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(&self.place(), &[], arguments)
    }

    /// Runs it and gives what it wrote to stdout; a failure fails the test with all its words.
    pub fn run(&self, arguments: &[&str]) -> String {
        process::run(&mut self.command(arguments))
    }

    /// What Python prints in a container of an image.
    pub fn python(&self, image: &str, code: &str) -> String {
        self.run(&["run", "--rm", image, "--", "python", "-c", code])
    }

    /// Runs it, whatever comes of it.
    pub fn output(&self, arguments: &[&str]) -> Output {
        process::output(&mut self.command(arguments))
    }

    /// Builds what passes its own audit, and gives the report of `--json`.
    pub fn image(&self, name: &str, source: &Path, more: &[&str]) -> serde_json::Value {
        self.image_with(name, source, &[], more)
    }

    /// The same with variables of the environment.
    pub fn image_with(
        &self,
        name: &str,
        source: &Path,
        env: &[&str],
        more: &[&str],
    ) -> serde_json::Value {
        let mut arguments = self.image_arguments(name);
        arguments.push("--json");
        arguments.extend_from_slice(more);
        let output = process::output_within(
            &mut self.command_in(source, env, &arguments),
            Duration::from_mins(9),
        );
        assert!(output.status.success(), "{}", words(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // Every image that is built here passes its own audit; who builds another runs the command.
        assert_ne!(
            report["audit"]["verdict"],
            "refused",
            "{name}: {}",
            words(&output)
        );
        report
    }

    /// `image NAME` and the builder to build on.
    pub fn image_arguments<'a>(&self, name: &'a str) -> Vec<&'a str> {
        let mut arguments = vec!["image", name];
        if let Some(builder) = self.builder {
            arguments.extend(["--builder", builder]);
        }
        arguments
    }

    /// Builds what must fail; gives the exit code and all its words.
    pub fn refuses(&self, source: &Path, more: &[&str]) -> (i32, String) {
        let mut arguments = self.image_arguments("refused");
        arguments.extend_from_slice(more);
        let output = process::output_within(
            &mut self.command_in(source, &[], &arguments),
            Duration::from_mins(9),
        );
        assert!(!output.status.success(), "{}", words(&output));
        (output.status.code().unwrap_or(-1), words(&output))
    }

    /// Copies an image into an OCI layout that consumers read; gives the layout's directory.
    pub fn layout(&self, name: &str) -> PathBuf {
        let layout = self.place().join("layout");
        self.run(&["export", name, &format!("oci:{}:{name}", layout.display())]);
        layout
    }

    /// Copies an image into an archive for `docker load`.
    pub fn docker_archive(&self, name: &str) -> PathBuf {
        let archive = self.place().join(format!("{name}.tar"));
        self.run(&[
            "export",
            name,
            &format!("docker-archive:{}:{name}", archive.display()),
        ]);
        archive
    }
}

impl Warpdrive {
    /// What commands that have ended left behind: files in the store's `tmp`, and processes whose
    /// root or mounts are in the store.
    fn left_behind(&self) -> Vec<String> {
        let store = self.store();
        let mut left: Vec<String> = fs::read_dir(store.join("tmp"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
            .collect();
        let needle = store.display().to_string();
        for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let mounts = fs::read_to_string(process.path().join("mountinfo"));
            let of_a_command = |line: &str| line.contains(&needle) && !self.trees.has(line);
            if mounts.is_ok_and(|mounts| mounts.lines().any(of_a_command)) {
                let command = fs::read_to_string(process.path().join("cmdline"));
                left.push(format!("{}: {command:?}", process.file_name().display()));
            }
        }
        left
    }

    /// Fails the test when something is left behind. Every test ends with it; those that kill the
    /// tool call it themselves.
    pub fn leaves_nothing(&self) {
        let left = self.left_behind();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

impl Drop for Warpdrive {
    fn drop(&mut self) {
        let left = if !std::thread::panicking() && self.builder.is_some() {
            self.left_behind()
        } else {
            Vec::new()
        };
        // Before the directory goes: what is mounted in it belongs to all tests.
        self.trees.unmount();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

/// On the file system of the shared stores, whose files are taken over as hard links.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A copy of a source tree that a test may change, as a git repository with one commit of a fixed
/// time when `git` is true.
pub fn copy_of(source: &Path, git: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    process::run(
        Command::new("cp")
            .arg("--recursive")
            .arg("--no-target-directory")
            .arg(source)
            .arg(directory.path()),
    );
    if git {
        commit(directory.path());
    }
    directory
}

/// Makes a repository with everything in it committed at a fixed time.
pub fn commit(directory: &Path) {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(directory)
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", "2024-05-06T07:08:09Z")
            .env("GIT_COMMITTER_DATE", "2024-05-06T07:08:09Z");
        process::run(&mut command);
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=First"]);
}

/// The digests of the layers of one kind.
pub fn layers(report: &serde_json::Value, kind: &str) -> Vec<String> {
    report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|layer| layer["kind"] == kind)
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}
