//! Snapshots of the command line: every command's help, and what a newcomer's mistakes are answered.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output};

/// Runs the tool with an environment of its own and an empty store.
fn warpdrive(store: &std::path::Path, arguments: &[&str]) -> Output {
    // Empty, and beside the store.
    let elsewhere = store.with_file_name("here");
    std::fs::create_dir_all(&elsewhere).unwrap();
    Command::new(env!("CARGO_BIN_EXE_warpdrive"))
        .args(arguments)
        .current_dir(&elsewhere)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/nonexistent")
        .env("WARPDRIVE_STORE", store)
        .output()
        .unwrap()
}

/// Status, stdout and stderr in one text, without paths that differ from run to run.
fn words(output: &Output, place: &std::path::Path) -> String {
    format!(
        "status: {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    )
    .replace(&place.display().to_string(), "[PLACE]")
}

fn snapshot(name: &str, arguments: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let output = warpdrive(&place.path().join("store"), arguments);
    insta::assert_snapshot!(name, words(&output, place.path()));
}

/// The names of the subcommands that `--help` of some command lists.
fn subcommands(path: &[String]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("-h");
    let output = warpdrive(&place.path().join("store"), &arguments);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[test]
fn help_of_every_command() {
    let mut pending = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = pending.pop() {
        seen += 1;
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let name = format!("help-{}", path.join("-"));
        snapshot(name.trim_end_matches('-'), &arguments);
        for command in subcommands(&path) {
            let mut below = path.clone();
            below.push(command);
            pending.push(below);
        }
    }
    assert!(seen > 25, "{seen} commands have help");
}

#[test]
fn mistakes_of_newcomers() {
    for (name, arguments) in [
        ("no-command", &[][..]),
        ("unknown-command", &["buidl"]),
        ("image-without-name", &["image"]),
        ("image-bad-name", &["image", "Opal"]),
        ("image-empty-directory", &["image", "opal"]),
        (
            "image-no-directory",
            &["image", "opal", "--path", "nowhere"],
        ),
        ("image-push-without-registry", &["image", "opal", "--push"]),
        ("image-bad-output", &["image", "opal", "--output", "tar:x"]),
        ("image-bad-variable", &["image", "opal", "-e", "1A=x"]),
        ("run-missing-image", &["run", "opal"]),
        ("inspect-missing-image", &["inspect", "opal"]),
        ("inspect-missing-image-json", &["inspect", "opal", "--json"]),
        ("rm-missing-image", &["rm", "opal"]),
        ("tag-missing-image", &["tag", "opal", "opal:2"]),
        ("push-without-registry", &["push", "opal"]),
        (
            "import-missing-file",
            &["import", "oci-archive:nowhere.tar"],
        ),
        ("builder-unknown", &["builder", "build", "debian-99"]),
        ("images-empty", &["images"]),
        ("container-ls-empty", &["container", "ls"]),
    ] {
        snapshot(name, arguments);
    }
}

#[test]
fn completions_and_manual_pages() {
    let place = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = warpdrive(&place.path().join("store"), &["completions", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("builder"));
    }
    let output = warpdrive(&place.path().join("store"), &["man", "pages"]);
    assert!(output.status.success());
    assert!(place.path().join("here/pages/warpdrive-image.1").is_file());
}
