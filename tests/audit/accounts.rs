//! Users, groups, passwords, and who may become another.

use serde_json::Value;
use warpdrive::audit::Severity::{High, Low, Medium};

use crate::audit::verdict::{breaks, keeps};
use crate::support::made::Layer;
use crate::support::sound::{GROUP, PASSWD, SU, audit_of, found, sound, with};

#[test]
fn declared_users() {
    for (user, rule) in [
        ("", "user-missing"),
        ("0", "user-root"),
        ("0:0", "user-root"),
        ("root", "user-root"),
        ("app", "user-name"),
        ("00", "user-malformed"),
        ("4294967296", "user-malformed"),
        ("1001:grp", "user-group"),
    ] {
        breaks(&sound().set("User", user), rule, High);
    }
    for user in ["1001", "1001:0", "1000650000:0", "4294967294"] {
        assert_eq!(found(&audit_of(&sound().set("User", user))), [], "{user}");
    }
    breaks(&sound().set("User", Value::Null), "user-missing", High);
    breaks(&sound().set("WorkingDir", ""), "workdir-missing", Low);
}

#[test]
fn strange_accounts() {
    let passwd =
        |line: &str| with(Layer::new().file("etc/passwd", 0o644, format!("{PASSWD}{line}\n")));
    breaks(&passwd("1001:x:0:0::/:/bin/sh"), "account-mapping", High);
    breaks(
        &passwd("other:x:1001:0::/:/bin/sh"),
        "account-mapping",
        Medium,
    );
    keeps(&passwd("1002:x:1002:0::/:/bin/sh"), "account-mapping");
    for uid in ["+0", "00", "-0", "4294967296", "0x0", "zero", " 0", ""] {
        breaks(
            &passwd(&format!("app:x:{uid}:7::/:/bin/sh")),
            "account-malformed",
            High,
        );
    }
    breaks(&passwd("app:x:7:7"), "account-malformed", Medium);
    assert_eq!(found(&audit_of(&passwd("app:x:7:7::/:/bin/sh"))), []);

    let link = with(Layer::new().symlink("etc/passwd", "/opt/app-root/passwd"));
    breaks(&link, "account-unreadable", High);
    let link = with(Layer::new().hard_link("etc/passwd", 0o644, "opt/app-root/passwd"));
    breaks(&link, "account-unreadable", High);
    let known = Layer::new()
        .file("etc/passwd-", 0o644, PASSWD)
        .file("etc/passwd", 0o644, PASSWD);
    keeps(&with(known), "account-unreadable");
    breaks(
        &with(Layer::new().symlink("etc", "opt")),
        "account-unreadable",
        High,
    );
    let large = with(Layer::new().file("etc/passwd", 0o644, vec![b'#'; 2 << 20]));
    breaks(&large, "account-unreadable", High);

    let group =
        |line: &str| with(Layer::new().file("etc/group", 0o644, format!("{GROUP}{line}\n")));
    breaks(&group("disk:x:6:default"), "runtime-group", High);
    keeps(&group("disk:x:6:daemon"), "runtime-group");
    breaks(&sound().set("User", "1001:42"), "runtime-group", High);
}

#[test]
fn passwords() {
    let shadow =
        |line: &str| with(Layer::new().owned("etc/shadow", 0o640, (0, 42), format!("{line}\n")));
    breaks(
        &shadow("root:$1$salt$qJH7.N4xYta3aEG/dfqo/0:1::::::"),
        "password-weak",
        High,
    );
    breaks(
        &shadow("root:$6$salt$hash:1::::::"),
        "password-usable",
        High,
    );
    breaks(
        &shadow("default:$6$salt$hash:1::::::"),
        "password-usable",
        Medium,
    );
    // Without its bit, su makes nobody root.
    let harmless = with(
        Layer::new()
            .owned("etc/shadow", 0o640, (0, 42), "root:$6$salt$hash:1::::::\n")
            .file("usr/bin/su", 0o755, SU),
    );
    breaks(&harmless, "password-usable", Medium);
    breaks(&shadow("default::1::::::"), "password-empty", Medium);
    assert_eq!(found(&audit_of(&shadow("root:!$6$salt$hash:1::::::"))), []);
    let passwd = PASSWD.replace("root:x", "root:");
    breaks(
        &with(Layer::new().file("etc/passwd", 0o644, passwd)),
        "password-empty",
        High,
    );
    // Where nothing asks for a password, an empty one is of little use.
    let without = with(
        Layer::new()
            .owned("etc/shadow", 0o640, (0, 42), "root::1::::::\n")
            .whiteout("usr/bin/su"),
    );
    breaks(&without, "password-empty", Medium);
}

