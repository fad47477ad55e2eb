//! `container exec`.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};

use crate::run::host::Host;

fn exec(host: &Host) {
    host.ok(&["run", "busy", "-d", "--name", "app", "-e", "OF_RUN=1"]);
    let out = host.ok(&[
        "container",
        "exec",
        "-e",
        "MORE=2",
        "-w",
        "/tmp",
        "app",
        "sh",
        "-c",
        "env; pwd; id -u; echo x > /tmp/made",
    ]);
    for line in ["OF_RUN=1", "MORE=2", "FROM_IMAGE=1", "/tmp", "1001"] {
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
    assert_eq!(
        host.ok(&["container", "exec", "app", "cat", "/tmp/made"]),
        "x\n"
    );
    // Nobody is the user that it runs as, not root.
    assert_eq!(
        host.ok(&["container", "exec", "-u", "", "app", "id", "-u"]),
        "1001\n"
    );
    a_file_for_appending(host);
    host.fails(9, &["container", "exec", "app", "sh", "-c", "exit 9"]);
    host.fails(127, &["container", "exec", "app", "nonesuch"]);
    if host.is_single() {
        assert!(
            host.fails(125, &["container", "exec", "-u", "0", "app", "id"])
                .contains("1001:0")
        );
    } else {
        assert_eq!(
            host.ok(&["container", "exec", "-u", "root", "app", "id", "-u"]),
            "0\n"
        );
    }
    host.ok(&["container", "rm", "-f", "app"]);
    host.fails(125, &["container", "exec", "app", "id"]);
    host.is_clean();
}

/// What is said goes to the end of the caller's file; the command gets a pipe, not the file, by which
/// it could change what stands there already.
fn a_file_for_appending(host: &Host) {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    fs::write(&log, "before\n").unwrap();
    let attack = "echo said; echo gone > /proc/self/fd/1; ls -l /proc/self/fd/1 /proc/self/fd/2";
    let run = |command: &mut Command| {
        let file = || OpenOptions::new().append(true).open(&log).unwrap();
        let status = command.stdout(file()).stderr(file()).status().unwrap();
        assert!(status.success());
        fs::read_to_string(&log).unwrap()
    };
    // A program that has the file empties it.
    let control = run(Command::new("sh").args(["-c", attack]));
    assert!(!control.contains("before"), "control: {control}");
    fs::write(&log, "before\n").unwrap();
    let said = run(&mut host.command(&["container", "exec", "app", "sh", "-c", attack]));
    assert!(said.starts_with("before\nsaid\n"), "{said}");
    assert_eq!(said.matches("pipe:").count(), 2, "{said}");
    // All of it, though the reader is slow and the command long gone.
    let much = "head -c 3000000 /dev/zero";
    let mut slow = host.command(&["container", "exec", "app", "sh", "-c", much]);
    let mut child = slow.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = vec![0; 100_000];
    let mut read = 0;
    while let Ok(count @ 1..) = stdout.read(&mut buffer) {
        read += count;
    }
    assert_eq!(read, 3_000_000);
    assert!(child.wait().unwrap().success());
}

as_each! { exec }
