//! What a build finds done already: that it is used where it may be, never where it may not, and
//! that a build with it and one without give the same image.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::Watcher as _;
use serde_json::Value;
use warpdrive::oci::sha256;

use crate::support::package_index::{PackageIndex, WSGI, Wheel};
use crate::support::process;
use crate::support::stored::noise;
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

/// A WSGI application of one file, with an index of its own.
struct App {
    directory: tempfile::TempDir,
    index: PackageIndex,
    requirements: BTreeSet<String>,
    /// Counts what the index has got since: an old list keeps the versions that it was resolved to.
    releases: usize,
}

impl App {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let index = PackageIndex::start();
        for wheel in [
            Wheel::new("gunicorn", "27.0.1"),
            Wheel::new("small", "1.0"),
            Wheel::new("tiny-one", "2.0").file("deep/sub/deepest.py", b"x = 1\n"),
            Wheel::new("big", "1.0")
                .file("big/data.bin", &noise(1_500_000, 1))
                .requires("small>=1"),
            Wheel::new("pathy", "1.0").file("pathy.pth", b"/opt/nowhere\n"),
            Wheel::new("scripted", "1.0")
                .file("scripted_cli.py", b"def main(): pass\n")
                .file(
                    "scripted-1.0.dist-info/entry_points.txt",
                    b"[console_scripts]\nscripted = scripted_cli:main\n",
                ),
        ] {
            index.add(&wheel);
        }
        let mut app = Self {
            directory,
            index,
            requirements: BTreeSet::new(),
            releases: 0,
        };
        app.write("wsgi.py", WSGI);
        for name in ["big", "pathy", "scripted", "tiny-one"] {
            app.requirements.insert(name.into());
        }
        app.list();
        app
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes the list of requirements.
    fn list(&self) {
        let mut text = format!("# {}\n--index-url {}\n", self.releases, self.index.url());
        for line in &self.requirements {
            text.push_str(line);
            text.push('\n');
        }
        self.write("requirements.txt", &text);
    }

    fn require(&mut self, line: &str) {
        self.requirements.insert(line.into());
        self.list();
    }
}

/// As a build that installs everything in one tree: a variable for the installer is nothing that can
/// be shared.
const ONE_TREE: &[&str] = &["--build-env", "UV_NO_PROGRESS=1"];

fn layers_of<'r>(report: &'r Value, kind: &str) -> Vec<&'r Value> {
    report["layers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|layer| layer["kind"] == kind)
        .collect()
}

/// The digests of all layers: what the image's record says of the options stands elsewhere.
fn digests(report: &Value) -> Vec<&str> {
    let layers = report["layers"].as_array().unwrap();
    let digests = layers.iter().map(|layer| layer["digest"].as_str().unwrap());
    digests.collect()
}