/// The words that everybody tries are tried; a hash of another is medium.
#[test]
fn guessable_passwords() {
    let shadow = |line: &str| {
        with(Layer::new().owned(
            "etc/shadow",
            0o640,
            (0, 42),
            format!("{line}:19000::::::\n"),
        ))
    };
    for (made_by, root, (last, other)) in [
        (
            "openssl passwd -6",
            "root:$6$abcdefgh$cnW4XDznaFa1hR9LnqrjoiAqed87oTXop3rUraOEgMC9xZ8cZ4bnv81B/PgWNFtDN0PNbtGZlCIhm8Jws2OPr",
            ('0', '1'),
        ),
        // As on Debian, with less memory.
        (
            "crypt(3)",
            "root:$y$j/.$abcdefgh$haetCDAzuJgGFRocLH9w.8puQ8jFg3hZvjEOUPTXbr",
            ('A', 'B'),
        ),
    ] {
        let report = audit_of(&shadow(&format!("{root}{last}")));
        let finding = &report.findings[0];
        assert_eq!(
            (finding.rule, finding.severity),
            ("password-weak", High),
            "{made_by}"
        );
        assert!(
            finding.message.contains("everybody tries"),
            "{}",
            finding.message
        );
        let twin = shadow(&format!("{root}{other}"));
        breaks(&twin, "password-usable", High);
        keeps(&twin, "password-weak");
    }
}

#[test]
fn sudo_in_odd_places() {
    let base = || Layer::new().file("usr/bin/sudo", 0o755, "sudo");
    let far = base()
        .file("etc/sudoers", 0o440, "@include /opt/rules\n")
        .file("opt/rules", 0o440, "ALL ALL=NOPASSWD: ALL\n");
    breaks(&with(far), "account-unreadable", High);
    let directory = |name: &str| {
        let rules = format!("@includedir /opt/{name}\n");
        with(base().file("etc/sudoers", 0o440, rules).file(
            "opt/rules/own",
            0o440,
            "ALL ALL=NOPASSWD: ALL\n",
        ))
    };
    breaks(&directory("rules"), "account-unreadable", High);
    let link = |to: &str| {
        let rules = base().file("etc/sudoers", 0o440, "@includedir /etc/sudoers.d\n");
        with(
            rules
                .symlink("etc/sudoers.d", to)
                .file("opt/rules/own", 0o440, "ALL ALL=NOPASSWD: ALL\n")
                .file(
                    "usr/local/etc/sudoers.d/own",
                    0o440,
                    "ALL ALL=NOPASSWD: ALL\n",
                ),
        )
    };
    breaks(&link("/opt/rules"), "account-unreadable", High);
    breaks(&link("/usr/local/etc/sudoers.d"), "sudo-nopasswd", High);
    let ignored = base()
        .file("etc/sudoers", 0o440, "@includedir /etc/sudoers.d\n")
        .file("etc/sudoers.d/app.bak", 0o440, "ALL ALL=NOPASSWD: ALL\n");
    keeps(&with(ignored), "sudo-nopasswd");
    let alias = base()
        .file(
            "etc/sudoers",
            0o440,
            "@includedir sudoers.d\nOPS ALL=NOPASSWD: ALL\n",
        )
        .file("etc/sudoers.d/alias", 0o440, "User_Alias OPS = #1001\n");
    breaks(&with(alias), "sudo-nopasswd", High);
    let without = Layer::new().file("etc/sudoers", 0o440, "ALL ALL=NOPASSWD: ALL\n");
    breaks(&with(without), "sudo-nopasswd", Low);
    let doas = |rule: &str| {
        with(
            Layer::new()
                .file("usr/bin/doas", 0o755, "")
                .file("etc/doas.conf", 0o400, rule),
        )
    };
    breaks(&doas("permit nopass :root\n"), "doas-rule", High);
    breaks(&doas("permit 1001\n"), "doas-rule", Medium);
    keeps(&doas("permit nopass :wheel\n"), "doas-rule");
    keeps(&doas("permit nopass :root\ndeny default\n"), "doas-rule");
}

