//! A build that runs nothing of the application: no sandbox, no files of the base image, no privilege.
//!
//! The application's files go into its layer as they are. No code of the application or of a package runs.
//! This is enough if the dependencies are cached and the application needs none of its code at build. A
//! Python of this machine with the same minor version compiles the byte-code; it does not run the source.
//! The layers are the same to the byte as those of a sandbox.
//!
//! Steps that need the base image are left out: loading the application once, and the audit.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::app;
use crate::app::Detected;
use crate::app::assemble::compiler::{self, Check, Sources, Unkept};
use crate::app::plan::{MODULES_DIRECTORY, Start};
use crate::builder::APP_ROOT;
use crate::builder::python::Python;

use super::assets;
use super::error::BuildError;
use super::files::TreeFiles;
use super::installed::Dependencies;
use super::materials::Materials;
use super::request::Request;
use super::sandbox_reasons::Reasons;
use super::{environment, tree};

/// The parts of an application and of a request that need a sandbox.
pub(super) fn reasons(
    request: &Request,
    files: &TreeFiles<'_>,
    detected: &Detected,
    python: &Python,
) -> Reasons {
    Reasons {
        always: of_the_request(request, files, detected),
        to_make: of_the_application(request, files, detected, python),
    }
}

fn of_the_application(
    request: &Request,
    files: &TreeFiles<'_>,
    detected: &Detected,
    python: &Python,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut when = |is: bool, words: &str| {
        if is {
            found.push(words.to_owned());
        }
    };
    if detected.runs_own_code(files) {
        let plan = &detected.plan;
        when(
            plan.django.is_some(),
            "Django is asked about itself and collects static files",
        );
        let projects = !detected.project.local_projects().is_empty();
        when(
            projects,
            "the project itself is installed, which a back end of its own does",
        );
        when(
            plan.django.is_none() && !projects,
            "hooks or files of variables (.warpdrive, .s2i) are run",
        );
    }
    if let Some(reason) = &detected.needs_all_source {
        when(true, reason);
    }
    let jupyter = matches!(detected.plan.start, Start::Jupyter { .. });
    when(jupyter, "Jupyter's configuration is written in the image");
    if request.byte_code && candidates(python).next().is_none() {
        when(
            true,
            &format!(
                "there is no python{} here that could compile (--no-byte-code leaves that out)",
                python.minor
            ),
        );
    }
    found
}

fn of_the_request(request: &Request, files: &TreeFiles<'_>, detected: &Detected) -> Vec<String> {
    let mut found = Vec::new();
    let mut when = |is: bool, words: &str| {
        if is {
            found.push(words.to_owned());
        }
    };
    when(
        !assets::notes(files, detected).is_empty(),
        "a front end is built",
    );
    when(request.harden, "--harden looks into the base image");
    when(
        request.runtime_image.is_some(),
        "--runtime-image names a second image",
    );
    let audited = request.audit.required || request.audit.builder_too;
    when(audited, "the audit that is asked for reads the base image");
    when(
        request.pinned.is_some(),
        "an image is made again to compare it",
    );
    found
}

/// A Python of this machine.
#[derive(Debug, Clone)]
pub(super) struct Interpreter {
    pub(super) path: PathBuf,
    /// It has exactly the base image's version, so that it compiles in the same way.
    pub(super) is_same: bool,
}

/// What an interpreter reports: its version, and the tag of its byte-code.
const PROBE: &str = "import sys; v = sys.version_info; \
                     print('%d.%d.%d %s' % (v[0], v[1], v[2], sys.implementation.cache_tag))";

/// Pythons that may have the base image's minor version. None is started: that would take longer than a build
/// without changes.
fn candidates(python: &Python) -> impl Iterator<Item = PathBuf> {
    let name = format!("python{}", python.minor);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/local/bin".into(), "/usr/bin".into()])
        .filter(|directory| directory.is_absolute())
        .collect();
    let mut seen = HashSet::new();
    directories.into_iter().filter_map(move |directory| {
        let path = directory.join(&name);
        let real = path.canonicalize().ok()?;
        (real.is_file() && seen.insert(real)).then_some(path)
    })
}

/// A Python of the base image's minor version on this machine, of the same version if there is one.
pub(super) fn interpreter(python: &Python) -> Option<Interpreter> {
    let mut found: Option<Interpreter> = None;
    for path in candidates(python) {
        let said = Command::new(&path)
            .args(["-I", "-S", "-c", PROBE])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let said = said.unwrap_or_default();
        let Some((version, tag)) = said.trim().split_once(' ') else {
            continue;
        };
        if tag != cache_tag(python) {
            continue;
        }
        let is_same = version == python.version;
        if is_same || found.is_none() {
            found = Some(Interpreter { path, is_same });
        }
        if is_same {
            break;
        }
    }
    found
}

/// The tag of byte-code of this `CPython` version.
fn cache_tag(python: &Python) -> String {
    format!("cpython-{}", python.minor.replace('.', ""))
}

