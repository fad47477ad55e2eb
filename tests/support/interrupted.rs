//! Commands that are interrupted at their work.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use super::process;
use super::warpdrive::Warpdrive;

/// Waits until a source comes into the store.
#[track_caller]
pub fn wait_for_source(warpdrive: &Warpdrive) {
    let tmp = warpdrive.store().join("tmp");
    let begun = process::poll(Duration::from_mins(1), || {
        let mut entries = fs::read_dir(&tmp).ok()?.flatten();
        entries.find_map(|entry| entry.path().join("source").is_dir().then_some(()))
    });
    assert!(begun.is_some(), "nothing was begun");
}

/// Sends a signal; the command ends with the status for that and leaves nothing behind.
#[track_caller]
pub fn interrupt(warpdrive: &Warpdrive, child: Child, signal: &str) {
    process::run(Command::new("kill").arg(signal).arg(child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        process::words(&output)
    );
    warpdrive.leaves_nothing();
}
