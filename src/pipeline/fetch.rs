//! Fills the shared wheel cache, before anything of the application or of a package can run.
//!
//! What an application brings runs early: its `.warpdrive/environment` is a shell script, a wheel
//! may replace `bin/python`, a base image's Python is anybody's. Any of these could put a changed
//! `flask` into a cache that it may write. So assemble never may (see [`WheelCache`]): here, in a
//! sandbox of its own, only the pinned `uv` and the base's Python run, with a list of requirements
//! that we wrote and no variable, configuration file or program of the source; and every base image
//! has a cache of its own, since its Python runs too.
//!
//! The installed tree is thrown away: what stays is what uv keeps of verified downloads. A failure
//! is none; assemble says better what is wrong, and downloads what is missing for itself.

use std::collections::BTreeMap;
use std::path::Path;

use crate::app::Detected;
use crate::app::contract::RUN;
use crate::app::files::Files as _;
use crate::app::pip_variables;
use crate::app::requirement::{Line, LineKind, expand};
use crate::app::server::pins::pinned;
use crate::builder::APP_ROOT;
use crate::progress::Progress;
use crate::sandbox::{Exit, IdMode, Mount, Network};
use crate::source::Tree;

use super::assemble::Outcome;
use super::context::Context;
use super::environment;
use super::error::BuildError;
use super::files::TreeFiles;
use super::materials::Materials;
use super::overlay::overlay_owned;
use super::request::Request;
use super::sandbox_inputs::SandboxInputs;
use super::sdists::Sdists;
use super::tools::Tools;
use super::trusted::{self, Job};
use super::wheel_cache::CacheScope;

/// Largest constraints file that is read.
const MAX_CONSTRAINTS: u64 = 1024 * 1024;

/// What uv is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// Names, versions, and the indexes that they are looked up in.
    pub(super) requirements: String,
    pub(super) constraints: String,
    /// The first line that is in neither, if there is one.
    pub(super) left_out: Option<String>,
}

/// What is in the installer's cache now.
#[derive(Default)]
pub(super) struct Fetched {
    /// All that the application needs.
    pub(super) complete: bool,
    /// Source distributions are a part of it, and lie in this directory.
    pub(super) sdists: Option<Mount>,
}

/// Downloads what the application names, as far as its list says it plainly. `scratch` is for what has to be
/// built.
pub(super) fn fetch(
    materials: &Materials<'_>,
    source: &Tree,
    tools: &Tools,
    scratch: &Path,
) -> Result<Fetched, BuildError> {
    let Materials {
        context,
        detected,
        base,
        ..
    } = *materials;
    let request = context.request;
    if request.network == Network::None || detected.project.uses_pip() {
        return Ok(Fetched::default());
    }
    // Indexes of uv's own settings are asked by assemble, which reads them; nothing is asked elsewhere first.
    if !detected.project.is_complete() && has_uv_settings(&TreeFiles::new(source)) {
        return Ok(Fetched::default());
    }
    let said = request.build_env.iter().cloned().collect();
    if pip_variables::without_index(&said) {
        return Ok(Fetched::default());
    }
    let agent = detected.plan.instrument.iter();
    let agent = agent.flat_map(|agent| agent.packages(&detected.project.names()));
    let server: Vec<String> = detected
        .plan
        .server_packages
        .iter()
        .map(String::as_str)
        .chain(agent)
        .map(|name| pinned(name, base.python.minor()))
        .collect();
    let lists = of_lines(source, detected, &server, request, &said);
    if lists.requirements.is_empty() {
        return Ok(Fetched::default());
    }
    let complete = lists.left_out.is_none();
    // What the project binds to a place is not looked for.
    let others = detected.project.open().into_iter();
    let others = others.flat_map(|open| open.others.iter().map(|(name, _)| name));
    let excluded: Vec<&str> = detected
        .project
        .settled()
        .iter()
        .chain(others)
        .map(String::as_str)
        .collect();
    let run = |requirements: &str, constraints: &str, excluded: &[&str]| {
        install(materials, tools, requirements, constraints, excluded)
    };
    let mut outcome = run(&lists.requirements, &lists.constraints, &excluded)?;
    let mut sdists = Sdists::new(context, base, scratch);
    let told = SandboxInputs::of_application(request, None);
    if !environment::withheld(&told).is_empty() {
        while outcome.exit != Exit::Code(0) && sdists.add(&outcome.tail, &lists)? {
            let mut requirements = lists.requirements.clone();
            for need in &sdists.needs {
                requirements.push_str(need);
                requirements.push('\n');
            }
            let excluded: Vec<&str> = excluded
                .iter()
                .copied()
                .chain(sdists.names.iter().map(String::as_str))
                .collect();
            outcome = run(&requirements, &lists.constraints, &excluded)?;
        }
        let indexes: Vec<&str> = lists
            .requirements
            .lines()
            .filter(|line| line.starts_with('-'))
            .collect();
        for builders in &sdists.builders {
            if outcome.exit == Exit::Code(0) && !builders.is_empty() {
                let lines = indexes.iter().copied();
                let lines: Vec<&str> = lines.chain(builders.iter().map(String::as_str)).collect();
                outcome = run(&(lines.join("\n") + "\n"), "", &[])?;
            }
        }
    }
    let complete = complete && outcome.exit == Exit::Code(0);
    Ok(Fetched {
        complete,
        sdists: sdists.into_mount().filter(|_| complete),
    })
}

