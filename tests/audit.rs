//! `warpdrive audit`: for each rule an image that breaks it and a near twin that does not.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::made::{Layer, Made};
use support::sound::{
    GROUP, PASSWD, SU, audit_of, audit_with, found, key, md5_of, sound, today, token, with,
};
use warpdrive::audit::{self, Policy, Severity};
use warpdrive::store::Store;

#[track_caller]
fn breaks(made: &Made, rule: &str, severity: Severity) {
    let report = audit_of(made);
    assert!(
        found(&report).contains(&(rule, severity)),
        "{rule} {severity:?} is missing: {:#?}",
        report.findings
    );
    assert_eq!(
        report.is_refused(),
        report
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::High)
    );
}

#[track_caller]
fn keeps(made: &Made, rule: &str) {
    let report = audit_of(made);
    assert!(
        !report.findings.iter().any(|finding| finding.rule == rule),
        "{rule}: {:#?}",
        report.findings
    );
}

use Severity::{High, Low, Medium};

#[test]
fn a_sound_image_passes() {
    let report = audit_of(&sound());
    assert_eq!(found(&report), []);
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
        Medium,
    );
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

#[test]
fn sudo_in_odd_places() {
    let base = || Layer::new().file("usr/bin/sudo", 0o755, "sudo");
    let far = base()
        .file("etc/sudoers", 0o440, "@include /opt/rules\n")
        .file("opt/rules", 0o440, "ALL ALL=NOPASSWD: ALL\n");
    breaks(&with(far), "account-unreadable", High);
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

#[test]
fn known_setuid_programs_by_path_and_content() {
    breaks(
        &with(Layer::new().file("usr/bin/su", 0o4755, "bash")),
        "setuid-changed",
        High,
    );
    breaks(
        &with(Layer::new().file("usr/bin/mount", 0o4755, "mount")),
        "setuid-unverified",
        Medium,
    );
    // A list of digests without a run of dpkg proves nothing.
    let forged = Layer::new().file("usr/bin/su", 0o4755, "bash").file(
        "var/lib/dpkg/info/login.md5sums",
        0o644,
        format!("{}  bin/su\n", md5_of(b"bash")),
    );
    breaks(&with(forged), "setuid-unverified", Medium);
    let upgraded = Layer::new()
        .file("usr/bin/su", 0o4755, "su 2")
        .file("var/lib/dpkg/status", 0o644, "Package: login\n")
        .file(
            "var/lib/dpkg/info/login.md5sums",
            0o644,
            format!("{}  usr/bin/su\n", md5_of(b"su 2")),
        );
    assert_eq!(found(&audit_of(&with(upgraded))), []);
    // The content is the package's, the bit is not.
    let bash = Layer::new()
        .file("usr/bin/bash", 0o4711, "bash")
        .file("var/lib/dpkg/status", 0o644, "")
        .file(
            "var/lib/dpkg/info/bash.md5sums",
            0o644,
            format!("{}  bin/bash\n", md5_of(b"bash")),
        );
    breaks(&with(bash), "setuid", High);
    breaks(
        &with(Layer::new().owned("usr/bin/x", 0o4755, (7, 0), "")),
        "setuid",
        Medium,
    );
    // Not where the distribution has it.
    breaks(
        &with(Layer::new().file("usr/local/bin/su", 0o4755, SU)),
        "setuid",
        High,
    );
}

#[test]
fn setgid_capabilities_and_links() {
    breaks(
        &with(Layer::new().file("usr/bin/x", 0o2755, "")),
        "setgid",
        High,
    );
    breaks(
        &with(Layer::new().owned("usr/bin/x", 0o2755, (0, 42), "")),
        "setgid",
        High,
    );
    breaks(
        &with(Layer::new().owned("usr/bin/x", 0o2755, (0, 50), "")),
        "setgid",
        Medium,
    );
    keeps(
        &with(Layer::new().owned("usr/bin/x", 0o2644, (0, 0), "")),
        "setgid",
    );
    keeps(
        &with(Layer::new().dir("srv/shared", 0o2755, (0, 0))),
        "setgid",
    );
    let capability = |bit: u32, name: &str| {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        value.extend((1_u32 << bit).to_le_bytes());
        value.extend([0; 12]);
        with(
            Layer::new()
                .xattr("security.capability", &value)
                .file(name, 0o755, "x"),
        )
    };
    breaks(&capability(7, "usr/bin/python3"), "capability", High);
    breaks(&capability(13, "usr/bin/python3"), "capability", Medium);
    breaks(&capability(13, "usr/bin/ping"), "setuid-unverified", Medium);
    let plain = Layer::new()
        .xattr("user.note", b"x")
        .file("usr/bin/python3", 0o755, "x");
    keeps(&with(plain), "capability");

    // A second name of a setuid file, and a bit that comes with the second name.
    let link = Layer::new()
        .file("usr/bin/su", 0o4755, SU)
        .hard_link("opt/su", 0o755, "usr/bin/su");
    breaks(&with(link), "setuid", High);
    let link = Layer::new()
        .file("opt/a", 0o755, "x")
        .hard_link("opt/b", 0o4755, "opt/a");
    breaks(&with(link), "setuid", High);
    let link = Layer::new()
        .file("opt/a", 0o755, "x")
        .hard_link("opt/b", 0o755, "opt/a");
    keeps(&with(link), "setuid");
}

#[test]
fn what_a_higher_layer_hides() {
    let backdoor = || {
        with(
            Layer::new()
                .dir("srv/tools", 0o755, (0, 0))
                .file("srv/tools/id", 0o4711, "id"),
        )
    };
    for (what, hide) in [
        ("a whiteout", Layer::new().whiteout("srv/tools/id")),
        (
            "a whiteout of the directory",
            Layer::new().whiteout("srv/tools"),
        ),
        ("a whiteout further up", Layer::new().whiteout("srv")),
        ("an opaque directory", Layer::new().opaque("srv/tools")),
        (
            "a file in the directory's place",
            Layer::new().file("srv/tools", 0o644, ""),
        ),
        ("chmod u-s", Layer::new().file("srv/tools/id", 0o711, "id")),
    ] {
        let image = backdoor().layer(hide);
        let report = audit_of(&image);
        assert_eq!(found(&report), [("setuid-hidden", Medium)], "{what}");
        assert_eq!(report.findings[0].layer, Some(2), "{what}");
    }
    for (what, other) in [
        ("another file", Layer::new().whiteout("srv/tools/idx")),
        (
            "the directory again",
            Layer::new().dir("srv/tools", 0o755, (0, 0)),
        ),
        (
            "AUFS's own marks",
            Layer::new().file("srv/tools/.wh..wh.plnk", 0o644, ""),
        ),
        ("a whiteout below", Layer::new().whiteout("srv/tools/id/x")),
    ] {
        breaks(&backdoor().layer(other), "setuid", High);
        keeps(
            &backdoor().layer(Layer::new().whiteout("srv/tools/id")),
            "setuid",
        );
        let _ = what;
    }
    // Within one layer, a whiteout is about lower layers only.
    let same = Layer::new().whiteout("srv/id").file("srv/id", 0o4711, "id");
    breaks(&with(same), "setuid", High);
    // The last of two entries of one name stays.
    let twice = Layer::new()
        .file("srv/id", 0o4711, "id")
        .file("srv/id", 0o711, "id");
    keeps(&with(twice), "setuid");
    // Known programs of the base that a builder hardened are no finding.
    assert_eq!(
        audit_of(&with(Layer::new().file("usr/bin/su", 0o755, SU))).findings,
        []
    );
    // Other spellings of a name.
    breaks(
        &with(Layer::new().file("/./srv//id", 0o4711, "id")),
        "setuid",
        High,
    );
    breaks(
        &with(Layer::new().file("srv/../id", 0o644, "id")),
        "layer-path",
        High,
    );
}

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
        Medium,
    );
    keeps(
        &with(Layer::new().file("etc/ld.so.preload", 0o644, "\n")),
        "preload",
    );
}

