//! Secrets (rules `secret-*`): in any layer, also where a higher one hides the file, and in the
//! configuration.

use super::super::finding::{Finding, Severity};
use super::super::paths::{is_beneath, split};
use super::super::secrets::{self, SecretKind};
use super::{Subject, quoted};

pub(super) fn judge(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for (layer, facts) in subject.flat.layers().iter().enumerate() {
        for secret in &facts.secrets {
            let hidden = subject.flat.hidden_by(layer, &secret.path);
            let (rule, severity, what) = describe(secret.kind, &secret.path);
            let message = match hidden {
                None => what,
                Some(by) => format!(
                    "{what}; layer {} hides the file, and the image still has it",
                    by + 1
                ),
            };
            findings.push(Finding::of_path(
                rule,
                severity,
                layer,
                &secret.path,
                message,
            ));
        }
    }
    for (name, value) in subject.config.env() {
        if secrets::has_login(value.as_bytes()) {
            let message = format!(
                "the variable {} holds a login with its password",
                quoted(&name)
            );
            findings.push(Finding::of_config(
                "secret-credentials",
                Severity::High,
                message,
            ));
        } else if secrets::is_secret_name(&name) && secrets::is_value(value.as_bytes()) {
            let message = format!("the variable {} is set in the configuration", quoted(&name));
            findings.push(Finding::of_config(
                "secret-variable",
                Severity::Medium,
                message,
            ));
        }
    }
    let history = subject.config.history();
    if history
        .iter()
        .any(|entry| secrets::has_login_in_url(entry.created_by.as_bytes()))
    {
        findings.push(Finding::of_config(
            "secret-credentials",
            Severity::High,
            "a line of the history holds an address with a login".into(),
        ));
    }
    for kind in secrets::in_text(&subject.config.to_bytes()) {
        let (rule, severity, what) = describe(kind, b"");
        let message = format!("{what} in the configuration (variables, labels or history)");
        findings.push(Finding::of_config(rule, severity, message));
    }
}

fn describe(kind: SecretKind, path: &[u8]) -> (&'static str, Severity, String) {
    match kind {
        SecretKind::PrivateKey if is_published(path) => (
            "secret-key",
            Severity::Low,
            "holds a private key, among tests, documentation or a published package".into(),
        ),
        SecretKind::PrivateKey if path.ends_with(b"ssl-cert-snakeoil.key") => (
            "secret-key",
            Severity::Medium,
            "holds the key of Debian's self-signed certificate, made when the image was built"
                .into(),
        ),
        SecretKind::PrivateKey => ("secret-key", Severity::High, "holds a private key".into()),
        SecretKind::Token(service) => {
            let severity = if is_published(path) {
                Severity::Low
            } else {
                Severity::High
            };
            (
                "secret-token",
                severity,
                format!("holds what looks like a token of {service}"),
            )
        }
        SecretKind::File(what) => ("secret-file", Severity::High, format!("is {what}")),
        SecretKind::Credentials(what) if what == secrets::IN_CODE => (
            "secret-credentials",
            Severity::Medium,
            "sets a secret key, or a login for a database, in the program's code".into(),
        ),
        SecretKind::Credentials(what) => (
            "secret-credentials",
            Severity::High,
            format!("holds a login for {what}"),
        ),
        SecretKind::Repository => (
            "secret-repository",
            Severity::Medium,
            "belongs to a .git directory".into(),
        ),
    }
}

/// Whether a key there is probably public: test data and examples of packages, and keys in the
/// system's libraries (`GnuTLS` contains keys for its self-test).
fn is_published(path: &[u8]) -> bool {
    let (directory, name) = split(path);
    let system = [&b"usr/lib"[..], b"lib", b"usr/lib64", b"lib64"];
    let library = name.windows(3).any(|part| part == b".so")
        && system.iter().any(|tree| is_beneath(directory, tree));
    let package = path
        .windows(15)
        .any(|part| part == b"/site-packages/" || part == b"/dist-packages/");
    let samples = directory.split(|&byte| byte == b'/').any(|part| {
        let known = [
            &b"test"[..],
            b"tests",
            b"testing",
            b"testdata",
            b"examples",
            b"doc",
        ];
        known.contains(&part)
    });
    library || (samples && (package || path.starts_with(b"usr/")))
}
