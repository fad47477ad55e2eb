//! The commands and their options.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use warpdrive::store::Store;

use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::process;
use crate::support::process::{says, words};
use crate::support::registry::Registry;
use crate::support::s2i::{config, label, printed, report as build, s2i, with_a_box};
use crate::support::s2i_builders::{Builder, source};
use crate::support::warpdrive::{Warpdrive, commit};

const TEXT: &[(&str, &str)] = &[("a.txt", "hello")];

#[test]
fn variables_come_from_the_source_then_files_then_options() {
    let warpdrive = with_a_box();
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
    says(&output, "environment, line 2: ");
}

/// The Go tool prints its help and exits with 0.
#[test]
fn a_wrong_command_line_is_2() {
    let warpdrive = with_a_box();
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
    let warpdrive = with_a_box();
    let output = s2i(&warpdrive, &["build", "/nonexistent", "box"]);
    assert_eq!(output.status.code(), Some(2));
    let said = words(&output);
    assert!(said.contains("/nonexistent is not a directory"), "{said}");
    assert!(said.contains("SOURCE is a directory"), "{said}");
}

#[test]
fn a_daemons_options_are_accepted_and_ignored() {
    let warpdrive = with_a_box();
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
    let script = String::from_utf8_lossy(&output.stdout);
    assert!(
        script.contains("complete") && script.contains("warpdrive"),
        "{script}"
    );
}

