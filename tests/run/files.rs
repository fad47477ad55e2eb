//! Volumes, and a root that cannot be written to.

use crate::run::host::{Host, text};
use crate::support::process;

fn volumes(host: &Host) {
    let run = |volume: &str, script: &str| {
        host.warpdrive(&[
            "run", "busy", "--rm", "-v", volume, "--", "sh", "-c", script,
        ])
    };
    let wrote = run(
        "data:/srv/data",
        "echo kept > /srv/data/file && stat -c %a,%u,%g /srv/data",
    );
    assert_eq!(text(&wrote), "2775,1001,0\n");
    assert_eq!(
        text(&run("data:/elsewhere", "cat /elsewhere/file")),
        "kept\n"
    );
    let denied = run("data:/d:ro", "echo x > /d/file");
    assert!(!denied.status.success(), "{}", text(&denied));
    assert_eq!(text(&run("data:/d", "cat /d/file")), "kept\n");

    let path = host.home().join("host");
    process::run(host.any("mkdir", &[]).arg(&path));
    process::run(
        host.any("sh", &[])
            .args(["-c", "echo here > \"$0\"/file; chmod 777 \"$0\""])
            .arg(&path),
    );
    let mount = format!("{}:/h", path.display());
    assert_eq!(
        text(&run(&mount, "cat /h/file; echo x > /h/made")),
        "here\n"
    );
    assert_eq!(
        process::run(process::as_root("cat").arg(path.join("made"))),
        "x\n"
    );
    let missing = format!("{}:/h", host.home().join("missing").display());
    let made = run(&missing, "ls -A /h");
    assert!(
        made.status.success() && text(&made).contains("did not exist"),
        "{}",
        text(&made)
    );
    let mount = "type=tmpfs,target=/t,tmpfs-size=64k";
    let out = host.ok(&[
        "run",
        "busy",
        "--rm",
        "--mount",
        mount,
        "--",
        "sh",
        "-c",
        "yes | head -c 100000 > /t/f; wc -c < /t/f",
    ]);
    assert_eq!(out.trim(), "65536");
    host.is_clean();
}

fn read_only(host: &Host) {
    let script = "echo x > /work/f || echo denied; echo x > /tmp/f && cat /tmp/f";
    let output = host.warpdrive(&[
        "run",
        "busy",
        "--rm",
        "--read-only",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "denied\nx\n");
    // Without it the root can be written to, and the image is not changed by that.
    let write = "test -e /work/f && exit 1; echo x > /work/f";
    for _ in 0..2 {
        host.ok(&["run", "busy", "--rm", "--", "sh", "-c", write]);
    }
    host.is_clean();
}

as_each! { volumes read_only }
