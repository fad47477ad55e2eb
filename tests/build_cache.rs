//! What a build finds done already: that it is used where it may be, never where it may not, and
//! that a build with it and one without give the same image.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::package_index::{PackageIndex, Wheel};
use support::process;
use support::users::User;
use support::warpdrive::{PYTHON_311_RUN, Warpdrive};

/// A WSGI application of one file, with an index of its own.
struct App {
    directory: tempfile::TempDir,
    index: PackageIndex,
    requirements: BTreeSet<String>,
    /// Counts what the index has got since: an old list keeps the versions that it was resolved to.
    releases: usize,
}

/// Incompressible and the same every time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
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
                .file("big/data.bin", &noise(1_500_000))
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
        app.write("wsgi.py", "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'1']\n");
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
    // Without the cache, not even a tree that was kept is used: nor one that is no more what it was.
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
    let output = warpdrive.run(&[
        "run",
        "--rm",
        "app",
        "--",
        "python",
        "-c",
        "import big, small, tiny_one, deep.sub.deepest, pathy, scripted_cli; print(big.VERSION)",
    ]);
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
    let output = warpdrive.run(&[
        "run",
        "--rm",
        "app",
        "--",
        "python",
        "-c",
        "import big; print(big.VERSION)",
    ]);
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

/// What happens to an application between two builds. Says what was done, and the options from now
/// on.
fn edit(dice: &mut Dice, app: &mut App, options: &mut Vec<String>) -> String {
    let n = dice.below(10);
    let path = |name: &str| app.path().join(name);
    match dice.below(11) {
        0 => {
            app.write("data.txt", &format!("{n}{n}{n}"));
            "a file's content".into()
        }
        1 => {
            // Same size, same time.
            let file = path("wsgi.py");
            let text = fs::read_to_string(&file).unwrap();
            let time = fs::metadata(&file).unwrap().modified().unwrap();
            let at = text.find("[b'").unwrap() + 3;
            let mut text = text.into_bytes();
            text[at] = b'0' + u8::try_from(n).unwrap();
            fs::write(&file, text).unwrap();
            fs::File::options()
                .append(true)
                .open(&file)
                .unwrap()
                .set_modified(time)
                .unwrap();
            "a file's content, but neither size nor time".into()
        }
        2 => {
            app.write("tool.sh", "#!/bin/sh\n");
            let mode = if n.is_multiple_of(2) { 0o755 } else { 0o644 };
            fs::set_permissions(path("tool.sh"), fs::Permissions::from_mode(mode)).unwrap();
            format!("a mode: {mode:o}")
        }
        3 => {
            let _ = fs::remove_file(path("link"));
            symlink(format!("target-{}", n % 3), path("link")).unwrap();
            "a link's target".into()
        }
        4 => {
            let name = ["small", "newcomer", "tiny-one", "extra"][n % 4];
            app.index.add(&Wheel::new(name, "1.0"));
            if app.requirements.contains(name) {
                app.requirements.remove(name);
            } else {
                app.requirements.insert(name.into());
            }
            app.list();
            format!("the requirement {name}")
        }
        5 => {
            app.index.add(&Wheel::new("extra", "1.0"));
            app.write(
                "more.txt",
                if n.is_multiple_of(2) {
                    "extra\n"
                } else {
                    "small\n"
                },
            );
            app.require("-r more.txt");
            "a file of -r".into()
        }
        6 => {
            app.write(
                ".warpdrive/action_hooks/build",
                &format!("#!/bin/sh\necho {n} > built.txt\n"),
            );
            fs::set_permissions(
                path(".warpdrive/action_hooks/build"),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
            "the hook build".into()
        }
        7 => {
            options.clear();
            options.extend(["-e".into(), format!("SHADE={n}")]);
            "a variable of the image".into()
        }
        8 => {
            options.clear();
            options.extend(["--build-env".into(), format!("FLAVOUR={n}")]);
            "a variable of the build".into()
        }
        9 => {
            app.index.add(&Wheel::new("small", &format!("1.{n}")));
            app.releases += 1;
            app.list();
            options.push("--upgrade".into());
            "a new release, with --upgrade".into()
        }
        _ => {
            let _ = fs::remove_file(path("data.txt"));
            "a file less".into()
        }
    }
}

/// Whatever is edited, a build that may use what is there gives what one gives that may not. More
/// sequences: `WARPDRIVE_TEST_SEQUENCES=300`.
#[test]
fn after_any_edits_a_cached_build_is_a_fresh_build() {
    let sequences: u64 = std::env::var("WARPDRIVE_TEST_SEQUENCES")
        .map_or(3, |text| text.parse().expect("a number of sequences"));
    let seed: u64 = std::env::var("WARPDRIVE_TEST_SEED").map_or(1, |text| text.parse().unwrap());
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    for sequence in 0..sequences {
        let mut dice = Dice((seed + sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut app = App::new();
        let mut options: Vec<String> = Vec::new();
        let mut story = Vec::new();
        for _ in 0..10 {
            options.retain(|option| option != "--upgrade");
            story.push(edit(&mut dice, &mut app, &mut options));
            let more: Vec<&str> = options.iter().map(String::as_str).collect();
            let (cached, _) = build(&warpdrive, &app, "edited", &more);
            let mut fresh = more.clone();
            fresh.push("--no-cache");
            let (fresh, _) = build(&warpdrive, &app, "fresh", &fresh);
            assert_eq!(
                cached["digest"],
                fresh["digest"],
                "sequence {}: {story:#?}",
                seed + sequence
            );
        }
    }
}
