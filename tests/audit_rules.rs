//! For every rule of the catalogue an image that breaks it, and a near twin without any fault.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use crate::support::made::{Layer, Made};
use crate::support::sound::{
    GROUP, PASSWD, SU, audit_with, bare, found, key, md5_of, sound, token, with,
};
use serde_json::{Value, json};
use warpdrive::audit::{Policy, RULES, Report};

/// An image that breaks the rule, and its twin.
type Case = (&'static str, Made, Made);

fn case(rule: &'static str, made: impl Fn(bool) -> Made) -> Case {
    (rule, made(true), made(false))
}

/// One file more, which differs.
fn file(rule: &'static str, path: &str, mode: u32, broken: &str, twin: &str) -> Case {
    case(rule, |is_broken| {
        with(Layer::new().file(path, mode, if is_broken { broken } else { twin }))
    })
}

/// One file more, whose mode differs.
fn mode(rule: &'static str, path: &str, owner: (u64, u64), broken: u32, twin: u32) -> Case {
    case(rule, |is_broken| {
        with(Layer::new().owned(path, if is_broken { broken } else { twin }, owner, "x"))
    })
}

fn set(rule: &'static str, key: &str, broken: impl Into<Value>, twin: impl Into<Value>) -> Case {
    (rule, sound().set(key, broken), sound().set(key, twin))
}

fn declared() -> Vec<Case> {
    vec![
        set("user-missing", "User", Value::Null, "1001"),
        set("user-root", "User", "0:1001", "1001:0"),
        set("user-name", "User", "default", "1001"),
        set("user-malformed", "User", "01001", "1001"),
        set("user-group", "User", "1001:root", "1001:0"),
        set(
            "path-created",
            "Volumes",
            json!({"/usr/lib/glibc-hwcaps": {}}),
            json!({"/opt/app-root/data": {}}),
        ),
        set("workdir-missing", "WorkingDir", "", "/opt/app-root/src"),
        set(
            "development-server",
            "Cmd",
            json!(["flask", "--app", "shop", "run"]),
            json!(["gunicorn", "shop:app"]),
        ),
        set(
            "secret-variable",
            "Env",
            json!(["API_TOKEN=abc"]),
            json!(["API_TOKEN_FILE=/run/secrets/token"]),
        ),
    ]
}

fn accounts() -> Vec<Case> {
    let line = |rule, path: &str, before: &str, broken: &str, twin: &str| {
        file(
            rule,
            path,
            0o644,
            &format!("{before}{broken}\n"),
            &format!("{before}{twin}\n"),
        )
    };
    let passwd = |rule, broken, twin| line(rule, "etc/passwd", PASSWD, broken, twin);
    let shadow = |rule, broken: &str, twin: &str| {
        case(rule, |is_broken| {
            let field = if is_broken { broken } else { twin };
            let text = format!("root:{field}:19000::::::\n");
            with(Layer::new().owned("etc/shadow", 0o640, (0, 42), text))
        })
    };
    let rules = |rule, program: &str, path: &str, broken: &str, twin: &str| {
        case(rule, |is_broken| {
            let text = format!("{}\n", if is_broken { broken } else { twin });
            let layer = Layer::new()
                .file(program, 0o755, "x")
                .file(path, 0o440, text);
            with(layer)
        })
    };
    let sudo = |rule, broken, twin| rules(rule, "usr/bin/sudo", "etc/sudoers", broken, twin);
    vec![
        passwd(
            "account-root-alias",
            "toor:x:0:7::/:/bin/sh",
            "toor:x:7:7::/:/bin/sh",
        ),
        passwd(
            "account-mapping",
            "1001:x:1002:7::/:/bin/sh",
            "1002:x:1002:7::/:/bin/sh",
        ),
        passwd(
            "account-malformed",
            "app:x:00:7::/:/bin/sh",
            "app:x:70:7::/:/bin/sh",
        ),
        case("account-unreadable", |is_broken| {
            with(if is_broken {
                Layer::new().symlink("etc/passwd", "/opt/app-root/passwd")
            } else {
                Layer::new().symlink("etc/passwd.old", "/opt/app-root/passwd")
            })
        }),
        line(
            "runtime-group",
            "etc/group",
            GROUP,
            "disk:x:6:default",
            "disk:x:6:daemon",
        ),
        shadow("password-empty", "", "*"),
        shadow(
            "password-weak",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
            "!$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        ),
        shadow("password-usable", "$6$salt$hash", "!$6$salt$hash"),
        sudo(
            "sudo-nopasswd",
            "%root ALL=(ALL) NOPASSWD: ALL",
            "root ALL=(ALL) NOPASSWD: ALL",
        ),
        sudo("sudo-rule", "%root ALL=(ALL) ALL", "%wheel ALL=(ALL) ALL"),
        sudo(
            "sudo-setting",
            "Defaults logfile=/etc/passwd",
            "Defaults env_reset",
        ),
        line(
            "account-subid",
            "etc/subuid",
            "",
            "app:0:1",
            "app:100000:65536",
        ),
        rules(
            "doas-rule",
            "usr/bin/doas",
            "etc/doas.conf",
            "permit nopass :root",
            "permit nopass :wheel",
        ),
        mode("account-writable", "etc/sudoers.d/x", (0, 0), 0o460, 0o440),
    ]
}

fn programs() -> Vec<Case> {
    let mut capability = 0x0200_0001_u32.to_le_bytes().to_vec();
    capability.extend((1_u32 << 7).to_le_bytes());
    capability.extend([0; 12]);
    vec![
        mode("setuid", "srv/id", (0, 0), 0o4711, 0o711),
        file(
            "setuid-changed",
            "usr/bin/su",
            0o4755,
            "bash",
            std::str::from_utf8(SU).unwrap(),
        ),
        mode("setuid-unowned", "usr/bin/mount", (0, 0), 0o4755, 0o755),
        case("setuid-unverified", |is_broken| {
            // Alpine has no database of dpkg's.
            let mode = if is_broken { 0o4755 } else { 0o755 };
            bare().layer(Layer::new().file("usr/bin/mount", mode, "x"))
        }),
        case("self-vouched", |is_broken| {
            let content: &[u8] = if is_broken { b"su 2" } else { SU };
            with(
                Layer::new()
                    .file("usr/bin/su", 0o4755, content)
                    .file("var/lib/dpkg/status", 0o644, "Package: login\n")
                    .file(
                        "var/lib/dpkg/info/login.md5sums",
                        0o644,
                        format!("{}  bin/su\n", md5_of(content)),
                    ),
            )
        }),
        case("pam", |is_broken| {
            let line = if is_broken {
                "auth sufficient pam_permit.so\n"
            } else {
                "auth required pam_deny.so\n"
            };
            with(
                Layer::new()
                    .file("usr/lib/security/pam_permit.so", 0o644, "x")
                    .file("etc/pam.d/su", 0o644, line),
            )
        }),
        case("library", |is_broken| {
            let source = if is_broken { "own files" } else { "files" };
            with(
                Layer::new()
                    .file("usr/lib/libnss_own.so.2", 0o644, "x")
                    .file("etc/nsswitch.conf", 0o644, format!("passwd: {source}\n")),
            )
        }),
        case("name-service", |is_broken| {
            let source = if is_broken { "db files" } else { "files" };
            with(
                Layer::new()
                    .file("usr/lib/libnss_db.so.2", 0o644, "x")
                    .file("var/lib/misc/shadow.db", 0o644, "x")
                    .file("etc/nsswitch.conf", 0o644, format!("shadow: {source}\n")),
            )
        }),
        case("setuid-known", |is_broken| {
            with(Layer::new().file("usr/bin/su", if is_broken { 0o4755 } else { 0o755 }, SU))
        }),
        case("base-unproven", |is_broken| {
            with(Layer::new().file("usr/bin/su", if is_broken { 0o4755 } else { 0o755 }, SU))
        }),
        case("setuid-hidden", |is_broken| {
            let mode = if is_broken { 0o4711 } else { 0o711 };
            with(Layer::new().file("srv/id", mode, "id")).layer(Layer::new().whiteout("srv/id"))
        }),
        mode("setgid", "usr/bin/x", (0, 0), 0o2755, 0o755),
        case("capability", |is_broken| {
            let name = if is_broken {
                "security.capability"
            } else {
                "user.capability"
            };
            with(
                Layer::new()
                    .xattr(name, &capability)
                    .file("usr/bin/x", 0o755, "x"),
            )
        }),
        mode("path-writable", "usr/local/bin/x", (0, 0), 0o775, 0o755),
        case("sticky-missing", |is_broken| {
            with(Layer::new().dir("srv/drop", if is_broken { 0o777 } else { 0o1777 }, (0, 0)))
        }),
        file(
            "preload",
            "etc/ld.so.preload",
            0o644,
            "/usr/lib/x.so\n",
            "\n",
        ),
        case("device", |is_broken| {
            with(if is_broken {
                Layer::new().device("srv/disk", true, 8, 0)
            } else {
                Layer::new().file("srv/disk", 0o660, "")
            })
        }),
        case("layer-path", |is_broken| {
            with(Layer::new().file(
                if is_broken { "srv/../id" } else { "srv/..id" },
                0o644,
                "id",
            ))
        }),
    ]
}

fn secrets_and_app_files() -> Vec<Case> {
    let app = |name: &str| format!("opt/app-root/src/{name}");
    let line = |token: &str| format!("T = '{token}'\n");
    let named = |rule, broken: &str, twin: &str| {
        case(rule, |is_broken| {
            let path = app(if is_broken { broken } else { twin });
            with(Layer::new().owned(&path, 0o664, (1001, 0), "ref: refs/heads/main\n"))
        })
    };
    vec![
        file(
            "secret-key",
            "etc/server.key",
            0o644,
            &key(),
            &key().replace("PRIVATE", "PUBLIC"),
        ),
        // Whoever reads it sees a token in both; the twin's is a character too short to be one.
        file(
            "secret-token",
            "srv/settings.py",
            0o644,
            &line(&token()),
            &line(&token()[..30]),
        ),
        file(
            "secret-file",
            "srv/.env",
            0o644,
            "SECRET_KEY=abc\n",
            "DEBUG=1\n",
        ),
        file(
            "secret-credentials",
            "etc/pip.conf",
            0o644,
            "[global]\nindex-url=https://build:s3cr3t@packages.company.net/\n",
            "[global]\nindex-url=https://packages.company.net/\n",
        ),
        named("secret-repository", ".git/HEAD", "git/HEAD"),
        mode("app-unusable", &app("x"), (1001, 0), 0o604, 0o664),
        mode("app-readonly", &app("x"), (1001, 0), 0o644, 0o664),
    ]
}

fn rules_of(report: &Report) -> BTreeSet<&'static str> {
    report.findings.iter().map(|finding| finding.rule).collect()
}

#[test]
fn every_rule_is_broken_by_an_image_and_kept_by_its_twin() {
    let mut seen = BTreeSet::new();
    let all = [declared(), accounts(), programs(), secrets_and_app_files()];
    for (rule, broken, twin) in all.into_iter().flatten() {
        let broken = audit_with(&broken, &Policy::default());
        assert!(
            rules_of(&broken).contains(rule),
            "{rule}: {:#?}",
            broken.findings
        );
        let twin = audit_with(&twin, &Policy::default());
        assert!(
            !rules_of(&twin).contains(rule),
            "{rule}: {:#?}",
            twin.findings
        );
        assert_eq!(found(&twin), [], "{rule}: {:#?}", twin.findings);
        seen.insert(rule);
    }
    // This one is about the policy, not about the image.
    let image = with(Layer::new().file("srv/id", 0o4711, "id"));
    let excused = |day: &str| {
        let text = format!("[[exception]]\nrule = 'setuid'\nreason = 'why'\nexpires = {day}\n");
        audit_with(&image, &Policy::parse(text.as_bytes()).unwrap())
    };
    assert!(rules_of(&excused("2026-05-31")).contains("policy-expired"));
    assert_eq!(found(&excused("2026-06-01")), []);
    seen.insert("policy-expired");

    let catalogue: BTreeSet<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(
        seen, catalogue,
        "rules without a case, or cases without a rule"
    );
}
