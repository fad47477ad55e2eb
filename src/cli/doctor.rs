//! `warpdrive doctor`: what this machine allows, what is missing and how to get it.

use serde_json::json;

use crate::doctor::{self, Check};
use crate::sandbox::Verdict;

use super::context::Context;

/// Tell what this machine allows, what is missing and how to get it
///
/// Looks at the kernel, user namespaces and ids, the store's place, builder images and the programs
/// that warpdrive uses. Nothing is installed and no setting is changed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive doctor
  warpdrive doctor --json | jq -r '.checks[] | select(.verdict != \"ok\") | .name'

Exits with 0 when images can be built and run here (warnings do not matter), with 1 otherwise.")]
pub(super) struct Args {
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> u8 {
    let checks = doctor::examine(context.store.as_deref());
    let printer = &context.printer;
    if args.json {
        let list: Vec<_> = checks
            .iter()
            .map(|check| {
                json!({
                    "name": check.name,
                    "verdict": word(check.verdict),
                    "detail": check.detail,
                    "remedy": check.remedy,
                })
            })
            .collect();
        printer.json(&json!({"checks": list, "ok": !doctor::fails(&checks)}));
    } else {
        for line in checks.iter().flat_map(lines) {
            // The further lines of a check are indented under its text.
            let indent = if line.starts_with(' ') { 8 } else { 26 };
            printer.prose(&line, indent);
        }
        printer.progress("");
        printer.progress(verdict(&checks));
    }
    u8::from(doctor::fails(&checks))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    }
}

fn lines(check: &Check) -> Vec<String> {
    let mut lines = vec![format!(
        "{:4}  {:18}  {}",
        word(check.verdict),
        check.name,
        check.detail.replace('\n', " ")
    )];
    if let Some(remedy) = &check.remedy {
        let mut arrow = "→";
        for line in remedy.lines() {
            lines.push(format!("      {arrow} {}", line.trim()));
            arrow = " ";
        }
    }
    lines
}

/// The last line: the conclusion.
fn verdict(checks: &[Check]) -> String {
    let warnings = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Warn)
        .count();
    if doctor::is_in_place_only(checks) {
        return "Images can be built here, in place.".to_owned();
    }
    if doctor::fails(checks) {
        "Images cannot be built or run here until what failed is put right.".to_owned()
    } else {
        match warnings {
            0 => "All is well.".to_owned(),
            1 => "Images can be built and run here; one thing could be better.".to_owned(),
            _ => format!("Images can be built and run here; {warnings} things could be better."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_below_its_line() {
        let check = Check {
            name: "user namespaces".into(),
            verdict: Verdict::Fail,
            detail: "creating one: EPERM".into(),
            remedy: Some("do this\n  or that".into()),
        };
        assert_eq!(
            lines(&check),
            [
                "fail  user namespaces     creating one: EPERM",
                "      → do this",
                "        or that"
            ]
        );
    }
}
