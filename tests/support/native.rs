//! Shared objects as compiled wheels have them, which need a library of the system.

use std::fs;
use std::process::Command;

use super::process::words;

/// A shared object that needs the library of this name.
pub fn needs_library(soname: &str) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let compile = |arguments: &[&str]| {
        let mut command = Command::new("cc");
        command
            .current_dir(place.path())
            .args(["-shared", "-nostdlib"]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
    };
    fs::write(place.path().join("empty.c"), "").unwrap();
    compile(&[
        "empty.c",
        &format!("-Wl,-soname,{soname}"),
        "-o",
        "libneeded.so",
    ]);
    compile(&[
        "empty.c",
        "-Wl,--no-as-needed",
        "./libneeded.so",
        "-o",
        "native.so",
    ]);
    fs::read(place.path().join("native.so")).unwrap()
}
