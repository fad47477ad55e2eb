//! `warpdrive s2i`: its commands and options, what of the `s2i` tool's defects is different here.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::fake_registry::{FakeRegistry, Reply};
use support::podman::Podman;
use support::process::{self, words};
use support::s2i_builders::{ASSEMBLE, Builder, RUN, source};
use support::warpdrive::{Warpdrive, commit};
use warpdrive::store::Store;

const TEXT: &[(&str, &str)] = &[("a.txt", "hello")];

/// With a plain builder `box` in its store.
fn warpdrive() -> Warpdrive {
    let warpdrive = Warpdrive::new();
    Builder::plain()
        .script("usage", "#!/bin/sh\necho This is the box.\n")
        .put(&warpdrive.store(), "box");
    warpdrive
}

fn s2i(warpdrive: &Warpdrive, arguments: &[&str]) -> Output {
    let mut all = vec!["s2i"];
    all.extend_from_slice(arguments);
    warpdrive.output(&all)
}

/// Builds and gives the report.
fn build(warpdrive: &Warpdrive, arguments: &[&str]) -> Value {
    let mut all = vec!["build", "--json"];
    all.extend_from_slice(arguments);
    let output = s2i(warpdrive, &all);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn config(warpdrive: &Warpdrive, name: &str) -> Value {
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    let image = store.image(name).unwrap().unwrap();
    serde_json::from_slice::<Value>(&image.config_bytes).unwrap()["config"].clone()
}

fn label(warpdrive: &Warpdrive, name: &str, key: &str) -> Option<String> {
    let labels = config(warpdrive, name)["Labels"].clone();
    labels.get(key)?.as_str().map(str::to_owned)
}

/// What the built image's `run` prints: the file that assemble wrote.
fn printed(warpdrive: &Warpdrive, name: &str, command: &[&str]) -> String {
    let mut arguments = vec!["run", "--rm", "--network", "none", name, "--"];
    arguments.extend_from_slice(command);
    warpdrive.run(&arguments)
}

#[test]
fn variables_come_from_the_source_then_files_then_options() {
    let warpdrive = warpdrive();
    let source = source(&[
        ("a.txt", ""),
        (".s2i/environment", "# mine\nA=source\nB=source\nC=source\n"),
    ]);
    let file = warpdrive.place().join("environment");
    fs::write(&file, "// theirs\nB=file\nC=file\n").unwrap();
    let path = source.path().to_str().unwrap();
    let file = file.to_str().unwrap();
    build(
        &warpdrive,
        &[
            path, "box", "app", "-E", file, "-e", "C=first", "-e", "C=a,b=c", "-e", "D=1",
        ],
    );
    let env = config(&warpdrive, "app")["Env"].clone();
    assert_eq!(
        env,
        json!([
            "PATH=/bin:/usr/bin",
            "STACK=box",
            "A=source",
            "B=file",
            "C=a,b=c",
            "D=1"
        ])
    );
    let seen = printed(&warpdrive, "app", &["/bin/cat", "/opt/app/environment"]);
    assert!(
        seen.contains("C=a,b=c\n") && seen.contains("A=source\n"),
        "{seen}"
    );

    // What is no variable is an error, with its place.
    for (text, reason) in [
        ("A=1\nB\n", "line 2: \"B\" is not of the form NAME=VALUE"),
        (
            "A=\u{1b}[2Jx\n",
            "line 1: the value of A has control characters",
        ),
        (
            "A=1\u{0}\n",
            "line 1: the value of A has control characters",
        ),
    ] {
        fs::write(source.path().join(".s2i/environment"), text).unwrap();
        let output = s2i(&warpdrive, &["build", path, "box", "app"]);
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        let said = words(&output);
        assert!(
            said.contains(&format!(".s2i/environment, {reason}")),
            "{said}"
        );
        assert!(!said.contains('\u{1b}'), "{said}");
    }
    fs::write(file, "ok=1\nnot ok\n").unwrap();
    let output = s2i(&warpdrive, &["build", path, "box", "app", "-E", file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("environment, line 2: "),
        "{}",
        words(&output)
    );
}

/// The Go tool prints its help and exits with 0.
#[test]
fn a_wrong_command_line_is_2() {
    let warpdrive = warpdrive();
    let place = warpdrive.place();
    let place = place.to_str().unwrap();
    for arguments in [
        &["build"][..],
        &["build", "."],
        &["build", ".", "box", "app", "more"],
        &["build", ".", "box", "app", "--no-such-option"],
        &["build", ".", "box", "app", "--pull-policy", "sometimes"],
        &["build", ".", "box", "app", "-u", "x"],
        &["build", ".", "box", "app", "-e", "A"],
        &["build", ".", "box", "app", "-i", "/a:/../b"],
        &["build", ".", "box", "app", "--scripts-url", "ftp://x/"],
        &["build", ".", "box", "app", "--exclude", "("],
        &["build", ".", "box", "app", "--network", "container:x"],
        &["build", ".", "box", "app", "--as-dockerfile", "x", "--run"],
        &[
            "build",
            ".",
            "box",
            "app",
            "--as-dockerfile",
            "x",
            "--runtime-image",
            "y",
        ],
        &[
            "build",
            ".",
            "box",
            "app",
            "--dockercfg-path",
            "/nonexistent",
        ],
        &["build", ".", "box", "--run"],
        &["build", ".", "box", "App"],
        &["build", "--use-config"],
        &["build", "ext::sh -c true", "box"],
        &[
            "build",
            "https://example.com/x",
            "box",
            "app",
            "--ref=--upload-pack=x",
        ],
        &["build", "/nonexistent", "box"],
        &["rebuild"],
        &["usage"],
        &["create", "x"],
        &["generate", "box"],
        &["--loglevel", "7", "version"],
    ] {
        let mut all = vec!["s2i"];
        all.extend_from_slice(arguments);
        let output = process::output(&mut warpdrive.command_in(Path::new(place), &[], &all));
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            words(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_source_that_is_not_there_is_told_in_this_commands_words() {
    let warpdrive = warpdrive();
    let output = s2i(&warpdrive, &["build", "/nonexistent", "box"]);
    assert_eq!(output.status.code(), Some(2));
    let said = words(&output);
    assert!(said.contains("/nonexistent is not a directory"), "{said}");
    assert!(said.contains("SOURCE is a directory"), "{said}");
}

#[test]
fn a_daemons_options_are_accepted_and_ignored() {
    let warpdrive = warpdrive();
    let source = source(TEXT);
    let path = source.path().to_str().unwrap();
    let output = s2i(
        &warpdrive,
        &[
            "-U",
            "unix:///nowhere.sock",
            "--tlsverify=false",
            "--loglevel",
            "2",
            "build",
            path,
            "box",
            "app",
            "--copy",
            "--keep-symlinks",
            "--ca",
            "/nowhere",
            "-p",
            "never",
            "--tls",
        ],
    );
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains(
            "ignored, since there is no Docker daemon to speak to: --url, --ca, --tls, --tlsverify"
        ),
        "{}",
        words(&output)
    );
    assert!(s2i(&warpdrive, &["version"]).status.success());
    let output = s2i(&warpdrive, &["completion", "bash"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("s2i"));
}

#[test]
fn sources_of_all_kinds_and_what_the_labels_say_of_them() {
    let warpdrive = warpdrive();
    let repository = source(&[("a.txt", "one"), ("web/b.txt", "two")]);
    commit(repository.path());
    let url = format!("file://{}", repository.path().display());
    let id = process::run(
        Command::new("git")
            .arg("-C")
            .arg(repository.path())
            .args(["rev-parse", "HEAD"]),
    );
    let id = id.trim().to_owned();
    process::run(
        Command::new("git")
            .arg("-C")
            .arg(repository.path())
            .args(["tag", "v1"]),
    );

    build(
        &warpdrive,
        &[
            &url,
            "box",
            "app",
            "--ref",
            "v1",
            "--context-dir",
            "web",
            "-n",
            "Name",
            "--description",
            "Words",
        ],
    );
    let of = |key: &str| label(&warpdrive, "app", &format!("io.openshift.s2i.build.{key}"));
    assert_eq!(of("commit.id"), Some(id.clone()));
    assert_eq!(of("commit.ref").as_deref(), Some("v1"));
    assert_eq!(
        of("commit.author").as_deref(),
        Some("Test <test@example.com>")
    );
    assert_eq!(of("source-context-dir").as_deref(), Some("web"));
    assert_eq!(
        of("source-location"),
        None,
        "a path of this machine is in a label"
    );
    assert_eq!(
        label(&warpdrive, "app", "io.k8s.display-name").as_deref(),
        Some("Name")
    );
    assert_eq!(
        label(&warpdrive, "app", "io.k8s.description").as_deref(),
        Some("Words")
    );
    assert_eq!(
        printed(&warpdrive, "app", &["/bin/ls", "/opt/app"]),
        "b.txt\nenvironment\nresult\n"
    );

    // A directory is what it is, also what is not committed (the Go tool builds the last commit).
    fs::write(repository.path().join("a.txt"), "changed").unwrap();
    build(
        &warpdrive,
        &[repository.path().to_str().unwrap(), "box", "app"],
    );
    assert_eq!(
        printed(&warpdrive, "app", &["/bin/cat", "/opt/app/a.txt"]),
        "changed"
    );
    assert_eq!(of("commit.ref").as_deref(), Some("main"));

    // A fragment counts (the Go tool overwrites it with nothing).
    build(&warpdrive, &[&format!("{url}#v1"), "box", "app"]);
    assert_eq!(
        printed(&warpdrive, "app", &["/bin/cat", "/opt/app/a.txt"]),
        "one"
    );

    // A tar on standard input.
    let tar = Command::new("tar")
        .args(["-c", "-C"])
        .arg(repository.path())
        .args(["--exclude=.git", "."])
        .output()
        .unwrap();
    let mut child = warpdrive
        .command(&["s2i", "build", "-", "box", "app"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(
        printed(&warpdrive, "app", &["/bin/cat", "/opt/app/a.txt"]),
        "changed"
    );
    assert_eq!(of("commit.id"), None);

    // Without a name the image has its digest only.
    let report = build(&warpdrive, &[&url, "box"]);
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    let names: Vec<String> = store
        .images()
        .unwrap()
        .into_iter()
        .map(|named| named.name)
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(report["digest"].as_str().unwrap().starts_with("sha256:"));
    warpdrive.leaves_nothing();
}

#[test]
fn paths_are_left_out_by_an_expression_and_ignore_files_count() {
    let warpdrive = warpdrive();
    let source = source(&[
        ("a.txt", ""),
        ("b.log", ""),
        ("deep/c.log", ""),
        ("deep/d.txt", ""),
        ("secret/e.txt", ""),
        (".s2iignore", "**/d.*\n"),
    ]);
    commit(source.path());
    let path = source.path().to_str().unwrap();
    build(
        &warpdrive,
        &[path, "box", "app", "--exclude", r"\.log$|^secret$"],
    );
    let listed = printed(&warpdrive, "app", &["/bin/find", "/tmp/src", "-type", "f"]);
    let mut files: Vec<&str> = listed.lines().collect();
    files.sort_unstable();
    assert_eq!(files, ["/tmp/src/.s2iignore", "/tmp/src/a.txt"]);
    build(&warpdrive, &[path, "box", "app", "--exclude", ""]);
    let listed = printed(&warpdrive, "app", &["/bin/find", "/tmp/src"]);
    assert!(
        listed.contains("/tmp/src/.git/HEAD") && listed.contains("b.log"),
        "{listed}"
    );
}

/// A repository's files as a server of plain files gives them.
fn serve(directory: PathBuf) -> FakeRegistry {
    FakeRegistry::start(move |asked| {
        let path = asked
            .target
            .split('?')
            .next()
            .unwrap()
            .trim_start_matches('/')
            .to_owned();
        match fs::read(directory.join(path)) {
            Ok(bytes) => Reply::new(200).body(bytes),
            Err(_) => Reply::new(404),
        }
    })
}

/// The Go tool takes the branch, or `HEAD`.
#[test]
fn rebuild_takes_the_commit_by_its_id() {
    let warpdrive = warpdrive();
    let repository = source(&[("a.txt", "one"), ("web/b.txt", "two")]);
    commit(repository.path());
    let place = tempfile::tempdir().unwrap();
    let bare = place.path().join("app.git");
    let publish = || {
        let _ = fs::remove_dir_all(&bare);
        process::run(
            Command::new("git")
                .args(["clone", "--quiet", "--bare"])
                .arg(repository.path())
                .arg(&bare),
        );
        process::run(
            Command::new("git")
                .arg("-C")
                .arg(&bare)
                .arg("update-server-info"),
        );
    };
    publish();
    let server = serve(place.path().to_owned());
    let url = format!("http://{}/app.git", server.address());
    let with_login = format!("http://user:s3cretpw@{}/app.git", server.address());
    let first = build(
        &warpdrive,
        &[
            &with_login,
            "box",
            "app",
            "--context-dir",
            "web",
            "-n",
            "Name",
        ],
    );
    assert_eq!(
        label(&warpdrive, "app", "io.openshift.s2i.build.source-location"),
        Some(url)
    );
    // Time goes on.
    fs::write(repository.path().join("web/b.txt"), "three").unwrap();
    process::run(Command::new("git").arg("-C").arg(repository.path()).args([
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x",
        "commit",
        "--quiet",
        "-am",
        "more",
    ]));
    publish();
    let output = s2i(&warpdrive, &["rebuild", "app", "again", "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        printed(&warpdrive, "again", &["/bin/cat", "/opt/app/b.txt"]),
        "two"
    );
    assert_eq!(again["layers"], with_cached(&first));
    assert_eq!(
        label(&warpdrive, "again", "io.openshift.s2i.build.commit.id"),
        label(&warpdrive, "app", "io.openshift.s2i.build.commit.id")
    );
    assert_eq!(
        label(&warpdrive, "again", "io.k8s.display-name").as_deref(),
        Some("Name")
    );

    // Of a directory without a remote nobody knows where it is, but for who is told.
    build(
        &warpdrive,
        &[repository.path().to_str().unwrap(), "box", "local"],
    );
    let output = s2i(&warpdrive, &["rebuild", "local"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("--source"), "{}", words(&output));
    let output = s2i(
        &warpdrive,
        &[
            "rebuild",
            "local",
            "--source",
            repository.path().to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{}", words(&output));
    let output = s2i(&warpdrive, &["rebuild", "box"]);
    assert!(
        words(&output).contains("no label io.openshift.s2i.build.image"),
        "{}",
        words(&output)
    );
}

/// The layers of a report as a build from the cache says them.
fn with_cached(report: &Value) -> Value {
    let mut layers = report["layers"].clone();
    for layer in layers.as_array_mut().unwrap() {
        layer["cached"] = json!(true);
    }
    layers
}

#[test]
fn scripts_from_elsewhere() {
    let warpdrive = warpdrive();
    let source = source(&[
        ("a.txt", ""),
        (
            ".s2i/bin/assemble*",
            "#!/bin/sh\necho source > /opt/app/result\n",
        ),
        (".s2i/bin/run*", "#!/bin/sh\necho run of the source\n"),
    ]);
    let path = source.path().to_str().unwrap();
    let scripts = warpdrive.place().join("scripts");
    fs::create_dir(&scripts).unwrap();
    // Executable or not: they are given the bit.
    fs::write(
        scripts.join("assemble"),
        "#!/bin/sh\necho elsewhere > /opt/app/result\n",
    )
    .unwrap();
    let server = serve(scripts.clone());
    for url in [
        format!("file://{}", scripts.display()),
        format!("http://{}", server.address()),
    ] {
        build(&warpdrive, &[path, "box", "app", "--scripts-url", &url]);
        assert_eq!(
            printed(&warpdrive, "app", &["/bin/cat", "/opt/app/result"]),
            "elsewhere\n"
        );
        // What is not there comes from the source.
        assert_eq!(
            config(&warpdrive, "app")["Cmd"],
            json!(["/tmp/scripts/run"])
        );
    }
    build(
        &warpdrive,
        &[
            path,
            "box",
            "app",
            "--scripts-url",
            "image:///usr/libexec/s2i",
        ],
    );
    assert_eq!(
        config(&warpdrive, "app")["Cmd"],
        json!(["/usr/libexec/s2i/run"])
    );

    // A place that has nothing is a mistake, not a wish for the builder's own.
    let empty = warpdrive.place().join("empty");
    fs::create_dir(&empty).unwrap();
    for url in [
        format!("file://{}", empty.display()),
        format!("http://{}/nowhere", server.address()),
    ] {
        let output = s2i(
            &warpdrive,
            &["build", path, "box", "app", "--scripts-url", &url],
        );
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        assert!(
            words(&output).contains("has none of the scripts"),
            "{}",
            words(&output)
        );
    }
    let huge = FakeRegistry::start(|_| Reply::new(200).length(1 << 40));
    let output = s2i(
        &warpdrive,
        &[
            "build",
            path,
            "box",
            "app",
            "-s",
            &format!("http://user:s3cretpw@{}/", huge.address()),
        ],
    );
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert!(words(&output).contains("larger than"), "{}", words(&output));
    assert!(!words(&output).contains("s3cretpw"), "{}", words(&output));

    // By the proxy that the environment names.
    let proxy = FakeRegistry::start(|asked| match asked.target.as_str() {
        "http://scripts.example/s2i/assemble" => {
            Reply::new(200).body("#!/bin/sh\necho by proxy > /opt/app/result\n")
        }
        _ => Reply::new(404),
    });
    let variable = format!("http_proxy=http://{}", proxy.address());
    let mut command = warpdrive.command_in(
        &warpdrive.place(),
        &[&variable],
        &[
            "s2i",
            "build",
            path,
            "box",
            "app",
            "-s",
            "http://scripts.example/s2i/",
        ],
    );
    let output = process::output(&mut command);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(
        printed(&warpdrive, "app", &["/bin/cat", "/opt/app/result"]),
        "by proxy\n"
    );

    // A builder that does not say where its scripts are.
    Builder::plain()
        .without_label("io.openshift.s2i.scripts-url")
        .put(&warpdrive.store(), "mute");
    let plain = support::s2i_builders::source(TEXT);
    let plain = plain.path().to_str().unwrap();
    build(&warpdrive, &[plain, "mute", "app"]);
    assert_eq!(
        config(&warpdrive, "app")["Cmd"],
        json!(["/usr/libexec/s2i/run"])
    );
    let output = s2i(
        &warpdrive,
        &[
            "build",
            plain,
            "mute",
            "app",
            "--image-scripts-url",
            "image:///elsewhere",
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
}

#[test]
fn usage_is_the_images_own() {
    let warpdrive = warpdrive();
    let output = s2i(&warpdrive, &["usage", "box"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "This is the box.\n"
    );
    Builder::plain().put(&warpdrive.store(), "mute");
    let output = s2i(&warpdrive, &["usage", "mute"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(
        words(&output).contains("there is no `usage` script"),
        "{}",
        words(&output)
    );
}

#[test]
fn the_callback_url_hears_the_end_and_changes_nothing() {
    let warpdrive = warpdrive();
    let good = source(TEXT);
    let bad = source(&[("a.txt", ""), (".s2i/bin/assemble*", "#!/bin/sh\nexit 7\n")]);
    let (good, bad) = (good.path().to_str().unwrap(), bad.path().to_str().unwrap());
    let build = |server: &FakeRegistry, path: &str| {
        let url = format!("http://{}/told?token=x", server.address());
        s2i(
            &warpdrive,
            &["build", path, "box", "app", "--callback-url", &url],
        )
    };
    let bodies = |server: &FakeRegistry| -> Vec<Value> {
        let asked = server.asked();
        asked
            .iter()
            .map(|asked| {
                assert_eq!(
                    (asked.method.as_str(), asked.target.as_str()),
                    ("POST", "/told?token=x")
                );
                assert_eq!(asked.header("content-type"), Some("application/json"));
                serde_json::from_slice(&asked.body).unwrap()
            })
            .collect()
    };
    // The first try ends in the middle, the second is refused: the body is whole in each.
    let faulty = FakeRegistry::start(|asked| match asked.before {
        0 => Reply::hang_up_after(10),
        1 => Reply::new(503),
        _ => Reply::new(200),
    });
    let output = build(&faulty, good);
    assert!(output.status.success(), "{}", words(&output));
    let asked = faulty.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].body.len(), 10);
    for asked in &asked[1..] {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body["success"], true);
        assert_eq!(body["labels"]["io.openshift.s2i.build.image"], "box");
    }
    // A build that failed is told as well, and fails as it does.
    let server = FakeRegistry::start(|_| Reply::new(204));
    let output = build(&server, bad);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    assert_eq!(bodies(&server), [json!({"success": false, "labels": {}})]);
    // Nobody there, or nobody who understands: a warning.
    let server = FakeRegistry::start(|_| Reply::new(404));
    let output = build(&server, good);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("the callback URL was not told"),
        "{}",
        words(&output)
    );
    let server = FakeRegistry::start(|_| Reply::hang_up_after(3));
    let output = build(&server, good);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("the callback URL was not told"),
        "{}",
        words(&output)
    );
}

#[test]
fn flags_are_kept_in_a_file_all_of_them() {
    let warpdrive = warpdrive();
    let source = source(TEXT);
    let path = source.path().to_str().unwrap();
    let here = warpdrive.place().join("here");
    fs::create_dir(&here).unwrap();
    let run = |arguments: &[&str]| {
        let mut all = vec!["s2i", "build", "--use-config"];
        all.extend_from_slice(arguments);
        let output = process::output(&mut warpdrive.command_in(&here, &[], &all));
        assert!(output.status.success(), "{}", words(&output));
    };
    run(&[
        path,
        "box",
        "app",
        "-e",
        "A=1,2",
        "-e",
        "B=x y",
        "--description",
        "Words",
        "--copy",
    ]);
    let file = here.join(".s2ifile");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let saved: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(saved["builderImage"], "box");
    assert_eq!(saved["flags"]["env"], json!(["A=1,2", "B=x y"]));
    assert_eq!(saved["flags"]["copy"], "true");
    // The next build needs none of it, and may change some.
    run(&["--description", "Others"]);
    let env = config(&warpdrive, "app")["Env"].clone();
    assert_eq!(
        env,
        json!(["PATH=/bin:/usr/bin", "STACK=box", "A=1,2", "B=x y"])
    );
    assert_eq!(
        label(&warpdrive, "app", "io.k8s.description").as_deref(),
        Some("Others")
    );
    // As the Go tool writes it.
    let flags = json!({"env": "A=3", "incremental": "false", "context-dir": ""});
    let theirs = json!({"source": path, "builderImage": "box", "tag": "app", "flags": flags});
    fs::write(&file, theirs.to_string()).unwrap();
    run(&[]);
    assert!(config(&warpdrive, "app")["Env"].to_string().contains("A=3"));
}

#[test]
fn logins_of_a_file_that_is_named() {
    let warpdrive = warpdrive();
    let source = source(TEXT);
    let server = FakeRegistry::start(|asked| match asked.header("authorization") {
        Some("Basic dXNlcjpzM2NyZXRwdw==") => Reply::new(404),
        _ => Reply::new(401).header("www-authenticate", "Basic realm=\"x\""),
    });
    let file = warpdrive.place().join("config.json");
    fs::write(
        &file,
        json!({"auths": {server.address(): {"auth": "dXNlcjpzM2NyZXRwdw=="}}}).to_string(),
    )
    .unwrap();
    let builder = format!("{}/team/builder:1", server.address());
    let output = s2i(
        &warpdrive,
        &[
            "build",
            source.path().to_str().unwrap(),
            &builder,
            "--dockercfg-path",
            file.to_str().unwrap(),
        ],
    );
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert!(words(&output).contains("has no "), "{}", words(&output));
    let with = server
        .asked()
        .iter()
        .filter(|asked| asked.header("authorization").is_some())
        .count();
    assert!(with > 0, "the login was not used");
}

#[test]
fn the_image_is_run_and_what_was_fetched_is_kept() {
    let warpdrive = warpdrive();
    let source = source(TEXT);
    commit(source.path());
    let url = format!("file://{}", source.path().display());
    let kept = warpdrive.place().join("tmp");
    fs::create_dir(&kept).unwrap();
    let tmp = format!("TMPDIR={}", kept.display());
    let mut command = warpdrive.command_in(
        &warpdrive.place(),
        &[&tmp],
        &[
            "s2i",
            "build",
            &url,
            "box",
            "app",
            "--run",
            "--save-temp-dir",
        ],
    );
    let output = process::output(&mut command);
    assert!(output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(said.contains("uid=1001"), "run was not run: {said}");
    let place = said
        .lines()
        .find_map(|line| line.strip_prefix("---> The source is kept in "))
        .unwrap_or_else(|| panic!("{said}"));
    assert_eq!(
        fs::read_to_string(Path::new(place).join("a.txt")).unwrap(),
        "hello"
    );
}

#[test]
fn create_writes_new_files_only() {
    let warpdrive = warpdrive();
    let place = warpdrive.place().join("builder");
    let path = place.to_str().unwrap();
    let output = s2i(&warpdrive, &["create", "my-builder", path]);
    assert!(output.status.success(), "{}", words(&output));
    for script in ["assemble", "run", "save-artifacts", "usage"] {
        let file = place.join("s2i/bin").join(script);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o755
        );
        process::run(Command::new("sh").arg("-n").arg(&file));
    }
    let dockerfile = fs::read_to_string(place.join("Dockerfile")).unwrap();
    assert!(
        !dockerfile.contains("centos") && dockerfile.contains("USER 1001\n"),
        "{dockerfile}"
    );
    assert!(place.join("test/test-app/index.html").is_file());
    assert!(
        !fs::read_to_string(place.join("README.md"))
            .unwrap()
            .contains("NAME")
    );
    // Its scripts build and run an app, on the box here.
    let script = |name: &str| fs::read_to_string(place.join("s2i/bin").join(name)).unwrap();
    Builder::new()
        .script("assemble", &script("assemble"))
        .script(
            "run",
            &script("run").replace("exec busybox httpd", "exec echo httpd"),
        )
        .script("usage", &script("usage"))
        .put(&warpdrive.store(), "my-builder");
    build(
        &warpdrive,
        &[
            place.join("test/test-app").to_str().unwrap(),
            "my-builder",
            "app",
        ],
    );
    assert!(
        warpdrive
            .run(&["run", "--rm", "--network", "none", "app"])
            .contains("httpd -f")
    );
    assert!(
        String::from_utf8_lossy(&s2i(&warpdrive, &["usage", "my-builder"]).stdout)
            .contains("my-builder")
    );

    fs::write(place.join("README.md"), "mine").unwrap();
    fs::remove_file(place.join("Makefile")).unwrap();
    let output = s2i(&warpdrive, &["create", "my-builder", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words(&output).contains("nothing is overwritten"),
        "{}",
        words(&output)
    );
    assert_eq!(fs::read_to_string(place.join("README.md")).unwrap(), "mine");
    assert!(!place.join("Makefile").exists());
}

/// All files below a directory with their content and whether they may be executed.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (bool, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let executable = fs::metadata(&path).unwrap().permissions().mode() & 0o100 != 0;
                let relative = path.strip_prefix(directory).unwrap().to_owned();
                found.insert(relative, (executable, fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// Assemble copies what it was injected with to where it may stay, as proof that it was there.
const CURIOUS: &str = "#!/bin/sh
set -e
cp -R /tmp/src/. /opt/app/
id > /opt/app/result
wc -c < /opt/app/conf/token >> /opt/app/result
if [ -d /tmp/artifacts ]; then cat /tmp/artifacts/kept >> /opt/app/result; fi
echo \"$GREETING\" >> /opt/app/result
";

#[test]
fn a_dockerfile_that_a_real_buildah_builds() {
    let warpdrive = Warpdrive::new();
    let podman = Podman::new();
    let archive = warpdrive.place().join("builder.tar");
    let builder = || {
        Builder::new()
            .script("assemble", CURIOUS)
            .script("run", RUN)
            .script(
                "save-artifacts",
                "#!/bin/sh\necho artifact > /tmp/kept\nexec tar -C /tmp -cf - kept\n",
            )
            .files(|layer| layer.symlink("bin/tar", "busybox"))
    };
    builder().put(&warpdrive.store(), "localhost/box:latest");
    builder().archive(&archive, "localhost/box:latest");
    podman.load(&archive);
    let source = source(&[
        ("a.txt", "hello"),
        ("bin/tool*", "#!/bin/sh\n"),
        (".s2i/environment", "GREETING=a \"$HOME\" b\n"),
        (".s2i/bin/run*", "#!/bin/sh\ncat /opt/app/result; echo $$\n"),
    ]);
    commit(source.path());
    let secret = warpdrive.place().join("token");
    fs::write(&secret, "s3cret-t0ken").unwrap();
    let inject = format!("{}:conf", secret.display());
    let mut trees = Vec::new();
    for name in ["one", "two"] {
        let out = podman.enclosure().directory().join(name);
        fs::create_dir(&out).unwrap();
        let output = s2i(
            &warpdrive,
            &[
                "build",
                source.path().to_str().unwrap(),
                "localhost/box:latest",
                "app",
                "-i",
                &inject,
                "-e",
                "MORE=x",
                "--as-dockerfile",
                out.join("Dockerfile").to_str().unwrap(),
            ],
        );
        assert!(output.status.success(), "{}", words(&output));
        assert!(
            words(&output).contains("--secret id=s2i-inject-0,src="),
            "{}",
            words(&output)
        );
        trees.push(tree(&out));
    }
    assert_eq!(trees[0], trees[1], "two runs differ");
    let files = &trees[0];
    let names: Vec<_> = files.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "Dockerfile",
            "upload/scripts/run",
            "upload/src/.s2i/environment",
            "upload/src/a.txt",
            "upload/src/bin/tool"
        ]
    );
    assert!(files[Path::new("upload/src/bin/tool")].0);
    let dockerfile = String::from_utf8(files[Path::new("Dockerfile")].1.clone()).unwrap();
    for local in [source.path(), warpdrive.store().as_path(), secret.as_path()] {
        assert!(
            !dockerfile.contains(local.to_str().unwrap()),
            "{dockerfile}"
        );
    }
    assert!(
        dockerfile.contains("CMD [\"/tmp/scripts/run\"]\n"),
        "{dockerfile}"
    );
    assert!(
        dockerfile.contains("LABEL \"io.openshift.s2i.build.commit.id\"="),
        "{dockerfile}"
    );
    // Again in the same place: ours is replaced.
    let out = podman.enclosure().directory().join("one");
    let again = s2i(
        &warpdrive,
        &[
            "build",
            source.path().to_str().unwrap(),
            "localhost/box:latest",
            "app",
            "-i",
            &inject,
            "-e",
            "MORE=x",
            "--as-dockerfile",
            out.to_str().unwrap(),
        ],
    );
    assert!(again.status.success(), "{}", words(&again));
    assert_eq!(tree(&out), trees[0]);

    let mut build = podman.other(process::tool("buildah"));
    build
        .args([
            "build",
            "--isolation",
            "chroot",
            "--pull=never",
            "--tag",
            "localhost/app",
            "--secret",
        ])
        .arg(format!("id=s2i-inject-0,src={}", secret.display()))
        .arg(&out);
    process::run(&mut build);
    let config = process::run(podman.command().args(["image", "inspect", "localhost/app"]));
    let config: Value = serde_json::from_str(&config).unwrap();
    let config = &config[0]["Config"];
    assert_eq!(config["User"], "1001");
    assert_eq!(config["Cmd"], json!(["/tmp/scripts/run"]));
    let env = config["Env"].to_string();
    assert!(
        env.contains(r#"GREETING=a \"$HOME\" b"#) && env.contains("MORE=x"),
        "{env}"
    );
    let said =
        process::run(
            podman
                .command()
                .args(["run", "--rm", "--network=none", "localhost/app"]),
        );
    assert!(said.starts_with("uid=1001"), "{said}");
    assert!(
        said.contains("\n12\na \"$HOME\" b\n1\n"),
        "the secret, the variable and process 1: {said}"
    );
    let saved = podman.enclosure().directory().join("app.tar");
    process::run(
        podman
            .command()
            .args(["save", "--output"])
            .arg(&saved)
            .arg("localhost/app"),
    );
    let bytes = fs::read(&saved).unwrap();
    assert!(
        !bytes.windows(12).any(|window| window == b"s3cret-t0ken"),
        "the secret is in the image"
    );

    // What the previous image has to give comes by a stage of its own.
    let output = s2i(
        &warpdrive,
        &[
            "build",
            source.path().to_str().unwrap(),
            "localhost/box:latest",
            "localhost/app",
            "--incremental",
            "-i",
            &inject,
            "--as-dockerfile",
            out.to_str().unwrap(),
        ],
    );
    assert!(output.status.success(), "{}", words(&output));
    process::run(&mut build);
    let said =
        process::run(
            podman
                .command()
                .args(["run", "--rm", "--network=none", "localhost/app"]),
        );
    assert!(said.contains("\n12\nartifact\n"), "{said}");

    // Something else in the way is left alone.
    let theirs = warpdrive.place().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("Dockerfile"), "FROM scratch\n").unwrap();
    let output = s2i(
        &warpdrive,
        &[
            "build",
            source.path().to_str().unwrap(),
            "localhost/box:latest",
            "app",
            "--as-dockerfile",
            theirs.to_str().unwrap(),
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert_eq!(
        fs::read_to_string(theirs.join("Dockerfile")).unwrap(),
        "FROM scratch\n"
    );

    // `generate`: the same without a source.
    let generated = warpdrive.place().join("Generated");
    let output = s2i(
        &warpdrive,
        &[
            "generate",
            "docker://localhost/box:latest",
            generated.to_str().unwrap(),
            "-e",
            "A=1",
        ],
    );
    assert!(output.status.success(), "{}", words(&output));
    let text = fs::read_to_string(&generated).unwrap();
    assert!(text.contains("FROM localhost/box:latest\nENV A=\"1\"\nCOPY --chown=1001:0 [\"upload/src\", \"/tmp/src\"]\nRUN /usr/libexec/s2i/assemble\n"), "{text}");
}

/// The `ASSEMBLE` that the other tests share is one that this one has seen fail.
#[test]
fn an_assemble_that_fails_says_its_status() {
    let warpdrive = Warpdrive::new();
    Builder::new()
        .script(
            "assemble",
            &format!("{ASSEMBLE}\necho the last words\nexit 42\n"),
        )
        .script("run", RUN)
        .put(&warpdrive.store(), "box");
    let source = source(TEXT);
    let output = s2i(
        &warpdrive,
        &[
            "build",
            source.path().to_str().unwrap(),
            "box",
            "app",
            "--json",
        ],
    );
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["status"], 42, "{error}");
    assert!(
        words(&output).contains("the last words"),
        "{}",
        words(&output)
    );
}
