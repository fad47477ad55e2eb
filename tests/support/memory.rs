//! What memory the tool's own processes take, those of its sandboxes included, not those of the
//! programs that it runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// Runs a command, and gives its output and the most that its processes of its own executable held
/// at a time, in KiB. Pages that several share count once.
pub fn watched(command: &mut Command, program: &Path) -> (Output, u64) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let root = child.id();
    let waiting = thread::spawn(move || child.wait_with_output().expect("its output"));
    let mut most = 0;
    while !waiting.is_finished() {
        most = most.max(held(root, program));
        thread::sleep(Duration::from_millis(10));
    }
    (waiting.join().expect("its output"), most)
}

fn held(root: u32, program: &Path) -> u64 {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let after = stat.rsplit(") ").next().unwrap_or_default();
        if let Some(parent) = after.split(' ').nth(1).and_then(|word| word.parse().ok()) {
            parents.insert(id, parent);
        }
    }
    let below = |id: u32| {
        let mut at = id;
        while at != root {
            match parents.get(&at) {
                Some(parent) if *parent != 0 => at = *parent,
                _ => return false,
            }
        }
        true
    };
    let own = parents.keys().filter(|id| below(**id)).filter(|id| {
        fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| {
            exe == program || exe.to_string_lossy().starts_with("/memfd:warpdrive")
        })
    });
    own.filter_map(|id| {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    })
    .sum()
}
