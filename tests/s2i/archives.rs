//! Sources in archives and on standard input.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::process;
use crate::support::repository::{Place, preview};
use crate::support::warpdrive::{Warpdrive, copy_of, example};

#[test]
fn archives_and_standard_input() {
    let place = Place::new();
    let source = copy_of(&example("flask"), false);
    let (expected, _) = place.files(&["--path", source.path().to_str().unwrap()]);
    let at = |name: &str| place.directory.path().join(name);
    let tar = |more: &[&str], name: &str| {
        process::run(
            Command::new("tar")
                .arg("--create")
                .args(more)
                .arg("--file")
                .arg(at(name))
                .arg("-C")
                .arg(source.path())
                .arg("."),
        );
    };
    tar(&[], "app.tar");
    tar(&["--gzip"], "app.tar.gz");
    tar(&["--zstd"], "app.tar.zst");
    process::run(
        Command::new(process::tool("zip"))
            .args(["--quiet", "--recurse-paths", "--symlinks"])
            .arg(at("app.zip"))
            .arg(".")
            .current_dir(source.path()),
    );
    for name in ["app.tar", "app.tar.gz", "app.tar.zst", "app.zip"] {
        let (files, words) = place.files(&["--path", at(name).to_str().unwrap()]);
        assert_eq!(files, expected, "{name}: {words}");
    }
    for name in ["app.tar", "app.tar.gz"] {
        let output = preview(
            &place.store(),
            &[],
            Some(&fs::read(at(name)).unwrap()),
            &["--path", "-"],
        );
        assert!(output.status.success(), "{}", process::words(&output));
    }
    let output = preview(
        &place.store(),
        &[],
        Some(&fs::read(at("app.zip")).unwrap()),
        &["--path", "-"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        process::words(&output).contains("give it as a file"),
        "{}",
        process::words(&output)
    );

    // A member that climbs out, as GNU tar packs it.
    fs::write(place.directory.path().join("outside"), "x").unwrap();
    process::run(
        Command::new("tar")
            .args(["--create", "--absolute-names", "--file"])
            .arg(at("evil.tar"))
            .arg("../outside")
            .current_dir(place.store()),
    );
    let (code, words) = place.refuses(&["--path", at("evil.tar").to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(words.contains("its name has `..` in it"), "{words}");
}

/// One terabyte that is not there, as GNU tar packs it: kilobytes.
#[test]
fn a_terabyte_of_nothing_is_refused() {
    let place = Place::new();
    let source = place.directory.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    let archive = place.directory.path().join("huge.tar");
    process::run(
        Command::new("tar")
            .args(["--create", "--sparse", "--file"])
            .arg(&archive)
            .arg("-C")
            .arg(&source)
            .arg("."),
    );
    let (code, words) = place.refuses(&["--path", archive.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(words.contains("sparse file"), "{words}");
}

#[test]
fn whoever_waits_for_standard_input_can_be_interrupted() {
    let warpdrive = Warpdrive::new();
    let mut child = warpdrive
        .command(&["s2i", "build", "-", "builder", "app"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let tmp = warpdrive.store().join("tmp");
    let begun = process::poll(std::time::Duration::from_mins(1), || {
        let mut entries = fs::read_dir(&tmp).ok()?.flatten();
        entries.find_map(|entry| entry.path().join("source").is_dir().then_some(()))
    });
    assert!(begun.is_some(), "nothing was begun");
    process::run(
        Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string()),
    );
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        process::words(&output)
    );
    warpdrive.leaves_nothing();
}
