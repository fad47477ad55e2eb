//! The cache of pip and npm that lasts between builds: of one application, and in no layer.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::process::{self, words};
use crate::support::s2i::{Looked, assembling, s2i};
use crate::support::s2i_builders::{Builder, source};
use crate::support::users::User;
use crate::support::warpdrive::{Warpdrive, commit};

fn git(directory: &Path, arguments: &[&str]) -> Output {
    process::output(Command::new("git").arg("-C").arg(directory).args(arguments))
}

/// Says what it finds in the cache, and leaves the source's word there.
fn keeping() -> Builder {
    assembling(
        "cat \"$PIP_CACHE_DIR/word\" > /opt/app/seen 2> /dev/null || true
mkdir -p \"$PIP_CACHE_DIR\" \"$npm_config_cache\"
cp /tmp/src/word \"$PIP_CACHE_DIR/word\"
touch \"$npm_config_cache/x\"",
    )
}

/// Builds from `place` with this word in it; gives what assemble found.
fn found(warpdrive: &Warpdrive, place: &Path, word: &str, arguments: &[&str]) -> String {
    std::fs::write(place.join("word"), word).unwrap();
    found_from(warpdrive, place.to_str().unwrap(), arguments)
}

fn found_from(warpdrive: &Warpdrive, from: &str, arguments: &[&str]) -> String {
    let all = [&["build", from], arguments, &["--json"]].concat();
    let output = s2i(warpdrive, &all);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // The name, or the digest of what has none.
    let name = match arguments.get(1) {
        Some(name) if !name.starts_with('-') => (*name).to_owned(),
        _ => report["digest"].as_str().unwrap().to_owned(),
    };
    let files = warpdrive.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        &name,
        "--",
        "/bin/cat",
        "/opt/app/seen",
    ]);
    files.trim().to_owned()
}

#[test]
fn what_pip_and_npm_keep_is_one_applications_own() {
    let warpdrive = Warpdrive::new();
    keeping().put(&warpdrive.store(), "box");
    keeping()
        .label("other", "1")
        .put(&warpdrive.store(), "box2");
    let (one, two) = (source(&[("word", "")]), source(&[("word", "")]));
    let found = |place: &tempfile::TempDir, word: &str, arguments: &[&str]| {
        found(&warpdrive, place.path(), word, arguments)
    };
    assert_eq!(found(&one, "first", &["box", "app"]), "");
    assert_eq!(found(&one, "second", &["box", "app"]), "first");
    assert_eq!(found(&one, "third", &["box", "app:other-tag"]), "second");
    // Another source, name or builder, or an unknown one, gets an empty cache.
    assert_eq!(found(&two, "evil", &["box", "app"]), "");
    assert_eq!(found(&one, "evil", &["box", "team/app"]), "");
    assert_eq!(found(&one, "evil", &["box2", "app"]), "");
    assert_eq!(found(&one, "evil", &["box"]), "");
    // Switched off, and without any cache.
    assert_eq!(
        found(&one, "evil", &["box", "app", "--package-cache", "off"]),
        ""
    );
    assert_eq!(found(&one, "evil", &["box", "app", "--no-cache"]), "");
    assert_eq!(found(&one, "fourth", &["box", "app"]), "third");
    // What the source says about itself does not choose the cache.
    std::fs::create_dir(two.path().join(".git")).unwrap();
    let files = Looked::at(&warpdrive, "app").files();
    assert!(
        !files.keys().any(|path| path.starts_with("run")),
        "{files:?}"
    );
    // It is made again with an empty one, and is the same.
    let path = two.path().to_str().unwrap();
    std::fs::remove_dir(two.path().join(".git")).unwrap();
    assert_eq!(found(&two, "same", &["box", "two"]), "");
    warpdrive.run(&["verify-build", "two", "--source", path]);
    warpdrive.run(&["prune", "--keep", "0"]);
    assert!(!warpdrive.store().join("cache/s2i-packages").exists());
}

