//! What is installed from lock files is what the managers' own tools install: names, versions, and the hashes
//! of all files. Two projects for each format, with packages of the public index.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, binary};

#[test]
fn the_same_is_installed_as_by_the_managers_own_tools() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let projects = root.join("tests/projects/locks");
    let mut all: Vec<_> = std::fs::read_dir(&projects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    assert_eq!(all.len(), 10, "{all:?}");
    let path = format!(
        "{}:{}",
        binary().parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    // Each tool mostly waits for the index.
    let outputs = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let projects = all.iter().skip(half).step_by(2);
                let mut command = Command::new(root.join("scripts/compare-with-managers"));
                command
                    .args(projects)
                    .env("PATH", &path)
                    .env("WARPDRIVE_STORE", warpdrive.store())
                    .env("WARPDRIVE_COMPARE_BUILDER", PYTHON_311_RUN);
                scope.spawn(move || process::output_within(&mut command, Duration::from_mins(15)))
            })
            .collect();
        halves
            .into_iter()
            .map(|half| half.join().unwrap())
            .collect::<Vec<_>>()
    });
    let mut same = 0;
    for output in outputs {
        assert!(output.status.success(), "{}", words(&output));
        same += String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| line.starts_with("same "))
            .count();
    }
    assert_eq!(same, 10);
}
