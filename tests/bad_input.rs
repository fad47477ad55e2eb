//! Bad input: each with a clear error, the right exit code, and nothing lost.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::interrupted;
use crate::support::process;
use crate::support::source_tree::tree;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example};

const APP: (&str, &str) = (
    "app.py",
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n",
);

/// The error has this exit code and all of these words, and none that a person cannot use.
#[track_caller]
fn refused(warpdrive: &Warpdrive, source: &Path, more: &[&str], code: i32, expected: &[&str]) {
    let (status, words) = warpdrive.refuses(source, more);
    for part in expected {
        assert!(words.contains(part), "`{part}` is missing in:\n{words}");
    }
    for raw in ["panicked", "Error {", "Os {", "unwrap()"] {
        assert!(!words.contains(raw), "`{raw}` in:\n{words}");
    }
    assert_eq!(status, code, "{words}");
    let left: Vec<_> = fs::read_dir(warpdrive.store().join("tmp"))
        .map(|entries| {
            entries
                .filter_map(Result::ok)
                .map(|e| e.file_name())
                .collect()
        })
        .unwrap_or_default();
    assert!(left.is_empty(), "left in the store: {left:?}");
}

#[test]
fn names_that_are_none_and_sources_that_are_not_there() {
    let warpdrive = Warpdrive::new();
    let source = tree(&[APP]);
    for name in ["Opal", "opal:", "-opal", "a//b", "opal@sha256:12"] {
        let output = warpdrive.output(&[
            "image",
            "--path",
            source.path().to_str().unwrap(),
            "--",
            name,
        ]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{name}: {}",
            process::words(&output)
        );
    }
    refused(
        &warpdrive,
        source.path(),
        &["--path", "/nowhere"],
        2,
        &["/nowhere"],
    );
    let empty = tempfile::tempdir().unwrap();
    refused(&warpdrive, empty.path(), &[], 2, &["no file"]);
}

#[test]
fn an_app_that_cannot_be_found_says_what_was_looked_for() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let none = tree(&[("util.py", "x = 1\n"), ("requirements.txt", "flask\n")]);
    let words = ["WSGI or ASGI", "app.py", "Read: util.py"];
    refused(&warpdrive, none.path(), &[], 3, &words);
    let two = tree(&[
        (
            "wsgi.py",
            "from flask import Flask\none = Flask('a')\ntwo = Flask('b')\n",
        ),
        ("requirements.txt", "flask\n"),
    ]);
    refused(&warpdrive, two.path(), &[], 3, &["one", "two"]);
}

#[test]
fn requirements_that_do_not_exist() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        APP,
        (
            "requirements.txt",
            "this-distribution-does-not-exist-anywhere==1.0\n",
        ),
    ]);
    refused(
        &warpdrive,
        source.path(),
        &[],
        3,
        &["this-distribution-does-not-exist-anywhere"],
    );
}

#[test]
fn django_mistakes_are_told_with_their_remedy() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("django"), false);
    let settings = process::run(
        Command::new("find")
            .arg(source.path())
            .args(["-name", "settings.py"]),
    );
    let settings = Path::new(settings.trim());
    let text = fs::read_to_string(settings).unwrap();

    fs::write(
        settings,
        format!("{text}\nSTATICFILES_DIRS = [BASE_DIR / 'no-such-directory']\n"),
    )
    .unwrap();
    // Django goes on without it, unless a front end is to make it.
    let arguments = warpdrive.image_arguments("static");
    let built = process::output(&mut warpdrive.command_in(source.path(), &[], &arguments));
    let words = process::words(&built);
    assert!(built.status.success(), "{words}");
    assert!(
        words.contains("STATICFILES_DIRS names a directory"),
        "{words}"
    );
    fs::write(source.path().join("package.json"), "{}").unwrap();
    refused(
        &warpdrive,
        source.path(),
        &[],
        3,
        &["no-such-directory", "STATICFILES_DIRS"],
    );
    fs::remove_file(source.path().join("package.json")).unwrap();

    fs::write(
        settings,
        format!("{text}\nimport a_module_that_is_missing\n"),
    )
    .unwrap();
    refused(
        &warpdrive,
        source.path(),
        &[],
        3,
        &["a_module_that_is_missing"],
    );
}

