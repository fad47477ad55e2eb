//! Builds with S2I builder images: each behaviour of the protocol, and each defect of the Go tool in
//! the opposite sense.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use support::process::words;
use support::s2i_builders::{Builder, RUN, source};
use support::users::User;
use support::warpdrive::{Warpdrive, commit};
use warpdrive::store::Store;

/// An image as it lies in a store.
struct Looked {
    config: Value,
    manifest: Value,
    store: PathBuf,
}

impl Looked {
    fn at(warpdrive: &Warpdrive, name: &str) -> Self {
        let store = Store::open(Some(&warpdrive.store())).unwrap();
        let image = store.image(name).unwrap().unwrap();
        Self {
            config: serde_json::from_slice(&image.config_bytes).unwrap(),
            manifest: serde_json::from_slice(&image.manifest_bytes).unwrap(),
            store: warpdrive.store(),
        }
    }

    fn inner(&self, key: &str) -> &Value {
        &self.config["config"][key]
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.inner("Labels").get(key)?.as_str()
    }

    /// The decompressed bytes of the layers above the builder's two.
    fn layers(&self) -> Vec<Vec<u8>> {
        self.manifest["layers"].as_array().unwrap()[2..]
            .iter()
            .map(|layer| {
                let digest = layer["digest"].as_str().unwrap();
                let path = self
                    .store
                    .join("blobs/sha256")
                    .join(digest.trim_start_matches("sha256:"));
                let mut bytes = Vec::new();
                flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap())
                    .read_to_end(&mut bytes)
                    .unwrap();
                bytes
            })
            .collect()
    }

    /// What the new layers hold: path → (mode, uid, gid, content).
    fn files(&self) -> BTreeMap<String, (u32, u64, u64, String)> {
        let mut files = BTreeMap::new();
        for layer in self.layers() {
            let mut archive = tar::Archive::new(&layer[..]);
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_string_lossy().into_owned();
                let header = entry.header().clone();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                if let Some(link) = header.link_name().unwrap() {
                    content = link.to_string_lossy().into_owned().into_bytes();
                }
                files.insert(
                    path.trim_end_matches('/').to_owned(),
                    (
                        header.mode().unwrap(),
                        header.uid().unwrap(),
                        header.gid().unwrap(),
                        String::from_utf8_lossy(&content).into_owned(),
                    ),
                );
            }
        }
        files
    }

    fn content(&self, path: &str) -> String {
        match self.files().remove(path) {
            Some((_, _, _, content)) => content,
            None => panic!("{path} is not in {:?}", self.files().keys()),
        }
    }
}

