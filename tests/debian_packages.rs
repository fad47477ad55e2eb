//! Debian packages that a source names: they are in the image, and their builder is made once.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::native::needs_library;
use crate::support::package_index::{WSGI, Wheel};
use crate::support::process::{self, words};
use crate::support::skopeo;
use crate::support::warpdrive::{PYTHON_311, PYTHON_311_RUN, Warpdrive};

#[test]
fn packages_of_an_aptfile_are_in_the_image() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(source.path().join(name), text).unwrap();
    write("app.py", "print('up')\n");
    write("Aptfile", "# says it\nhello\n");
    let build = |more: &[&str]| {
        let mut arguments = warpdrive.image_arguments("greeting");
        arguments.extend_from_slice(more);
        let mut command = warpdrive.command_in(source.path(), &[], &arguments);
        let output = process::output_within(&mut command, Duration::from_mins(9));
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    let first = build(&[]);
    assert!(
        first.contains("Making debian-12-python-3.11-run-apt-"),
        "{first}"
    );
    let said = warpdrive.run(&["run", "--rm", "greeting", "--", "hello"]);
    assert_eq!(said.trim(), "Hello, world!");
    write("app.py", "print('up again')\n");
    let again = build(&[]);
    assert!(!again.contains("Making"), "{again}");
    // A layer of its own on the builder's, which another application with this list has, too.
    let layers = |name: &str| -> Vec<(String, u64)> {
        let stored = format!("oci:{}:{name}", warpdrive.store().display());
        let layers = skopeo::manifest(&stored)["layers"].clone();
        let layers = layers.as_array().unwrap().iter();
        layers
            .map(|it| {
                (
                    it["digest"].as_str().unwrap().to_owned(),
                    it["size"].as_u64().unwrap(),
                )
            })
            .collect()
    };
    let (builder, greeting) = (layers(PYTHON_311_RUN), layers("greeting"));
    assert_eq!(builder.len(), 1);
    assert_eq!(greeting[0], builder[0]);
    let (_, size) = greeting[1];
    assert!(size < builder[0].1 / 10, "{size}");
    warpdrive.run(&["tag", "greeting", "first"]);
    write("other.py", "print('another')\n");
    build(&["--set", "python_file=other.py"]);
    assert_eq!(layers("greeting")[..2], layers("first")[..2]);

    // What is for the build only is not in the image.
    fs::create_dir_all(source.path().join(".warpdrive/action_hooks")).unwrap();
    write(".warpdrive/build_packages", "ed\n");
    write(
        ".warpdrive/action_hooks/build",
        "#!/bin/sh\ncommand -v ed > editor.txt\n",
    );
    let hook = source.path().join(".warpdrive/action_hooks/build");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    build(&[]);
    assert_eq!(layers("greeting")[..2], layers("first")[..2]);
    let said = warpdrive.run(&[
        "run",
        "--rm",
        "greeting",
        "--",
        "sh",
        "-c",
        "cat editor.txt; command -v ed || echo none",
    ]);
    assert_eq!(
        said.lines().map(str::trim).collect::<Vec<_>>(),
        ["/usr/bin/ed", "none"]
    );

    write("Aptfile", "hello\n:repo:deb http://x y z\n");
    let (status, said) = warpdrive.refuses(source.path(), &[]);
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("Aptfile:2"), "{said}");
}

#[test]
fn a_missing_shared_library_is_named_with_its_package_and_added() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tempfile::tempdir().unwrap();
    let native = needs_library("libxcb.so.1");
    let wheel = Wheel::new("drawing", "1").file("drawing_native.so", &native);
    let write = |name: &str, text: &[u8]| fs::write(source.path().join(name), text).unwrap();
    write(&wheel.file_name(), &wheel.bytes());
    let requirement = format!("./{}\n", wheel.file_name());
    write("requirements.txt", requirement.as_bytes());
    let build = |app: &str, more: &[&str]| {
        write("wsgi.py", format!("{app}{WSGI}").as_bytes());
        let mut arguments = warpdrive.image_arguments("drawn");
        arguments.extend_from_slice(more);
        let mut command = warpdrive.command_in(source.path(), &[], &arguments);
        process::output_within(&mut command, Duration::from_mins(9))
    };
    // What no code loads is a warning.
    let output = build("", &[]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    let warning = "drawing_native.so needs libxcb.so.1, which debian-12-python-3.11-run does not have; \
                   --auto-apt adds Debian's libxcb1";
    assert!(said.contains(warning), "{said}");

    let loads = "import ctypes, os, drawing\n\
                 ctypes.CDLL(os.path.join(os.path.dirname(drawing.__file__), 'drawing_native.so'))\n";
    let output = build(loads, &[]);
    let said = words(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("libxcb1"), "{said}");

    // What is added is judged as its base is.
    let output = build(loads, &["--auto-apt", "--harden", "--policy", "strict"]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    let judged = "---> The builder debian-12-python-3.11-run-apt-";
    let judged = said.lines().find(|line| line.starts_with(judged));
    assert!(
        judged.is_some_and(|line| line.ends_with(" passes the audit")),
        "{said}"
    );

    let output = build(loads, &["--auto-apt"]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    let found = warpdrive.run(&[
        "run",
        "--rm",
        "drawn",
        "--",
        "ls",
        "/usr/lib/x86_64-linux-gnu",
    ]);
    assert!(found.contains("libxcb.so.1"), "{found}");
}

/// A real one: gcc is there, and one header is not.
#[test]
fn a_failed_compilation_names_the_package_of_the_missing_header() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let source = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(source.path().join(name), text).unwrap();
    write("wsgi.py", WSGI);
    write("requirements.txt", "python-ldap==3.4.4\n");
    let (status, said) = warpdrive.refuses(source.path(), &[]);
    assert_eq!(status, 3, "{said}");
    let cause = "The compilation needs the header sasl/sasl.h, which is not in the builder image; \
                 Debian's package libsasl2-dev has it.";
    assert!(said.contains(cause), "{said}");
    let remedy = "build-packages = [\"libsasl2-dev\"] in [tool.warpdrive]";
    assert!(said.contains(remedy), "{said}");
    assert!(!said.contains("no compiler"), "{said}");
}