#[test]
fn builders_that_are_none() {
    let warpdrive = Warpdrive::new();
    let source = tree(&[APP]);
    // Nothing listens there.
    refused(
        &warpdrive,
        source.path(),
        &["--builder", "127.0.0.1:1/no/such:builder"],
        5,
        &["127.0.0.1:1"],
    );
    refused(
        &warpdrive,
        source.path(),
        &["--builder", PYTHON_311_RUN],
        1,
        &[
            "not been made",
            "warpdrive builder build debian-12-python-3.11",
        ],
    );
    let empty = crate::support::images::Tiny::new();
    warpdrive.run(&["import", &empty.reference(), "busybox"]);
    refused(
        &warpdrive,
        source.path(),
        &["--builder", "busybox"],
        1,
        &["busybox", "no Python 3"],
    );
}

#[test]
fn odd_files_in_the_source() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[APP]);
    let place = |name: &str| source.path().join(name);
    process::run(Command::new("mkfifo").arg(place("pipe")));
    let _socket = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
    symlink("nowhere", place("dangling")).unwrap();
    fs::write(place("plain.txt"), "x").unwrap();
    {
        use std::os::unix::ffi::OsStrExt;
        fs::write(
            source
                .path()
                .join(std::ffi::OsStr::from_bytes(b"latin-\xe9.txt")),
            "x",
        )
        .unwrap();
    }
    let output = process::output(&mut warpdrive.command_in(source.path(), &[], &["image", "odd"]));
    let words = process::words(&output);
    assert!(output.status.success(), "{words}");
    for name in ["pipe", "socket"] {
        assert!(words.contains(name), "{name} is not named in:\n{words}");
    }

    symlink("../../../etc/passwd", place("outside")).unwrap();
    let (_, words) =
        match process::output(&mut warpdrive.command_in(source.path(), &[], &["image", "odd"])) {
            output if output.status.success() => (0, process::words(&output)),
            output => (output.status.code().unwrap_or(-1), process::words(&output)),
        };
    assert!(words.contains("outside"), "{words}");
}

/// A name that forges a line of ours, hides what follows, or turns its direction.
#[test]
fn names_of_files_are_shown_escaped() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[APP]);
    let names = [
        "a\nwarning: all is well",
        "b\u{1b}[8mhidden.pem",
        "c\u{202e}gpj.pem",
        "d\r\u{1b}[2Kgone",
    ];
    for name in names {
        process::run(Command::new("mkfifo").arg(source.path().join(name)));
    }
    for name in &names[1..3] {
        fs::remove_file(source.path().join(name)).unwrap();
        fs::write(source.path().join(name), "-----BEGIN PRIVATE KEY-----").unwrap();
    }
    for more in [&["image", "odd"][..], &["image", "odd", "--dry-run"]] {
        let output = process::output(&mut warpdrive.command_in(source.path(), &[], more));
        let words = process::words(&output);
        assert!(output.status.success(), "{words}");
        assert!(
            !words
                .lines()
                .any(|line| line.starts_with("warning: all is well")),
            "{words}"
        );
        for raw in ['\u{1b}', '\u{202e}', '\r'] {
            assert!(!words.contains(raw), "{raw:?}: {words:?}");
        }
        for shown in ["b\\u{1b}[8mhidden.pem", "c\\u{202e}gpj.pem"] {
            assert!(words.contains(shown), "{shown}: {words}");
        }
    }
    // In JSON the name is what it was, without the bytes that do something.
    let output = process::output(&mut warpdrive.command_in(
        source.path(),
        &[],
        &["image", "odd", "--dry-run", "--json"],
    ));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains('\u{202e}'), "{text:?}");
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
}

/// Each would end the process if its depth were not bounded.
#[test]
fn texts_without_an_end_of_their_depth() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let many = |text: &str| text.repeat(100_000);
    let application = APP.1;
    for (file, text) in [
        ("wsgi.py", format!("application = {}1\n", many("-"))),
        ("wsgi.py", format!("{application}x = {}\n", many("["))),
        (
            "manage.py",
            format!("DJANGO_SETTINGS_MODULE = {}1\n", many("(")),
        ),
        ("pyproject.toml", format!("x = {}\n", many("["))),
        (
            "pyproject.toml",
            format!("{} = 1\n", vec!["a"; 100_000].join(".")),
        ),
        (
            "pyproject.toml",
            format!("[{}]\n", vec!["a"; 100_000].join(".")),
        ),
        ("pyproject.toml", format!("x = {}\n", many("{a="))),
        ("pylock.toml", format!("x = {}\n", many("["))),
        ("requirements.txt", format!("six; {}\n", many("("))),
        ("requirements.txt", format!("six{}\n", many("["))),
        (
            "setup.cfg",
            format!("[options]\ninstall_requires = {}\n", many("[")),
        ),
        (".warpdrive/environment", format!("A={}\n", many("$("))),
        ("uv.lock", format!("x = {}\n", many("["))),
    ] {
        let source = tree(&[APP, (file, &text)]);
        for more in [
            &["image", "odd", "--dry-run"][..],
            // The executable of the image reads them, too; nothing is fetched.
            &["image", "odd", "--network", "none"],
        ] {
            let output = process::output(&mut warpdrive.command_in(source.path(), &[], more));
            let words = process::words(&output);
            let code = output.status.code();
            // A command line that is not understood would read no file.
            assert!(!words.contains("Usage:"), "{words}");
            assert!(
                code.is_some_and(|code| code < 6),
                "{file} {}: {code:?} {words}",
                &text[..40]
            );
            assert!(
                !words.contains("panicked") && !words.contains("overflow"),
                "{words}"
            );
        }
    }
}

