//! Where scripts come from.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::support::fake_registry::{Asked, FakeRegistry, Reply};
use crate::support::process::{says, words};
use crate::support::s2i_builders::{Builder, RUN, source};
use crate::support::warpdrive::Warpdrive;
use crate::support::{process, s2i_builders};

use crate::support::s2i::{
    Looked, build, config, hello, image, printed, refused, report, s2i, with, with_a_box,
};

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

    // All scripts in the source, then no script at all.
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

#[test]
fn scripts_from_elsewhere() {
    let warpdrive = with_a_box();
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
    // A server of this machine is never asked, so this one is reached by a proxy.
    let at = scripts.clone();
    let proxy = FakeRegistry::start(move |asked| proxied(asked, &at));
    for url in [
        format!("file://{}", scripts.display()),
        "http://scripts.example".to_owned(),
    ] {
        let output = by_proxy(
            &warpdrive,
            &proxy,
            &[path, "box", "app", "--no-cache", "--scripts-url", &url],
        );
        assert!(output.status.success(), "{}", words(&output));
        assert_eq!(
            printed(&warpdrive, "app", &["/bin/cat", "/opt/app/result"]),
            "elsewhere\n"
        );
        says(&output, &format!("Running assemble (from {url})"));
        // What is not there comes from the source.
        assert_eq!(
            config(&warpdrive, "app")["Cmd"],
            json!(["/tmp/scripts/run"])
        );
    }
    report(
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
        "http://scripts.example/nowhere".to_owned(),
    ] {
        let output = by_proxy(
            &warpdrive,
            &proxy,
            &[path, "box", "app", "--scripts-url", &url],
        );
        assert_eq!(output.status.code(), Some(1), "{}", words(&output));
        says(&output, "has none of the scripts");
    }
    let huge = FakeRegistry::start(|_| Reply::new(200).length(1 << 40));
    let url = "http://user:s3cretpw@scripts.example/";
    let output = by_proxy(&warpdrive, &huge, &[path, "box", "app", "-s", url]);
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    says(&output, "larger than");
    assert!(!words(&output).contains("s3cretpw"), "{}", words(&output));

    // A builder that does not say where its scripts are.
    Builder::plain()
        .without_label("io.openshift.s2i.scripts-url")
        .put(&warpdrive.store(), "mute");
    let plain = s2i_builders::source(&[("a.txt", "hello")]);
    let plain = plain.path().to_str().unwrap();
    report(&warpdrive, &[plain, "mute", "app"]);
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

/// `s2i build` with the proxy that the environment names.
pub(super) fn by_proxy(warpdrive: &Warpdrive, proxy: &FakeRegistry, arguments: &[&str]) -> Output {
    let variable = format!("http_proxy=http://{}", proxy.address());
    let all = [&["s2i", "build"], arguments].concat();
    process::output(&mut warpdrive.command_in(&warpdrive.place(), &[&variable], &all))
}

/// What a proxy gives of `http://scripts.example/`.
fn proxied(asked: &Asked, directory: &Path) -> Reply {
    let own = asked.target.strip_prefix("http://scripts.example/");
    match own.map(|path| fs::read(directory.join(path))) {
        Some(Ok(bytes)) => Reply::new(200).body(bytes),
        _ => Reply::new(404),
    }
}

/// The builder `mute`, which does not say where its scripts are.
fn put_mute(warpdrive: &Warpdrive) {
    Builder::plain()
        .script("usage", "#!/bin/sh\necho This is the minimal box.\n")
        .without_label("io.openshift.s2i.scripts-url")
        .put(&warpdrive.store(), "mute");
}

#[test]
fn a_builder_without_a_label_is_one_for_all_commands() {
    let warpdrive = Warpdrive::new();
    put_mute(&warpdrive);
    let source = hello();
    let path = source.path().to_str().unwrap();
    let told = "mute has no label io.openshift.s2i.scripts-url: its scripts are those at image:///usr/libexec/s2i";
    for arguments in [
        &["s2i", "build", path, "mute", "app"][..],
        &["image", "app2", "--builder", "mute", "--path", path],
    ] {
        let output = warpdrive.output(arguments);
        assert!(output.status.success(), "{}", words(&output));
        says(&output, told);
    }
    assert_eq!(
        config(&warpdrive, "app2")["Cmd"],
        json!(["/usr/libexec/s2i/run"])
    );
    let output = s2i(&warpdrive, &["usage", "mute"]);
    assert!(output.status.success(), "{}", words(&output));
    says(&output, "the minimal box");
}

/// The line is about scripts that were looked for where images have theirs, and about no others.
#[test]
fn scripts_of_another_place_are_not_said_to_be_the_images() {
    let warpdrive = Warpdrive::new();
    put_mute(&warpdrive);
    let source = hello();
    let path = source.path().to_str().unwrap();
    let told = "mute has no label";
    let output = s2i(&warpdrive, &["usage", "mute"]);
    says(&output, told);
    let scripts = crate::support::s2i_builders::source(&[
        ("assemble*", "#!/bin/sh\ncp -R /tmp/src/. /opt/app/\n"),
        ("run*", "#!/bin/sh\ncat /opt/app/a.txt\n"),
    ]);
    let url = format!("file://{}", scripts.path().display());
    let output = s2i(&warpdrive, &["build", path, "mute", "app", "-s", &url]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(!words(&output).contains(told), "{}", words(&output));
    // A source with scripts of its own needs none in the image, whichever command asks.
    Builder::new()
        .without_label("io.openshift.s2i.scripts-url")
        .put(&warpdrive.store(), "empty");
    let own = crate::support::s2i_builders::source(&[
        ("a.txt", "hello"),
        (
            ".s2i/bin/assemble*",
            "#!/bin/sh\ncp -R /tmp/src/. /opt/app/\n",
        ),
        (".s2i/bin/run*", "#!/bin/sh\ncat /opt/app/a.txt\n"),
    ]);
    let path = own.path().to_str().unwrap();
    for arguments in [
        &["s2i", "build", path, "empty", "app"][..],
        &["image", "app2", "--builder", "empty", "--path", path],
    ] {
        let output = warpdrive.output(arguments);
        assert!(output.status.success(), "{}", words(&output));
    }
}
