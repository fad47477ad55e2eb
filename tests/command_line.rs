//! Snapshots of the command line: what a newcomer's mistakes are answered. Every command's help is in
//! docs/reference/commands.md, which `reference` compares.

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
        ("help-unknown", &["help", "imgae"]),
        ("images-empty", &["images"]),
        ("container-ls-empty", &["container", "ls"]),
    ] {
        snapshot(name, arguments);
    }
}

#[test]
fn completions_and_manual_pages() {
    let place = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = warpdrive(&place.path().join("store"), &["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(script.contains("WARPDRIVE_COMPLETE"), "{shell}: {script}");
    }
    let output = warpdrive(&place.path().join("store"), &["man", "pages"]);
    assert!(output.status.success());
    assert!(place.path().join("here/pages/warpdrive-image.1").is_file());
}

/// The shells themselves are asked what they offer.
#[test]
fn shells_complete_the_names_of_images_and_builders() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("store");
    let store = warpdrive::store::Store::open(Some(&root)).unwrap();
    let made = crate::support::made::Made::new(&serde_json::json!({}));
    made.put(&store, "opal");
    made.put(&store, "beryl");
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_warpdrive"), bin.join("warpdrive")).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let offered = |shell: &str, script: &str| -> Vec<String> {
        let output = Command::new(shell)
            .args(["-c", script])
            .env_clear()
            .env("PATH", &path)
            .env("HOME", place.path())
            .env("WARPDRIVE_STORE", &root)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        words
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect()
    };
    for (line, expected) in [
        ("inspect ", &["beryl", "opal"][..]),
        ("run o", &["opal"]),
        (
            "builder build debian-11-python-3.9-",
            &["debian-11-python-3.9-run"],
        ),
        ("doc", &["doctor"]),
    ] {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let bash = format!(
            "source <(warpdrive completions bash); COMP_WORDS=(warpdrive {}); COMP_CWORD={}; \
             COMP_TYPE=9; _clap_complete_warpdrive warpdrive {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len(),
            words.last().unwrap(),
        );
        let mut found = offered("bash", &bash);
        found.retain(|word| !word.starts_with('-'));
        found.sort();
        assert_eq!(found, expected, "bash: {line}");
        let fish = format!("warpdrive completions fish | source; complete -C 'warpdrive {line}'");
        let mut found = offered("fish", &fish);
        found.retain(|word| !word.starts_with('-'));
        found.sort();
        assert_eq!(found, expected, "fish: {line}");
    }
}

/// At sixty columns no word is broken and no table is wider; colours come and go as asked.
#[test]
fn what_is_said_fits_the_terminal_and_has_the_colours_that_were_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], env: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warpdrive"));
        command
            .args(arguments)
            .current_dir(place.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .env("WARPDRIVE_STORE", place.path().join("store"));
        for (name, value) in env {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    for arguments in [
        &["builder", "list"][..],
        &["image", "My App"],
        &["builder", "build", "debian-99"],
        &["doctor"],
        &["run", "opal"],
        &["help", "run"],
    ] {
        let wide = run(arguments, &[]);
        let narrow = run(arguments, &[("COLUMNS", "60")]);
        for line in narrow.lines() {
            let one_word = !line.trim().contains(' ') || line.trim().starts_with("→ ");
            assert!(
                line.chars().count() <= 60 || one_word,
                "{arguments:?}: {line}"
            );
        }
        if arguments[0] != "help" && arguments.get(1) != Some(&"list") {
            let words = |text: &str| {
                text.split_whitespace()
                    // Free space: others write to this disk, too.
                    .filter(|word| word.parse::<f64>().is_err())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&narrow), words(&wide), "{arguments:?}");
        }
    }
    let coloured = |text: &str| text.contains('\u{1b}');
    assert!(!coloured(&run(&["run", "opal"], &[])));
    assert!(coloured(&run(&["--color", "always", "run", "opal"], &[])));
    assert!(coloured(&run(
        &["--color=always", "run"],
        &[("NO_COLOR", "1")]
    )));
    assert!(!coloured(&run(&["run", "--color", "never", "opal"], &[])));
}
