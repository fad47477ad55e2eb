//! `smoke`: whether a finished image could start. It loads what a start loads, as the container's
//! user and without network, and serves nothing.
//!
//! The answer is JSON on standard output, for the build that asks.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::adding::Adding;
use super::super::advice::Advice;
use super::super::environment::BUILD_FILE;
use super::super::plan::{Plan, Start};
use super::super::remedy::{Cause, distribution};
use super::super::requirement::normalize;
use super::Caller;
use super::environment::{Environment, Origin};
use super::error::RunError;

/// Arguments: what it is, its name, whether it is Django's, the source. A program is parsed and what it
/// imports is looked for, without running any of it. It ends without Python's own end, which would wait for
/// threads of the application and free all memory; and without its garbage collector.
///
/// What it writes is one line of JSON, if all that the load depended on is known: `ran`, for each file of the
/// application that was loaded, the lines where functions begin that were run; and `read`, the other Python
/// files of the source that were opened. What starts a program, or reads byte-code (`dis`, numba), makes the
/// answer unclear, and there is none. While a library is imported nothing is traced, as long as there is no
/// function of the application that it could call: tracing takes half of the import's time again.
/// (Words are here, not in the image.)
const SCRIPT: &str = include_str!("smoke.py");
/// Longest time for all imports.
const LIMIT: Duration = Duration::from_mins(1);
/// Most missing variables that are found one after the other.
const MAX_VARIABLES: usize = 12;
/// Lines of the traceback that are repeated.
const TAIL: usize = 12;

/// Checks the application, and returns the report.
///
/// # Errors
/// If the environment or the plan cannot be read.
pub fn smoke(caller: &Caller) -> Result<Value, RunError> {
    let mut environment = Environment::of(caller)?;
    environment.apply_file(BUILD_FILE)?;
    environment.set_action("smoke");
    environment.set_phase("build");
    environment.set_for_server();
    let Some(plan) = environment.plan.clone() else {
        return Ok(json!({}));
    };
    let outcome = match checks(&plan, &environment) {
        Check::Shell(program) => shell(&environment, &program),
        Check::Python(kind, name) => python(&plan, kind, &name, &mut environment),
        Check::Nothing => SmokeResult::Good(None),
    };
    Ok(match outcome {
        SmokeResult::Good(loaded) => json!({ "loaded": loaded }),
        SmokeResult::Unknown(note) => json!({ "note": note }),
        SmokeResult::Bad(advice, read_only) => json!({
            "read_only": read_only,
            "title": advice.title,
            "causes": advice.causes,
            "remedies": advice.remedies,
            "tail": advice.tail,
        }),
    })
}

enum SmokeResult {
    /// With what the script wrote.
    Good(Option<Value>),
    /// Why the check could not be done.
    Unknown(String),
    /// With the file that it wanted to write, if the root is read-only.
    Bad(Advice, Option<String>),
}

