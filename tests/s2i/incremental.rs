//! `--incremental`, and runtime images, with and without it.

use serde_json::json;

use crate::support::process::words;
use crate::support::s2i::{Looked, assembling, build, hello, image, refused, try_build, with};
use crate::support::s2i_builders::{Builder, RUN, source};

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
        (format!("echo 'Saving…'; {SAVE}"), "not an archive"),
        (format!("{SAVE} | head -c 700"), "not an archive"),
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
    // Padding is not a fault.
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
    // The script may run as another user; the image does not.
    let other = [&more[..], &["--assemble-runtime-user", "0"]].concat();
    build(&warpdrive, "box", source.path(), &other);
    let looked = Looked::at(&warpdrive, "app");
    let who = looked.content("srv/app/who");
    assert!(who.starts_with("uid=0"), "{who}");
    assert_eq!(*looked.inner("User"), "1002");
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
