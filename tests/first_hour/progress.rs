//! What a person sees on a terminal while a build runs.

use std::process::{Command, Stdio};

use crate::support::process::{self, words};
use crate::support::source_tree::tree;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

/// What a command draws on a terminal of 60 columns.
fn drawn(warpdrive: &Warpdrive, arguments: &[&str]) -> String {
    process::tool("script");
    let command = warpdrive.command(arguments);
    let of_shell = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
    let line: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(of_shell)
        .collect();
    let line = format!("stty rows 40 cols 60; {}", line.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]);
    script.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    script.env("TERM", "xterm").stdin(Stdio::null());
    let output = script.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    words(&output)
}

/// Of an image that was made elsewhere nothing is unpacked.
#[test]
fn waits_before_a_first_run_and_for_what_reads_the_layers_are_seen() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let archive = warpdrive.place().join("it.tar");
    let archive = format!("oci-archive:{}", archive.display());
    warpdrive.run(&["export", PYTHON_311_RUN, &archive]);
    let elsewhere = Warpdrive::new();
    elsewhere.run(&["import", &archive, "it"]);
    for (arguments, what, result) in [
        (
            &[
                "run",
                "--rm",
                "--entrypoint",
                "/bin/echo",
                "it",
                "--",
                "well",
            ][..],
            "Unpacking",
            "well",
        ),
        (&["inspect", "it", "--packages"], "Reading", "NAME"),
        (&["audit", "it"], "Reading", "passed"),
    ] {
        let seen = drawn(&elsewhere, arguments);
        let (wait, rest) = seen.split_once(result).unwrap_or_else(|| panic!("{seen}"));
        assert!(wait.contains(what), "{arguments:?}: {seen}");
        assert!(!rest.contains(what), "{arguments:?}: {seen}");
    }
    // No word is broken but those that are wider than the terminal.
    let seen = drawn(&elsewhere, &["audit", "it", "--explain"]);
    let lines = seen
        .split(['\r', '\n'])
        .filter(|line| !line.contains('\u{1b}'));
    for line in lines {
        let indented = line.trim_start();
        let is_word = indented.split(' ').count() == 1;
        assert!(is_word || line.chars().count() <= 60, "{line:?} in {seen}");
    }
}

#[test]
fn each_part_of_a_build_that_takes_its_time_is_seen() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        ("requirements.txt", "flask\nsqlalchemy\n"),
        ("app.py", "from flask import Flask\napp = Flask(__name__)\n"),
    ]);
    let path = source.path().to_str().unwrap();
    let seen = drawn(&warpdrive, &["image", "shop", "--path", path]);
    // How far it is, of how much.
    for (what, unit) in [
        ("fetching ", " MB/"),
        ("installing ", "/"),
        ("compiling ", "/"),
        ("compressing ", "/"),
    ] {
        let frames: Vec<&str> = seen
            .split(['\r', '\n'])
            .filter(|it| it.contains(what))
            .collect();
        assert!(!frames.is_empty(), "{what} is not seen: {seen}");
        let is_told = |frame: &&&str| frame.split(what).nth(1).unwrap().contains(unit);
        assert!(frames.iter().any(|it| is_told(&it)), "{what}: {frames:?}");
    }
    for what in ["Putting the image together", "Auditing the image"] {
        assert!(seen.contains(what), "{what}: {seen}");
    }
    // Nothing goes on when the result is there.
    let (_, after) = seen.split_once("built shop in ").unwrap();
    assert!(!after.contains("Loading"), "{after}");
    let (_, table) = seen.split_once("KIND ").unwrap();
    assert!(!table.contains("Loading the application"), "{table}");
    // In a pipe there are no frames, and what was over in a moment is no line.
    let piped = words(&warpdrive.output(&["image", "shop", "--path", path, "--no-cache"]));
    assert!(
        !piped.contains('\r') && !piped.contains("Auditing the image"),
        "{piped}"
    );
}
