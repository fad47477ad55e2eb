//! Signals and terminals.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::run::SOON;
use crate::run::host::Host;
use crate::support::process;

fn interrupted(host: &Host) {
    for (signal, status) in [("-TERM", 3), ("-KILL", 137)] {
        let mut child = host
            .command(&["run", "busy", "--rm", "--name", "front"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut out = process::read_until(&mut stdout, "begin\n");
        let running = process::poll(SOON, || (host.status("front") == "running").then_some(()));
        assert!(running.is_some());
        // The outermost of warpdrive's processes, as a terminal's user or `timeout` would.
        let pids = process::run(
            host.any("pgrep", &[])
                .args(["-o", "-f", "--", "run busy --rm"]),
        );
        process::run(host.any("kill", &[]).args([signal, pids.trim()]));
        stdout.read_to_string(&mut out).unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.code().unwrap_or(137), status, "{out}");
        if signal == "-TERM" {
            assert_eq!(out, "begin\nbye\n");
        } else {
            let dead = process::poll(SOON, || (host.status("front") == "dead").then_some(()));
            assert!(dead.is_some(), "{}", host.status("front"));
            host.ok(&["container", "rm", "front"]);
        }
        host.is_clean();
    }
}

fn terminal(host: &Host) {
    // `script` gives a terminal; what it reads are the keys, each typed when the text before it is there.
    let typed = |words: &str, keys: &[(&str, &str)]| {
        let line = format!(
            "stty rows 33 cols 99; WARPDRIVE_STORE={} {} {words}; echo status $?; stty -a",
            host.store.display(),
            host.program.display()
        );
        let mut child = host
            .any("script", &[])
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut out = String::new();
        for (before, key) in keys {
            out += &process::read_until(&mut stdout, before);
            stdin.write_all(key.as_bytes()).unwrap();
        }
        stdout.read_to_string(&mut out).unwrap();
        child.wait().unwrap();
        out.replace('\r', "")
    };
    let script = "'stty size; trap \"echo int; exit 5\" INT; read x; echo got $x; sleep 9 & wait'";
    let out = typed(
        &format!("run busy -it --rm --name tty -- sh -c {script}"),
        &[("33 99", "hello\n"), ("got hello", "\u{3}")],
    );
    for part in ["33 99\n", "got hello\n", "int\n", "status 5\n", " icanon"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    host.ok(&["run", "busy", "-d", "--name", "shell"]);
    let out = typed(
        "container exec -it shell sh",
        &[("$ ", "stty size; exit 4\n")],
    );
    for part in ["33 99\n", "status 4\n"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    host.ok(&["container", "rm", "-f", "shell"]);
    let refused = host.fails(125, &["run", "busy", "-it"]);
    assert!(refused.contains("terminal"), "{refused}");
    host.is_clean();
}

as_each! { interrupted terminal }
