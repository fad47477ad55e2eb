//! `image --write-lock`, and builds that go by a lock file.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::package_index::{PackageIndex, Wheel};
use crate::support::process;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, layers};

fn build(warpdrive: &Warpdrive, source: &Path, more: &[&str]) -> (Value, String) {
    let mut arguments = warpdrive.image_arguments("app");
    // The source names an index of this machine, and what a source names opens nothing for pip.
    arguments.extend(["--json", "--network", "host"]);
    arguments.extend(more);
    let output = process::output(&mut warpdrive.command_in(source, &[], &arguments));
    assert!(output.status.success(), "{}", process::words(&output));
    (
        serde_json::from_slice(&output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The version of a package in a lock file, and the hash of its wheel.
fn locked(lock: &Path, name: &str) -> (String, String) {
    let document: toml::Table = fs::read_to_string(lock).unwrap().parse().unwrap();
    let packages = document["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"].as_str() == Some(name));
    let package = package.unwrap_or_else(|| panic!("no {name} in {document:#?}"));
    (
        package["version"].as_str().unwrap().to_owned(),
        package["wheels"][0]["hashes"]["sha256"]
            .as_str()
            .unwrap()
            .to_owned(),
    )
}

/// In the place of the lock that is to be written, the source has something that never ends.
#[test]
fn what_lies_where_a_lock_is_written_is_replaced() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    index.add(&Wheel::new("small", "1.0"));
    let place = index.app(&["small"]);
    let lock = place.path().join("pylock.toml");
    process::run(Command::new("mkfifo").arg(&lock));
    build(&warpdrive, place.path(), &["--write-lock"]);
    assert_eq!(locked(&lock, "small").0, "1.0");
}

#[test]
fn what_was_installed_is_written_down_and_installed_again() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    let small = Wheel::new("small", "1.0");
    for wheel in [
        small.clone(),
        Wheel::new("gunicorn", "27.0.1"),
        Wheel::new("uvicorn", "9.0"),
        Wheel::new("user-of-small", "2.0")
            .requires("small>=1")
            .requires("uvicorn"),
    ] {
        index.add(&wheel);
    }
    let list = index.list(&["user-of-small"]);
    let place = index.app(&["user-of-small"]);
    let source = place.path();
    let lock = source.join("pylock.toml");

    let (first, _) = build(&warpdrive, source, &["--write-lock"]);
    assert_eq!(
        locked(&lock, "small"),
        ("1.0".into(), PackageIndex::hash(&small))
    );
    assert_eq!(locked(&lock, "gunicorn").0, "27.0.1");
    // The image says so, too.
    let inspected: Value =
        serde_json::from_str(&warpdrive.run(&["inspect", "app", "--json"])).unwrap();
    let text = inspected.to_string();
    assert!(text.contains("small-1.0-py3-none-any.whl"), "{text}");
    assert!(text.contains(&PackageIndex::hash(&small)), "{text}");
    assert!(!text.contains(&index.url()), "{text}");

    // Later releases change nothing, with any installer.
    index.add(&Wheel::new("small", "1.1"));
    let dependencies = layers(&first, "dependencies");
    for more in [
        &["--no-cache"][..],
        &["--no-cache", "--build-env", "UV_NO_PROGRESS=1"],
        &["--no-cache", "--set", "installer=pip"],
    ] {
        let (again, words) = build(&warpdrive, source, more);
        assert!(words.contains("(pylock.toml)"), "{words}");
        let found = layers(&again, "dependencies");
        if !more.contains(&"--set") {
            assert_eq!(found, dependencies, "{more:?}");
        }
        // Not the server that something else needs.
        assert_eq!(
            again["plan"]["start"]["server"],
            first["plan"]["start"]["server"]
        );
        let version = warpdrive.python("app", "import small; print(small.VERSION)");
        assert_eq!(version.trim(), "1.0", "{more:?}");
    }
    // Without a network no address of the source is asked.
    let asked = index.asked().len();
    let empty = Warpdrive::with(PYTHON_311_RUN);
    let (status, words) = empty.refuses(source, &["--network", "none"]);
    assert_eq!(status, 3, "{words}");
    assert_eq!(index.asked().len(), asked, "{:?}", index.asked());

    // Written again by its own means it is the same.
    let before = fs::read(&lock).unwrap();
    build(&warpdrive, source, &["--write-lock"]);
    assert_eq!(before, fs::read(&lock).unwrap());

    others_understand_it(&warpdrive, source);

    // A changed list, or `--upgrade`, overrides the lock.
    fs::write(
        source.join("requirements.txt"),
        format!("{list}small<1.1\n"),
    )
    .unwrap();
    let (_, words) = build(&warpdrive, source, &[]);
    assert!(
        words.contains("pylock.toml is ignored: the requirements changed"),
        "{words}"
    );
    fs::write(source.join("requirements.txt"), &list).unwrap();
    let (_, words) = build(&warpdrive, source, &["--upgrade", "--write-lock"]);
    assert!(words.contains("wrote "), "{words}");
    assert_eq!(locked(&lock, "small").0, "1.1");

    // A file that is not the one of the lock gets nowhere.
    let text = fs::read_to_string(&lock).unwrap();
    let hash = locked(&lock, "small").1;
    fs::write(&lock, text.replace(&hash, &"0".repeat(64))).unwrap();
    let (code, words) = warpdrive.refuses(source, &[]);
    assert_eq!(code, 3, "{words}");
    fs::write(
        &lock,
        "lock-version = \"1.0\"\n[[packages]]\nname = \"x\"\n",
    )
    .unwrap();
    let (code, words) = warpdrive.refuses(source, &[]);
    assert_eq!(code, 2, "{words}");
    assert!(
        words.contains("pylock.toml cannot be installed: the package `x` has no version"),
        "{words}"
    );
}

/// `uv pip install -r pylock.toml`, without a word of ours.
fn others_understand_it(warpdrive: &Warpdrive, source: &Path) {
    let tools = fs::read_dir(warpdrive.store().join("cache")).unwrap();
    let mut uv = tools.map(|entry| entry.unwrap().path().join("bin/uv"));
    let uv: PathBuf = uv.find(|path| path.is_file()).unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut command = Command::new(uv);
    command
        .args([
            "pip",
            "install",
            "--no-config",
            "--no-cache",
            "--python-version",
            "3.11",
        ])
        .arg("--target")
        .arg(target.path())
        .arg("-r")
        .arg(source.join("pylock.toml"));
    process::run(&mut command);
    let module = fs::read_to_string(target.path().join("small.py")).unwrap();
    assert_eq!(module, "VERSION = \"1.0\"\n");
}

#[test]
fn there_is_no_lock_of_what_was_built_here() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let place = index.app(&["gunicorn"]);
    let source = place.path();
    let more = ["--build-env", "UV_NO_PROGRESS=1", "--write-lock"];
    let (code, words) = warpdrive.refuses(source, &more);
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("there is no lock file of this build"),
        "{words}"
    );
    assert!(!source.join("pylock.toml").exists());
}