/// What Debian ships, and settings that many images have.
#[test]
fn harmless_neighbours_of_sudo_and_pam() {
    const SU_PAM: &str = "auth sufficient pam_rootok.so\nsession required pam_env.so readenv=1\n\
        session optional pam_motd.so motd=/run/motd.dynamic\nsession optional pam_motd.so noupdate\n\
        session optional pam_mail.so nopen\nsession required pam_limits.so\n\
        session optional pam_mkhomedir.so\nauth optional pam_group.so\nauth optional pam_cap.so\n\
        session optional pam_namespace.so\n";
    let modules = [
        "env",
        "motd",
        "mail",
        "limits",
        "group",
        "cap",
        "namespace",
        "mkhomedir",
    ];
    let comments = "# comments alone\n#su;*;app;Al0000-2400;sudo\n#^cap_setuid app\n";
    let base = |layer: Layer| {
        let layer = modules.iter().fold(layer, |layer, module| {
            let path = format!("usr/lib/x86_64-linux-gnu/security/pam_{module}.so");
            layer.file(&path, 0o644, module)
        });
        layer
            .file("usr/bin/sudo", 0o4755, "sudo")
            .file("etc/pam.d/su", 0o644, SU_PAM)
            .file(
                "etc/update-motd.d/10-uname",
                0o755,
                "#!/bin/sh\nuname -snrvm\n",
            )
    };
    let high = |layer: Layer, rule: &str| {
        let report = audit_of(&with(layer));
        let mut grave = report.findings.iter().filter(|it| it.severity == High);
        grave.any(|finding| finding.rule == rule)
    };
    let harmless = base(Layer::new())
        .file(
            "etc/sudoers",
            0o440,
            "Defaults\tenv_reset\nDefaults\tmail_badpass\n\
             Defaults\tsecure_path=\"/usr/local/sbin:/usr/sbin:/usr/bin\"\nDefaults\tuse_pty\n\
             root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
        )
        .file(
            "etc/sudo.conf",
            0o644,
            "#Debug sudo /var/log/sudo_debug all@warn\n",
        )
        .file("etc/security/group.conf", 0o644, comments)
        .file(
            "etc/security/capability.conf",
            0o644,
            format!("{comments}none *\n"),
        )
        .file("etc/security/namespace.conf", 0o644, comments)
        .file("etc/security/limits.conf", 0o644, "* soft nofile 4096\n");
    let report = audit_of(&with(harmless));
    let wrong: Vec<_> = report
        .findings
        .iter()
        .filter(|it| ["pam", "sudo-setting", "account-unreadable"].contains(&it.rule))
        .map(|it| &it.message)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    for (path, text, rule) in [
        (
            "etc/security/group.conf",
            "su;*;app;Al0000-2400;sudo\n",
            "pam",
        ),
        ("etc/security/capability.conf", "^cap_setuid app\n", "pam"),
        (
            "etc/security/namespace.conf",
            "/etc /opt/ user root\n",
            "pam",
        ),
        (
            "etc/security/namespace.d/own.conf",
            "/etc /opt/ user root\n",
            "pam",
        ),
        (
            "etc/security/limits.d/own.conf",
            "app - chroot /opt/own\n",
            "pam",
        ),
        (
            "etc/sudo.conf",
            "Debug sudo /var/log/sudo_debug all@warn\n",
            "sudo-setting",
        ),
        ("etc/sudoers", "Defaults iolog_dir=/etc\n", "sudo-setting"),
        (
            "etc/sudoers",
            "Defaults timestampowner=app\n",
            "sudo-setting",
        ),
        ("run/sudo/ts/default", "a record", "sudo-setting"),
    ] {
        let opened = with_password(base(Layer::new())).file(path, 0o644, text);
        assert!(high(opened, rule), "{path}: {text}");
    }
    // sudo's real user is root too: a shell that it runs stays root.
    let message = |text: &str, service: &str| {
        let layer = base(Layer::new())
            .file("etc/sudoers", 0o440, "%root ALL=(daemon) ALL\n")
            .file(
                service,
                0o644,
                "auth required pam_permit.so\nsession optional pam_motd.so\n\
                 account required pam_permit.so\n",
            )
            .file(
                "usr/lib/x86_64-linux-gnu/security/pam_permit.so",
                0o644,
                "permit",
            );
        layer.file("etc/update-motd.d/10-uname", 0o755, text)
    };
    for (text, service, found) in [
        ("#!/bin/sh\nid\n", "etc/pam.d/sudo", true),
        ("#!/bin/sh\nid\n", "etc/pam.d/chsh", false),
        ("#!/bin/sh\nuname -snrvm\n", "etc/pam.d/sudo", false),
    ] {
        let report = audit_of(&with(message(text, service)));
        let told = report.findings.iter().any(|it| {
            it.message
                .contains("runs /etc/update-motd.d/10-uname as root")
        });
        assert_eq!(told, found, "{service}: {text}");
    }
    for (path, target, leads_on) in [
        ("etc/security/group.conf", "/opt/group.conf", true),
        ("etc/security/group.conf", "group-own.conf", false),
        ("etc/security/namespace.d", "/opt/namespace.d", true),
    ] {
        let linked = with_password(base(Layer::new()))
            .symlink(path, target)
            .file(&format!("{}/x.conf", &target[1..]), 0o644, "x");
        assert_eq!(high(linked, "pam"), leads_on, "{path}");
    }
    for line in [
        "pam_group.so conf=/opt/x",
        "pam_cap.so config=/opt/x",
        "pam_xauth.so xauthpath=/opt/x",
    ] {
        let text = format!("auth optional {line}\n");
        let layer = base(Layer::new())
            .file(
                "usr/lib/x86_64-linux-gnu/security/pam_xauth.so",
                0o644,
                "xauth",
            )
            .file("etc/pam.d/su", 0o644, text);
        assert!(high(layer, "pam"), "{line}");
    }
    let log = |target: &str| {
        let text = format!("Defaults logfile={target}\n");
        with(base(Layer::new()).file("etc/sudoers", 0o440, text))
    };
    breaks(&log("/var/log/sudo.log"), "sudo-setting", Medium);
    breaks(&log("/var/log/../../etc/passwd"), "sudo-setting", High);
    let open = base(Layer::new()).dir("var/log/", 0o775, (0, 0)).file(
        "etc/sudoers",
        0o440,
        "Defaults logfile=/var/log/sudo.log\n",
    );
    breaks(&with(open), "sudo-setting", High);
    let unknown = base(Layer::new()).file("etc/sudoers", 0o440, "Defaults what_is_this\n");
    breaks(&with(unknown), "account-unreadable", Medium);
}

