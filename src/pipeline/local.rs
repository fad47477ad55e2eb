//! `warpdrive build` on a developer's machine: prepares the packages of the project's lock, or the
//! requirements that the project binds to a location, for the installer in the virtual environment, as
//! for an image.
//!
//! [`crate::app::assemble`] does the installation itself.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::app::assemble::site_packages;
use crate::app::files::{Below, Directory, join};
use crate::app::project::Project;
use crate::app::roots::Roots;
use crate::app::settings::Settings;
use crate::app::{self, contract, pip_variables, process};
use crate::lockfile::{self, Found, Target};
use crate::progress::Progress;
use crate::store::{Scratch, Store};

use super::error::BuildError;
use super::fetch::has_uv_settings;
use super::locked::{self, Asked, Environment, Locked};
use super::package_indexes::Indexes;
use super::place::Place;
use super::tools;

/// Two lines: the version, and the C library with its own.
const QUESTION: &str = "import platform, sys
print('.'.join(map(str, sys.version_info[:3])))
print(' '.join(platform.libc_ver(sys.executable)).strip())";

/// The input for the installation; it exists as long as this value.
pub struct Ready {
    /// Additional variables for it.
    pub variables: Vec<(String, String)>,
    scratch: Scratch,
}

impl Ready {
    /// Removes the installer's notes about where the files were (PEP 610): these paths are gone, and
    /// an index has the files.
    pub fn forget_place(&self, roots: &Roots) {
        let place = format!("file://{}/", self.scratch.path().display());
        let site = site_packages(&roots.app);
        let entries = std::fs::read_dir(site).into_iter().flatten().flatten();
        for information in entries.map(|entry| entry.path()) {
            let origin = information.join("direct_url.json");
            let noted = std::fs::read_to_string(&origin).unwrap_or_default();
            let record = information.join("RECORD");
            let (true, Ok(text)) = (noted.contains(&place), std::fs::read_to_string(&record))
            else {
                continue;
            };
            let kept: String = text
                .split_inclusive('\n')
                .filter(|line| !line.contains(".dist-info/direct_url.json,"))
                .collect();
            // An unchanged file does no harm.
            if std::fs::write(&record, kept).is_ok() {
                let _ = std::fs::remove_file(&origin);
            }
        }
    }
}

fn failed(path: &Path, source: std::io::Error) -> BuildError {
    BuildError::Write {
        path: path.to_owned(),
        source,
    }
}

/// `PATH` with uv at its end.
fn with_uv(
    store: &Store,
    scratch: &Scratch,
    variables: &BTreeMap<String, String>,
    progress: &dyn Progress,
) -> Result<(String, String), BuildError> {
    let tools = tools::ensure(store, &Place::Sandbox, progress)?;
    let bin = scratch.path().join("bin");
    std::fs::create_dir(&bin)
        .and_then(|()| symlink(tools.directory.join("bin/uv"), bin.join("uv")))
        .map_err(|error| failed(&bin, error))?;
    // An empty part of it would be the current directory.
    let path = variables.get("PATH").filter(|path| !path.is_empty());
    let own = bin.display().to_string();
    let path = path.map_or_else(|| own.clone(), |path| format!("{path}:{own}"));
    Ok(("PATH".to_owned(), path))
}

/// Reads the lock of a source tree, or its bound names, and fetches the files; nothing if an installer
/// can read everything itself.
///
/// # Errors
/// For a lock that does not fit, and for files that cannot be fetched.
pub fn ready(
    store: &Store,
    roots: &Roots,
    variables: &BTreeMap<String, String>,
    given: &BTreeMap<String, String>,
    progress: &dyn Progress,
) -> Result<Option<Ready>, BuildError> {
    let files = Directory::open(&roots.source).map_err(|source| BuildError::Read {
        path: roots.source.clone(),
        source,
    })?;
    let settings = Settings::load(&files, variables, given)?;
    let project = OnceCell::new();
    let unlocked = || {
        let read = Project::read(&files, settings.clone(), variables)?;
        Ok(project.get_or_init(|| read))
    };
    let mut found = lockfile::find(&files, &settings, variables, unlocked)?;
    let options = app::Options {
        environment: variables.clone(),
        command_line: given.clone(),
        listed: found.as_ref().map(Found::preview),
        ..app::Options::default()
    };
    // What cannot be started is reported by the command itself.
    let detected = app::detect(&files, &options).ok();
    if let Some(detected) = &detected {
        // The lock may be with the application, where that was found below the top.
        let there = &detected.project;
        if found.is_none() && detected.found_below {
            found = lockfile::find(&files, &there.settings, variables, || Ok(there))?;
        }
        if let Some(Found::Lock(lock)) = &mut found {
            lock.take_member(&detected.plan.home);
        }
    }
    // Only uv knows its own tables, at the top and in the application's directory.
    let home = match &detected {
        Some(detected) => Some(detected.plan.home.clone()),
        None => settings.get("home").and_then(|home| join("", &home)),
    };
    let below = Below {
        files: &files,
        directory: home.as_deref().unwrap_or_default(),
    };
    let needs_uv = settings.get("installer").as_deref() != Some("pip")
        && (matches!(found, Some(Found::Bound(_)))
            || has_uv_settings(&files)
            || has_uv_settings(&below));
    let Some(found) = found else {
        if !needs_uv || process::which("uv", variables).is_some() {
            return Ok(None);
        }
        let scratch = store.scratch("local")?;
        let variables = vec![with_uv(store, &scratch, variables, progress)?];
        return Ok(Some(Ready { variables, scratch }));
    };
    let (version, libc) = ask(&roots.python())?;
    let target = Target::of(&version, &libc);
    let scratch = store.scratch("local")?;
    let place = Locked::place(&scratch)?;
    let environment = Environment {
        target: &target,
        libc: &libc,
        files: &place.display().to_string(),
    };
    let indexes = Indexes::of(variables.clone(), false)?;
    let listed = if pip_variables::without_index(variables) {
        locked::by_version(&found, &target, &roots.source)?
    } else {
        let asked = Asked {
            source: &roots.source,
            indexes: &indexes,
            upgrade: false,
            progress,
        };
        let locked = locked::read_for(store, &found, environment, &asked)?;
        locked.fetch_from(store, &indexes, &place, progress)?;
        locked.listed().clone()
    };
    let project = Project::listed(&files, settings, variables, &listed);
    let projects = project.local_projects();
    found.builders().check_projects(&files, &projects)?;
    let path = scratch.path().join("listed.json");
    serde_json::to_vec(&listed)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(&path, text))
        .map_err(|error| failed(&path, error))?;
    let mut more = vec![(contract::LISTED.to_owned(), path.display().to_string())];
    // Names that are not in a lock must not be looked for, and pip cannot prevent that.
    if needs_uv && process::which("uv", variables).is_none() {
        more.push(with_uv(store, &scratch, variables, progress)?);
    }
    Ok(Some(Ready {
        variables: more,
        scratch,
    }))
}

/// The version of a Python and of its C library, asked in the same way as in a base image.
fn ask(python: &Path) -> Result<(String, String), BuildError> {
    let failed = |source| BuildError::LocalPython {
        python: python.to_owned(),
        source,
    };
    let output = Command::new(python)
        .args(["-I", "-c", QUESTION])
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    match lines.next() {
        Some(version) if output.status.success() && !version.is_empty() => {
            Ok((version, lines.next().unwrap_or_default()))
        }
        _ => Err(failed(std::io::Error::other(format!(
            "it ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )))),
    }
}
