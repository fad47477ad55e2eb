//! Containers in the background: their logs, their end, and what a killed supervisor leaves.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::run::SOON;
use crate::run::host::{Host, text};
use crate::support::process;

fn detached(host: &Host) {
    let id = host.ok(&["run", "busy", "-d", "--name", "web"]);
    let id = id.trim();
    assert_eq!(host.status("web"), "running");
    assert_eq!(host.listed("web").unwrap()["id"], id);
    let clash = host.fails(125, &["run", "busy", "-d", "--name", "web"]);
    assert!(
        clash.contains("`web`") && clash.contains("rm -f"),
        "{clash}"
    );
    assert!(
        host.fails(1, &["container", "rm", "web"])
            .contains("running")
    );

    let mut follow = host.command(&["container", "logs", "-f", "web"]);
    let mut follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = follow.stdout.take().unwrap();
    let mut followed_out = process::read_until(&mut stdout, "begin\n");
    host.ok(&["container", "stop", "web"]);
    // Ends because the container does.
    stdout.read_to_string(&mut followed_out).unwrap();
    assert_eq!(followed_out, "begin\nbye\n");
    let followed = follow.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(followed.stderr).unwrap(), "problem\n");

    let listed = host.listed("web").unwrap();
    // Its own status: it was asked to end, and not killed.
    assert_eq!(
        (&listed["status"], &listed["exit"]),
        (&json!("exited"), &json!(3))
    );
    assert!(host.ok(&["container", "ls"]).contains("exited(3)"));
    assert_eq!(
        host.ok(&["container", "logs", "-n", "1", &id[..8]]),
        "bye\n"
    );
    let stamped = host.ok(&["container", "logs", "--timestamps", "web"]);
    assert!(
        stamped.lines().all(|line| line.starts_with("20")),
        "{stamped}"
    );
    host.ok(&["container", "stop", "web"]);
    host.ok(&["container", "rm", "web"]);
    assert!(host.listed("web").is_none());
    host.fails(1, &["container", "logs", "web"]);

    // One that takes no notice of TERM is killed; --rm takes it away at once.
    host.ok(&[
        "run", "busy", "-d", "--rm", "--name", "deaf", "--", "sleep", "1000",
    ]);
    host.ok(&["container", "stop", "-t", "0", "deaf"]);
    assert!(host.listed("deaf").is_none());
    host.ok(&["run", "busy", "-d", "--name", "deaf", "--", "sleep", "1000"]);
    host.ok(&["container", "rm", "-f", "deaf"]);
    // One whose command dies at once is not a success: its status, its last words, and it is there still.
    let dying = ["run", "busy", "-d", "--name", "dying", "-p", "0:8080", "--"];
    let said = host.fails(
        7,
        &[
            &dying[..],
            &["sh", "-c", "echo the cause >&2; sleep 0.2; exit 7"],
        ]
        .concat(),
    );
    assert!(
        said.contains("ended with status 7") && said.contains("the cause"),
        "{said}"
    );
    assert_eq!(host.status("dying"), "exited");
    host.ok(&["container", "rm", "dying"]);
    // With --rm it may be gone before anybody has looked.
    let gone = host.warpdrive(&["run", "busy", "-d", "--rm", "--", "sh", "-c", "exit 7"]);
    let said = text(&gone);
    let told = match gone.status.code() {
        Some(0) => "has ended already, and --rm removed it",
        Some(7) => "--rm removed it: without that its log stays",
        _ => "nothing of the kind",
    };
    assert!(said.contains(told), "{said}");
    // One that has done its work is well.
    host.ok(&[
        "run", "busy", "-d", "--name", "done", "--", "sh", "-c", "exit 0",
    ]);
    host.ok(&["container", "rm", "done"]);
    // The status of a command that cannot start reaches the caller, and its name is free again.
    for _ in 0..2 {
        host.fails(
            127,
            &["run", "busy", "-d", "--name", "bad", "--", "nonesuch"],
        );
    }
    host.is_clean();
}

fn killed_supervisor(host: &Host) {
    host.ok(&["run", "busy", "-d", "--name", "orphan"]);
    let record = host
        .store
        .join("containers")
        .join(host.listed("orphan").unwrap()["id"].as_str().unwrap());
    let state = process::run(process::as_root("cat").arg(record.join("state.json")));
    let state: Value = serde_json::from_str(&state).unwrap();
    let pid = state["supervisor"]["pid"].to_string();
    process::run(host.any("kill", &[]).args(["-9", &pid]));
    let dead = process::poll(SOON, || (host.status("orphan") == "dead").then_some(()));
    assert!(dead.is_some(), "{}", host.status("orphan"));
    // What it held is gone with it.
    let clean = process::poll(SOON, || {
        host.enclosure().processes().is_empty().then_some(())
    });
    assert!(clean.is_some(), "{:?}", host.enclosure().processes());
    host.fails(125, &["container", "exec", "orphan", "id"]);
    host.ok(&["container", "logs", "-f", "orphan"]);
    host.ok(&["container", "stop", "orphan"]);
    host.ok(&["container", "rm", "orphan"]);
    host.is_clean();
}

as_each! { detached killed_supervisor }
