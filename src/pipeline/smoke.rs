//! The smoke gate: while an image is committed, warpdrive loads what its start would load, on the
//! image's layers, as its user, read-only and without network. An image that could not start gets no name.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::app::advice::Advice;
use crate::builder::{APP_GID, APP_ROOT, APP_UID, contents};
use crate::progress::{Progress, printable};
use crate::sandbox::{Exit, Io, Limits, Mount, Network, Root, Spec, Upper};

use super::error::BuildError;
use super::loads::Loaded;
use super::place::{Place, Reach};

/// The time limit here; it is above the limit of the imports (`app::run::smoke`).
const LIMIT: Duration = Duration::from_secs(90);
/// The longest answer.
const MAX: u64 = 1024 * 1024;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    title: Option<String>,
    causes: Vec<String>,
    remedies: Vec<String>,
    tail: Vec<String>,
    note: Option<String>,
    /// What could not be written because the root is read-only.
    read_only: Option<String>,
    /// If it was loaded, and all that this depended on is known.
    loaded: Option<Loaded>,
}

/// The text before and after the name in the in-image tool's message about a missing library.
const LIBRARY: (&str, &str) = ("The system library ", " is not in the image.");

/// The application to load.
pub(super) struct Image<'a> {
    /// Its file system, the uppermost layer first.
    pub(super) lowers: Vec<PathBuf>,
    /// The part of it that comes from the image that the application runs on.
    pub(super) base: &'a [PathBuf],
    /// The variables of its configuration and those of the build.
    pub(super) env: Vec<(String, String)>,
}

/// Asks the in-image tool, and gives what it says of a load that went well without a word. `redact` removes secrets from the output. An application that writes into its
/// root is loaded once more, with `writable` over it: it can start in a container whose root is not
/// read-only, as in most containers.
pub(super) fn gate(
    image: Image<'_>,
    limits: Limits,
    place: &Place,
    writable: impl FnOnce() -> Result<Upper, BuildError>,
    redact: &dyn Fn(&str) -> String,
    progress: &dyn Progress,
) -> Result<Option<Loaded>, BuildError> {
    let Image { lowers, base, env } = image;
    let clean = |text: &str| {
        let lines: Vec<String> = text.lines().map(printable).collect();
        redact(&lines.join("\n"))
    };
    let root = |lowers, upper| Root {
        lowers,
        writable_only: None,
        upper,
    };
    let mut answer = ask(
        root(lowers.clone(), None),
        env.clone(),
        limits.clone(),
        place,
    )?;
    let mut loaded = answer.loaded.take();
    if let Some(path) = answer.read_only.take()
        && matches!(place, Place::Sandbox)
    {
        answer = ask(root(lowers, Some(writable()?)), env, limits, place)?;
        loaded = None;
        if answer.title.is_none() {
            let words = format!(
                "the application writes {path} when it is loaded: it cannot start with a read-only root \
                 (readOnlyRootFilesystem in Kubernetes, --read-only); let it write below /tmp, or mount a \
                 volume there"
            );
            progress.warning(&clean(&words));
        }
    }
    if let Some(note) = &answer.note {
        loaded = None;
        progress.warning(&clean(note));
    }
    let Some(title) = answer.title.clone() else {
        return Ok(loaded);
    };
    name_the_package(&mut answer, base);
    Err(BuildError::Smoke(Box::new(Advice {
        title: clean(&title),
        causes: answer.causes.iter().map(|text| clean(text)).collect(),
        remedies: answer.remedies.iter().map(|text| clean(text)).collect(),
        tail: answer.tail.iter().map(|text| clean(text)).collect(),
    })))
}

/// Lets the in-image tool load the application.
fn ask(
    root: Root,
    env: Vec<(String, String)>,
    mut limits: Limits,
    place: &Place,
) -> Result<Answer, BuildError> {
    limits.timeout = Some(limits.timeout.map_or(LIMIT, |given| given.min(LIMIT)));
    let spec = Spec {
        root,
        // As in a container: many imports make temporary files.
        mounts: vec![Mount::Tmpfs {
            target: "/tmp".into(),
            size: None,
            mode: 0o1777,
        }],
        network: Network::None,
        host_services: Vec::new(),
        hostname: "warpdrive".into(),
        command: vec![format!("{APP_ROOT}/bin/warpdrive"), "smoke".into()],
        env,
        cwd: format!("{APP_ROOT}/src").into(),
        uid: APP_UID,
        gid: APP_GID,
        groups: Vec::new(),
        capabilities: Vec::new(),
        umask: 0o002,
        init: true,
        volatile: true,
        limits,
        #[cfg(debug_assertions)]
        without: Vec::new(),
    };
    let mut started = place.start(&spec, Io::piped(), &Reach::Ports(Vec::new()))?;
    let sandbox = &mut started.sandbox;
    let stdout = sandbox.take_stdout();
    let stderr = sandbox.take_stderr();
    let (exit, answer) = std::thread::scope(|scope| {
        let answer = stdout.map(|stdout| {
            scope.spawn(move || {
                let mut bytes = Vec::new();
                let _ = stdout.take(MAX).read_to_end(&mut bytes);
                bytes
            })
        });
        if let Some(mut stderr) = stderr {
            scope.spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        }
        let exit = sandbox.wait();
        let answer = answer.and_then(|answer| answer.join().ok());
        (exit, answer.unwrap_or_default())
    });
    let exit = exit?;
    started.settle()?;
    if exit == Exit::Interrupted {
        return Err(BuildError::Interrupted);
    }
    Ok(serde_json::from_slice(&answer).unwrap_or_else(|_| Answer {
        note: Some("the image gave no answer when it was asked whether it can start".to_owned()),
        ..Answer::default()
    }))
}

/// For a missing library: the package of the image's own Debian release that has it.
fn name_the_package(answer: &mut Answer, base: &[PathBuf]) {
    let library = answer.causes.iter().find_map(|cause| {
        let name = cause.strip_prefix(LIBRARY.0)?.strip_suffix(LIBRARY.1)?;
        Some(name.trim().to_owned())
    });
    let package = library.and_then(|library| contents::package(&contents::suite(base)?, &library));
    if let (Some(package), Some(first)) = (package, answer.remedies.first_mut()) {
        *first = format!(
            "build with --auto-apt, which adds Debian's {package}; or name {package} in a file Aptfile at the root of the source"
        );
    }
}