#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
enum Check {
    Shell(String),
    /// What of `smoke.py`, and its name.
    Python(&'static str, String),
    Nothing,
}

fn checks(plan: &Plan, environment: &Environment) -> Check {
    match &plan.start {
        Start::Shell { program } => Check::Shell(program.clone()),
        Start::Python { program } => Check::Python("program", program.clone()),
        Start::Server {
            application: Some(application),
            ..
        } => Check::Python("object", application.reference()),
        // Its options may change where it loads from.
        Start::Command { line }
            if line.contains("gunicorn") && environment.value("GUNICORN_CMD_ARGS").is_some() =>
        {
            Check::Nothing
        }
        Start::Command { line } => of_line(line, &environment.app_home),
        Start::Server { .. } | Start::Jupyter { .. } => Check::Nothing,
    }
}

/// What a line loads, if it is loaded from `home`.
fn of_line(line: &str, home: &Path) -> Check {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let Some(check) = of_server(line, &words, home) {
        return check;
    }
    let elsewhere = ["PYTHONPATH", "chdir", "working-dir", "app-dir", "://"];
    let single = !line.contains(['&', '|', ';', '<', '>', '(', '*'])
        && !elsewhere.iter().any(|word| line.contains(word));
    let file = words
        .iter()
        .find(|word| is_module(word) && !word.starts_with('-') && !word.contains('$'));
    match (file, words.as_slice()) {
        // What another program does with a file that is not there is not known.
        (Some(file), [first, ..])
            if single && (matches!(*first, "python" | "python3") || home.join(file).is_file()) =>
        {
            Check::Python("program", (*file).to_owned())
        }
        (None, [name]) if single => Check::Python("script", (*name).to_owned()),
        _ => Check::Nothing,
    }
}

/// What the server of a line loads: `gunicorn shop.web:app`. Nothing where it may be loaded elsewhere.
fn of_server(line: &str, words: &[&str], home: &Path) -> Option<Check> {
    const SERVERS: [&str; 5] = ["gunicorn", "uvicorn", "hypercorn", "daphne", "granian"];
    let rest = match words {
        ["exec", rest @ ..] | ["python" | "python3", "-m", rest @ ..] | rest => rest,
    };
    let (server, rest) = rest.split_first()?;
    let elsewhere = [
        "--chdir",
        "--pythonpath",
        "--app-dir",
        "--working-dir",
        "--paste",
        "--env",
        " -e ",
        "--config",
        " -c ",
    ];
    if !SERVERS.contains(server) || line.contains(['&', '|', ';', '<', '>']) {
        return None;
    }
    let configured = || {
        let text = fs::read_to_string(home.join("gunicorn.conf.py")).unwrap_or_default();
        let words = ["chdir", "pythonpath", "raw_env"];
        *server == "gunicorn" && words.iter().any(|word| text.contains(word))
    };
    if elsewhere.iter().any(|option| line.contains(option)) || configured() {
        return Some(Check::Nothing);
    }
    let is_dotted = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
    };
    let reference = |word: &&str| {
        let word = word.trim_matches(['\'', '"']);
        let word = word.split('(').next().unwrap_or(word);
        let (module, object) = word.split_once(':')?;
        // `--bind unix:shop.sock`
        let other = ["python", "file", "unix", "fd", "egg", "tcp", "ssl"].contains(&module);
        (!other && is_dotted(module) && is_dotted(object)).then(|| word.to_owned())
    };
    let wsgi = rest
        .first()
        .filter(|word| *server == "gunicorn" && word.contains('.') && is_dotted(word));
    rest.iter()
        .rev()
        .find_map(reference)
        .or_else(|| wsgi.map(|word| (*word).to_owned()))
        .map(|reference| Check::Python("object", reference))
}

fn is_module(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end == "py")
}

/// An executable of the source: whether the kernel would start it.
fn shell(environment: &Environment, program: &str) -> SmokeResult {
    let path = environment.app_home.join(program);
    let Ok(text) = fs::read(&path) else {
        return SmokeResult::Good(None);
    };
    let title = format!("{program} cannot be started");
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return SmokeResult::Bad(
            Advice::new(title)
                .cause(format!("{program} has Windows line ends (CRLF): the kernel looks for an interpreter with a \\r in its name."))
                .remedy(format!("sed -i 's/\\r$//' {program}, and in git: echo '*.sh text eol=lf' >> .gitattributes")),
            None,
        );
    }
    let interpreter = line
        .strip_prefix(b"#!")
        .map(String::from_utf8_lossy)
        .and_then(|line| line.split_whitespace().next().map(str::to_owned));
    match interpreter {
        Some(interpreter) if !Path::new(&interpreter).exists() => SmokeResult::Bad(
            Advice::new(title)
                .cause(format!(
                    "Its first line names {interpreter}, which is not in the image."
                ))
                .remedy("write #!/bin/sh, or use a builder image that has it"),
            None,
        ),
        _ => SmokeResult::Good(None),
    }
}

fn python(plan: &Plan, kind: &str, name: &str, environment: &mut Environment) -> SmokeResult {
    let begun = Instant::now();
    let mut variables: Vec<String> = Vec::new();
    let mut first: Option<String> = None;
    let loaded = loop {
        let left = LIMIT.saturating_sub(begun.elapsed());
        let traceback = match load(plan, kind, name, environment, left) {
            Loaded::Yes(loaded) => break loaded,
            Loaded::Late => {
                if variables.is_empty() {
                    let seconds = LIMIT.as_secs();
                    return SmokeResult::Unknown(format!(
                        "{name} was not loaded within {seconds} s: whether it starts is not known"
                    ));
                }
                break None;
            }
            Loaded::No(traceback) => traceback,
        };
        // A missing variable hides the next one: with a value, the import continues further.
        if let Cause::Variables(found) = Cause::of(&traceback)
            && found.iter().any(|name| !variables.contains(name))
            && variables.len() < MAX_VARIABLES
        {
            for variable in found {
                environment.set_default(&variable, "build-only", Origin::Default);
                variables.push(variable);
            }
            first.get_or_insert(traceback);
            continue;
        }
        if first.is_none() {
            return failed(name, &traceback, environment);
        }
        break None;
    };
    match first {
        None => SmokeResult::Good(loaded),
        Some(traceback) => {
            let advice = Cause::Variables(variables).explain(title(name), &[], Adding::default());
            SmokeResult::Bad(advice.tail(tail(&traceback)), None)
        }
    }
}