/// The image's user has a password that is known.
fn with_password(layer: Layer) -> Layer {
    let text = "root:*:19000::::::\ndefault:$6$salt$hash:19000::::::\n";
    layer
        .owned("etc/shadow", 0o640, (0, 42), text)
        .file(
            "usr/lib/x86_64-linux-gnu/security/pam_unix.so",
            0o644,
            "unix",
        )
        .file(
            "etc/pam.d/su",
            0o644,
            "auth optional pam_group.so\nauth optional pam_cap.so\nauth required pam_unix.so\n\
             account required pam_unix.so\nsession optional pam_namespace.so\nsession required pam_limits.so\n",
        )
}

#[test]
fn subordinate_ids_that_hold_root() {
    let mapped = |text: &str, mode: u32| {
        with(Layer::new().file("etc/subuid", 0o644, text).file(
            "usr/bin/newuidmap",
            mode,
            "newuidmap",
        ))
    };
    breaks(&mapped("app:0:1\n", 0o4755), "account-subid", Medium);
    breaks(&mapped("app:0:1\n", 0o755), "account-subid", Low);
    keeps(&mapped("app:100000:65536\n", 0o4755), "account-subid");
    keeps(&mapped("root:0:65536\n", 0o4755), "account-subid");
    let groups = with(Layer::new().file("etc/subgid", 0o644, "app:0:1\n").file(
        "usr/bin/newgidmap",
        0o4755,
        "newgidmap",
    ));
    breaks(&groups, "account-subid", Medium);
}
