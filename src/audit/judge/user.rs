//! The declared user (rules `user-*`) and working directory (rule `workdir-missing`).

use crate::oci::ImageConfig;

use super::super::accounts::strict_decimal;
use super::super::finding::{Finding, Severity};
use super::quoted;

pub(super) fn judge(config: &ImageConfig, findings: &mut Vec<Finding>) {
    let user = match config.get("User") {
        None | Some(serde_json::Value::Null) => "",
        Some(serde_json::Value::String(text)) => text,
        Some(other) => {
            push(
                findings,
                "user-malformed",
                format!("`User` is {} and no text", kind(other)),
            );
            ""
        }
    };
    if let Some((rule, message)) = declared(user) {
        if !(rule == "user-missing" && findings.iter().any(|f| f.rule == "user-malformed")) {
            push(findings, rule, message);
        }
    } else if let Some((_, group)) = user.split_once(':')
        && strict_decimal(group.as_bytes()).is_none()
    {
        let message = format!(
            "the group in `User` {} is not a decimal number",
            quoted(user)
        );
        push(findings, "user-group", message);
    }
    if config.working_dir().is_empty() {
        findings.push(Finding::of_config(
            "workdir-missing",
            Severity::Low,
            "`WorkingDir` is not set".into(),
        ));
    }
}

fn push(findings: &mut Vec<Finding>, rule: &'static str, message: String) {
    findings.push(Finding::of_config(rule, Severity::High, message));
}

fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::Bool(_) => "a truth value",
        serde_json::Value::Array(_) => "a list",
        _ => "an object",
    }
}

/// The problem of the user part of `User`.
fn declared(user: &str) -> Option<(&'static str, String)> {
    let name = user.split_once(':').map_or(user, |(name, _)| name);
    if user.is_empty() {
        return Some(("user-missing", "`User` is not set: it runs as root".into()));
    }
    if name.is_empty() {
        return Some((
            "user-missing",
            format!("`User` is {}: it names no user", quoted(user)),
        ));
    }
    match strict_decimal(name.as_bytes()) {
        Some(0) => Some(("user-root", format!("`User` is {}", quoted(user)))),
        Some(_) => None,
        None if name == "root" => Some(("user-root", format!("`User` is {}", quoted(user)))),
        None => {
            // Text that some program may read as a number is not a name.
            let numeric = name.starts_with(|c: char| c.is_ascii_digit() || "+- \t".contains(c));
            let (rule, what) = if numeric {
                ("user-malformed", "not a decimal number from 1 to 2³²−2")
            } else {
                ("user-name", "a name, which /etc/passwd can map to any uid")
            };
            Some((rule, format!("`User` is {}: {what}", quoted(user))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn declared_users() {
        for (user, rule) in [
            ("1001", None),
            ("1", None),
            ("4294967294", None),
            ("1000650000:0", None),
            ("1001:1001", None),
            ("", Some("user-missing")),
            (":", Some("user-missing")),
            (":0", Some("user-missing")),
            ("0", Some("user-root")),
            ("0:0", Some("user-root")),
            ("root", Some("user-root")),
            ("root:1001", Some("user-root")),
            ("app", Some("user-name")),
            ("app:0", Some("user-name")),
            ("00", Some("user-malformed")),
            ("01001", Some("user-malformed")),
            ("+0", Some("user-malformed")),
            ("-1", Some("user-malformed")),
            ("4294967295", Some("user-malformed")),
            ("4294967296", Some("user-malformed")),
            ("0x3e9", Some("user-malformed")),
            ("1001 ", Some("user-malformed")),
            (" 1001", Some("user-malformed")),
            ("1001:grp", Some("user-group")),
            ("1001:", Some("user-group")),
            ("1001:+0", Some("user-group")),
            ("1001:0:0", Some("user-group")),
        ] {
            let mut config = ImageConfig::new("linux", "amd64");
            config.set("User", json!(user));
            config.set("WorkingDir", json!("/opt/app-root/src"));
            let mut findings = Vec::new();
            judge(&config, &mut findings);
            let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
            assert_eq!(rules, rule.into_iter().collect::<Vec<_>>(), "{user:?}");
        }
    }

    #[test]
    fn a_user_that_is_no_text() {
        let mut config = ImageConfig::new("linux", "amd64");
        config.set("User", json!(1001));
        let mut findings = Vec::new();
        judge(&config, &mut findings);
        let rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["user-malformed", "workdir-missing"]);
    }
}
