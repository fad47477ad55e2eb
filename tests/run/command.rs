//! The command in the container: its words, variables, user and status.

use std::io::Write;
use std::process::Stdio;

use crate::run::host::{Host, text, without_notes};
use crate::support::process;

fn foreground(host: &Host) {
    let script = "echo out; echo err >&2; pwd; env; id -u; id -g; hostname; exit 7";
    let output = host.warpdrive(&[
        "run",
        "busy",
        "--rm",
        "-e",
        "A=1",
        "-e",
        "CALLERS",
        "--hostname",
        "here",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let out = String::from_utf8(output.stdout).unwrap();
    for line in [
        "out",
        "/work",
        "A=1",
        "CALLERS=value",
        "FROM_IMAGE=1",
        "HOME=/home/app",
        "1001",
        "0",
        "here",
    ] {
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
    assert!(!out.contains("err"));
    assert_eq!(without_notes(&output.stderr), "err\n");

    // An empty variable in `-u "$USER"` is the image's user, not root.
    assert_eq!(
        host.ok(&["run", "busy", "--rm", "-u", "", "--", "id", "-u"]),
        "1001\n"
    );

    // The command is process 1 and gets no input.
    assert_eq!(
        host.ok(&["run", "busy", "--rm", "--", "sh", "-c", "echo $$; cat"]),
        "1\n"
    );
    let mut with_input = host.command(&["run", "busy", "--rm", "-i", "--", "cat"]);
    let mut child = with_input
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"hello");

    assert!(
        host.fails(127, &["run", "busy", "--", "nonesuch"])
            .contains("nonesuch")
    );
    host.fails(126, &["run", "busy", "--", "/bin/not-executable"]);
    assert!(host.fails(125, &["run", "nonesuch"]).contains("nonesuch"));
    assert!(
        host.fails(125, &["run", "busy", "-u", "nobody"])
            .contains("nobody")
    );

    let file = host.home().join("variables");
    process::run(
        host.any("sh", &[])
            .args(["-c", "printf '# no\\nB=two words\\nCALLERS\\n' > \"$0\""])
            .arg(&file),
    );
    let file = file.display().to_string();
    let out = host.ok(&[
        "run",
        "busy",
        "--rm",
        "--env-file",
        &file,
        "-e",
        "C=3",
        "--",
        "env",
    ]);
    for line in ["B=two words", "CALLERS=value", "C=3"] {
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
    host.is_clean();
}

fn users(host: &Host) {
    let id = |user: &str| {
        host.warpdrive(&[
            "run",
            "busy",
            "--rm",
            "-u",
            user,
            "--",
            "sh",
            "-c",
            "id -u; id -g; echo $HOME",
        ])
    };
    assert_eq!(text(&id("app")), "1001\n0\n/home/app\n");
    if host.is_single() {
        for user in ["0", "1001:5", "1002"] {
            let output = id(user);
            assert_eq!(output.status.code(), Some(125));
            assert!(text(&output).contains("subuid"), "{}", text(&output));
        }
    } else {
        assert_eq!(text(&id("0")), "0\n0\n/root\n");
        assert_eq!(text(&id("1234:56")), "1234\n56\n/\n");
    }
    host.is_clean();
}

fn umask(host: &Host) {
    let words = [
        "run",
        "busy",
        "--rm",
        "--",
        "sh",
        "-c",
        "umask; ls / > /work/f && cat /etc/hostname",
    ];
    for option in ["--network=private", "--read-only"] {
        let words = [&words[..2], &[option], &words[2..]].concat();
        let store = format!("WARPDRIVE_STORE={}", host.store.display());
        let mut command = host.any("sh", &[&store]);
        let command = command
            .args(["-c", "umask 077; exec \"$0\" \"$@\""])
            .arg(&host.program)
            .args(words);
        let out = text(&process::output(command));
        assert!(out.starts_with("0022\n"), "{out}");
        assert_eq!(
            out.contains("denied") || out.contains("Read-only"),
            option == "--read-only",
            "{out}"
        );
    }
    host.is_clean();
}

as_each! { foreground users umask }