/// Builds, and gives the report and what was written to stderr.
fn build(warpdrive: &Warpdrive, app: &App, name: &str, more: &[&str]) -> (Value, String) {
    let mut arguments = warpdrive.image_arguments(name);
    // The list names an index of this machine, and what a list names opens nothing.
    arguments.extend(["--network", "host"]);
    arguments.extend(["--json", "--explain"]);
    arguments.extend(more);
    let output = process::output(&mut warpdrive.command_in(
        app.path(),
        &["WARPDRIVE_LOG=warpdrive=debug"],
        &arguments,
    ));
    assert!(output.status.success(), "{}", process::words(&output));
    (
        serde_json::from_slice(&output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The trees of single distributions in the store.
fn fragments(warpdrive: &Warpdrive) -> Vec<PathBuf> {
    fs::read_dir(warpdrive.store().join("unpacked/root"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && path.to_string_lossy().contains("/fragment-"))
        .collect()
}

const IN_ONE_TREE: &str = "the dependencies are installed in one tree";

#[test]
fn one_by_one_and_all_at_once_give_the_same_image() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let app = App::new();
    let (shared, words) = build(&warpdrive, &app, "app", &[]);
    assert!(!words.contains(IN_ONE_TREE), "{words}");
    assert!(words.contains("6 distributions, 6 new"), "{words}");
    let (at_once, words) = build(&warpdrive, &app, "app", ONE_TREE);
    assert!(words.contains(IN_ONE_TREE), "{words}");
    assert_eq!(digests(&shared), digests(&at_once));
    let (anew, words) = build(&warpdrive, &app, "app", &["--no-cache"]);
    assert!(words.contains("6 distributions, 6 new"), "{words}");
    assert_eq!(shared["digest"], anew["digest"]);
    // Without the cache no kept tree is used, not even a damaged one.
    for tree in fragments(&warpdrive) {
        let _ = fs::remove_file(tree.join("opt/app-root/lib/python3.11/site-packages/small.py"));
    }
    let (anew, _) = build(&warpdrive, &app, "app", &["--no-cache"]);
    assert_eq!(shared["digest"], anew["digest"]);

    let single = Warpdrive::as_user(User::single_id(), PYTHON_311_RUN);
    let given = single.give(app.path(), "app");
    let theirs = single.image("app", &given, &[]);
    assert_eq!(shared["digest"], theirs["digest"]);
    // It works: the modules are where Python looks for them.
    let output = warpdrive.python(
        "app",
        "import big, small, tiny_one, deep.sub.deepest, pathy, scripted_cli; print(big.VERSION)",
    );
    assert_eq!(output.trim(), "1.0");
}

#[test]
fn another_application_shares_and_a_new_requirement_installs_only_itself() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let mut app = App::new();
    let (first, _) = build(&warpdrive, &app, "first", &[]);
    app.write("more.py", "");
    app.write(
        "requirements.txt",
        &fs::read_to_string(app.path().join("requirements.txt"))
            .unwrap()
            .replace('\n', "\n\n"),
    );
    let (second, words) = build(&warpdrive, &app, "second", &[]);
    assert_eq!(second["cache"]["dependencies"], "miss");
    assert!(words.contains("6 distributions, 0 new"), "{words}");
    let below = |report| {
        let mut digests = digests(report);
        digests.pop();
        digests.join(" ")
    };
    assert_eq!(below(&first), below(&second));
    assert!(
        layers_of(&second, "dependencies")
            .iter()
            .all(|layer| layer["cached"] == true)
    );

    app.index.add(&Wheel::new("newcomer", "1.0"));
    app.require("newcomer");
    let (third, words) = build(&warpdrive, &app, "second", &[]);
    assert!(words.contains("7 distributions, 1 new"), "{words}");
    assert!(
        words.contains("dependencies: run, because requirements.txt changed"),
        "{words}"
    );
    assert!(words.contains("Installed 1 package"), "{words}");
    let fresh: Vec<&Value> = layers_of(&third, "dependencies")
        .into_iter()
        .filter(|layer| layer["cached"] == false)
        .collect();
    assert_eq!(fresh.len(), 1, "{third:#}");
    let (slow, _) = build(&warpdrive, &app, "third", ONE_TREE);
    assert_eq!(digests(&third), digests(&slow));
}

#[test]
fn what_the_index_said_the_last_time_is_installed_while_it_is_asked() {
    let warpdrive = Warpdrive::with_own_trees(PYTHON_311_RUN);
    let app = App::new();
    let installed = warpdrive.store().join("cache/fragment");
    let forget = || {
        for tree in fragments(&warpdrive) {
            fs::remove_dir_all(tree).unwrap();
        }
        for kind in ["fragment", "fragment-layer", "dependencies"] {
            fs::remove_dir_all(warpdrive.store().join("cache").join(kind)).unwrap();
        }
    };
    let (first, _) = build(&warpdrive, &app, "app", &[]);
    forget();
    app.index
        .wait_for(move || fs::read_dir(&installed).is_ok_and(|found| found.count() >= 6));
    let (second, words) = build(&warpdrive, &app, "app", &[]);
    assert!(words.contains("6 distributions, 6 new"), "{words}");
    assert!(words.contains("Installed 6 packages"), "{words}");
    assert_eq!(first["digest"], second["digest"]);

    // It says something else this time: then that counts.
    forget();
    app.index.add(&Wheel::new("small", "1.1"));
    let (third, words) = build(&warpdrive, &app, "app", &[]);
    assert!(words.contains("6 distributions, 6 new"), "{words}");
    assert!(words.contains("Installed 1 package"), "{words}");
    assert!(!words.contains("small==1.0"), "{words}");
    assert_eq!(fragments(&warpdrive).len(), 7);
    let output = warpdrive.python("app", "import small; print(small.VERSION)");
    assert_eq!(output.trim(), "1.1");
    let (anew, _) = build(&warpdrive, &app, "app", &["--no-cache"]);
    assert_eq!(third["digest"], anew["digest"]);
}

/// The tree in which a build installs what it shares.
fn is_of_fragments(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("fragments")
}

#[test]
fn what_cannot_be_told_apart_is_installed_together() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let mut app = App::new();
    app.index
        .add(&Wheel::new("rival-a", "1").file("tests/__init__.py", b"a\n"));
    app.index
        .add(&Wheel::new("rival-b", "1").file("tests/__init__.py", b"b\n"));
    app.require("rival-a");
    // One of them alone is shared; the other comes later, and they meet.
    build(&warpdrive, &app, "app", &[]);
    app.require("rival-b");
    let (met, words) = build(&warpdrive, &app, "app", &[]);
    assert!(words.contains(IN_ONE_TREE), "{words}");
    assert!(words.contains("tests/__init__.py"), "{words}");
    // Where it is found out before the index answers, it is not tried again.
    for name in ["fragment", "dependencies"] {
        fs::remove_dir_all(warpdrive.store().join("cache").join(name)).unwrap();
    }
    // The kernel is asked, and not the directory: the tree may be there for less than a look takes.
    let scratch = warpdrive.store().join("tmp");
    let removed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&removed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let event = event.unwrap();
        if event.kind.is_remove() && event.paths.iter().any(|path| is_of_fragments(path)) {
            seen.store(true, Ordering::Relaxed);
        }
    })
    .unwrap();
    watcher
        .watch(&scratch, notify::RecursiveMode::NonRecursive)
        .unwrap();
    app.index.wait_for(move || removed.load(Ordering::Relaxed));
    let (again, words) = build(&warpdrive, &app, "app", &[]);
    assert!(words.contains("8 distributions, 8 new"), "{words}");
    assert!(!words.contains("Installed 8 packages"), "{words}");
    assert_eq!(met["digest"], again["digest"]);
    let (anew, _) = build(&warpdrive, &app, "app", &["--no-cache"]);
    assert_eq!(met["digest"], anew["digest"]);
}