/// Does phase 2's work on the staged source, in the tree `upper`; returns the plan.
pub(super) fn assemble(
    materials: &Materials<'_>,
    dependencies: &Dependencies,
    upper: &Path,
) -> Result<Value, BuildError> {
    let Materials {
        context,
        base,
        detected,
        ..
    } = *materials;
    let request = context.request;
    let app_root = upper.join(tree::APP_ROOT);
    let mut plan = detected.plan.clone();
    plan.python = base.python.version.parse().ok();
    app::assemble::complete(&mut plan, &app_root, &|packages| {
        let mut installed = dependencies.resolved.iter();
        let server = installed.find(|(name, _)| packages.contains(&name.as_str()));
        Ok(server.map(|(_, version)| version.clone()))
    })
    .map_err(|error| BuildError::Unassembled(Box::new(error)))?;
    plan.image_environment = environment::of_the_image(&base.environment(), &base.search_path());
    plan.save(&app_root)
        .map_err(|error| BuildError::Unassembled(Box::new(error.into())))?;
    if request.byte_code {
        compile(&base.python, upper)?;
    }
    let bytes = serde_json::to_vec(&plan).map_err(|_| BuildError::NoPlan)?;
    serde_json::from_slice(&bytes).map_err(|_| BuildError::NoPlan)
}

/// Byte-code of the source, and of the modules for the server.
fn compile(python: &Python, upper: &Path) -> Result<(), BuildError> {
    let interpreter = interpreter(python).ok_or_else(|| BuildError::NeedsSandbox {
        because: vec![format!(
            "no python{} of this machine could be started to compile",
            python.minor
        )],
    })?;
    let mut files = Vec::new();
    for place in ["src", MODULES_DIRECTORY] {
        let directory = upper.join(tree::APP_ROOT).join(place);
        walk(&directory, &directory, &mut files).map_err(|source| BuildError::Read {
            path: directory.clone(),
            source,
        })?;
    }
    if files.is_empty() {
        return Ok(());
    }
    let sources = Here {
        upper,
        inside: files,
        tag: cache_tag(python),
    };
    let next = AtomicUsize::new(0);
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number < sources.inside.len()).then_some(number)
    };
    let ahead = compiler::ahead(sources.inside.len(), 1);
    interpreter.compile(Check::Checked, &sources, &take, ahead)
}

impl Interpreter {
    /// Compiles the files that `take` names.
    pub(super) fn compile(
        &self,
        check: Check,
        sources: &dyn Sources,
        take: &(dyn Fn() -> Option<usize> + Sync),
        ahead: usize,
    ) -> Result<(), BuildError> {
        let failed = |source| BuildError::LocalPython {
            python: self.path.clone(),
            source,
        };
        let (kept, status) =
            compiler::run(&self.path, (check, Stdio::null()), sources, take, ahead)
                .map_err(failed)?;
        match kept {
            Err(Unkept::Unread(path, source)) => Err(BuildError::Read { path, source }),
            Err(Unkept::Unwritten(path, source)) => Err(BuildError::Write { path, source }),
            Err(Unkept::Lost(error)) => Err(failed(error)),
            Ok(()) if status.success() => Ok(()),
            Ok(()) => Err(failed(io::Error::other(format!("it ended with {status}")))),
        }
    }
}

/// Sources in a tree that will be at the image's root.
struct Here<'a> {
    upper: &'a Path,
    /// Their path in the image.
    inside: Vec<PathBuf>,
    /// Of the base image's Python.
    tag: String,
}

impl Here<'_> {
    fn place(&self, inside: &Path) -> PathBuf {
        self.upper.join(inside.strip_prefix("/").unwrap_or(inside))
    }
}

impl Sources for Here<'_> {
    fn path(&self, number: usize) -> &Path {
        self.inside
            .get(number)
            .map_or(Path::new(""), PathBuf::as_path)
    }

    fn read(&self, number: usize) -> io::Result<Vec<u8>> {
        std::fs::read(self.place(self.path(number)))
    }

    fn keep(&self, number: usize, tag: &[u8], code: &[u8]) -> io::Result<()> {
        if tag != self.tag.as_bytes() {
            return Err(io::Error::other(
                "the Python of this machine is another kind of Python",
            ));
        }
        let target = compiler::place(&self.place(self.path(number)), tag);
        if let Some(directory) = target.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::write(target, code)
    }
}

/// The sources below a directory to compile, with their final paths; links are skipped.
fn walk(top: &Path, directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            walk(top, &path, found)?;
        } else if kind.is_file() && path.strip_prefix(top).is_ok_and(compiler::is_compiled) {
            let name = top
                .ancestors()
                .find(|above| above.ends_with(tree::APP_ROOT));
            let below = name.and_then(|name| path.strip_prefix(name).ok());
            found.extend(below.map(|below| Path::new(APP_ROOT).join(below)));
        }
    }
    Ok(())
}