#[test]
fn devices() {
    breaks(
        &with(Layer::new().device("srv/disk", true, 8, 0)),
        "device",
        High,
    );
    breaks(
        &with(Layer::new().device("dev/mem", false, 1, 1)),
        "device",
        High,
    );
    breaks(
        &with(Layer::new().device("dev/null", false, 1, 3)),
        "device",
        Low,
    );
    keeps(
        &with(Layer::new().device("dev/mem", false, 1, 1)).layer(Layer::new().whiteout("dev/mem")),
        "device",
    );
}

#[test]
fn secrets_in_any_layer() {
    for (path, content, rule, severity) in [
        ("etc/ssl/private/server.key", key(), "secret-key", High),
        ("usr/lib/libgnutls.so.30", key(), "secret-key", Low),
        (
            "usr/lib/python3.13/test/keycert.pem",
            key(),
            "secret-key",
            Low,
        ),
        (
            "opt/app-root/src/settings.py",
            format!("T = '{}'\n", token()),
            "secret-token",
            High,
        ),
        (
            "opt/app-root/src/.env",
            "SECRET_KEY=abc\n".into(),
            "secret-file",
            High,
        ),
        ("root/.ssh/id_rsa", "anything".into(), "secret-file", High),
        (
            "root/.netrc",
            "machine h login l password p\n".into(),
            "secret-file",
            High,
        ),
        (
            "etc/pip.conf",
            "[global]\nindex-url=https://u:p@h/\n".into(),
            "secret-credentials",
            High,
        ),
        (
            "opt/app-root/src/.git/HEAD",
            "ref: refs/heads/main\n".into(),
            "secret-repository",
            Medium,
        ),
    ] {
        let image = || with(Layer::new().owned(path, 0o664, (1001, 0), &content));
        breaks(&image(), rule, severity);
        let deleted = audit_of(&image().layer(Layer::new().whiteout(path)));
        let finding = deleted
            .findings
            .iter()
            .find(|finding| finding.rule == rule)
            .unwrap();
        assert!(
            finding.message.contains("layer 4 hides"),
            "{}",
            finding.message
        );
        assert_eq!(finding.layer, Some(2));
        let shown = deleted.to_json().to_string();
        assert!(
            !shown.contains("aB3dE5") && !shown.contains("p@h"),
            "{shown}"
        );
    }
    for (path, content) in [
        ("opt/app-root/src/.env", "DEBUG=1\n".to_owned()),
        ("opt/app-root/src/.env.example", "SECRET_KEY=abc\n".into()),
        ("etc/pip.conf", "[global]\nindex-url=https://h/\n".into()),
        (
            "opt/app-root/libssl.so",
            "\0-----BEGIN PRIVATE KEY-----\0".into(),
        ),
        ("opt/app-root/src/HEAD", "ref\n".into()),
    ] {
        let report = audit_of(&with(Layer::new().owned(path, 0o664, (1001, 0), content)));
        assert_eq!(found(&report), [], "{path}");
    }
    breaks(
        &sound().set("Env", json!(["API_TOKEN=abc"])),
        "secret-variable",
        Medium,
    );
    keeps(
        &sound().set("Env", json!(["API_TOKEN_FILE=/run/x", "GPG_KEY=ABC"])),
        "secret-variable",
    );
    breaks(
        &sound().set("Labels", json!({"x": token()})),
        "secret-token",
        High,
    );
    let built = sound().layer_by(Layer::new(), &format!("RUN TOKEN={} make", token()));
    breaks(&built, "secret-token", High);
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

#[test]
fn a_policy_excuses_until_a_day() {
    let image = with(Layer::new().file("opt/tool", 0o4755, "x"));
    let policy = |expires: &str| {
        let text = format!(
            "[[exception]]\nrule = 'setuid'\npath = '/opt/*'\nreason = 'see the runbook'\nexpires = {expires}\n"
        );
        Policy::parse(text.as_bytes()).unwrap()
    };
    let report = audit_with(&image, &policy("2026-06-01"));
    assert!(!report.is_refused());
    assert_eq!(report.excused.len(), 1);
    assert_eq!(report.to_json()["excused"][0]["reason"], "see the runbook");
    let sarif = audit::to_sarif(&report);
    let suppressed = sarif["runs"][0]["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| r.get("suppressions").is_some());
    assert_eq!(suppressed.count(), 1);
    let report = audit_with(&image, &policy("2026-05-31"));
    assert!(report.is_refused());
    assert_eq!(found(&report), [("setuid", High), ("policy-expired", Low)]);
    let off = Policy::parse(b"fail-on = 'medium'\n[rules]\nsetuid = 'medium'\n").unwrap();
    assert!(audit_with(&image, &off).is_refused());
    let off = Policy::parse(b"[rules]\nsetuid = 'off'\n").unwrap();
    assert!(!audit_with(&image, &off).is_refused());
}

fn warpdrive(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warpdrive"))
        .args(arguments)
        .env_remove("WARPDRIVE_STORE")
        .output()
        .unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_command_gives_the_same_verdict_for_every_place() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    let bad = with(Layer::new().file("srv/id", 0o4711, "id"));
    sound().put(&store, "sound");
    bad.put(&store, "bad:1");
    let archive = |name: &str, made: &Made| {
        let path = directory.path().join(format!("{name}.tar"));
        fs::write(&path, made.docker_archive(&format!("{name}:latest"))).unwrap();
        path.display().to_string()
    };
    let (sound_tar, bad_tar) = (archive("sound", &sound()), archive("bad", &bad));
    // The store is an OCI layout, so a tar of it is an archive of one.
    let oci_tar = directory.path().join("oci.tar");
    let made = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&oci_tar)
        .args(["oci-layout", "index.json", "blobs"])
        .status()
        .unwrap();
    assert!(made.success());
    let store_option = format!("--store={}", root.display());
    for (place, status) in [
        ("sound".to_owned(), 0),
        ("bad:1".into(), 4),
        (format!("oci:{}:sound", root.display()), 0),
        (format!("oci:{}:bad:1", root.display()), 4),
        (format!("oci-archive:{}:sound", oci_tar.display()), 0),
        (format!("oci-archive:{}:bad:1", oci_tar.display()), 4),
        (format!("docker-archive:{sound_tar}"), 0),
        (format!("docker-archive:{bad_tar}:bad"), 4),
        (format!("docker-archive:{bad_tar}:bad:latest"), 4),
    ] {
        let output = warpdrive(&["audit", &place, "--json", &store_option]);
        assert_eq!(output.status.code(), Some(status), "{place}: {output:?}");
        let value = json_of(&output);
        let verdict = if status == 0 { "passed" } else { "refused" };
        assert_eq!(value["verdict"], verdict, "{place}");
        if status == 4 {
            let finding = &value["findings"][0];
            assert_eq!(finding["rule"], "setuid");
            assert_eq!(finding["path"], "/srv/id");
            assert_eq!(finding["layer"]["number"], 3);
            assert!(
                finding["layer"]["digest"]
                    .as_str()
                    .unwrap()
                    .starts_with("sha256:")
            );
            assert!(!finding["remedy"].as_str().unwrap().is_empty());
        }
        let text = warpdrive(&["audit", &place, &store_option]);
        assert_eq!(text.status.code(), Some(status));
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.lines().last().unwrap().starts_with(verdict), "{text}");
    }
    let sarif = json_of(&warpdrive(&["audit", "bad:1", "--sarif", &store_option]));
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "setuid");

    let policy = directory.path().join("policy.toml");
    fs::write(&policy, "[rules]\nsetuid = 'off'\n").unwrap();
    let policy = policy.display().to_string();
    let excused = warpdrive(&["audit", "bad:1", "--policy", &policy, &store_option]);
    assert_eq!(excused.status.code(), Some(0));
    fs::write(&policy, "[rules]\nsetiud = 'off'\n").unwrap();
    let wrong = warpdrive(&["audit", "bad:1", "--policy", &policy, &store_option]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `setuid`"));
}