/// `warpdrive s2i build SOURCE BUILDER app`.
fn build(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Value {
    let output = try_build(warpdrive, builder, source, more);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn try_build(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Output {
    let path = source.to_str().unwrap();
    let mut arguments = vec!["s2i", "build", path, builder, "app", "--json"];
    arguments.extend_from_slice(more);
    warpdrive.output(&arguments)
}

/// Builds what must fail; gives the exit code, the error as JSON and all the words.
fn refused(
    warpdrive: &Warpdrive,
    builder: &str,
    source: &Path,
    more: &[&str],
) -> (i32, Value, String) {
    let output = try_build(warpdrive, builder, source, more);
    assert!(!output.status.success(), "{}", words(&output));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (
        output.status.code().unwrap(),
        error["error"].clone(),
        words(&output),
    )
}

/// A store with one builder image, `box`.
fn with(builder: Builder) -> Warpdrive {
    let warpdrive = Warpdrive::new();
    builder.put(&warpdrive.store(), "box");
    warpdrive
}

/// A builder whose assemble is this, after `set -e`.
fn assembling(script: &str) -> Builder {
    Builder::new()
        .script("assemble", &format!("#!/bin/sh\nset -e\n{script}\n"))
        .script("run", RUN)
}

/// A source of one file.
fn hello() -> tempfile::TempDir {
    source(&[("a.txt", "hello"), ("sub/b.txt", "there")])
}

/// `warpdrive image` with an S2I builder.
fn image(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Value {
    let output = try_image(warpdrive, builder, source, more);
    assert!(output.status.success(), "{}", words(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn try_image(warpdrive: &Warpdrive, builder: &str, source: &Path, more: &[&str]) -> Output {
    let path = source.to_str().unwrap();
    let mut arguments = vec![
        "image",
        "app",
        "--builder",
        builder,
        "--path",
        path,
        "--json",
    ];
    arguments.extend_from_slice(more);
    warpdrive.output(&arguments)
}

#[test]
fn image_takes_the_protocols_way_with_an_s2i_builder() {
    let warpdrive = Warpdrive::new();
    Builder::plain().put(&warpdrive.store(), "box");
    let source = source(&[("a.txt", "hello"), ("bin/tool*", "#!/bin/sh\n")]);
    let report = image(&warpdrive, "box", source.path(), &["-e", "GREETING=a=b,c"]);
    assert_eq!(report["user"], "1001");
    assert_eq!(report["builder"]["reference"], "box");
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(*looked.inner("Cmd"), json!(["/usr/libexec/s2i/run"]));
    assert_eq!(*looked.inner("Entrypoint"), Value::Null);
    assert_eq!(*looked.inner("ExposedPorts"), json!({"8080/tcp": {}}));
    assert_eq!(*looked.inner("WorkingDir"), "/opt/app");
    assert_eq!(
        *looked.inner("Env"),
        json!(["PATH=/bin:/usr/bin", "STACK=box", "GREETING=a=b,c"])
    );
    assert_eq!(looked.label("io.openshift.s2i.build.image"), Some("box"));
    assert_eq!(looked.label("io.k8s.display-name"), Some("app"));
    assert_eq!(looked.label("io.openshift.tags"), Some("builder,box"));
    assert_eq!(looked.label("io.openshift.s2i.build.commit.id"), None);
    let files = looked.files();
    assert_eq!(files["opt/app/a.txt"].3, "hello");
    // As `cp` left it under docker's umask, and as it was uploaded.
    assert_eq!(files["opt/app/bin/tool"].0, 0o755);
    assert_eq!(files["tmp/src/bin/tool"].0, 0o775);
    assert_eq!(files["tmp"].0, 0o1777);
    assert_eq!(files["tmp/src/a.txt"].1, 1001);
    let result = looked.content("opt/app/result");
    assert!(
        result.starts_with("uid=1001(builder) gid=0(root)"),
        "{result}"
    );

    // Nothing has changed: nothing runs, and the image is the same.
    let again = image(&warpdrive, "box", source.path(), &["-e", "GREETING=a=b,c"]);
    assert_eq!(again["cache"]["application"], "hit");
    assert_eq!(again["digest"], report["digest"]);
    // Nothing of the hour is in it.
    let anew = image(
        &warpdrive,
        "box",
        source.path(),
        &["-e", "GREETING=a=b,c", "--no-cache"],
    );
    assert_eq!(anew["cache"]["application"], "miss");
    assert_eq!(anew["digest"], report["digest"]);
}

// --- Flow -----------------------------------------------------------------------------------------

#[test]
fn an_upload_that_is_removed_or_moved_leaves_no_trace() {
    for (script, expected) in [
        ("cp -R /tmp/src/. /opt/app/; rm -rf /tmp/src", ""),
        (
            "mv /tmp/src/a.txt /tmp/src/sub /opt/app/; rm -rf /tmp/src",
            "",
        ),
        (
            "mv /tmp/src /opt/app/src; mv /opt/app/src/* /opt/app; rm -r /opt/app/src",
            "",
        ),
        (
            "cp -R /tmp/src/. /opt/app/; rm /tmp/src/a.txt",
            "tmp,tmp/src,tmp/src/sub,tmp/src/sub/b.txt",
        ),
    ] {
        let warpdrive = with(assembling(script));
        build(&warpdrive, "box", hello().path(), &[]);
        let files = Looked::at(&warpdrive, "app").files();
        let tmp: Vec<&str> = files
            .keys()
            .filter(|path| path.starts_with("tmp"))
            .map(String::as_str)
            .collect();
        assert_eq!(tmp.join(","), expected, "{script}");
        assert_eq!(files["opt/app/a.txt"].3, "hello", "{script}");
        assert_eq!(files["opt/app/sub/b.txt"].3, "there", "{script}");
        assert!(!files.keys().any(|path| path.contains(".wh.")), "{files:?}");
    }
}

#[test]
fn a_builder_needs_neither_tar_nor_its_entrypoint_nor_a_working_directory() {
    let warpdrive = with(
        assembling(
            "! command -v tar\nmkdir -p /opt/app\ncp /tmp/src/a.txt .\npwd > /opt/app/result",
        )
        .set("Entrypoint", json!(["/bin/sh", "-c", "exit 9"]))
        .set("WorkingDir", "/new/place")
        .set("User", "0"),
    );
    build(&warpdrive, "box", hello().path(), &[]);
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(looked.content("opt/app/result"), "/new/place\n");
    assert_eq!(looked.content("new/place/a.txt"), "hello");
    assert_eq!(
        *looked.inner("Entrypoint"),
        json!(["/bin/sh", "-c", "exit 9"])
    );
    assert_eq!(*looked.inner("Cmd"), json!(["/usr/libexec/s2i/run"]));
}

#[test]
fn whiteouts_are_of_the_builders_files_only() {
    let warpdrive = with(
        assembling(
            "rm -r /opt/app/old /opt/app/gone.txt; mkdir /opt/app/old; echo new > /opt/app/old/new",
        )
        .files(|layer| {
            layer
                .dir("opt", 0o755, (0, 0))
                .dir("opt/app", 0o775, (1001, 0))
                .dir("opt/app/old", 0o775, (1001, 0))
                .owned("opt/app/old/file", 0o664, (1001, 0), "x")
                .owned("opt/app/gone.txt", 0o664, (1001, 0), "x")
        }),
    );
    build(&warpdrive, "box", hello().path(), &[]);
    let files = Looked::at(&warpdrive, "app").files();
    assert!(files.contains_key("opt/app/.wh.gone.txt"), "{files:?}");
    assert!(files.contains_key("opt/app/old/.wh..wh..opq"), "{files:?}");
    assert_eq!(files["opt/app/old/new"].3, "new\n");
}

#[test]
fn the_destination_is_the_users_or_the_labels_and_links_in_the_image_are_followed() {
    let linked = assembling("cp /tmp/src/a.txt /opt/app/").files(|layer| {
        layer
            .dir("var", 0o755, (0, 0))
            .dir("var/tmp", 0o1777, (0, 0))
    });
    let there = assembling("cp /srv/in/src/a.txt /opt/app/");
    for (builder, more, uploaded) in [
        (linked, vec!["--destination", "/tmp/x/.."], None),
        (
            there,
            vec!["--destination", "/srv/in/"],
            Some("srv/in/src/a.txt"),
        ),
        (
            assembling("cp /srv/in/src/a.txt /opt/app/")
                .label("io.openshift.s2i.destination", "/srv/in"),
            vec![],
            Some("srv/in/src/a.txt"),
        ),
        (
            assembling("cp /srv/in/src/a.txt /opt/app/")
                .files(|layer| layer.dir("data", 0o777, (0, 0)).symlink("srv", "/data"))
                .label("io.s2i.destination", "/srv/in"),
            vec![],
            Some("data/in/src/a.txt"),
        ),
        (
            assembling("cp /srv/in/src/a.txt /opt/app/")
                .set("Env", json!(["PATH=/bin", "STI_LOCATION=/srv/in"])),
            vec![],
            Some("srv/in/src/a.txt"),
        ),
    ] {
        let warpdrive = with(builder);
        let Some(uploaded) = uploaded else {
            let (code, _, words) = refused(&warpdrive, "box", hello().path(), &more);
            assert_eq!(code, 2, "{words}");
            assert!(words.contains("`..`"), "{words}");
            continue;
        };
        build(&warpdrive, "box", hello().path(), &more);
        let looked = Looked::at(&warpdrive, "app");
        assert_eq!(looked.content(uploaded), "hello");
        assert_eq!(looked.content("opt/app/a.txt"), "hello");
    }
}

#[test]
fn a_failing_script_gives_its_own_status_and_changes_nothing() {
    let warpdrive = with(assembling(
        "echo the reason; [ ! -e /tmp/src/fail ] || exit 42",
    ));
    let good = build(&warpdrive, "box", hello().path(), &[]);
    let bad = source(&[("fail", "")]);
    let (code, error, words) = refused(&warpdrive, "box", bad.path(), &[]);
    assert_eq!(code, 3);
    assert_eq!(error["status"], 42);
    assert!(
        words.contains("assemble of `box` failed with status 42"),
        "{words}"
    );
    assert!(words.contains("the reason"), "{words}");
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(looked.manifest["config"]["digest"], good["config_digest"]);
    // A failure is not remembered.
    assert_eq!(refused(&warpdrive, "box", bad.path(), &[]).0, 3);
    warpdrive.leaves_nothing();
}

#[test]
fn a_script_without_an_interpreter_line_is_a_shell_script() {
    let warpdrive = with(
        Builder::new()
            .script("assemble", "echo ok > /opt/app/result\n")
            .script("run", RUN),
    );
    build(&warpdrive, "box", hello().path(), &[]);
    assert_eq!(
        Looked::at(&warpdrive, "app").content("opt/app/result"),
        "ok\n"
    );
}

#[test]
fn labels_say_what_was_built_from_what() {
    let warpdrive = with(
        Builder::plain()
            .label("io.openshift.s2i.build.commit.id", "the builder's own")
            .label("io.openshift.s2i.build.source-context-dir", "its"),
    );
    let source = hello();
    commit(source.path());
    build(
        &warpdrive,
        "box",
        source.path(),
        &["-n", "My app", "--description", "What it does"],
    );
    let looked = Looked::at(&warpdrive, "app");
    let label = |key: &str| looked.label(&format!("io.openshift.s2i.build.{key}"));
    assert_eq!(label("image"), Some("box"));
    assert_eq!(label("commit.id").map(str::len), Some(40));
    assert_eq!(label("commit.ref"), Some("main"));
    assert_eq!(label("commit.author"), Some("Test <test@example.com>"));
    assert_eq!(label("commit.date"), Some("2024-05-06T07:08:09Z"));
    assert_eq!(label("commit.message"), Some("First"));
    // What is empty is left out, also what the builder says of its own build.
    assert_eq!(label("source-context-dir"), None);
    assert_eq!(looked.label("io.k8s.display-name"), Some("My app"));
    assert_eq!(looked.label("io.k8s.description"), Some("What it does"));
    assert_eq!(looked.config["created"], "2024-05-06T07:08:09Z");
    let annotations = &looked.manifest["annotations"];
    assert_eq!(annotations["org.opencontainers.image.base.name"], "box");
    assert_eq!(
        annotations["org.opencontainers.image.revision"]
            .as_str()
            .map(str::len),
        Some(40)
    );
    let text = looked.config.to_string();
    assert!(!text.contains(source.path().to_str().unwrap()), "{text}");
}

#[test]
fn variables_reach_assemble_and_the_image_in_the_protocols_order() {
    let warpdrive = with(
        assembling("env > /opt/app/result").set("Env", json!(["PATH=/bin", "A=image", "B=image"])),
    );
    let source = source(&[(".s2i/environment", "# a comment\nB=file\nC=file\nD=file\n")]);
    build(
        &warpdrive,
        "box",
        source.path(),
        &[
            "-e",
            "C=given",
            "-e",
            "E=a,b=c",
            "-e",
            "D=",
            "--build-env",
            "F=build only",
        ],
    );
    let looked = Looked::at(&warpdrive, "app");
    let result = looked.content("opt/app/result");
    for line in [
        "A=image",
        "B=file",
        "C=given",
        "D=",
        "E=a,b=c",
        "F=build only",
        "HOME=/opt/app",
    ] {
        assert!(
            result.lines().any(|found| found == line),
            "{line}: {result}"
        );
    }
    assert_eq!(
        *looked.inner("Env"),
        json!(["PATH=/bin", "A=image", "B=file", "C=given", "D=", "E=a,b=c"])
    );
}

// --- Scripts --------------------------------------------------------------------------------------

#[test]
fn scripts_come_from_the_first_place_that_has_them() {
    let warpdrive = with(
        Builder::new()
            .script("assemble", "#!/bin/sh\necho image > /opt/app/result\n")
            .script("run", RUN)
            .files(|layer| {
                layer.dir("other", 0o755, (0, 0)).file(
                    "other/assemble",
                    0o755,
                    "#!/bin/sh\necho other > /opt/app/result\n",
                )
            }),
    );
    let script = "#!/bin/sh\necho source > /opt/app/result; ls -a /tmp/src/.s2i/bin > /opt/app/left || true\n";
    let scripts = source(&[("assemble", "#!/bin/sh\necho given > /opt/app/result\n")]);
    let given = format!("file://{}", scripts.path().display());
    let with_scripts = source(&[(".s2i/bin/assemble", script), (".s2i/bin/usage", "")]);
    let old = source(&[(".sti/bin/assemble", script)]);
    let plain = hello();
    for (source, more, result, cmd) in [
        (&plain, vec![], "image", "/usr/libexec/s2i/run"),
        (&with_scripts, vec![], "source", "/usr/libexec/s2i/run"),
        (&old, vec![], "source", "/usr/libexec/s2i/run"),
        (
            &with_scripts,
            vec!["--scripts-url", "image:///other"],
            "other",
            "/usr/libexec/s2i/run",
        ),
        (
            &with_scripts,
            vec!["--scripts-url", given.as_str()],
            "given",
            "/usr/libexec/s2i/run",
        ),
    ] {
        build(&warpdrive, "box", source.path(), &more);
        let looked = Looked::at(&warpdrive, "app");
        assert_eq!(looked.content("opt/app/result"), format!("{result}\n"));
        assert_eq!(*looked.inner("Cmd"), json!([cmd]));
        if source.path() == with_scripts.path() && more.is_empty() {
            // Moved out of the source, the rest stays.
            assert_eq!(looked.content("opt/app/left"), ".\n..\nusage\n");
            let (mode, uid, ..) = looked.files()["tmp/scripts/assemble"];
            assert_eq!((mode, uid), (0o755, 1001));
        }
    }
}

#[test]
fn scripts_from_outside_of_the_image_lie_beside_the_source() {
    let warpdrive = with(Builder::new().without_label("io.openshift.s2i.scripts-url"));
    let scripts = source(&[
        (
            "assemble",
            "#!/bin/sh\ncat /tmp/scripts/run > /opt/app/result\n",
        ),
        ("run", RUN),
    ]);
    let url = format!("file://{}", scripts.path().display());
    build(&warpdrive, "box", hello().path(), &["--scripts-url", &url]);
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(*looked.inner("Cmd"), json!(["/tmp/scripts/run"]));
    assert_eq!(looked.content("opt/app/result"), RUN);
    assert_eq!(looked.files()["tmp/scripts/run"].0, 0o755);

    // All of them in the source; and none at all.
    let own = source(&[
        (
            ".s2i/bin/assemble",
            "#!/bin/sh\necho own > /opt/app/result\n",
        ),
        (".s2i/bin/run", RUN),
    ]);
    build(&warpdrive, "box", own.path(), &["--destination", "/srv"]);
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(*looked.inner("Cmd"), json!(["/srv/scripts/run"]));
    let empty = source(&[("x", "")]);
    let url = format!("file://{}", empty.path().display());
    for more in [&[][..], &["--scripts-url", &url]] {
        let (code, _, words) = refused(&warpdrive, "box", hello().path(), more);
        assert_eq!(code, 1, "{words}");
        assert!(
            words.contains("no `assemble` script") || words.contains("has none of the scripts"),
            "{words}"
        );
    }
}

#[test]
fn an_images_old_words_are_understood() {
    for builder in [
        Builder::plain()
            .without_label("io.openshift.s2i.scripts-url")
            .label("io.s2i.scripts-url", "image:///usr/libexec/s2i"),
        Builder::plain()
            .without_label("io.openshift.s2i.scripts-url")
            .set(
                "Env",
                json!(["PATH=/bin", "STI_SCRIPTS_URL=image:///usr/libexec/s2i"]),
            ),
    ] {
        let warpdrive = with(builder);
        image(&warpdrive, "box", hello().path(), &[]);
    }
}

#[test]
fn an_image_cannot_name_places_of_this_machine() {
    for (label, value, part) in [
        (
            "io.openshift.s2i.scripts-url",
            "file:///etc",
            "files of this machine",
        ),
        (
            "io.openshift.s2i.scripts-url",
            "image:///usr/../../etc",
            "`..`",
        ),
        (
            "io.openshift.s2i.scripts-url",
            "ext::sh -c id",
            "none of image://",
        ),
        ("io.openshift.s2i.destination", "/tmp/../../../etc", "`..`"),
        ("io.openshift.s2i.destination", "/", "root itself"),
        (
            "io.openshift.s2i.destination",
            "/proc/self",
            "not part of an image",
        ),
        (
            "io.openshift.s2i.destination",
            "/etc/passwd",
            "not a directory",
        ),
        (
            "io.openshift.s2i.assemble-user",
            "nobody-here",
            "not in the image's /etc/passwd",
        ),
    ] {
        let warpdrive = with(Builder::plain().label(label, value));
        let (code, _, words) = refused(&warpdrive, "box", hello().path(), &[]);
        assert_eq!(code, 1, "{value}: {words}");
        assert!(words.contains(part), "{value}: {words}");
    }
}

// --- Users ----------------------------------------------------------------------------------------

#[test]
fn assemble_runs_as_the_images_user_whom_the_result_keeps() {
    let id = "id > /opt/app/result; touch /opt/app/mine";
    for (builder, more, expected, owner) in [
        (
            assembling(id).set("User", "builder"),
            vec![],
            "uid=1001(builder) gid=0(root) groups=0(root)",
            (1001, 0),
        ),
        (
            assembling(id)
                .set("User", "member")
                .files(|layer| layer.dir("opt/app", 0o777, (0, 0))),
            vec![],
            "uid=1002(member) gid=1002 groups=44(media),50(staff),1002",
            (1002, 1002),
        ),
        (
            assembling(id),
            vec!["--assemble-user", "0"],
            "uid=0(root) gid=0(root)",
            (0, 0),
        ),
        (
            assembling(id).label("io.openshift.s2i.assemble-user", "0"),
            vec![],
            "uid=0(root) gid=0(root)",
            (0, 0),
        ),
        (
            assembling(id).label("io.openshift.s2i.assemble-user", "0"),
            vec!["--assemble-user", "1001"],
            "uid=1001(builder) gid=0(root)",
            (1001, 0),
        ),
    ] {
        let user = builder.user().to_owned();
        let warpdrive = with(builder);
        build(&warpdrive, "box", hello().path(), &more);
        let looked = Looked::at(&warpdrive, "app");
        let result = looked.content("opt/app/result");
        assert!(result.starts_with(expected), "{result}");
        let mine = &looked.files()["opt/app/mine"];
        assert_eq!((mine.1, mine.2), owner);
        assert_eq!(*looked.inner("User"), json!(user));
    }
}

#[test]
fn root_in_assemble_can_do_what_installing_takes() {
    let script =
        "chown 33:33 /opt/app; echo x > /etc/new; chmod 4755 /etc/new; chown 1002 /tmp/src/a.txt
chmod 600 /etc/passwd
grep Cap /proc/self/status > /opt/app/result";
    let warpdrive = with(assembling(script).set("User", "0"));
    build(&warpdrive, "box", hello().path(), &[]);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    assert_eq!((files["opt/app"].1, files["opt/app"].2), (33, 33));
    assert_eq!(files["etc/new"].0, 0o4755);
    assert_eq!(files["etc/passwd"].0, 0o600);
    assert_eq!(files["tmp/src/a.txt"].1, 1002);
    // And no more: neither devices nor the network's raw sockets nor tracing.
    let result = looked.content("opt/app/result");
    assert!(result.contains("CapEff:\t00000000800005fb"), "{result}");
    let (code, _, words) = refused(
        &warpdrive,
        "box",
        hello().path(),
        &["--cap-drop", "CAP_CHOWN,kill"],
    );
    assert_eq!(code, 3, "{words}");
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &["--cap-drop", "FLYING"]);
    assert_eq!(code, 2, "{words}");
}

#[test]
fn allowed_uids_hold_for_all_who_run() {
    let plain = |user: &str| Builder::plain().set("User", user);
    for (builder, more, part) in [
        // The Go tool looks at the first user that it finds: the result runs as root.
        (
            plain("0"),
            vec!["--assemble-user", "1001"],
            "USER of `box` is \"0\"",
        ),
        (plain(""), vec![], "names no user, which means root"),
        (plain("root"), vec![], "only a number can be checked"),
        (plain("0:1001"), vec![], "uid 0 is outside"),
        (
            plain("1001"),
            vec!["--assemble-user", "0"],
            "the user of assemble is \"0\"",
        ),
        (
            plain("1001").label("io.openshift.s2i.assemble-user", "builder"),
            vec![],
            "the user of assemble is \"builder\"",
        ),
        (
            plain("1001").set("OnBuild", json!(["USER 0", "RUN true", "USER 1001"])),
            vec![],
            "ONBUILD USER of `box` is \"0\"",
        ),
        (
            plain("1001").set("OnBuild", json!(["ENV WHO=0", "USER $WHO"])),
            vec![],
            "ONBUILD USER of `box`",
        ),
    ] {
        let warpdrive = with(builder);
        let mut arguments = vec!["--allowed-uids", "1-"];
        arguments.extend(more);
        let (code, _, words) = refused(&warpdrive, "box", hello().path(), &arguments);
        assert_eq!(code, 4, "{words}");
        assert!(words.contains(part), "{part}: {words}");
    }
    let warpdrive = with(plain("1001:0"));
    build(&warpdrive, "box", hello().path(), &["-u", "1-10,1001"]);

    // The runtime image's user is the result's.
    Builder::plain()
        .set("User", "0")
        .put(&warpdrive.store(), "runtime");
    let runtime = [
        "--allowed-uids",
        "1-",
        "--runtime-image",
        "runtime",
        "--runtime-artifact",
        "/opt/app",
    ];
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &runtime);
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("USER of `runtime` is \"0\""), "{words}");
    Builder::plain()
        .label("io.openshift.s2i.assemble-runtime-user", "0")
        .put(&warpdrive.store(), "runtime");
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &runtime);
    assert_eq!(code, 4, "{words}");
}

/// What a build as somebody else gives: root, one with subordinate ids, one with one id.
fn as_each(builder: impl Fn() -> Builder, more: &[&str]) -> Vec<(&'static str, Output)> {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("box.tar");
    builder().archive(&archive, "box");
    let source = hello();
    let own = source.path().join("own");
    std::fs::write(&own, "x").unwrap();
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    [
        ("root", None),
        ("subuid", Some(User::with_subids())),
        ("single", Some(User::single_id())),
    ]
    .into_iter()
    .map(|(who, user)| {
        let (warpdrive, archive) = match user {
            None => (Warpdrive::new(), archive.clone()),
            Some(user) => {
                let archive = user.give(&archive, "box.tar");
                (Warpdrive::of_user(user), archive)
            }
        };
        let source = warpdrive.give(source.path(), "source");
        warpdrive.run(&[
            "import",
            &format!("docker-archive:{}", archive.display()),
            "box",
        ]);
        let path = source.to_str().unwrap();
        let mut arguments = vec!["s2i", "build", path, "box", "app", "--json"];
        arguments.extend_from_slice(more);
        (who, warpdrive.output(&arguments))
    })
    .collect()
}

#[test]
fn the_image_is_the_same_whoever_builds_it() {
    let script = "cp -R /tmp/src/. /opt/app/
rm /opt/app/old
echo more >> /opt/app/kept
chmod 700 /opt/app/sub
ln /opt/app/a.txt /opt/app/again
ln -s a.txt /opt/app/link
mkdir -p /opt/app/new/dir
chmod -R g=u /opt/app";
    let builder = || {
        assembling(script).files(|layer| {
            layer
                .dir("opt", 0o755, (0, 0))
                .dir("opt/app", 0o775, (1001, 0))
                .owned("opt/app/old", 0o664, (1001, 0), "x")
                .owned("opt/app/kept", 0o664, (1001, 0), "x")
                .owned("opt/app/still", 0o600, (1001, 0), "x")
        })
    };
    let built = as_each(builder, &["--split"]);
    let digests: Vec<String> = built
        .iter()
        .map(|(who, output)| {
            assert!(output.status.success(), "{who}: {}", words(output));
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            report["digest"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(digests[1], digests[0], "subuid");
    assert_eq!(digests[2], digests[0], "single");
}

#[test]
fn who_has_one_uid_gets_no_other_image_but_an_error_that_names_subuid() {
    // As another user; as this one, but where it may not write.
    for (script, user, elsewhere) in [
        ("chown 5:6 /tmp/src/a.txt", "0", 0),
        ("echo x > /opt/app/mine", "1002", 1),
        ("echo x > /etc/new", "1001", 3),
        ("rm /etc/group", "1001", 3),
        ("chmod 777 /usr/libexec", "1001", 3),
        ("echo x >> /etc/group", "1001", 3),
    ] {
        let builder = || {
            assembling(script).set("User", user).files(|layer| {
                layer.dir("opt", 0o755, (0, 0)).dir(
                    "opt/app",
                    if elsewhere == 1 { 0o777 } else { 0o775 },
                    (1001, 0),
                )
            })
        };
        for (who, output) in as_each(builder, &[]) {
            let words = words(&output);
            let code = output.status.code();
            if who == "single" {
                assert_eq!(code, Some(1), "{script}: {words}");
                assert!(words.contains("subuid"), "{script}: {words}");
            } else {
                let expected = if elsewhere == 3 { 3 } else { 0 };
                assert_eq!(code, Some(expected), "{who}, {script}: {words}");
            }
        }
    }
}

// --- image_metadata.json --------------------------------------------------------------------------

#[test]
fn assemble_gives_labels_to_the_image_and_a_bad_shape_is_told() {
    let writing = |json: &str| {
        assembling(&format!(
            "mkdir /tmp/.s2i; cat > /tmp/.s2i/image_metadata.json << 'END'\n{json}\nEND"
        ))
    };
    let warpdrive = with(writing(
        r#"{"labels":[{"stage":"test","io.k8s.display-name":"Mine"},{"more":"1"}]}"#,
    ));
    build(&warpdrive, "box", hello().path(), &["-n", "given"]);
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(looked.label("stage"), Some("test"));
    assert_eq!(looked.label("more"), Some("1"));
    assert_eq!(looked.label("io.k8s.display-name"), Some("Mine"));
    // Also where nothing runs.
    build(&warpdrive, "box", hello().path(), &["-n", "given"]);
    assert_eq!(Looked::at(&warpdrive, "app").label("stage"), Some("test"));
    let long = format!(r#"{{"labels":[{{"long":"{}"}}]}}"#, "x".repeat(10_300));
    for (json, part, code) in [
        (r#"{"labels":[{"a":1}]}"#, "\"a\" that is not text", 3),
        (r#"{"labels":{"a":"b"}}"#, "not a list", 3),
        (r#"{"label":[]}"#, "no \"labels\"", 3),
        ("nonsense", "not JSON", 3),
        (&long, "10240", 1),
    ] {
        let warpdrive = with(writing(json));
        let (found, _, words) = refused(&warpdrive, "box", hello().path(), &[]);
        assert_eq!(found, code, "{words}");
        assert!(words.contains(part), "{words}");
    }
}

// --- Incremental ----------------------------------------------------------------------------------

/// Keeps a count in `/opt/app/cache`, which is 1 in a clean build.
fn counting(save: &str) -> Builder {
    assembling(
        "mkdir -p /opt/app/cache
[ ! -e /tmp/artifacts ] || { [ -n \"$(ls /tmp/artifacts)\" ]; cp -R /tmp/artifacts/cache/. /opt/app/cache/; }
echo x >> /opt/app/cache/count
stat -c %u /tmp/artifacts > /opt/app/result || true
cp /tmp/src/* /opt/app/",
    )
    .script("save-artifacts", &format!("#!/bin/sh\n{save}\n"))
}

const SAVE: &str = "cd /opt/app && busybox tar -c -f - cache";

#[test]
fn an_incremental_build_has_what_the_previous_image_saved() {
    let warpdrive = with(counting(SAVE));
    let count = || {
        Looked::at(&warpdrive, "app")
            .content("opt/app/cache/count")
            .lines()
            .count()
    };
    let build = |content: &str, more: &[&str]| {
        let source = source(&[("file", content)]);
        let output = try_build(&warpdrive, "box", source.path(), more);
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    let said = build("1", &["--incremental"]);
    assert!(
        said.contains("a clean build: there is no previous image"),
        "{said}"
    );
    assert_eq!(count(), 1);
    let said = build("2", &["--incremental"]);
    assert!(!said.contains("clean build"), "{said}");
    assert_eq!(count(), 2);
    assert_eq!(
        Looked::at(&warpdrive, "app").content("opt/app/result"),
        "1001\n"
    );
    // Nothing has changed: nothing runs.
    let said = build("2", &["--incremental"]);
    assert!(said.contains("nothing to run"), "{said}");
    assert_eq!(count(), 2);
    // A clean build is never the one that had artifacts.
    build("2", &[]);
    assert_eq!(count(), 1);
    build("3", &[]);
    assert_eq!(count(), 1);
    // Nothing of them is left in the image but what assemble took over.
    warpdrive.leaves_nothing();
}

#[test]
fn artifacts_that_are_broken_give_a_clean_build_which_is_said() {
    let tar = |member: &str| format!("mkdir -p /tmp/x/cache && cd /tmp/x && {member}");
    for (save, reason) in [
        ("exit 7".to_owned(), "failed with status 7"),
        ("true".to_owned(), "saved nothing"),
        (format!("echo 'Saving…'; {SAVE}"), "no archive"),
        (format!("{SAVE} | head -c 700"), "no archive"),
        (format!("{SAVE} | head -c 1536"), "no end mark"),
        (format!("{SAVE}; exit 3"), "failed with status 3"),
        (
            tar("ln -s /etc out && busybox tar -c -f - out"),
            "out of the tree",
        ),
        (
            tar("ln -s ../../etc cache/out && busybox tar -c -f - cache"),
            "out of the tree",
        ),
        (
            tar("busybox mkfifo cache/p && busybox tar -c -f - cache"),
            "a pipe",
        ),
        (
            tar("echo x > cache/.wh.y; busybox tar -c -f - cache"),
            "a deletion",
        ),
    ] {
        let warpdrive = with(counting(&save));
        build(&warpdrive, "box", source(&[("file", "1")]).path(), &[]);
        let second = source(&[("file", "2")]);
        let output = try_build(&warpdrive, "box", second.path(), &["--incremental"]);
        let said = words(&output);
        assert!(output.status.success(), "{save}: {said}");
        assert!(
            said.contains("a clean build: ") && said.contains(reason),
            "{save}: {said}"
        );
        let looked = Looked::at(&warpdrive, "app");
        assert_eq!(looked.content("opt/app/cache/count"), "x\n", "{save}");
        assert!(!looked.files().contains_key("tmp/artifacts"), "{save}");
    }
    // Padding is no fault.
    let warpdrive = with(counting(&format!("{SAVE}; head -c 20480 /dev/zero")));
    for (content, count) in [("1", "x\n"), ("2", "x\nx\n")] {
        let source = source(&[("file", content)]);
        build(&warpdrive, "box", source.path(), &["--incremental"]);
        assert_eq!(
            Looked::at(&warpdrive, "app").content("opt/app/cache/count"),
            count
        );
    }
}

#[test]
fn image_builds_incrementally_too() {
    let warpdrive = with(counting(SAVE));
    for (content, count) in [("1", "x\n"), ("2", "x\nx\n")] {
        let source = source(&[("file", content)]);
        image(&warpdrive, "box", source.path(), &["--incremental"]);
        assert_eq!(
            Looked::at(&warpdrive, "app").content("opt/app/cache/count"),
            count
        );
    }
}

// --- Runtime images -------------------------------------------------------------------------------

/// A runtime image whose scripts are its own.
fn runtime() -> Builder {
    Builder::new()
        .script("run", RUN)
        .script(
            "assemble-runtime",
            "#!/bin/sh\nid > /srv/app/who; ls -R . > /srv/app/list; env > /srv/app/env\n",
        )
        .files(|layer| {
            layer
                .dir("srv", 0o755, (0, 0))
                .dir("srv/app", 0o775, (1002, 1002))
        })
        .set("WorkingDir", "/srv/app")
        .set("User", "1002")
        .set("Env", json!(["PATH=/bin", "RUNTIME=1"]))
}

#[test]
fn a_runtime_image_gets_the_artifacts_and_runs_its_own_script() {
    let warpdrive = with(counting(SAVE));
    runtime().put(&warpdrive.store(), "runtime");
    let source = source(&[("file", "1"), ("tool*", "#!/bin/sh\n")]);
    let more = [
        "--runtime-image",
        "runtime",
        "-a",
        "/opt/app/file:data",
        "-a",
        "/opt/app/cache",
        "-a",
        "/opt/app/tool;/tmp/src/.:all/of/it",
        "-e",
        "MODE=x",
    ];
    let report = build(&warpdrive, "box", source.path(), &more);
    assert_eq!(report["base"]["reference"], "runtime");
    assert_eq!(report["builder"]["reference"], "box");
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    assert_eq!(files["srv/app/data/file"].3, "1");
    assert_eq!(files["srv/app/cache/count"].3, "x\n");
    assert_eq!(files["srv/app/all/of/it/file"].3, "1");
    assert_eq!(
        (files["srv/app/tool"].0, files["srv/app/tool"].1),
        (0o755, 1002)
    );
    assert_eq!(files["srv/app/data/file"].0, 0o644);
    assert!(files["srv/app/who"].3.starts_with("uid=1002"), "{files:?}");
    assert!(files["srv/app/env"].3.contains("MODE=x"), "{files:?}");
    assert!(
        !files.keys().any(|path| path.starts_with("opt/app")),
        "{files:?}"
    );
    assert_eq!(*looked.inner("User"), "1002");
    assert_eq!(
        *looked.inner("Env"),
        json!(["PATH=/bin", "RUNTIME=1", "MODE=x"])
    );
    assert_eq!(*looked.inner("Cmd"), json!(["/usr/libexec/s2i/run"]));
    assert_eq!(looked.label("io.openshift.s2i.build.image"), Some("box"));

    let again = build(&warpdrive, "box", source.path(), &more);
    assert_eq!(again["cache"]["application"], "hit");
    assert_eq!(again["digest"], report["digest"]);
}

#[test]
fn a_runtime_image_and_increments_go_together() {
    let warpdrive = with(counting(SAVE));
    // The runtime image can give its artifacts back: it has what it needs for it.
    runtime()
        .script(
            "save-artifacts",
            "#!/bin/sh\ncd /srv/app && busybox tar -c -f - cache\n",
        )
        .label(
            "io.openshift.s2i.assemble-input-files",
            "/opt/app/cache;/opt/app/file",
        )
        .put(&warpdrive.store(), "runtime");
    for (content, count) in [("1", "x\n"), ("2", "x\nx\n"), ("3", "x\nx\nx\n")] {
        let source = source(&[("file", content)]);
        let more = ["--incremental", "--runtime-image", "runtime"];
        build(&warpdrive, "box", source.path(), &more);
        let looked = Looked::at(&warpdrive, "app");
        assert_eq!(looked.content("srv/app/cache/count"), count);
        assert_eq!(looked.content("srv/app/file"), content);
    }
}

#[test]
fn runtime_artifacts_are_to_be_there_and_stay_inside() {
    let warpdrive = with(assembling(
        "ln -s ../../../../../../etc/passwd /opt/app/up; ln -s / /opt/app/all; mkdir /opt/app/d; ln -s /etc/shadow /opt/app/d/s",
    ));
    runtime().put(&warpdrive.store(), "runtime");
    let source = hello();
    let of = |artifacts: &[&str]| {
        let mut more = vec!["--runtime-image", "runtime"];
        for artifact in artifacts {
            more.extend(["-a", artifact]);
        }
        more.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    for (artifacts, code, part) in [
        (vec![], 2, "no runtime artifacts"),
        (vec!["/opt/app/nothing"], 3, "not in the assembled builder"),
        (vec!["/opt/app/*"], 2, "wildcards"),
        (vec!["relative"], 2, "not an absolute path"),
        (vec!["/opt/app:/abs"], 2, "is absolute"),
        (vec!["/opt/app:../up"], 2, "`..`"),
    ] {
        let more = of(&artifacts);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let (found, _, words) = refused(&warpdrive, "box", source.path(), &more);
        assert_eq!(found, code, "{words}");
        assert!(words.contains(part), "{words}");
    }
    // A link is followed within the builder, and one below stays a link.
    let more = of(&["/opt/app/up", "/opt/app/d"]);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    build(&warpdrive, "box", source.path(), &more);
    let looked = Looked::at(&warpdrive, "app");
    assert!(looked.content("srv/app/up").contains("builder:x:1001"));
    assert_eq!(looked.content("srv/app/d/s"), "/etc/shadow");
}

// --- ONBUILD --------------------------------------------------------------------------------------

#[test]
fn onbuild_triggers_are_carried_out_in_order() {
    let builder = Builder::new()
        .without_label("io.openshift.s2i.scripts-url")
        .set("User", "0")
        .set(
            "OnBuild",
            json!([
                "ENV APP=/srv/app MODE=\"a b\"",
                "WORKDIR $APP",
                "COPY sub/*.txt a.txt data/",
                "RUN cat data/b.txt > joined && echo \"$MODE\" >> joined",
                "USER 1001",
                "COPY --chown=1001:0 . .",
                "RUN [\"/bin/sh\", \"-c\", \"id -u >> joined2; pwd >> joined2\"]",
            ]),
        );
    let builder = builder.files(|layer| {
        layer
            .dir("srv", 0o777, (0, 0))
            .dir("srv/app", 0o777, (0, 0))
    });
    let warpdrive = with(builder);
    let source = source(&[
        ("a.txt", "hello"),
        ("sub/b.txt", "there"),
        ("assemble", "id -u > assembled"),
        ("run*", "#!/bin/sh\n"),
    ]);
    image(&warpdrive, "box", source.path(), &["-e", "MORE=1"]);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    assert_eq!(files["srv/app/data/a.txt"].3, "hello");
    assert_eq!(files["srv/app/data/b.txt"].3, "there");
    assert_eq!(files["srv/app/joined"].3, "therea b\n");
    assert_eq!(files["srv/app/joined2"].3, "1001\n/srv/app\n");
    assert_eq!(files["srv/app/sub/b.txt"].1, 1001);
    assert_eq!(files["srv/app/assembled"].3, "1001\n");
    assert_eq!(*looked.inner("Entrypoint"), json!(["./run"]));
    assert_eq!(*looked.inner("User"), "1001");
    assert_eq!(*looked.inner("WorkingDir"), "/srv/app");
    assert_eq!(*looked.inner("OnBuild"), Value::Null);
    let env = looked.inner("Env").to_string();
    assert!(
        env.contains("APP=/srv/app") && env.contains("MODE=a b") && env.contains("MORE=1"),
        "{env}"
    );
    // The Go tool writes none in this case.
    assert_eq!(looked.label("io.openshift.s2i.build.image"), Some("box"));
}

#[test]
fn onbuild_comes_before_the_scripts_of_an_s2i_builder() {
    let warpdrive = with(
        assembling("cat /opt/app/early /tmp/src/a.txt > result").set(
            "OnBuild",
            json!([
                "COPY . /tmp/src",
                "RUN echo early > /opt/app/early",
                "ENV STEP=1"
            ]),
        ),
    );
    build(&warpdrive, "box", hello().path(), &[]);
    let looked = Looked::at(&warpdrive, "app");
    assert_eq!(looked.content("opt/app/result"), "early\nhello");
    assert_eq!(*looked.inner("Cmd"), json!(["/usr/libexec/s2i/run"]));
}

#[test]
fn triggers_that_make_no_sense_are_refused_with_the_reason() {
    for (trigger, part) in [
        ("VOLUME /data", "a volume hides"),
        ("EXPOSE 80", "S2I does itself"),
        ("ADD https://example.com/x /x", "fetches a URL"),
        ("ADD app.tar.gz /x", "unpack an archive"),
        ("COPY ../x /x", "leaves the source tree"),
        ("COPY nothing.txt /x", "no such file in the source"),
        ("RUN exit 5", "failed with status 5"),
    ] {
        let warpdrive = with(Builder::plain().set("OnBuild", json!([trigger])));
        let (_, _, words) = refused(&warpdrive, "box", hello().path(), &[]);
        assert!(words.contains(part), "{trigger}: {words}");
    }
    let warpdrive = with(
        Builder::new()
            .without_label("io.openshift.s2i.scripts-url")
            .set("Cmd", Value::Null)
            .set("OnBuild", json!(["COPY . /opt/app"])),
    );
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &[]);
    assert_eq!(code, 3, "{words}");
    assert!(
        words.contains("no file to start the application with"),
        "{words}"
    );
}

// --- Injection ------------------------------------------------------------------------------------

#[test]
fn what_is_injected_is_there_for_assemble_and_nowhere_else() {
    const WORD: &str = "injected-secret-0xC0FFEE";
    let script = format!(
        "grep -q {WORD} /opt/new/deep/token
grep -q {WORD} /opt/app/conf/token
grep -q {WORD} /opt/app/token
grep -q {WORD} /etc/there/token
grep -q {WORD} /etc/there/sub/more
[ -e /etc/there/kept ]
ls /opt/app/conf /etc/there > /opt/app/result"
    );
    let script = script.replace(&format!("grep -q {WORD}"), "grep -q 0xC0FFEE");
    let warpdrive = with(assembling(&script).files(|layer| {
        layer
            .dir("etc/there", 0o755, (0, 0))
            .file("etc/there/kept", 0o644, "kept")
    }));
    let secrets = source(&[("token", WORD), ("sub/more", WORD)]);
    std::fs::set_permissions(
        secrets.path().join("token"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let token = secrets.path().join("token");
    let token = token.to_str().unwrap();
    let all = secrets.path().to_str().unwrap();
    let arguments = [
        format!("{token}:/opt/new/deep"),
        format!("{token}:conf"),
        token.to_owned(),
        format!("{all}:/etc/there"),
    ];
    let mut more = Vec::new();
    for argument in &arguments {
        more.extend(["-i", argument.as_str()]);
    }
    let report = build(&warpdrive, "box", hello().path(), &more);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    for path in [
        "opt/new",
        "opt/app/conf",
        "opt/app/token",
        "etc/there",
        "run/warpdrive",
    ] {
        assert!(!files.contains_key(path), "{path} is in a layer: {files:?}");
    }
    for layer in looked.layers() {
        assert!(!contains(&layer, "0xC0FFEE"));
    }
    // Nor anywhere in the store: not in a configuration, a cache key or a record.
    for file in walk(&warpdrive.store()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let path = file.display().to_string();
        let scripts_own = path.contains("/unpacked/") || path.contains("/blobs/");
        assert!(scripts_own || !contains(&bytes, "0xC0FFEE"), "{path}");
        assert!(!contains(&bytes, WORD), "{path}");
    }
    assert_eq!(
        build(&warpdrive, "box", hello().path(), &more)["digest"],
        report["digest"]
    );
    // Another secret is another build.
    std::fs::write(secrets.path().join("token"), "other 0xC0FFEE").unwrap();
    let other = build(&warpdrive, "box", hello().path(), &more);
    assert_eq!(other["cache"]["application"], "miss");
    assert_eq!(other["digest"], report["digest"]);
    let missing = refused(
        &warpdrive,
        "box",
        hello().path(),
        &["-i", "/no/such/file:/x"],
    );
    assert_eq!(missing.0, 2, "{}", missing.2);
    warpdrive.leaves_nothing();
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files
}

#[test]
fn volumes_and_hosts_are_there_for_the_build_only() {
    let warpdrive = with(assembling(
        "grep -q '10.1.2.3.*somewhere' /etc/hosts; cat /mnt/data/file > result; ! touch /mnt/data/x",
    ));
    let data = source(&[("file", "from the volume")]);
    let volume = format!("{}:/mnt/data:ro", data.path().display());
    let more = ["-v", &volume, "--add-host", "somewhere:10.1.2.3"];
    build(&warpdrive, "box", hello().path(), &more);
    let files = Looked::at(&warpdrive, "app").files();
    assert_eq!(files["opt/app/result"].3, "from the volume");
    assert!(
        !files
            .keys()
            .any(|path| path.starts_with("mnt") || path.starts_with("etc")),
        "{files:?}"
    );
}

// --- Layers ---------------------------------------------------------------------------------------

#[test]
fn two_apps_on_one_foreign_builder_share_their_dependencies() {
    use support::warpdrive::{PYTHON_311_RUN, copy_of, example, layers};
    let warpdrive = Warpdrive::new();
    warpdrive.take(PYTHON_311_RUN);
    support::s2i_builders::python(&warpdrive.store(), PYTHON_311_RUN, "box");
    let app = |text: &str, requirements: &str| {
        source(&[
            ("requirements.txt", requirements),
            ("wsgi.py", text),
            ("package/node_modules/left/index.js", "module.exports = 1"),
        ])
    };
    let flask = "flask==3.0.3\nwerkzeug==3.0.4\njinja2==3.1.4\nclick==8.1.7\nitsdangerous==2.2.0\n\
                 blinker==1.8.2\nmarkupsafe==2.1.5\ngunicorn==23.0.0\npackaging==24.1\n";
    let first = image(
        &warpdrive,
        "box",
        app("import flask\n", flask).path(),
        &["-e", "APP_MODULE=wsgi"],
    );
    let one = layers(&first, "dependencies");
    assert!(one.len() > 1, "{first:#}");
    assert_eq!(layers(&first, "application").len(), 1);
    // Byte-code is believed: its source's time is what the layer says.
    let check = "import sys, pathlib, struct, importlib.util
bad = []
for code in pathlib.Path('/opt/app-root').rglob('*.pyc'):
    head = code.read_bytes()[:16]
    flags, time, size = struct.unpack('<III', head[4:])
    script = pathlib.Path(importlib.util.source_from_cache(str(code)))
    if flags == 0 and script.exists() and int(script.stat().st_mtime) & 0xffffffff != time:
        bad.append(str(code))
print(len(bad), bad[:3])
import flask, wsgi";
    let said = warpdrive.run(&[
        "run",
        "--rm",
        "app",
        "--",
        "/opt/app-root/bin/python",
        "-c",
        check,
    ]);
    assert!(said.starts_with("0 []"), "{said}");

    let second = image(
        &warpdrive,
        "box",
        app("import flask # two\n", flask).path(),
        &[],
    );
    assert_eq!(layers(&second, "dependencies"), one);
    assert_ne!(
        layers(&second, "application"),
        layers(&first, "application")
    );
    // A builder of our own is built on in two phases, whoever asks.
    let own = copy_of(&example("flask"), false);
    let ours = build(&warpdrive, PYTHON_311_RUN, own.path(), &["-u", "1-"]);
    assert_eq!(layers(&ours, "builder").len(), 1, "{ours:#}");

    // Without splitting there is one layer, as the s2i tool makes it; the files are the same.
    let single = build(
        &warpdrive,
        "box",
        app("import flask # two\n", flask).path(),
        &[],
    );
    assert_eq!(layers(&single, "dependencies").len(), 0);
    assert_eq!(layers(&single, "application").len(), 1);
}
