//! A build from source to image: what is uploaded, what runs, what becomes of it.

use serde_json::{Value, json};

use crate::support::process::words;
use crate::support::s2i::{Looked, assembling, build, hello, image, refused, with};
use crate::support::s2i_builders::{Builder, RUN, source};
use crate::support::warpdrive::{Warpdrive, commit};

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
    // The time of the build is not in the image.
    let anew = image(
        &warpdrive,
        "box",
        source.path(),
        &["-e", "GREETING=a=b,c", "--no-cache"],
    );
    assert_eq!(anew["cache"]["application"], "miss");
    assert_eq!(anew["digest"], report["digest"]);
}

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

#[test]
fn a_build_says_why_assemble_was_run() {
    let warpdrive = with(Builder::plain().script("save-artifacts", "#!/bin/sh\nexit 1\n"));
    let source = hello();
    let path = source.path().to_str().unwrap();
    let said = |arguments: &[&str]| {
        let output = warpdrive.output(&[arguments, &["--explain"]].concat());
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    let image = ["image", "app", "--builder", "box", "--path", path];
    for (more, reason) in [
        (
            &[][..],
            "assemble: run, because nothing is known of a build of this name",
        ),
        (&[], "assemble: not run, all is as it was"),
        (
            &["-e", "A=1"],
            "assemble: run, because the variable A is new",
        ),
        (
            &["--no-cache"],
            "assemble: run, because --no-cache was given",
        ),
    ] {
        let words = said(&[&image[..], more].concat());
        assert!(words.contains(reason), "{reason}: {words}");
    }
    std::fs::write(source.path().join("a.txt"), "changed").unwrap();
    let words = said(&image);
    assert!(
        words.contains("assemble: run, because a.txt changed\n"),
        "{words}"
    );
    assert!(words.contains("new     what assemble left"), "{words}");
    let words = said(&image);
    assert!(words.contains("cached  what assemble left"), "{words}");
    // By the tool's own command; another builder of the name.
    let s2i = ["s2i", "build", path, "box", "other", "--split"];
    said(&s2i);
    let words = said(&[&s2i[..], &["--assemble-user", "0"]].concat());
    assert!(
        words.contains("assemble: run, because --assemble-user changed\n"),
        "{words}"
    );
    Builder::plain()
        .script("more", "")
        .put(&warpdrive.store(), "box");
    let words = said(&[&s2i[..], &["--assemble-user", "0"]].concat());
    assert!(
        words.contains("assemble: run, because the builder image changed\n"),
        "{words}"
    );
}