#[test]
fn an_unreadable_file_is_named() {
    // Root reads everything: this is for a user.
    let warpdrive = Warpdrive::as_user(crate::support::users::User::single_id(), PYTHON_311_RUN);
    let source = tree(&[APP, ("secret.txt", "x")]);
    let source = warpdrive.give(source.path(), "source");
    // Somebody else's: a file of one's own can be read in one's user namespace whatever its mode.
    for (program, change) in [("chown", "0:0"), ("chmod", "600")] {
        process::run(
            process::as_root(program)
                .arg(change)
                .arg(source.join("secret.txt")),
        );
    }
    let (code, words) = warpdrive.refuses(&source, &[]);
    assert!(words.contains("secret.txt"), "{words}");
    assert_eq!(code, 1, "{words}");
}

#[test]
fn a_corrupt_blob_is_found_by_its_digest_and_nothing_is_built_on_it() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    let report = warpdrive.image("flask", source.path(), &[]);
    let digest = report["config_digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:")
        .to_owned();
    let blob = warpdrive.store().join("blobs/sha256").join(&digest);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[10] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let output = warpdrive.output(&["inspect", "flask"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        process::words(&output).contains(&digest[..12]),
        "{}",
        process::words(&output)
    );
    // A rebuild puts it right.
    let again = warpdrive.image("flask", source.path(), &[]);
    assert_eq!(again["digest"], report["digest"]);
    warpdrive.run(&["inspect", "flask"]);
}

#[test]
fn a_damaged_base_layer_is_found_by_its_digest_and_set_aside() {
    let mut warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[APP]);
    // The blobs are hard links: the damage goes to a copy.
    warpdrive.forget_trees();
    let blob = fs::read_dir(warpdrive.store().join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let digest = blob.file_name().unwrap().to_str().unwrap().to_owned();
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let expected = ["is damaged", "pull or build the image again", &digest];
    refused(&warpdrive, source.path(), &[], 1, &expected);
    assert!(!blob.exists(), "nothing can be built on it again");
    refused(
        &warpdrive,
        source.path(),
        &[],
        1,
        &["is not in the store", &digest],
    );
}

#[test]
fn an_assemble_that_fails_or_hangs_leaves_nothing_and_keeps_the_previous_image() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    let report = warpdrive.image("refused", source.path(), &[]);
    let hooks = source.path().join(".warpdrive/action_hooks");
    fs::create_dir_all(&hooks).unwrap();
    let hook = |text: &str| {
        fs::write(hooks.join("build"), format!("#!/bin/sh\n{text}\n")).unwrap();
        process::run(Command::new("chmod").arg("+x").arg(hooks.join("build")));
    };
    hook("echo the last words; exit 42");
    refused(&warpdrive, source.path(), &[], 3, &["the last words", "42"]);

    hook("echo started; sleep 600 & sleep 600");
    refused(
        &warpdrive,
        source.path(),
        &["--timeout", "8s"],
        3,
        &["time limit"],
    );
    let processes = process::run(Command::new("ps").args(["-eo", "args"]));
    assert!(
        !processes.lines().any(|line| line.trim() == "sleep 600"),
        "{processes}"
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(&warpdrive.store().display().to_string()),
        "{mounts}"
    );

    let kept = warpdrive.run(&["inspect", "refused", "--json"]);
    assert!(kept.contains(report["digest"].as_str().unwrap()), "{kept}");
}

