//! A server for developers, or a debug mode (rule `development-server`): by the image's command and
//! variables, and by the plan of an image that warpdrive made.

use serde_json::Value;

use crate::app::contract::PLAN_LABEL;
use crate::oci::ImageConfig;

use super::super::finding::{Finding, Severity};
use super::quoted;

/// Words that a command line contains, in this order.
const COMMANDS: &[&[&str]] = &[
    &["flask", "run"],
    &["quart", "run"],
    &["fastapi", "dev"],
    &["litestar", "run"],
    &["manage.py", "runserver"],
    &["django-admin", "runserver"],
    &["uvicorn", "--reload"],
    &["gunicorn", "--reload"],
    &["hypercorn", "--reload"],
    &["granian", "--reload"],
    &["hypercorn", "--debug"],
    &["sanic", "--dev"],
    &["sanic", "--debug"],
    &["watchfiles"],
    &["watchmedo"],
];

/// Variables that turn a debug mode on, by a value that means yes.
const VARIABLES: &[&str] = &["FLASK_DEBUG", "QUART_DEBUG", "DJANGO_DEBUG", "DEBUG"];

pub(super) fn judge(config: &ImageConfig, findings: &mut Vec<Finding>) {
    let mut said: Vec<String> = Vec::new();
    let words = |key: &str| -> String {
        let list = config.get(key).and_then(Value::as_array);
        let words = list.into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    let command = format!("{} {}", words("Entrypoint"), words("Cmd"));
    if let Some(what) = of_line(&command) {
        said.push(format!("the command is `{what}`"));
    }
    let plan = config.label(PLAN_LABEL);
    let plan: Option<Value> = plan.and_then(|text| serde_json::from_str(text).ok());
    if let Some(plan) = plan {
        let start = plan.pointer("/start/line").and_then(Value::as_str);
        let arguments = plan.get("server_args").and_then(Value::as_str);
        let server = plan.pointer("/start/server").and_then(Value::as_str);
        let line = format!(
            "{} {}",
            start.or(server).unwrap_or_default(),
            arguments.unwrap_or_default()
        );
        if let Some(what) = of_line(&line) {
            said.push(format!("it is started with `{what}`"));
        }
        if let Some(what) = plan.get("development").and_then(Value::as_str) {
            said.push(format!("the source says {}", quoted(what)));
        }
    }
    for (name, value) in config.env() {
        let on = matches!(
            value.to_lowercase().as_str(),
            "1" | "true" | "yes" | "on" | "t"
        );
        if (VARIABLES.contains(&name.as_str()) && on)
            || (matches!(name.as_str(), "FLASK_ENV" | "QUART_ENV" | "APP_ENV")
                && value == "development")
        {
            said.push(format!("the variable {name} is {}", quoted(&value)));
        }
    }
    for message in said {
        findings.push(Finding::of_config(
            "development-server",
            Severity::Medium,
            message,
        ));
    }
}

/// The words of a line that start a server for developers.
fn of_line(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    COMMANDS
        .iter()
        .find(|wanted| {
            let mut words = words
                .iter()
                .map(|word| word.rsplit('/').next().unwrap_or(word));
            wanted
                .iter()
                .all(|wanted| words.any(|word| word == *wanted))
        })
        .map(|words| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::of_line;

    #[test]
    fn lines_of_developers() {
        for (line, expected) in [
            ("/bin/sh -c flask --app x run", Some("flask run")),
            (
                "python src/manage.py runserver 0.0.0.0:8000",
                Some("manage.py runserver"),
            ),
            ("uvicorn app:app --reload", Some("uvicorn --reload")),
            ("/opt/venv/bin/uvicorn app:app", None),
            ("gunicorn app:app --bind x", None),
            ("run flask", None),
        ] {
            assert_eq!(of_line(line).as_deref(), expected, "{line}");
        }
    }
}
