//! Keys, tokens and passwords, in any layer and in the configuration.

use serde_json::json;
use warpdrive::audit::Severity::{High, Low, Medium};

use crate::audit::verdict::{breaks, keeps};
use crate::support::made::Layer;
use crate::support::sound::{audit_of, found, key, sound, token, with};

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
    breaks(
        &sound().set("Env", json!(["DATABASE_URL=postgres://app:w0rd@db/app"])),
        "secret-credentials",
        High,
    );
    for twin in [
        "postgres://db/app",
        "postgres://app@db/app",
        "postgres://app:$WORD@db/app",
    ] {
        let env = json!([format!("DATABASE_URL={twin}")]);
        keeps(&sound().set("Env", env), "secret-credentials");
    }
    let secret = "AWS_SECRET_ACCESS_KEY=aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5k/+9";
    breaks(&sound().set("Env", json!([secret])), "secret-token", High);
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
fn secrets_of_more_kinds_and_their_near_twins() {
    let owned = |path: &str, content: &str| {
        with(Layer::new().owned(path, 0o664, (1001, 0), content.as_bytes()))
    };
    let settings = "SECRET_KEY = 'k3!x9v_q2m#8wz7p0a5d'\n";
    breaks(
        &owned("opt/app-root/src/shop/settings.py", settings),
        "secret-credentials",
        Medium,
    );
    keeps(
        &owned(
            "opt/app-root/lib/python3.11/site-packages/x/settings.py",
            settings,
        ),
        "secret-credentials",
    );
    breaks(
        &owned("opt/app-root/src/prod.env", "API_KEY=abc\n"),
        "secret-file",
        High,
    );
    for (variable, rule, severity) in [
        ("MYSQL_PWD=w0rd", "secret-variable", Medium),
        (
            "INDEX=https://aB3dE5gH7jK9m@git.example.com/x",
            "secret-credentials",
            High,
        ),
        (
            r#"DB={"host":"db","password":"w0rd"}"#,
            "secret-credentials",
            High,
        ),
        (
            "HEADER=Authorization: Bearer aB3dE5gH7jK9mN1pQ3sT",
            "secret-credentials",
            High,
        ),
    ] {
        breaks(&sound().set("Env", json!([variable])), rule, severity);
    }
    for variable in [
        "PWD=/opt/app-root",
        r#"DB={"host":"db"}"#,
        "H=Bearer $TOKEN",
    ] {
        let report = audit_of(&sound().set("Env", json!([variable])));
        let told = report
            .findings
            .iter()
            .any(|it| it.rule.starts_with("secret"));
        assert!(!told, "{variable}");
    }
}
