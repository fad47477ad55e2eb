//! `container exec`.

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

as_each! { exec }
