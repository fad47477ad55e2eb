//! Resolves a list to exact wheels with `uv pip compile`, which writes a lock file (PEP 751) that
//! names for each distribution the one wheel that fits this Python.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::app::contract::RUN;
use crate::app::lock::Document;
use crate::app::server::pins::pinned;
use crate::builder::APP_ROOT;
use crate::lockfile::{self, Chosen, Target};
use crate::progress::{NoProgress, without_logins};
use crate::rootfs::read_beneath;
use crate::sandbox::{Exit, IdMode};

use super::super::error::BuildError;
use super::super::locked::Locked;
use super::super::locked_wheel::{Artifact, LockedWheel, Pin};
use super::super::overlay::overlay_owned;
use super::super::trusted::{self, Job};
use super::super::wheel_cache::CacheScope;
use super::stop::Stop;
use super::{Given, Lookup, here};
use crate::app::requirement::normalize;

/// Largest lock file that is read, in bytes.
const MAX_LOCK: u64 = 16 * 1024 * 1024;

/// An index that does not answer is told within ten seconds: two attempts, two seconds at most between them,
/// and three seconds for each to get a connection, which is for the packet that asks for it to be sent three
/// times.
const PATIENCE: [(&str, &str); 2] = [("UV_HTTP_RETRIES", "1"), ("UV_HTTP_CONNECT_TIMEOUT", "3")];

