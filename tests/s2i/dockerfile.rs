//! `--as-dockerfile` and `generate`, with a real buildah.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::podman::Podman;
use crate::support::process;
use crate::support::process::{says, words};
use crate::support::s2i::s2i;
use crate::support::s2i_builders::{Builder, RUN, source};
use crate::support::warpdrive::{Warpdrive, commit};

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
    let with_all = ["-i", &inject, "-e", "MORE=x"];
    let write = |name: &str, place: &Path, more: &[&str]| {
        let source = source.path().to_str().unwrap();
        let place = place.to_str().unwrap();
        let arguments = [
            &["build", source, "localhost/box:latest", name][..],
            more,
            &["--as-dockerfile", place],
        ];
        s2i(&warpdrive, &arguments.concat())
    };
    let mut trees = Vec::new();
    for name in ["one", "two"] {
        let out = podman.enclosure().directory().join(name);
        fs::create_dir(&out).unwrap();
        let output = write("app", &out.join("Dockerfile"), &with_all);
        assert!(output.status.success(), "{}", words(&output));
        says(&output, "--secret id=s2i-inject-0,src=");
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
    let again = write("app", &out, &with_all);
    assert!(again.status.success(), "{}", words(&again));
    assert_eq!(tree(&out), trees[0]);

    let run = || {
        let mut command = podman.command();
        process::run(command.args(["run", "--rm", "--network=none", "localhost/app"]))
    };
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
    let said = run();
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
    let output = write("localhost/app", &out, &["--incremental", "-i", &inject]);
    assert!(output.status.success(), "{}", words(&output));
    process::run(&mut build);
    let said = run();
    assert!(said.contains("\n12\nartifact\n"), "{said}");

    // Something else in the way is left alone.
    let theirs = warpdrive.place().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join("Dockerfile"), "FROM scratch\n").unwrap();
    let output = write("app", &theirs, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert_eq!(
        fs::read_to_string(theirs.join("Dockerfile")).unwrap(),
        "FROM scratch\n"
    );

    // In the source itself, again and again: nothing of it is in the next one.
    let inside = source.path().join("out");
    fs::create_dir(&inside).unwrap();
    let mut trees = Vec::new();
    for _ in 0..3 {
        let output = write("app", &inside.join("Dockerfile"), &[]);
        assert!(output.status.success(), "{}", words(&output));
        trees.push(tree(&inside));
    }
    assert_eq!(trees[1], trees[0]);
    assert_eq!(trees[2], trees[0]);

    // `generate`: the same without a source. (The Go tool puts one label of the builder into another.)
    Builder::plain()
        .label("io.openshift.s2i.destination", "/srv/in")
        .label("io.k8s.description", "Its own words")
        .put(&warpdrive.store(), "elsewhere");
    let generated = warpdrive.place().join("Elsewhere");
    let output = s2i(
        &warpdrive,
        &[
            "generate",
            "elsewhere",
            generated.to_str().unwrap(),
            "--assemble-user",
            "0",
            "--assemble-runtime-user",
            "1002",
        ],
    );
    assert!(output.status.success(), "{}", words(&output));
    let text = fs::read_to_string(&generated).unwrap();
    assert!(!text.contains("LABEL") && !text.contains("words"), "{text}");
    assert!(
        text.contains("COPY [\"upload/src\", \"/srv/in/src\"]"),
        "{text}"
    );
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
