//! Owners and modes: what others can write, what an arbitrary uid cannot use.

use warpdrive::audit::Severity::{High, Low, Medium};

use crate::audit::verdict::{breaks, keeps};
use crate::support::made::Layer;
use crate::support::sound::{PASSWD, audit_of, found, with};

#[test]
fn what_others_can_write() {
    for (path, mode, owner, severity) in [
        ("etc/passwd", 0o664, (0, 0), High),
        ("etc/passwd", 0o646, (0, 0), High),
        ("etc/group", 0o644, (1001, 0), High),
        ("etc/shadow", 0o660, (0, 42), Low),
        ("etc/ld.so.preload", 0o666, (0, 0), High),
        ("etc/sudoers.d/x", 0o664, (0, 0), High),
    ] {
        let content = if path.contains("passwd") { PASSWD } else { "" };
        breaks(
            &with(Layer::new().owned(path, mode, owner, content)),
            "account-writable",
            severity,
        );
    }
    for (path, mode, owner, severity) in [
        ("usr/local/bin/x", 0o775, (0, 0), High),
        ("usr/lib/python3/x.py", 0o666, (0, 0), High),
        ("usr/bin/x", 0o755, (1001, 0), High),
        ("usr/lib/x", 0o664, (0, 50), Low),
    ] {
        breaks(
            &with(Layer::new().owned(path, mode, owner, "x")),
            "path-writable",
            severity,
        );
        keeps(&with(Layer::new().file(path, 0o755, "x")), "path-writable");
    }
    breaks(
        &with(Layer::new().dir("usr/local/bin", 0o775, (0, 0))),
        "path-writable",
        High,
    );
    breaks(
        &with(Layer::new().dir("etc", 0o777, (0, 0))),
        "path-writable",
        High,
    );
    // The app's own directory in PATH is the app's.
    let own = Layer::new()
        .dir("opt/app-root/bin", 0o775, (1001, 0))
        .owned("opt/app-root/bin/x", 0o775, (1001, 0), "");
    assert_eq!(found(&audit_of(&with(own))), []);
    breaks(
        &with(Layer::new().dir("srv/drop", 0o777, (0, 0))),
        "sticky-missing",
        Medium,
    );
    keeps(
        &with(Layer::new().dir("srv/drop", 0o1777, (0, 0))),
        "sticky-missing",
    );
    breaks(
        &with(Layer::new().file("etc/ld.so.preload", 0o644, "/usr/lib/x.so\n")),
        "preload",
        High,
    );
    keeps(
        &with(Layer::new().file("etc/ld.so.preload", 0o644, "\n")),
        "preload",
    );
}

#[test]
fn app_files_that_an_arbitrary_uid_cannot_use() {
    let file = |mode, owner| with(Layer::new().owned("opt/app-root/src/x", mode, owner, "x"));
    breaks(&file(0o600, (1001, 0)), "app-unusable", Medium);
    breaks(&file(0o640, (1001, 1001)), "app-unusable", Medium);
    breaks(&file(0o744, (1001, 0)), "app-unusable", Medium);
    breaks(&file(0o644, (1001, 0)), "app-readonly", Low);
    assert_eq!(found(&audit_of(&file(0o664, (1001, 0)))), []);
    let dir = |mode| with(Layer::new().dir("opt/app-root/src/d", mode, (1001, 0)));
    breaks(&dir(0o700), "app-unusable", Medium);
    keeps(&dir(0o775), "app-unusable");
    // `chmod -R g=u` in a later layer mends it.
    let mended = file(0o600, (1001, 0)).layer(Layer::new().owned(
        "opt/app-root/src/x",
        0o660,
        (1001, 0),
        "x",
    ));
    keeps(&mended, "app-unusable");
    // Many of them are one finding.
    let mut many = Layer::new();
    for number in 0..50 {
        many = many.owned(&format!("opt/app-root/src/f{number}"), 0o600, (1001, 0), "");
    }
    let report = audit_of(&with(many));
    assert_eq!(report.findings[0].count, 50);
    assert_eq!(report.findings[0].more.len(), 10);
}