/// Has uv install a list into a directory that is thrown away.
fn install(
    materials: &Materials<'_>,
    tools: &Tools,
    requirements_text: &str,
    constraints_text: &str,
    excluded: &[&str],
) -> Result<Outcome, BuildError> {
    let Materials {
        context,
        detected,
        base,
        ..
    } = *materials;
    let Context {
        store,
        request,
        progress,
    } = context;
    let scratch = store.scratch("fetch")?;
    let target = format!("{RUN}/fetched");
    let requirements = format!("{RUN}/requirements.txt");
    let constraints = format!("{RUN}/constraints.txt");
    let python = format!("{APP_ROOT}/bin/python");
    let uv = format!("{RUN}/tools/bin/uv");
    let excluded_file = format!("{RUN}/excluded.txt");
    let excluded = excluded.join("\n");
    let mut command = vec![
        uv.as_str(),
        "pip",
        "install",
        "--no-config",
        "--no-build",
        "--no-python-downloads",
        "--link-mode",
        "copy",
        "--python",
        &python,
        "--target",
        &target,
        "-r",
        &requirements,
        "-c",
        &constraints,
    ];
    if !excluded.is_empty() {
        command.extend(["--excludes", &excluded_file]);
    }
    let job = Job {
        command: command.into_iter().map(str::to_owned).collect(),
        files: vec![
            (requirements.clone(), requirements_text.to_owned()),
            (constraints.clone(), constraints_text.to_owned()),
            (excluded_file.clone(), excluded),
        ],
        output: Some((
            overlay_owned(&scratch, "fetched", IdMode::current())?.upper,
            target.clone(),
        )),
        defaults: &[],
    };
    let scope = CacheScope::of(request, &detected.project.requirements.lines);
    let downloads = Downloads(progress);
    trusted::run(context.telling(&downloads), base, tools, &scope, job)
}

/// What the application asks for, as far as it says it plainly, and `more`.
pub(super) fn of_project(
    source: &Tree,
    detected: &Detected,
    more: &[String],
    request: &Request,
) -> Lists {
    of_lines(source, detected, more, request, &BTreeMap::new())
}

/// The same with the values of `${NAME}` in the addresses of indexes. It may hold a login then.
fn of_lines(
    source: &Tree,
    detected: &Detected,
    more: &[String],
    request: &Request,
    variables: &BTreeMap<String, String>,
) -> Lists {
    let constraints = |path: &str| {
        let bytes = source
            .read(Path::new(path), MAX_CONSTRAINTS)
            .ok()
            .flatten()?;
        String::from_utf8(bytes).ok()
    };
    let mut all = detected.project.requirements.lines.clone();
    for line in all.iter_mut().filter(|line| line.kind == LineKind::Option) {
        line.text = expand(&line.text, variables).0;
    }
    let mut lists = lists(&all, more, &constraints);
    if let Some(pinned) = &request.pinned {
        lists.constraints.push_str(&pinned.constraints);
    }
    lists
}

/// Whether `pyproject.toml` has settings for uv.
pub(super) fn has_uv_settings(files: &TreeFiles<'_>) -> bool {
    let Some(text) = files.text("pyproject.toml") else {
        return false;
    };
    // What cannot be read is for the installer to complain about.
    toml::from_str::<toml::Table>(&text).map_or(true, |document| {
        document
            .get("tool")
            .is_some_and(|tool| tool.get("uv").is_some())
    })
}

/// Shows the downloads, which take the time, and leaves the rest to assemble.
struct Downloads<'a>(&'a dyn Progress);