#[test]
fn a_file_that_is_not_what_the_index_says_gets_nowhere() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let mut app = App::new();
    let wheel = Wheel::new("victim", "1.0");
    app.index.add(&wheel);
    app.index.spoil(&wheel);
    app.require("victim");
    let (code, words) = warpdrive.refuses(app.path(), &[]);
    assert_eq!(code, 3, "{words}");

    // The list's own hashes are heeded too, whatever the index says.
    let app = App::new();
    let wheel = Wheel::new("small", "1.0");
    let list = |hash: &str| {
        format!(
            "--index-url {}\nsmall==1.0 --hash=sha256:{hash}\ngunicorn==27.0.1 --hash=sha256:{}\n",
            app.index.url(),
            PackageIndex::hash(&Wheel::new("gunicorn", "27.0.1"))
        )
    };
    app.write("requirements.txt", &list(&"0".repeat(64)));
    let (code, words) = warpdrive.refuses(app.path(), &[]);
    assert_eq!(code, 3, "{words}");
    app.write("requirements.txt", &list(&PackageIndex::hash(&wheel)));
    let (_, words) = build(&warpdrive, &app, "app", &[]);
    assert!(!words.contains(IN_ONE_TREE), "{words}");
}

#[test]
fn a_new_release_comes_with_upgrade_only() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let app = App::new();
    let (first, _) = build(&warpdrive, &app, "app", &[]);
    app.index.add(&Wheel::new("small", "1.1"));
    let (second, words) = build(&warpdrive, &app, "app", &[]);
    assert_eq!(first["digest"], second["digest"]);
    assert!(
        words.contains("dependencies: not run, all is as it was"),
        "{words}"
    );
    let (third, words) = build(&warpdrive, &app, "app", &["--upgrade"]);
    assert!(words.contains("--upgrade was given"), "{words}");
    assert_ne!(first["digest"], third["digest"]);
    let (fourth, _) = build(&warpdrive, &app, "app", &[]);
    assert_eq!(third["digest"], fourth["digest"]);
}

