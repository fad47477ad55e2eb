//! A sound image, and those that articles on the subject warn of.

use warpdrive::audit::Severity::{self, High, Medium};

use crate::audit::verdict::{breaks, keeps};
use crate::support::made::Layer;
use crate::support::sound::{GROUP, PASSWD, audit_of, found, sound, with};

#[test]
fn a_sound_image_passes() {
    let report = audit_of(&sound());
    assert_eq!(found(&report), []);
    let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["setuid-known", "base-unproven"]);
    let su = &report.findings[0];
    assert_eq!(
        (su.rule, su.severity, su.layer),
        ("setuid-known", Severity::Info, Some(0))
    );
    assert_eq!(su.path.as_deref(), Some("/usr/bin/su"));
    assert!(!report.is_refused());
    let kinds: Vec<_> = report.layers.iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, [Some("base"), Some("application")]);
}

/// "What USER should you use to run Docker images": the image whose passwd was changed.
#[test]
fn the_articles_user_app_with_a_changed_passwd() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\napp:x:1001:0::/home/app:/bin/bash\n";
    let changed = passwd.replace("1001", "0");
    let image = |user: &str, passwd: &str| {
        with(Layer::new().file("etc/passwd", 0o644, passwd)).set("User", user)
    };
    breaks(&image("app", &changed), "user-name", High);
    breaks(&image("app", &changed), "account-root-alias", High);
    // The number is safe from that, but the second root is still there.
    keeps(&image("1001", &changed), "user-name");
    breaks(&image("1001", &changed), "account-root-alias", High);
    // The name is refused although it means 1001 today.
    breaks(&image("app", passwd), "user-name", High);
    assert_eq!(found(&audit_of(&image("1001", passwd))), []);
}

/// "Backdoors": copies of `id` and `bash` with mode 4711, sudo for the group, root without a password.
#[test]
fn the_articles_backdoors() {
    for name in [
        "usr/local/bin/id",
        "usr/bin/id",
        "opt/app-root/bash",
        "srv/.x",
    ] {
        breaks(
            &with(Layer::new().file(name, 0o4711, "ELF")),
            "setuid",
            High,
        );
        keeps(&with(Layer::new().file(name, 0o711, "ELF")), "setuid");
    }
    let sudo = |rule: &str| {
        with(
            Layer::new()
                .file(
                    "etc/passwd",
                    0o644,
                    format!("{PASSWD}app:x:1002:1002::/:/bin/sh\n"),
                )
                .file("etc/group", 0o644, format!("{GROUP}app:x:1002:\n"))
                .file("usr/bin/sudo", 0o755, "sudo")
                .file(
                    "etc/sudoers",
                    0o440,
                    "root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
                )
                .file("etc/sudoers.d/app", 0o440, rule),
        )
        .set("User", "1002")
    };
    breaks(
        &sudo("%app ALL=(ALL) NOPASSWD: ALL\n"),
        "sudo-nopasswd",
        High,
    );
    breaks(
        &sudo("%root ALL=(ALL) NOPASSWD: ALL\n"),
        "sudo-nopasswd",
        High,
    );
    breaks(
        &sudo("%#0 ALL=(ALL) NOPASSWD: ALL\n"),
        "sudo-nopasswd",
        High,
    );
    breaks(
        &sudo("%app ALL=(ALL) ALL\nDefaults !authenticate\n"),
        "sudo-nopasswd",
        High,
    );
    breaks(&sudo("%app ALL=(ALL) ALL\n"), "sudo-rule", Medium);
    breaks(&sudo("%ops ALL=(ALL) NOPASSWD: ALL\n"), "sudo-rule", Medium);
    assert_eq!(found(&audit_of(&sudo("%ops ALL=(ALL) ALL\n"))), []);
    let empty = |password: &str| {
        with(Layer::new().owned(
            "etc/shadow",
            0o640,
            (0, 42),
            format!("root:{password}:19000::::::\n"),
        ))
    };
    breaks(&empty(""), "password-empty", High);
    keeps(&empty("*"), "password-empty");
}