impl Progress for Downloads<'_> {
    fn step(&self, _line: &str) {}
    fn warning(&self, _text: &str) {}
    fn moved(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn output(&self, line: &str) {
        let word = line.trim_start();
        if word.starts_with("Downloading ") || word.starts_with("Downloaded ") {
            self.0.output(line);
        }
    }
}

/// Names, versions and indexes. What is a URL, a path or an option of another kind is left out: it
/// would be fetched from where the source says, into places that another application's would share.
fn lists(lines: &[Line], server: &[String], constraints: &dyn Fn(&str) -> Option<String>) -> Lists {
    let mut lists = Lists::default();
    let mut named = false;
    let mut requirements: Vec<&str> = Vec::new();
    let mut left_out = None;
    for line in lines {
        match &line.kind {
            LineKind::Named { url: None, .. } if is_plain(&line.text) => {
                named = true;
                requirements.push(&line.text);
            }
            LineKind::Option if is_index(&line.text) => requirements.push(&line.text),
            LineKind::Include(Some(_)) => {}
            LineKind::Constraint(Some(path)) => {
                let text = constraints(path);
                if text.is_none() {
                    left_out.get_or_insert(&line.text);
                }
                for text in text.iter().flat_map(|text| text.lines()) {
                    let text = text.split(" #").next().unwrap_or(text).trim();
                    if text.is_empty() || text.starts_with('#') {
                    } else if is_plain(text) && !text.starts_with('-') {
                        lists.constraints.push_str(text);
                        lists.constraints.push('\n');
                    } else {
                        left_out.get_or_insert(&line.text);
                    }
                }
            }
            _ => {
                left_out.get_or_insert(&line.text);
            }
        }
    }
    lists.left_out = left_out.cloned();
    requirements.extend(server.iter().map(String::as_str));
    if named || !server.is_empty() {
        for line in requirements {
            lists.requirements.push_str(line);
            lists.requirements.push('\n');
        }
    }
    lists
}

/// A name with extras, versions, markers and hashes, on one line.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains(['@', '/', '\\', '$', '\n', '\r'])
}

/// An index on the web.
fn is_index(text: &str) -> bool {
    if text == "--pre" {
        return true;
    }
    let value = ["--index-url", "--extra-index-url", "-i"]
        .iter()
        .find_map(|option| text.strip_prefix(option))
        .map(|rest| rest.trim_start_matches('=').trim());
    value.is_some_and(|url| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && !url.contains(char::is_whitespace)
            && !url.contains("${")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, kind: LineKind) -> Line {
        Line {
            file: "requirements.txt".into(),
            number: 1,
            text: text.into(),
            kind,
        }
    }

    fn named(text: &str) -> Line {
        line(
            text,
            LineKind::Named {
                name: String::new(),
                url: None,
            },
        )
    }

    #[test]
    fn only_names_versions_and_indexes_are_fetched() {
        let option = |text: &str| line(text, LineKind::Option);
        let lines = [
            option("--index-url https://index.example/simple"),
            option("--extra-index-url=http://other.example/"),
            option("--index-url file:///opt/app-root/src/index"),
            option("--index-url https://a/ --trusted-host pypi.org"),
            option("--trusted-host pypi.org"),
            option("--find-links ./wheels"),
            option("--no-binary :all:"),
            named("flask[async]==3.0 ; python_version > '3.8' --hash=sha256:00"),
            named("evil @ file:///x.whl"),
            named("evil==$SECRET"),
            line(
                "x @ https://x/x.whl",
                LineKind::Named {
                    name: "x".into(),
                    url: Some("https://x/x.whl".into()),
                },
            ),
            line("-c c.txt", LineKind::Constraint(Some("c.txt".into()))),
        ];
        let constraints = |path: &str| {
            assert_eq!(path, "c.txt");
            Some("click<9\nevil @ git+https://x/y\n--no-binary :all:\n-c other\n./dir\n".into())
        };
        assert_eq!(
            lists(&lines, &["gunicorn==23.0.0".into()], &constraints),
            Lists {
                requirements: "--index-url https://index.example/simple\n\
                    --extra-index-url=http://other.example/\n\
                    flask[async]==3.0 ; python_version > '3.8' --hash=sha256:00\n\
                    gunicorn==23.0.0\n"
                    .into(),
                constraints: "click<9\n".into(),
                left_out: Some("--index-url file:///opt/app-root/src/index".into()),
            }
        );
        let nothing = lists(&lines[..2], &[], &constraints);
        assert_eq!(nothing, Lists::default());
    }
}