#[test]
fn a_path_that_is_no_text_is_in_the_records_as_it_is() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let app = App::new();
    let hook = ".warpdrive/action_hooks/pre-build";
    app.write(
        hook,
        "#!/bin/sh\ncd /opt/app-root/lib/python3.11/site-packages\n: > \"$(printf '\\377.pth')\"\n",
    );
    fs::set_permissions(app.path().join(hook), fs::Permissions::from_mode(0o755)).unwrap();
    let (first, _) = build(&warpdrive, &app, "app", &[]);
    let script = "import os; print(b'\\xff.pth' in os.listdir(os.path.dirname(__import__('small').__file__).encode()))";
    assert_eq!(warpdrive.python("app", script).trim(), "True");
    let (second, words) = build(&warpdrive, &app, "app", &[]);
    assert!(words.contains("Dependencies unchanged"), "{words}");
    assert_eq!(first["digest"], second["digest"]);
}

#[test]
fn zstd_layers_hold_the_same() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let app = App::new();
    let (gzip, _) = build(&warpdrive, &app, "app", &[]);
    let (zstd, words) = build(&warpdrive, &app, "app", &["--compression", "zstd:9"]);
    assert!(words.contains("the compression changed"), "{words}");
    let diff_ids = |report: &Value| -> Vec<Value> {
        let layers = report["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer["diff_id"].clone())
            .collect()
    };
    assert_eq!(diff_ids(&gzip), diff_ids(&zstd));
    for layer in layers_of(&zstd, "dependencies") {
        assert_eq!(
            layer["media_type"],
            "application/vnd.oci.image.layer.v1.tar+zstd"
        );
    }
    let output = warpdrive.python("app", "import big; print(big.VERSION)");
    assert_eq!(output.trim(), "1.0");
}

/// A generator of numbers that a failing test can name.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// What may happen to an application between two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Content,
    /// A file's content, but neither its size nor its time.
    ContentUnseen,
    Mode,
    Link,
    Gone,
    Requirement,
    /// A file that `-r` names.
    Included,
    Hook,
    Variable,
    BuildVariable,
    Compression,
    Harden,
    Builder,
    /// `.warpdrive/environment`.
    Environment,
    /// A variable of the one who builds.
    Time,
    ReleaseUpgraded,
    Release,
}

const EDITS: [Edit; 17] = [
    Edit::Content,
    Edit::ContentUnseen,
    Edit::Mode,
    Edit::Link,
    Edit::Gone,
    Edit::Requirement,
    Edit::Included,
    Edit::Hook,
    Edit::Variable,
    Edit::BuildVariable,
    Edit::Compression,
    Edit::Harden,
    Edit::Builder,
    Edit::Environment,
    Edit::Time,
    Edit::ReleaseUpgraded,
    Edit::Release,
];

/// The same Python and the same packages, but a variable of its own.
const OTHER_BUILDER: &str = "other-builder";

/// How the next builds are asked for.
struct Asked {
    builder: &'static str,
    options: Vec<String>,
    compression: &'static str,
    harden: bool,
    time: usize,
    upgrade: bool,
}

impl Asked {
    fn new() -> Self {
        Self {
            builder: PYTHON_311_RUN,
            options: Vec::new(),
            compression: "gzip",
            harden: false,
            time: 1,
            upgrade: false,
        }
    }