#[test]
fn ctrl_c_ends_everything() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    let hooks = source.path().join(".warpdrive/action_hooks");
    fs::create_dir_all(&hooks).unwrap();
    fs::write(hooks.join("build"), "#!/bin/sh\ntouch here\nsleep 601\n").unwrap();
    process::run(Command::new("chmod").arg("+x").arg(hooks.join("build")));
    let child = warpdrive
        .command_in(source.path(), &[], &["image", "interrupted"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let running = || {
        process::run(Command::new("ps").args(["-eo", "args"]))
            .lines()
            .any(|line| line.trim() == "sleep 601")
    };
    process::poll(std::time::Duration::from_mins(2), || {
        running().then_some(())
    })
    .expect("the hook runs");
    interrupted::interrupt(&warpdrive, child, "-INT");
    assert!(!running());
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    // A small file system of the test's own, in a mount namespace that ends with the command.
    let warpdrive = Warpdrive::new();
    let script = "mount -t tmpfs -o size=8m tmpfs \"$1\" && shift && exec \"$@\"";
    let small = warpdrive.place().join("small");
    fs::create_dir(&small).unwrap();
    let tiny = crate::support::images::Tiny::new();
    fs::write(tiny.directory().join("large"), vec![0_u8; 1]).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&small)
        .arg("sh")
        .arg("-c")
        .arg(format!(
            "head -c 8000000 /dev/zero > {0}/fill; exec {1} --store {0}/store import {2} tiny",
            small.display(),
            crate::support::warpdrive::binary().display(),
            tiny.reference(),
        ));
    let output = process::output(&mut command);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("full") || words.contains("space"), "{words}");
}

#[test]
fn a_server_that_cannot_begin_says_why_and_what_to_do() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let module = format!(
        "import os\nos.environ['DATABASE_URL']\nimport pkg_resources\n\n{}",
        APP.1
    );
    let source = tree(&[("wsgi.py", &module)]);
    warpdrive.image("dies", source.path(), &["--no-smoke"]);
    for (more, expected) in [
        (
            &[][..],
            &["KeyError: 'DATABASE_URL'", "-e DATABASE_URL=…"][..],
        ),
        (
            &["-e", "DATABASE_URL=x"],
            &["No module named 'pkg_resources'", "setuptools<82"],
        ),
    ] {
        let arguments = [&["run", "--rm", "--network", "none"], more, &["dies"]].concat();
        let output = warpdrive.output(&arguments);
        let words = process::words(&output);
        assert!(!output.status.success(), "{words}");
        assert!(words.contains("wsgi cannot be imported"), "{words}");
        for part in expected {
            assert!(words.contains(part), "`{part}` is missing in:\n{words}");
        }
    }

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("PORT={}", taken.local_addr().unwrap().port());
    let output = warpdrive.output(&["run", "--rm", "--network", "host", "-e", &port, "dies"]);
    let words = process::words(&output);
    assert_eq!(output.status.code(), Some(125), "{words}");
    assert!(words.contains("is in use"), "{words}");
}

/// mmdebstrap works for minutes, has mounts and processes of its own, and says nothing meanwhile.
#[test]
fn a_builder_that_is_being_made_ends_with_a_signal() {
    // In its place: it mounts, starts something that heeds no wish, and waits.
    const FAKE: &str = "#!/bin/sh\n\
        mkdir \"$TMPDIR/held\" && mount -t tmpfs held \"$TMPDIR/held\"\n\
        (trap '' HUP INT TERM; exec sleep MARK) &\n\
        touch BEGUN\n\
        wait\n";
    let place = tempfile::tempdir().unwrap();
    let mark = format!("31415.{}", std::process::id());
    let begun = place.path().join("begun");
    let fake = place.path().join("mmdebstrap");
    let script = FAKE
        .replace("MARK", &mark)
        .replace("BEGUN", &begun.display().to_string());
    fs::write(&fake, script).unwrap();
    process::run(Command::new("chmod").arg("+x").arg(&fake));
    let path = format!(
        "PATH={}:{}",
        place.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let processes = || process::run(Command::new("ps").args(["-eo", "args"]));
    for signal in ["-TERM", "-INT", "-HUP"] {
        let warpdrive = Warpdrive::new();
        let child = warpdrive
            .command_in(
                &warpdrive.place(),
                &[&path],
                &["builder", "build", PYTHON_311_RUN],
            )
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        process::poll(std::time::Duration::from_mins(2), || {
            begun.exists().then_some(())
        })
        .expect("it is at work");
        assert!(processes().contains(&mark));
        interrupted::interrupt(&warpdrive, child, signal);
        assert!(!processes().contains(&mark), "{signal}");
        assert!(!mounts().contains(&warpdrive.store().display().to_string()));
        fs::remove_file(&begun).unwrap();
    }
}