#[test]
fn what_cannot_be_judged_is_no_pass() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    sound().put(&store, "sound");
    let loaded = store.image("sound").unwrap().unwrap();
    let layer = loaded.manifest.layers()[0].digest().clone();
    let option = format!("--store={}", root.display());
    let place = format!("oci:{}:sound", root.display());
    for name in [
        "unknown",
        &format!("oci:{}:unknown", root.display()),
        "oci:/does/not/exist",
        "docker-archive:/dev/null",
    ] {
        let output = warpdrive(&["audit", name, &option]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
    }
    // Other bytes in the blob's place, valid as they are.
    let other = Layer::new().file("etc/passwd", 0o644, PASSWD).bytes();
    let blob = store.blob_path(&layer);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, &other).unwrap();
    for name in ["sound", &place] {
        let output = warpdrive(&["audit", name, "--json", &option]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(
            json_of(&output)["error"]["message"]
                .as_str()
                .unwrap()
                .contains("sha256:")
        );
    }
    fs::remove_file(&blob).unwrap();
    assert_eq!(warpdrive(&["audit", &place]).status.code(), Some(1));
    // What one program takes for an image and another for an index, and a member that is there twice.
    let mut both: Value = serde_json::from_slice(&loaded.manifest_bytes).unwrap();
    both["manifests"] = json!([loaded.descriptor]);
    let (digest, size) = store.put_blob(&serde_json::to_vec(&both).unwrap()).unwrap();
    let media_type = loaded.descriptor.media_type().clone();
    let both = warpdrive::oci::descriptor(media_type, digest, size);
    store.tag("both", &both).unwrap();
    let output = warpdrive(&["audit", &format!("oci:{}:both", root.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("as an image and as an index"), "{said}");
    let mut twice = sound().docker_archive("x:1");
    let once = twice.clone();
    twice.truncate(twice.len() - 1024);
    twice.extend(once);
    let file = directory.path().join("twice.tar");
    fs::write(&file, twice).unwrap();
    let output = warpdrive(&["audit", &format!("docker-archive:{}", file.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("twice"), "{said}");
    // An archive whose layer is not the one of the configuration.
    let mut made = sound();
    made.layers[1] = other;
    let file = directory.path().join("x.tar");
    fs::write(&file, made.docker_archive("x:1")).unwrap();
    let output = warpdrive(&["audit", &format!("docker-archive:{}", file.display())]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_rules_are_listed() {
    let output = warpdrive(&["audit", "--rules"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), audit::RULES.len());
    let value = json_of(&warpdrive(&["audit", "--rules", "--json"]));
    assert_eq!(value["rules"][0]["id"], "user-missing");
    assert_eq!(warpdrive(&["audit"]).status.code(), Some(2));
}

/// Debian's own, as `builder build` makes them; what is found in them is a reviewed snapshot. The
/// configuration does not count here: every image on them gets its own.
#[test]
fn the_plain_builders() {
    use support::warpdrive::{PYTHON_39, PYTHON_311, PYTHON_313_RUN, Warpdrive};
    let mut found = String::new();
    for builder in [PYTHON_39, PYTHON_311, PYTHON_313_RUN] {
        let output = Warpdrive::with(builder).output(&["audit", builder, "--json"]);
        let report = json_of(&output);
        for finding in report["findings"].as_array().unwrap() {
            let Some(path) = finding["path"].as_str() else {
                continue;
            };
            assert_ne!(finding["severity"], "high", "{finding:#}");
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            let path = path.trim_end_matches(|c: char| c == '.' || c.is_ascii_digit());
            let (severity, rule) = (text("severity"), text("rule"));
            writeln!(found, "{builder}: {severity} {rule} {path}").unwrap();
        }
    }
    insta::assert_snapshot!("plain-builders", found);
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
        breaks(&twin, "password-usable", Medium);
        keeps(&twin, "password-weak");
    }
}

/// A blob can be one layer to who goes by its first bytes and another to who goes by its media type:
/// what is judged has to be the layer that the configuration names.
#[test]
fn a_layer_that_is_not_the_one_of_its_diff_id_is_no_pass() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    sound().put(&store, "sound");
    let mut image = store.image("sound").unwrap().unwrap();
    let judged = |image: &warpdrive::store::Image| {
        let image = audit::from_store(&store, "sound", image).unwrap();
        audit::audit(&image, &Policy::default(), today())
    };
    assert!(judged(&image).is_ok());
    let mut config: Value = serde_json::from_slice(&image.config_bytes).unwrap();
    config["rootfs"]["diff_ids"][1] = warpdrive::oci::sha256(b"another").to_string().into();
    let bytes = serde_json::to_vec(&config).unwrap();
    image.config = warpdrive::oci::ImageConfig::from_bytes(&bytes, "it").unwrap();
    let error = judged(&image).unwrap_err().to_string();
    assert!(error.contains("its bytes have the digest"), "{error}");
}