#[test]
fn it_lasts_for_users_without_root_too() {
    for user in [User::with_subids(), User::single_id()] {
        let warpdrive = Warpdrive::of_user(user);
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("box.tar");
        keeping().archive(&archive, "box");
        let user = warpdrive.user().unwrap();
        let archive = user.give(&archive, "box.tar");
        let from = format!("docker-archive:{}", archive.display());
        warpdrive.run(&["import", &from, "box"]);
        let source = source(&[("word", "")]);
        let given = warpdrive.give(source.path(), "source");
        assert_eq!(found(&warpdrive, &given, "first", &["box", "app"]), "");
        assert_eq!(
            found(&warpdrive, &given, "second", &["box", "app"]),
            "first"
        );
    }
}

/// A repository of this machine lies where another one lay before, as any directory does.
#[test]
fn repositories_at_one_path_are_not_one_application() {
    let warpdrive = Warpdrive::new();
    keeping().put(&warpdrive.store(), "box");
    let one = source(&[("word", "")]);
    commit(one.path());
    let branch = words(&git(one.path(), &["branch", "--show-current"]));
    let build = |word: &str, given: &str, more: &[&str]| {
        std::fs::write(one.path().join("word"), word).unwrap();
        git(
            one.path(),
            &["commit", "--quiet", "--all", "--message", word],
        );
        let from = given
            .replace("DIR", one.path().to_str().unwrap())
            .replace("BRANCH", branch.trim());
        found_from(&warpdrive, &from, more)
    };
    for given in ["DIR#BRANCH", "file://DIR"] {
        assert_eq!(build(&format!("nameless {given}"), given, &["box"]), "");
        assert_eq!(build(&format!("evil {given}"), given, &["box"]), "");
    }
    assert_eq!(build("first", "DIR#BRANCH", &["box", "app"]), "");
    assert_eq!(build("second", "file://DIR", &["box", "app"]), "first");
    // Another remote is another application's checkout.
    let other = ["remote", "add", "origin", "https://git.example/other.git"];
    git(one.path(), &other);
    assert_eq!(build("third", "DIR#BRANCH", &["box", "app"]), "");
}

/// What one build was given is not there for the next one, which was not given it.
#[test]
fn a_login_does_not_stay_in_it() {
    const URL: &str = "https://u:s3cret-passw0rd@pypi.example/simple";
    let warpdrive = Warpdrive::new();
    assembling(
        "cat \"$PIP_CACHE_DIR/conf\" > /opt/app/seen 2> /dev/null || true
mkdir -p \"$PIP_CACHE_DIR\"
echo \"${PIP_INDEX_URL:-none}\" > \"$PIP_CACHE_DIR/conf\"",
    )
    .put(&warpdrive.store(), "box");
    let source = source(&[("word", "x")]);
    let path = source.path().to_str().unwrap();
    let seen = |word: &str, more: &[&str]| {
        std::fs::write(source.path().join("word"), word).unwrap();
        let output = s2i(&warpdrive, &[&["build", path, "box", "app"], more].concat());
        assert!(output.status.success(), "{}", words(&output));
        let seen = Looked::at(&warpdrive, "app").content("opt/app/seen");
        (seen, words(&output))
    };
    let index = format!("PIP_INDEX_URL={URL}");
    let plain = "PIP_INDEX_URL=https://pypi.example/simple";
    assert_eq!(seen("1", &["--build-env", plain]).0, "");
    // The control: what is there without a login stays.
    let (found, said) = seen("2", &["--build-env", &index]);
    assert_eq!(found, "https://pypi.example/simple\n");
    assert!(
        said.contains("the cache of pip and npm") && said.contains("is removed"),
        "{said}"
    );
    assert!(!said.contains("s3cret"), "{said}");
    assert_eq!(seen("3", &[]).0, "");
}