    /// Builds, and gives the digest and whether the dependency phase was left out.
    fn build(
        &self,
        warpdrive: &Warpdrive,
        app: &App,
        forgotten: &str,
        fresh: bool,
    ) -> (String, bool) {
        let name = if fresh { "fresh" } else { "edited" };
        let mut arguments = vec!["image", name, "--json", "--builder", self.builder];
        arguments.extend(["--compression", self.compression]);
        arguments.extend(self.options.iter().map(String::as_str));
        let more = [
            (self.harden, "--harden"),
            (self.upgrade, "--upgrade"),
            (fresh, "--no-cache"),
        ];
        arguments.extend(more.iter().filter(|(said, _)| *said).map(|(_, word)| *word));
        let time = format!("SOURCE_DATE_EPOCH={}", 1_600_000_000 + self.time);
        let forgotten = format!("TEST_FORGOTTEN_INPUT={forgotten}");
        let mut command = warpdrive.command_in(app.path(), &[&time, &forgotten], &arguments);
        let output = process::output(&mut command);
        assert!(output.status.success(), "{}", process::words(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (
            report["digest"].as_str().unwrap().to_owned(),
            report["cache"]["dependencies"] == "hit",
        )
    }
}

/// The hook shows in the image whatever could have a say in it.
fn write_hook(app: &App, n: usize) {
    let hook = ".warpdrive/action_hooks/build";
    app.write(
        hook,
        &format!(
            "#!/bin/sh\necho {n} $SHADE $FLAVOUR $TINT $COLOUR > built.txt\n\
             python -c 'import small; print(small.VERSION)' >> built.txt\n"
        ),
    );
    fs::set_permissions(app.path().join(hook), fs::Permissions::from_mode(0o755)).unwrap();
}

fn edit(edit: Edit, n: usize, app: &mut App, asked: &mut Asked) {
    let path = |name: &str| app.path().join(name);
    match edit {
        Edit::Content => app.write("data.txt", &format!("{n}{n}{n}")),
        Edit::ContentUnseen => {
            let file = path("wsgi.py");
            let text = fs::read_to_string(&file).unwrap();
            let time = fs::metadata(&file).unwrap().modified().unwrap();
            let at = text.find("[b'").unwrap() + 3;
            let mut text = text.into_bytes();
            text[at] = b'0' + u8::try_from(n).unwrap();
            fs::write(&file, text).unwrap();
            let file = fs::File::options().append(true).open(&file).unwrap();
            file.set_modified(time).unwrap();
        }
        Edit::Mode => {
            app.write("tool.sh", "#!/bin/sh\n");
            let mode = if n.is_multiple_of(2) { 0o755 } else { 0o644 };
            fs::set_permissions(path("tool.sh"), fs::Permissions::from_mode(mode)).unwrap();
        }
        Edit::Link => {
            let _ = fs::remove_file(path("link"));
            symlink(format!("target-{}", n % 3), path("link")).unwrap();
        }
        Edit::Gone => {
            let _ = fs::remove_file(path("data.txt"));
        }
        Edit::Requirement => {
            let name = ["newcomer", "extra", "tiny-one", "pathy"][n % 4];
            app.index.add(&Wheel::new("newcomer", "1.0"));
            app.index.add(&Wheel::new("extra", "1.0"));
            if !app.requirements.remove(name) {
                app.requirements.insert(name.into());
            }
            app.list();
        }
        Edit::Included => {
            app.index.add(&Wheel::new("extra", "1.0"));
            let listed = if n.is_multiple_of(2) {
                "extra\n"
            } else {
                "small\n"
            };
            app.write("more.txt", listed);
            app.require("-r more.txt");
        }
        Edit::Hook => write_hook(app, n),
        Edit::Variable => asked.options = vec!["-e".into(), format!("SHADE={n}")],
        Edit::BuildVariable => asked.options = vec!["--build-env".into(), format!("FLAVOUR={n}")],
        Edit::Compression => asked.compression = ["gzip", "gzip:1", "zstd"][n % 3],
        Edit::Harden => asked.harden = n.is_multiple_of(2),
        Edit::Builder => asked.builder = [PYTHON_311_RUN, OTHER_BUILDER][n % 2],
        Edit::Environment => app.write(".warpdrive/environment", &format!("TINT={n}\n")),
        Edit::Time => asked.time = n,
        Edit::ReleaseUpgraded | Edit::Release => {
            // From here on no list is one of those that were resolved before.
            app.releases += 1;
            let version = format!("1.{}", app.releases);
            app.index.add(&Wheel::new("small", &version));
            asked.upgrade = edit == Edit::ReleaseUpgraded;
        }
    }
}

/// Ten edits. What a build that uses what it finds gave another image than one that does not: the
/// edits until then.
fn disagreement(warpdrive: &Warpdrive, seed: u64, forgotten: &str) -> Option<Vec<(Edit, usize)>> {
    let mut app = App::new();
    write_hook(&app, 0);
    let mut asked = Asked::new();
    let mut story = Vec::new();
    let mut last = asked.build(warpdrive, &app, forgotten, false).0;
    for (kind, n) in edits(seed) {
        if asked.upgrade {
            // An option may come back to what it was, and a list that was resolved then would too.
            app.list();
            asked.upgrade = false;
            last = asked.build(warpdrive, &app, forgotten, false).0;
        }
        story.push((kind, n));
        edit(kind, n, &mut app, &mut asked);
        if kind == Edit::Release {
            // Nobody asked for it, so nothing changes, until something else makes the list new.
            if asked.build(warpdrive, &app, forgotten, false) != (last, true) {
                return Some(story);
            }
            app.list();
        }
        let (cached, _) = asked.build(warpdrive, &app, forgotten, false);
        let (fresh, _) = asked.build(warpdrive, &app, "", true);
        if cached != fresh {
            return Some(story);
        }
        last = cached;
    }
    None
}

fn edits(seed: u64) -> Vec<(Edit, usize)> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // The first numbers of neighbouring seeds are much alike.
    for _ in 0..8 {
        dice.below(2);
    }
    let mut one = || (EDITS[dice.below(EDITS.len())], dice.below(10));
    (0..10).map(|_| one()).collect()
}

/// With a second builder image in the store.
fn with_two_builders() -> Warpdrive {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let layout = warpdrive.layout(PYTHON_311_RUN);
    let image = format!("{}:{PYTHON_311_RUN}", layout.display());
    process::run(
        Command::new(process::tool("umoci"))
            .args(["config", "--image", &image])
            .args(["--tag", "other", "--config.env", "COLOUR=blue"]),
    );
    let other = format!("oci:{}:other", layout.display());
    warpdrive.run(&["import", &other, OTHER_BUILDER]);
    fs::remove_dir_all(layout).unwrap();
    warpdrive
}

/// Whatever is edited, a build that may use what is there gives what one gives that may not. More
/// sequences: `WARPDRIVE_TEST_SEQUENCES=300`.
#[test]
fn after_any_edits_a_cached_build_is_a_fresh_build() {
    let sequences: u64 = std::env::var("WARPDRIVE_TEST_SEQUENCES")
        .map_or(3, |text| text.parse().expect("a number of sequences"));
    let seed: u64 = std::env::var("WARPDRIVE_TEST_SEED").map_or(1, |text| text.parse().unwrap());
    let warpdrive = with_two_builders();
    for sequence in seed..seed + sequences {
        let found = disagreement(&warpdrive, sequence, "");
        assert_eq!(found, None, "sequence {sequence}");
    }
}

/// What the test above is worth: a key without one of its inputs is found out. The sequences are the
/// first ones in which the edit that matters comes early; the others would show it, too.
#[test]
fn an_input_that_the_key_lacks_is_found_out() {
    let warpdrive = with_two_builders();
    for (forgotten, kind) in [
        ("the content of the source", Edit::ContentUnseen),
        ("the variable", Edit::Variable),
        ("the build variable", Edit::BuildVariable),
        ("the compression", Edit::Compression),
        ("the builder image", Edit::Builder),
        ("what the dependency phase gave", Edit::ReleaseUpgraded),
        ("the time of the source", Edit::Time),
    ] {
        let early = |seed: &u64| edits(*seed)[..2].iter().any(|(found, _)| *found == kind);
        let found = (1..=300)
            .filter(early)
            .take(6)
            .find_map(|seed| disagreement(&warpdrive, seed, forgotten));
        let story = found.unwrap_or_else(|| panic!("a key without {forgotten} is as good"));
        assert!(story.iter().any(|(found, _)| *found == kind), "{story:?}");
    }
}

const PASSWORD: &str = "correct-horse-battery";

/// Nothing that a build was told in confidence is in the store, nor what a hash of it would tell.
#[test]
fn no_secret_is_in_a_key() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let app = App::new();
    let place = warpdrive.place().join("token");
    let login = format!(
        "http://who:{PASSWORD}@{}",
        app.index.url().trim_start_matches("http://")
    );
    let build = |secret: &str, login: &str| {
        fs::write(&place, secret).unwrap();
        let token = format!("id=token,src={}", place.display());
        let mut arguments = warpdrive.image_arguments("app");
        arguments.extend(["--json", "--secret", &token]);
        let index = format!("UV_DEFAULT_INDEX={login}");
        let output = process::output(&mut warpdrive.command_in(app.path(), &[&index], &arguments));
        assert!(output.status.success(), "{}", process::words(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    build("first-secret-of-all", &login);
    let again = build(
        "quite-another-secret",
        &login.replace(PASSWORD, "staple-staple-staple"),
    );
    // Neither is part of a key.
    assert_eq!(again["cache"]["dependencies"], "hit");
    assert_eq!(again["cache"]["application"], "hit");
    let words = ["first-secret-of-all", PASSWORD].map(str::to_owned);
    let hashes = words
        .clone()
        .map(|word| sha256(word.as_bytes()).digest().to_owned());
    let mut seen = 0;
    for kind in ["dependencies", "application", "inputs", "last", "fragment"] {
        for entry in fs::read_dir(warpdrive.store().join("cache").join(kind)).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            for word in words.iter().chain(&hashes) {
                assert!(!text.contains(word), "{kind}: {text}");
            }
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}