fn title(name: &str) -> Advice {
    Advice::new(format!(
        "the image could not start: {name} cannot be loaded"
    ))
}

fn failed(name: &str, traceback: &str, environment: &Environment) -> SmokeResult {
    let cause = Cause::of(traceback);
    if cause == Cause::Network {
        let last = super::super::remedy::last_line(traceback);
        return SmokeResult::Unknown(format!(
            "{name} opens a connection when it is imported ({last}): whether it starts is not known without it"
        ));
    }
    let named = match &cause {
        Cause::Module(module) => named_in(module, &environment.roots.source),
        _ => Vec::new(),
    };
    let group = match &cause {
        Cause::Module(module) => in_a_group(module, &environment.roots.source),
        _ => None,
    };
    let mut advice = if let Some((distribution, setting, group)) = group {
        title(name)
            .cause(format!(
                "{distribution} is in the {} {group} of pyproject.toml, which is not installed.",
                setting
                    .trim_start_matches("dependency-")
                    .trim_end_matches('s')
            ))
            .remedy(format!(
                "install it: {setting} = [\"{group}\"] in [tool.warpdrive]"
            ))
    } else {
        let adding = environment.plan.as_ref().map(|plan| plan.adding);
        let adding = adding.unwrap_or_default();
        cause.explain(title(name), &named, adding)
    };
    if cause == Cause::Other {
        let line = super::super::remedy::last_line(traceback);
        let ends = line.starts_with("SystemExit");
        let words = if ends {
            "It ends the process when it is imported: "
        } else {
            ""
        };
        advice = advice.cause(format!("{words}{line}"));
    }
    SmokeResult::Bad(
        advice
            .remedy("if it is meant to fail here: --no-smoke, or smoke = false in [tool.warpdrive]")
            .tail(tail(traceback)),
        unwritten(traceback),
    )
}

/// What could not be written because the root is read-only.
fn unwritten(traceback: &str) -> Option<String> {
    let (_, rest) = traceback.split_once("Read-only file system")?;
    let path = rest
        .strip_prefix(": '")
        .and_then(|rest| rest.split('\'').next());
    Some(path.unwrap_or("a file").to_owned())
}

/// The end of a traceback, without our own frames.
fn tail(traceback: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut ours = false;
    for line in traceback.lines().filter(|line| !line.trim().is_empty()) {
        if line.trim_start().starts_with("File \"") {
            ours = line.contains("\"<string>\"") || line.contains("<frozen ");
        } else if !line.starts_with("    ") {
            ours = false;
        }
        if !ours {
            lines.push(line.trim_end().to_owned());
        }
    }
    lines.split_off(lines.len().saturating_sub(TAIL))
}

/// The distribution that has a module, and the setting that installs the group or extra of
/// `pyproject.toml` which names it.
fn in_a_group(module: &str, source: &Path) -> Option<(String, &'static str, String)> {
    let text = fs::read_to_string(source.join("pyproject.toml")).ok()?;
    let document: toml::Table = toml::from_str(&text).ok()?;
    let wanted = normalize(distribution(module.split('.').next()?));
    let names = |value: &toml::Value| match value {
        // `["flask>=3"]`, and Poetry's `{ dependencies = { flask = "^3" } }`.
        toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_str).any(|line| {
            let end = line.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | '.'));
            normalize(line.get(..end.unwrap_or(line.len())).unwrap_or_default()) == wanted
        }),
        toml::Value::Table(group) => group
            .get("dependencies")
            .and_then(toml::Value::as_table)
            .is_some_and(|table| table.keys().any(|name| normalize(name) == wanted)),
        _ => false,
    };
    let poetry = document.get("tool").and_then(|tool| tool.get("poetry"));
    let project = document.get("project");
    [
        ("dependency-groups", document.get("dependency-groups")),
        (
            "dependency-groups",
            poetry.and_then(|poetry| poetry.get("group")),
        ),
        (
            "dependency-extras",
            project.and_then(|project| project.get("optional-dependencies")),
        ),
    ]
    .into_iter()
    .find_map(|(setting, table)| {
        let mut groups = table?.as_table()?.iter();
        let (group, _) = groups.find(|(_, value)| names(value))?;
        Some((wanted.clone(), setting, group.clone()))
    })
}

