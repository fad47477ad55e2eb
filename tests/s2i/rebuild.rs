//! What labels say of a source, and builds that start from them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use warpdrive::store::Store;

use crate::support::fake_registry::FakeRegistry;
use crate::support::plain_server::{publish, serve};
use crate::support::process;
use crate::support::process::{says, words};
use crate::support::s2i_builders::{Builder, source};
use crate::support::warpdrive::{Warpdrive, commit};

use crate::support::s2i::{assembling, config, label, printed, report as build, s2i, with_a_box};

#[test]
fn sources_of_all_kinds_and_what_the_labels_say_of_them() {
    let warpdrive = with_a_box();
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

/// The Go tool takes the branch, or `HEAD`.
#[test]
fn rebuild_takes_the_commit_by_its_id() {
    let warpdrive = with_a_box();
    let repository = source(&[("a.txt", "one"), ("web/b.txt", "two")]);
    commit(repository.path());
    let place = tempfile::tempdir().unwrap();
    let bare = place.path().join("app.git");
    let publish = || {
        let _ = fs::remove_dir_all(&bare);
        publish(repository.path(), &bare);
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
    // A later commit.
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

    // A directory without a remote is rebuilt only where `--source` names it.
    build(
        &warpdrive,
        &[repository.path().to_str().unwrap(), "box", "local"],
    );
    let output = s2i(&warpdrive, &["rebuild", "local"]);
    assert_eq!(output.status.code(), Some(1));
    says(&output, "--source");
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
    // With an origin that is a server's, the commit of a directory can be had from there.
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        process::run(command.arg("-C").arg(repository.path()).args(arguments));
    };
    git(&["remote", "add", "origin", &with_login]);
    let directory = repository.path().to_str().unwrap();
    let at = format!("{directory}#main");
    for arguments in [
        &[at.as_str(), "box", "ref"][..],
        &[directory, "box", "ref", "--ref", "main"],
    ] {
        build(&warpdrive, arguments);
        assert_eq!(
            label(&warpdrive, "ref", "io.openshift.s2i.build.source-location"),
            Some(format!("http://{}/app.git", server.address()))
        );
        let output = s2i(&warpdrive, &["rebuild", "ref"]);
        assert!(output.status.success(), "{}", words(&output));
    }
    let output = s2i(&warpdrive, &["rebuild", "box"]);
    says(&output, "no label io.openshift.s2i.build.image");
}

/// The layers of a report as a build from the cache says them.
fn with_cached(report: &Value) -> Value {
    let mut layers = report["layers"].clone();
    for layer in layers.as_array_mut().unwrap() {
        layer["cached"] = json!(true);
    }
    layers
}

/// A repository as a server of plain files gives it, and its address.
fn published(repository: &Path) -> (tempfile::TempDir, FakeRegistry, String) {
    let place = tempfile::tempdir().unwrap();
    let bare = place.path().join("app.git");
    publish(repository, &bare);
    let server = serve(place.path().to_owned());
    let url = format!("http://{}/app.git", server.address());
    (place, server, url)
}

/// The options of a build are in its image's record: `rebuild` and `verify-build` need what no image
/// tells, and nothing else.
#[test]
fn an_image_is_made_again_with_all_the_options_it_had() {
    let warpdrive = Warpdrive::new();
    let store = warpdrive.store();
    assembling(
        "cat /srv/in/src/a.txt conf/token | wc -c > result
id -u >> result
echo \"$GREETING $HIDDEN\" | wc -c >> result",
    )
    .files(|layer| layer.dir("srv", 0o777, (0, 0)))
    .put(&store, "box");
    Builder::plain()
        .set("WorkingDir", "/opt/app")
        .put(&store, "runtime");
    let repository = source(&[("web/a.txt", "one"), ("web/b.log", "")]);
    commit(repository.path());
    let (_place, _server, url) = published(repository.path());
    let own = source(&[
        ("token", "s3cret-t0ken"),
        ("scripts/save-artifacts", "#!/bin/sh\nexit 1\n"),
    ]);
    let inject = format!("{}:conf", own.path().join("token").display());
    let scripts = format!("file://{}", own.path().join("scripts").display());
    let machine = [
        "--build-env",
        "HIDDEN=hush",
        "-i",
        &inject,
        "-s",
        &scripts,
        "--add-host",
        "db:10.0.0.7",
    ];
    let mut words_of_build = vec![
        url.as_str(),
        "box",
        "app",
        "--context-dir",
        "web",
        "--exclude",
        r"\.log$",
        "-e",
        "GREETING=a=b,c",
        "-d",
        "/srv/in",
        "--assemble-user",
        "0",
        "--runtime-image",
        "runtime",
        "-a",
        "/opt/app/result",
        "-u",
        "0-2000",
        "--cap-drop",
        "KILL",
        "--split",
        "--harden",
        "--description",
        "Words",
    ];
    words_of_build.extend(machine);
    let report = build(&warpdrive, &words_of_build);
    let record: Value =
        serde_json::from_str(&label(&warpdrive, "app", "io.warpdrive.build").unwrap()).unwrap();
    assert_eq!(record["builder"]["digest"], report["builder"]["digest"]);
    assert_eq!(record["runtime"]["digest"], report["base"]["digest"]);
    assert_eq!(record["env"], json!(["GREETING"]));
    assert_eq!(record["s2i"]["injections"], 1);
    assert_eq!(record["s2i"]["exclude"], r"\.log$");
    let image = config(&warpdrive, "app").to_string();
    for word in ["HIDDEN", "hush", "10.0.0.7", own.path().to_str().unwrap()] {
        assert!(!image.contains(word), "{word}: {image}");
    }

    let refused = s2i(&warpdrive, &["rebuild", "app"]);
    assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
    for part in ["--build-env", "--inject", "--scripts-url", "--add-host"] {
        assert!(words(&refused).contains(part), "{}", words(&refused));
    }
    let rebuild = |more: &[&str]| -> Value {
        let mut arguments = vec!["rebuild", "app", "app", "--json"];
        arguments.extend(machine);
        arguments.extend(more);
        let output = s2i(&warpdrive, &arguments);
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let again = rebuild(&[]);
    assert_eq!(again["cache"]["application"], "hit");
    assert_eq!(again["digest"], report["digest"]);
    let verify = |image: &str, more: &[&str]| {
        let mut arguments = vec!["verify-build", image, "--json"];
        arguments.extend(more);
        let output = warpdrive.output(&arguments);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), value, words(&output))
    };
    let (code, value, said) = verify("app", &machine);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(value["rebuilt"], report["digest"]);
    // A warning names the inputs that are missing, and the comparison shows the difference.
    let (code, value, said) = verify("app", &["-s", &scripts, "--build-env", "HIDDEN=hush"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("with 1 injections (--inject)"), "{said}");
    assert_eq!(value["verified"], false);
    assert!(
        value["differences"].to_string().contains("/opt/app/result"),
        "{said}"
    );
    // More of one's own comes after what the image had.
    rebuild(&["-e", "GREETING=other"]);
    let env = config(&warpdrive, "app")["Env"].to_string();
    assert!(
        env.contains("GREETING=other") && !env.contains("a=b,c"),
        "{env}"
    );
    warpdrive.leaves_nothing();
}

/// Scripts of others are not always repeatable: the difference is told by the file.
#[test]
fn what_an_assemble_made_by_chance_is_told_file_by_file() {
    let warpdrive = Warpdrive::new();
    assembling("cat /proc/sys/kernel/random/uuid > /opt/app/chance; cp /tmp/src/a.txt /opt/app/")
        .put(&warpdrive.store(), "dice");
    let source = source(&[("a.txt", "hello")]);
    let path = source.path().to_str().unwrap();
    let report = build(&warpdrive, &[path, "dice", "app"]);
    // Nothing is taken from the cache, and no name is given.
    let output = warpdrive.output(&["verify-build", "app", "--source", path]);
    let said = words(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("layer 3: /opt/app/chance: "), "{said}");
    assert!(!said.contains("/opt/app/a.txt"), "{said}");
    let images = Store::open(Some(&warpdrive.store()))
        .unwrap()
        .images()
        .unwrap();
    assert_eq!(images.len(), 2, "{images:?}");
    assert_eq!(
        build(&warpdrive, &[path, "dice", "app"])["digest"],
        report["digest"]
    );
    // A different source is refused.
    std::fs::write(source.path().join("a.txt"), "changed").unwrap();
    let output = warpdrive.output(&["verify-build", "app", "--source", path]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    says(&output, "this is not the source");
    warpdrive.leaves_nothing();
}