#[test]
fn paths_are_left_out_by_an_expression_and_ignore_files_count() {
    let warpdrive = with_a_box();
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

#[test]
fn usage_is_the_images_own() {
    let warpdrive = with_a_box();
    let output = s2i(&warpdrive, &["usage", "box"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "This is the box.\n"
    );
    Builder::plain().put(&warpdrive.store(), "mute");
    let output = s2i(&warpdrive, &["usage", "mute"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    says(&output, "there is no `usage` script");
}

#[test]
fn the_callback_url_hears_the_end_and_changes_nothing() {
    let warpdrive = with_a_box();
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
    // A callback that cannot be reached, or answers 404, gives a warning.
    let server = FakeRegistry::start(|_| Reply::new(404));
    let output = build(&server, good);
    assert!(output.status.success(), "{}", words(&output));
    says(&output, "could not report to the callback URL");
    let server = FakeRegistry::start(|_| Reply::hang_up_after(3));
    let output = build(&server, good);
    assert!(output.status.success(), "{}", words(&output));
    says(&output, "could not report to the callback URL");
}

#[test]
fn flags_are_kept_in_a_file_all_of_them() {
    let warpdrive = with_a_box();
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
    let warpdrive = with_a_box();
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
    says(&output, "has no ");
    let with = server
        .asked()
        .iter()
        .filter(|asked| asked.header("authorization").is_some())
        .count();
    assert!(with > 0, "the login was not used");
}

#[test]
fn the_image_is_run_and_what_was_fetched_is_kept() {
    let warpdrive = with_a_box();
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
    let warpdrive = with_a_box();
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
    says(&output, "nothing is overwritten");
    assert_eq!(fs::read_to_string(place.join("README.md")).unwrap(), "mine");
    assert!(!place.join("Makefile").exists());
}

#[test]
fn what_scripts_say_where_they_reach_and_what_is_pulled() {
    let warpdrive = with_a_box();
    let source = source(&[
        ("a.txt", ""),
        (
            ".s2i/bin/assemble*",
            "#!/bin/sh\necho words of assemble\nls /sys/class/net > /opt/app/result\n\
             touch /dev/shm/x\n[ ! -e /tmp/src/fail ]\n",
        ),
    ]);
    let path = source.path().to_str().unwrap();
    // `-q` prints only errors; `--network none` gives no network.
    let output = s2i(
        &warpdrive,
        &["build", path, "box", "app", "-q", "--network", "none"],
    );
    assert!(output.status.success(), "{}", words(&output));
    assert!(!words(&output).contains("words of assemble"));
    assert_eq!(
        printed(&warpdrive, "app", &["/bin/cat", "/opt/app/result"]),
        "lo\n"
    );
    fs::write(source.path().join("fail"), "").unwrap();
    let output = s2i(&warpdrive, &["build", path, "box", "app", "-q"]);
    assert_eq!(output.status.code(), Some(3));
    says(&output, "words of assemble");
    fs::remove_file(source.path().join("fail")).unwrap();

    // What was there before has no name any more, and is told.
    fs::write(source.path().join("a.txt"), "changed").unwrap();
    let before = build(&warpdrive, &[path, "box", "other"]);
    fs::write(source.path().join("a.txt"), "again").unwrap();
    let output = s2i(&warpdrive, &["build", path, "box", "other", "--rm"]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    let digest = before["digest"].as_str().unwrap();
    assert!(
        said.contains(&format!("The previous image {digest} has no name any more")),
        "{said}"
    );

    // Never: what is not in the store is not looked for. Always: what is there is not enough.
    let server = FakeRegistry::start(|_| Reply::new(404));
    let elsewhere = format!("{}/team/box:1", server.address());
    warpdrive.run(&["tag", "box", &elsewhere]);
    let output = s2i(&warpdrive, &["build", path, &elsewhere, "app"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(server.asked().is_empty());
    let output = s2i(
        &warpdrive,
        &["build", path, &elsewhere, "app", "-p", "always"],
    );
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    let asked = server.asked().len();
    assert!(asked > 0);
    let missing = format!("{}/team/missing:1", server.address());
    for (option, more) in [
        ("-p", vec![&missing]),
        ("--runtime-pull-policy", vec![&elsewhere]),
    ] {
        let mut arguments = vec!["build", path, more[0].as_str(), "app", option, "never"];
        if option != "-p" {
            arguments.extend(["--runtime-image", &missing, "-a", "/opt/app"]);
        }
        let output = s2i(&warpdrive, &arguments);
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        says(
            &output,
            "is not in the store, and the pull policy is `never`",
        );
    }
    assert_eq!(server.asked().len(), asked);
}

#[test]
fn an_interrupted_assemble_leaves_nothing() {
    let warpdrive = with_a_box();
    let source = source(&[(
        ".s2i/bin/assemble*",
        "#!/bin/sh\nsleep 987 & echo begun; sleep 987\n",
    )]);
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut child = warpdrive
            .command(&[
                "s2i",
                "build",
                source.path().to_str().unwrap(),
                "box",
                "app",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let begun = lines.find(|line| line.as_ref().unwrap().contains("begun"));
        assert!(begun.is_some(), "assemble did not begin");
        process::run(Command::new("kill").arg(signal).arg(child.id().to_string()));
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        warpdrive.leaves_nothing();
    }
    assert!(!warpdrive.run(&["images"]).contains("app"));
}

/// Nobody has to know that a disk erred: what is damaged is fetched again.
#[test]
fn a_damaged_layer_of_a_builder_is_fetched_again() {
    let registry = Registry::start();
    let reference = registry.reference("team/box:1");
    let home = with_a_box();
    home.run(&["push", "box", &format!("docker://{reference}")]);
    let source = source(TEXT);
    let path = source.path().to_str().unwrap();
    let expected = build(&home, &[path, "box", "app"]);

    let warpdrive = Warpdrive::new();
    warpdrive.run(&["pull", &reference]);
    let layer = {
        let store = Store::open(Some(&warpdrive.store())).unwrap();
        let image = store.image(&reference).unwrap().unwrap();
        store.blob_path(image.manifest.layers()[0].digest())
    };
    for damage in [true, false] {
        let mut bytes = fs::read(&layer).unwrap();
        let _ = fs::remove_file(&layer);
        if damage {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&layer, bytes).unwrap();
        }
        let _ = fs::remove_dir_all(warpdrive.store().join("unpacked"));
        let output = s2i(
            &warpdrive,
            &["build", path, &reference, "app", "--json", "--no-cache"],
        );
        let said = words(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("it is fetched again"), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            report["layers"][2]["digest"],
            expected["layers"][2]["digest"]
        );
    }
    // A layer that no registry has is an error.
    let layer = {
        let store = Store::open(Some(&home.store())).unwrap();
        let image = store.image("box").unwrap().unwrap();
        store.blob_path(image.manifest.layers()[0].digest())
    };
    fs::write(&layer, "damaged").unwrap();
    fs::remove_dir_all(home.store().join("unpacked")).unwrap();
    let output = s2i(&home, &["build", path, "box", "app", "--no-cache"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    says(&output, "damaged");
}

#[test]
fn an_image_without_a_name_is_reached_by_its_digest() {
    let warpdrive = with_a_box();
    let source = source(TEXT);
    let built = build(&warpdrive, &[source.path().to_str().unwrap(), "box"]);
    let digest = built["digest"].as_str().unwrap();
    let archive = warpdrive.place().join("out.tar");
    let to = format!("oci-archive:{}", archive.display());
    for arguments in [
        &["inspect", digest][..],
        &["run", "--rm", "--network", "none", digest],
        &["audit", digest],
        &["export", digest, &to],
        &["tag", digest, "later"],
        &["run", "--rm", "--network", "none", "later"],
    ] {
        let output = warpdrive.output(arguments);
        let code = output.status.code();
        let passes = code == Some(0) || (arguments[0] == "audit" && code == Some(4));
        assert!(passes, "{arguments:?}: {}", words(&output));
    }
    let other = nameless(&warpdrive);
    warpdrive.run(&["prune", "--keep", "0"]);
    let output = warpdrive.output(&["inspect", &other]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
}

#[test]
fn what_is_said_to_come_next_can_be_typed() {
    let warpdrive = with_a_box();
    let source = source(TEXT);
    let path = source.path().to_str().unwrap();
    let output = s2i(&warpdrive, &["build", path, "box"]);
    assert!(output.status.success(), "{}", words(&output));
    let digest = String::from_utf8(output.stdout.clone()).unwrap();
    let digest = digest.trim();
    assert!(digest.starts_with("sha256:"), "{digest}");
    says(&output, &format!("warpdrive inspect {digest}"));
    assert!(!words(&output).contains("s2i-build"), "{}", words(&output));
    warpdrive.run(&["inspect", digest]);
    let output = warpdrive.output(&["rm", digest]);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    says(&output, "has no name to remove");

    // A name goes by the digest only if it is the only one.
    warpdrive.run(&["tag", digest, "one"]);
    warpdrive.run(&["tag", digest, "two"]);
    let output = warpdrive.output(&["rm", digest]);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    says(&output, "one, two");
    let output = warpdrive.output(&["images"]);
    for name in ["one", "two"] {
        says(&output, name);
    }
    warpdrive.run(&["rm", "two"]);
    warpdrive.run(&["rm", digest]);

    // Not of a repository: what the source was is not known, whichever is given.
    build(&warpdrive, &[path, "box", "app"]);
    let output = s2i(&warpdrive, &["rebuild", "app"]);
    says(&output, "it was not built from a git repository");
    let output = s2i(&warpdrive, &["rebuild", "app", "--source", path]);
    says(&output, &format!("warpdrive s2i build {path} box TAG"));
    assert!(!words(&output).contains("was not built from a git"));
}

/// The digest of an image without a name.
fn nameless(warpdrive: &Warpdrive) -> String {
    let source = source(&[("other.txt", "x")]);
    let built = build(warpdrive, &[source.path().to_str().unwrap(), "box"]);
    built["digest"].as_str().unwrap().to_owned()
}

#[test]
fn quotes_in_files_of_variables_are_told() {
    let warpdrive = with_a_box();
    let source = source(&[(".s2i/environment", "# x\nA=\"one\"\nB=two\n")]);
    let more = warpdrive.place().join("more.env");
    fs::write(&more, "C='three'\n").unwrap();
    let path = source.path().to_str().unwrap();
    let output = s2i(
        &warpdrive,
        &["build", path, "box", "app", "-E", more.to_str().unwrap()],
    );
    assert!(output.status.success(), "{}", words(&output));
    says(
        &output,
        ".s2i/environment, line 2: the quotes are part of the value of A",
    );
    says(
        &output,
        "more.env, line 1: the quotes are part of the value of C",
    );
    let env = config(&warpdrive, "app")["Env"].clone();
    assert!(
        env.as_array().unwrap().contains(&"A=\"one\"".into()),
        "{env}"
    );
}

#[test]
fn help_is_a_command_too() {
    let warpdrive = Warpdrive::new();
    let output = s2i(&warpdrive, &["help", "build"]);
    assert!(output.status.success(), "{}", words(&output));
    says(&output, "--scripts-url");
    let output = s2i(&warpdrive, &["help"]);
    says(&output, "rebuild");
    let output = s2i(&warpdrive, &["help", "nothing"]);
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
}