/// Files that look like lists of requirements and name what has a module.
fn named_in(module: &str, source: &Path) -> Vec<String> {
    let wanted: BTreeSet<String> = [module, distribution(module)]
        .into_iter()
        .map(|name| normalize(name.split(['<', '=']).next().unwrap_or(name)))
        .collect();
    let mut files = Vec::new();
    for directory in ["", "requirements"] {
        let Ok(entries) = fs::read_dir(source.join(directory)) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let list = (name.contains("requirement") || directory == "requirements")
                && Path::new(&name)
                    .extension()
                    .is_some_and(|end| end == "txt" || end == "in");
            if list || matches!(name.as_str(), "Pipfile" | "environment.yml") {
                files.push(Path::new(directory).join(name));
            }
        }
    }
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(source.join(&file)).unwrap_or_default();
        let line = text.lines().position(|line| {
            let word: String = line
                .trim_start_matches([' ', '-', '"'])
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
                .collect();
            wanted.contains(&normalize(&word))
        });
        if let Some(line) = line {
            found.push(format!("{}:{}", file.display(), line + 1));
        }
    }
    found
}

enum Loaded {
    /// With what the script wrote.
    Yes(Option<Value>),
    Late,
    No(String),
}

fn load(plan: &Plan, kind: &str, name: &str, environment: &Environment, limit: Duration) -> Loaded {
    let django = if plan.django.is_some() && plan.framework == "django" {
        "yes"
    } else {
        "no"
    };
    let mut command = Command::new(environment.roots.python());
    command
        .args(["-c", SCRIPT, kind, name, django])
        .arg(&environment.roots.source)
        .current_dir(&environment.app_home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    environment.give_to(&mut command);
    let Ok(mut child) = command.spawn() else {
        return Loaded::Late;
    };
    let (Some(mut stderr), Some(stdout)) = (child.stderr.take(), child.stdout.take()) else {
        return Loaded::Late;
    };
    // One line: a program that the import started may keep the pipe open.
    let answer = std::thread::spawn(move || {
        let mut line = Vec::new();
        let _ = BufReader::new(stdout.take(1 << 20)).read_until(b'\n', &mut line);
        serde_json::from_slice(&line).ok()
    });
    // Read on another thread: an import with much output would block.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.by_ref().take(1 << 20).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        bytes
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    match status {
        None => Loaded::Late,
        Some(status) if status.success() => Loaded::Yes(ended(answer).flatten()),
        Some(_) => {
            let bytes = ended(reader).unwrap_or_default();
            Loaded::No(String::from_utf8_lossy(&bytes).into_owned())
        }
    }
}

/// What a reader of a pipe of a process that is over gives. A program that the import started may keep the
/// pipe open: not awaited for long.
fn ended<T>(reader: JoinHandle<T>) -> Option<T> {
    let end = Instant::now() + Duration::from_secs(2);
    while !reader.is_finished() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    if reader.is_finished() {
        reader.join().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_loads() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("app.py"), "").unwrap();
        for (line, expected) in [
            ("gunicorn web:app", Some(("object", "web:app"))),
            (
                "gunicorn --bind unix:shop.sock -m 007 web:app",
                Some(("object", "web:app")),
            ),
            (
                "exec hypercorn --bind fd:socket shop.web:app",
                Some(("object", "shop.web:app")),
            ),
            ("gunicorn shop.wsgi", Some(("object", "shop.wsgi"))),
            ("gunicorn -c gunicorn.conf.py web:app", None),
            ("gunicorn --chdir src web:app", None),
            ("gunicorn -e A=b web:app", None),
            ("uvicorn --env-file .env web:app", None),
            ("python run.py", Some(("program", "run.py"))),
            (
                "python -m warpdrive_serve aiohttp app.py",
                Some(("program", "app.py")),
            ),
            ("PYTHONPATH=src python run.py", None),
            ("env PYTHONPATH=src python app.py", None),
            ("uwsgi --http :$PORT --chdir inner --wsgi-file app.py", None),
            ("env --chdir=src python app.py", None),
            ("./start.sh other.py", None),
            ("streamlit run app.py", Some(("program", "app.py"))),
            ("streamlit run https://example.com/app.py", None),
            ("python serve.py --reload-include *.py", None),
            ("serve", Some(("script", "serve"))),
        ] {
            let expected = expected.map_or(Check::Nothing, |(kind, name)| {
                Check::Python(kind, name.to_owned())
            });
            assert_eq!(of_line(line, home.path()), expected, "{line}");
        }
        std::fs::write(home.path().join("gunicorn.conf.py"), "chdir = 'src'\n").unwrap();
        assert_eq!(of_line("gunicorn web:app", home.path()), Check::Nothing);
    }
}
