//! Debian packages that a source names: they are in the image, and their builder is made once.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::time::Duration;

use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

#[test]
fn packages_of_an_aptfile_are_in_the_image() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(source.path().join(name), text).unwrap();
    write("app.py", "print('up')\n");
    write("Aptfile", "# says it\nhello\n");
    let build = || {
        let arguments = warpdrive.image_arguments("greeting");
        let mut command = warpdrive.command_in(source.path(), &[], &arguments);
        let output = process::output_within(&mut command, Duration::from_mins(9));
        assert!(output.status.success(), "{}", words(&output));
        words(&output)
    };
    let first = build();
    assert!(
        first.contains("Making debian-12-python-3.11-run-apt-"),
        "{first}"
    );
    let said = warpdrive.run(&["run", "--rm", "greeting", "--", "hello"]);
    assert_eq!(said.trim(), "Hello, world!");
    write("app.py", "print('up again')\n");
    let again = build();
    assert!(!again.contains("Making"), "{again}");

    write("Aptfile", "hello\n:repo:deb http://x y z\n");
    let (status, said) = warpdrive.refuses(source.path(), &[]);
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("Aptfile:2"), "{said}");
}