/// All that the list and the server need, by name; or why that cannot be told.
pub(super) fn resolve(given: Given<'_>, lookup: Lookup) -> Result<Vec<LockedWheel>, Stop> {
    let Given {
        asked, detected, ..
    } = given;
    let base = given.base;
    let run = |requirements: String, constraints: String| {
        compile(given, requirements, constraints, lookup)
    };
    let mut found = match asked.locked {
        Some(locked) => locked.wheels().map_err(Stop::NotPlain)?,
        None => run(asked.requirements.clone(), asked.constraints.clone())?,
    };
    for LockedWheel { pin, .. } in &found {
        if let Some(allowed) = asked.hashes(&pin.name)
            && !allowed.contains(&pin.wheel.as_str())
        {
            return Err(Stop::NotPlain(format!(
                "the list allows other files of {} only",
                pin.name
            )));
        }
    }
    // The server and the agent come on top, as they do where everything is installed in one go.
    let names: BTreeSet<String> = found.iter().map(|one| one.pin.name.clone()).collect();
    let agent = detected.plan.instrument.iter();
    let server: Vec<String> = detected
        .plan
        .server_packages
        .iter()
        .map(String::as_str)
        .chain(agent.flat_map(|agent| agent.packages(&names)))
        .filter(|name| !names.contains(&normalize(name)))
        .map(|name| pinned(name, base.python.minor()))
        .collect();
    if !server.is_empty() {
        let mut requirements = String::new();
        for line in asked.indexes().chain(server.iter().map(String::as_str)) {
            let _ = writeln!(requirements, "{line}");
        }
        let mut constraints = String::new();
        for LockedWheel { pin, .. } in found.iter().filter(|_| asked.locked.is_none()) {
            let _ = writeln!(constraints, "{}=={}", pin.name, pin.version);
        }
        for one in run(requirements, constraints)? {
            if !found.iter().any(|present| present.pin.name == one.pin.name) {
                found.push(one);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn compile(
    given: Given<'_>,
    requirements: String,
    constraints: String,
    lookup: Lookup,
) -> Result<Vec<LockedWheel>, Stop> {
    let (context, base, tools) = (given.context, given.base, given.tools);
    let scratch = context.store.scratch("resolve")?;
    let output = overlay_owned(&scratch, "lock", IdMode::current())?.upper;
    let inside = format!("{RUN}/lock");
    let lock = format!("{inside}/pylock.toml");
    let requirements_file = format!("{RUN}/requirements.txt");
    let constraints_file = format!("{RUN}/constraints.txt");
    // What is locked is there, and asked for nowhere.
    let excluded_file = format!("{RUN}/excluded.txt");
    let settled = given.asked.locked.map_or(&[][..], Locked::names);
    let excluded: String = settled.iter().flat_map(|name| [name, "\n"]).collect();
    let python = format!("{APP_ROOT}/bin/python");
    let uv = format!("{RUN}/tools/bin/uv");
    let mut command = vec![
        uv.as_str(),
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--no-build",
        "--no-python-downloads",
        "--no-header",
        "--no-annotate",
        "--format",
        "pylock.toml",
        "--python",
        &python,
        "-o",
        &lock,
        "-c",
        &constraints_file,
        &requirements_file,
    ];
    if !excluded.is_empty() {
        command.extend(["--excludes", &excluded_file]);
    }
    if context.request.upgrade {
        command.push("--refresh");
    }
    command.extend(lookup.option());
    let job = Job {
        command: command.into_iter().map(str::to_owned).collect(),
        files: vec![
            (requirements_file.clone(), requirements),
            (constraints_file.clone(), constraints),
            (excluded_file.clone(), excluded),
        ],
        output: Some((output.clone(), inside.clone())),
        defaults: &PATIENCE,
    };
    // If it fails, the installation as a whole reports the reason.
    let outcome = if let Some(here) = given.here {
        here::resolver(given, here, job)?
    } else {
        let lines = &given.detected.project.requirements.lines;
        let scope = CacheScope::of(context.request, lines);
        trusted::run(context.telling(&NoProgress), base, tools, &scope, job)?
    };
    if outcome.exit != Exit::Code(0) {
        // To ask again in another way is to wait again.
        if let Some(address) = unreachable(&outcome.tail) {
            return Err(BuildError::IndexUnreachable {
                address,
                tail: outcome.tail,
            }
            .into());
        }
        return Err(Stop::NotPlain(
            "the resolver found no wheels for all of it".into(),
        ));
    }
    let read = read_beneath(&output, Path::new("pylock.toml"), MAX_LOCK);
    let text = read
        .ok()
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let target = Target::of(&base.python.version, &base.python.libc);
    let pins = text.as_deref().and_then(|text| pins(text, &target));
    pins.ok_or_else(|| {
        Stop::NotPlain("the resolution has something else than wheels that fit".into())
    })
}

/// What uv could not fetch because the server does not answer; uv has tried it several times.
fn unreachable(said: &[String]) -> Option<String> {
    let fetch = said
        .iter()
        .find_map(|line| line.split_once("Failed to fetch: "))?
        .1
        .trim()
        .trim_matches('`');
    let silent = ["error sending request", "dns error", "operation timed out"];
    let unanswered = said
        .iter()
        .any(|line| silent.iter().any(|words| line.contains(words)));
    unanswered.then(|| without_logins(fetch).into_owned())
}

/// The wheels that a lock file names, of several that fit the one that an installer takes; `None` where
/// one of its packages is anything else.
fn pins(lock: &str, target: &Target) -> Option<Vec<LockedWheel>> {
    let lock = Document::parse(lock).ok()?;
    let mut found = Vec::with_capacity(lock.packages.len());
    for package in lock.packages {
        // The resolver says what a package is for even where it holds here.
        if let Some(marker) = &package.marker
            && !lockfile::holds(marker, target, &Chosen::default()).ok()?
        {
            continue;
        }
        let ranked = package.wheels.iter().filter_map(|wheel| {
            let last = wheel.url.as_deref().and_then(|url| url.rsplit('/').next());
            let name = wheel.name.as_deref().or(last)?;
            let name = name.replace("%2B", "+");
            Some((target.rank(&name)?, wheel))
        });
        let (_, wheel) = ranked.min_by(|a, b| a.0.cmp(&b.0))?;
        // Both go into a list for the installer.
        let version = package.version?;
        let harmless = |c: char| c.is_ascii_alphanumeric() || ".+!_-".contains(c);
        if !version.chars().all(harmless)
            || !package.name.chars().all(harmless)
            || package.name.starts_with('-')
        {
            return None;
        }
        found.push(LockedWheel {
            pin: Pin {
                name: normalize(&package.name),
                version,
                wheel: wheel.sha256()?,
            },
            artifact: Artifact::new(
                wheel.name.as_deref(),
                wheel.url.as_deref(),
                package.index.as_deref(),
                wheel.size,
            ),
        });
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_nobody_serves_is_told_from_one_that_refuses() {
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let silent = "error: Request failed after 3 retries in 4.1s\n  cause: Failed to fetch: \
            http://me:word@127.0.0.1:9/simple/flask/\n  cause: error sending request for url";
        assert_eq!(
            unreachable(&lines(silent)).as_deref(),
            Some("http://****@127.0.0.1:9/simple/flask/")
        );
        for other in [
            "error: Failed to fetch: `https://x/simple/y/`\n  cause: HTTP status client error (401 Unauthorized)",
            "  x No solution found when resolving dependencies",
        ] {
            assert_eq!(unreachable(&lines(other)), None, "{other}");
        }
    }

    const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

    fn package(rest: &str) -> String {
        format!(
            "lock-version = \"1.0\"\n[[packages]]\nname = \"Annotated_Doc\"\nversion = \"0.0.7\"\n{rest}\n"
        )
    }

    #[test]
    fn one_wheel_for_a_name_or_nothing() {
        let wheel = format!(
            "{{ url = \"https://x/y-1-py3-none-any.whl\", size = 5, hashes = {{ sha256 = \"{HASH}\" }} }}"
        );
        let good = package(&format!("wheels = [{wheel}]"));
        let target = Target::of("3.11.2", "glibc 2.36");
        let [found] = pins(&good, &target).unwrap().try_into().unwrap();
        assert_eq!(
            found.pin,
            Pin {
                name: "annotated-doc".into(),
                version: "0.0.7".into(),
                wheel: HASH.into()
            }
        );
        assert_eq!(found.artifact.file, "y-1-py3-none-any.whl");
        assert_eq!(pins("lock-version = \"1.0\"\n", &target), Some(vec![]));
        for (marker, count) in [
            ("python_full_version < '3.13'", 1),
            ("python_version < '3'", 0),
        ] {
            let text = package(&format!("marker = \"{marker}\"\nwheels = [{wheel}]"));
            assert_eq!(
                pins(&text, &target).map(|found| found.len()),
                Some(count),
                "{marker}"
            );
        }
        // As an installer chooses: for this Python first.
        let own = wheel.replace("py3-none-any", "cp311-cp311-manylinux_2_17_x86_64");
        for wheels in [format!("{own}, {wheel}"), format!("{wheel}, {own}")] {
            let [found] = pins(&package(&format!("wheels = [{wheels}]")), &target)
                .unwrap()
                .try_into()
                .unwrap();
            assert!(found.artifact.file.contains("cp311-cp311"));
        }
        for bad in [
            package(""),
            good.replace("py3-none-any", "cp312-cp312-win_amd64"),
            package("wheels = [{ hashes = { sha256 = \"0\" } }]"),
            package(&format!("marker = \"x\"\nwheels = [{wheel}]")),
            good.replace("0.0.7", "1 --index-url=x"),
            good.replace("Annotated_Doc", "-e"),
            "packages = 1".into(),
        ] {
            assert_eq!(pins(&bad, &target), None, "{bad}");
        }
    }
}
