//! Where the stages of a build run: each in its own sandbox, or in place, in the root file system
//! of this process.
//!
//! A stage is described once, as a sandbox's [`Spec`]. In place, its layers are copied to where programs
//! expect them ([`AppRoot`]); each mount becomes a path in a private directory, and this path replaces the
//! mount's path in the stage; and the stage runs behind a fence.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::builder::APP_ROOT;
use crate::pod::{self, AppRoot, BaseFile, Filled, PodError, Volumes};
use crate::progress::Progress;
use crate::rootfs;
use crate::sandbox::{self, HereSpec, IdMode, Inside, Io, Mount, Sandbox, Spec};
use crate::store::{Scratch, Store};

use super::error::BuildError;

/// Every stage may read and execute these, without the volumes below them. Other directories, such as homes
/// and `/run`, are not included.
const READABLE: &[&str] = &[
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc", "/opt", "/proc", "/sys",
];
/// Every stage may write these.
const SHARED_MEMORY: &str = "/dev/shm";

/// Where stages run.
#[derive(Debug, Clone, Default)]
pub enum Place {
    #[default]
    Sandbox,
    /// `--in-place`.
    Here(Arc<Here>),
}

/// Whether the application's code is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceMode {
    /// If it could read a credential, the fence is required.
    Auto,
    Require,
    Off,
}

/// This process's own root file system, to build in.
pub struct Here {
    base: BaseFile,
    app_root: AppRoot,
    fenced: bool,
    /// A stage with layers has exclusive use of the application's root.
    taken: RwLock<()>,
    scratch: Scratch,
}

impl fmt::Debug for Here {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Here({})", self.base.reference)
    }
}

/// What a command may connect to.
#[derive(Debug, Clone)]
pub(super) enum Reach {
    Everything,
    Ports(Vec<u16>),
}

/// A running command and its surroundings.
pub(super) struct Started<'p> {
    pub(super) sandbox: Sandbox,
    held: Option<Held<'p>>,
}

/// What a command needs until it ends.
struct Held<'p> {
    filled: Option<(Filled<'p>, Option<PathBuf>)>,
    /// Dropped after the fields that it guards.
    _lock: Lock<'p>,
    _private: tempfile::TempDir,
}

enum Lock<'p> {
    Shared(#[expect(dead_code, reason = "held")] RwLockReadGuard<'p, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'p, ()>),
}

impl Started<'_> {
    /// The command has ended: its changes are in the upper directory now.
    pub(super) fn settle(self) -> Result<(), BuildError> {
        if let Some(held) = self.held
            && let Some((filled, Some(upper))) = &held.filled
        {
            filled.take_changes(upper)?;
        }
        Ok(())
    }
}

impl Place {
    /// This process's own root file system, which must come from an image of `builder push`.
    ///
    /// # Errors
    /// If it does not, if something is in the application's root, or if a required fence is not possible.
    pub fn here(
        store: &Store,
        mode: FenceMode,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let _in_use = store.lock_shared()?;
        sandbox::stay_here();
        if rustix::process::geteuid().is_root() {
            return Err(PodError::Root.into());
        }
        let app_root = Path::new(APP_ROOT);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        if let Some(home) = home.filter(|home| is_within(home, app_root)) {
            return Err(PodError::Home { home }.into());
        }
        let base = BaseFile::of_this_image()?.ok_or_else(|| PodError::NoBaseFile {
            path: Path::new(pod::PLACE).join(pod::BASE_FILE),
        })?;
        let fenced = fenced(mode, progress)?;
        let layer = &base.builder_layer;
        take_builder_layer(store, &base)?;
        let tree = rootfs::unpacked_layer(
            store,
            &layer.descriptor,
            &layer.diff_id(),
            IdMode::current().into(),
        )?;
        let app_root = AppRoot::take(app_root, &tree)?;
        Ok(Self::Here(Arc::new(Here {
            base,
            app_root,
            fenced,
            taken: RwLock::new(()),
            scratch: store.scratch("here")?,
        })))
    }

    /// The facts about the base, if this process runs on it.
    pub fn base_file(&self) -> Option<&BaseFile> {
        match self {
            Self::Sandbox => None,
            Self::Here(here) => Some(&here.base),
        }
    }

    /// The builder layer's tree, if no base is unpacked below it.
    pub(super) fn lowers(&self) -> Option<Vec<PathBuf>> {
        match self {
            Self::Sandbox => None,
            Self::Here(here) => Some(vec![here.app_root.pristine().to_owned()]),
        }
    }

    /// Installers that the image has already.
    pub(super) fn tools(&self) -> Option<PathBuf> {
        match self {
            Self::Sandbox => None,
            Self::Here(_) => Some(Path::new(pod::PLACE).join(pod::TOOLS)),
        }
    }

    /// Refuses what needs a sandbox.
    pub(super) fn refuse(&self, what: &str, instead: &str) -> Result<(), BuildError> {
        match self {
            Self::Sandbox => Ok(()),
            Self::Here(_) => Err(PodError::NotHere {
                what: what.to_owned(),
                instead: instead.to_owned(),
            }
            .into()),
        }
    }

    /// Whether a builder was named that is not the one that this process runs on.
    pub(super) fn check_builder(&self, named: Option<&str>) -> Result<(), BuildError> {
        match (self, named) {
            (Self::Here(here), Some(named)) if named != here.base.reference => self.refuse(
                &format!("the builder {named}"),
                "run the build in an image that `warpdrive builder push` made of it",
            ),
            _ => Ok(()),
        }
    }

    /// Starts a command.
    pub(super) fn start(
        &self,
        spec: &Spec,
        io: Io,
        reach: &Reach,
    ) -> Result<Started<'_>, BuildError> {
        match self {
            Self::Sandbox => Ok(Started {
                sandbox: sandbox::spawn(spec, io)?,
                held: None,
            }),
            Self::Here(here) => here.start(spec, io, reach),
        }
    }
}

/// Loads the builder layer of this process's own image into the store.
pub(super) fn take_builder_layer(store: &Store, base: &BaseFile) -> Result<(), BuildError> {
    let layer = &base.builder_layer.descriptor;
    if store.has_whole_blob(layer) {
        return Ok(());
    }
    let path = Path::new(pod::PLACE).join(pod::BUILDER_LAYER);
    let read = |source| BuildError::Read {
        path: path.clone(),
        source,
    };
    let mut from = fs::File::open(&path).map_err(read)?;
    let mut blob = store.blob_writer()?;
    io::copy(&mut from, &mut blob).map_err(read)?;
    blob.commit(Some(layer.digest()))?;
    Ok(())
}

/// Decides about the fence from the request and from what this kernel can do.
fn fenced(mode: FenceMode, progress: &dyn Progress) -> Result<bool, BuildError> {
    if mode == FenceMode::Off {
        return Ok(false);
    }
    if sandbox::landlock_version().is_some() {
        return Ok(true);
    }
    let credentials = pod::credentials();
    if mode == FenceMode::Require || !credentials.is_empty() {
        return Err(PodError::NoFence { credentials }.into());
    }
    progress.warning(
        "this kernel has no Landlock that could fence the code of the application: it can read and write all \
         that this step can",
    );
    Ok(false)
}

/// Whether a path, as it is or as links lead, is the directory or below it.
fn is_within(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory)
        || path
            .canonicalize()
            .is_ok_and(|path| path.starts_with(directory))
}

/// The paths that replace mounts.
#[derive(Default)]
struct Map {
    /// The longest first.
    paths: Vec<(String, String)>,
    temporary: String,
}

impl Map {
    fn add(&mut self, target: &Path, real: &Path) {
        self.paths
            .push((target.display().to_string(), real.display().to_string()));
        self.paths
            .sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
    }

    fn text(&self, text: &str) -> String {
        self.paths
            .iter()
            .fold(text.to_owned(), |text, (target, real)| {
                text.replace(target, real)
            })
    }

    /// A variable's value may be the directory for temporary files, or below it.
    fn value(&self, text: &str) -> String {
        match text.strip_prefix("/tmp") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                format!("{}{rest}", self.temporary)
            }
            _ => self.text(text),
        }
    }
}

impl Here {
    /// What every stage behind the fence may read: the image, without its volumes.
    fn readable(&self) -> Result<Vec<PathBuf>, BuildError> {
        if !self.fenced {
            return Ok(Vec::new());
        }
        // A base's Python may be anywhere.
        let python = Path::new(&self.base.python.executable);
        let prefix = python.ancestors().nth(2);
        let prefix = prefix.filter(|prefix| *prefix != Path::new("/"));
        let directories = READABLE.iter().map(Path::new).chain(prefix);
        let own = [APP_ROOT, pod::PLACE].map(Path::new);
        Ok(Volumes::of_this_process()?.without(directories.chain(own))?)
    }

    fn start<'p>(&'p self, spec: &Spec, io: Io, reach: &Reach) -> Result<Started<'p>, BuildError> {
        let upper = spec.root.upper.as_ref().map(|upper| upper.upper.clone());
        let has_layers = upper.is_some()
            || spec
                .root
                .lowers
                .iter()
                .any(|lower| lower != self.app_root.pristine());
        let lock = if has_layers {
            Lock::Alone(self.taken.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Lock::Shared(self.taken.read().unwrap_or_else(PoisonError::into_inner))
        };
        let private = tempfile::Builder::new()
            .prefix("stage-")
            .tempdir_in(self.scratch.path())
            .map_err(write(self.scratch.path()))?;
        let mut inside = Inside {
            readable: self.readable()?,
            writable: vec![private.path().to_owned(), PathBuf::from(SHARED_MEMORY)],
            ports: match reach {
                Reach::Everything => None,
                Reach::Ports(ports) => Some(ports.clone()),
            },
        };
        let map = mounted(&spec.mounts, private.path(), &mut inside)?;
        let filled = if has_layers {
            let filled = self.app_root.fill(&spec.root.lowers, upper.as_deref())?;
            if upper.is_some() {
                inside.writable.push(APP_ROOT.into());
            }
            Some((filled, upper))
        } else {
            None
        };
        let mut env: Vec<(String, String)> = spec
            .env
            .iter()
            .map(|(name, value)| (name.clone(), map.value(value)))
            .collect();
        if !env.iter().any(|(name, _)| name == "TMPDIR") {
            env.push(("TMPDIR".to_owned(), map.temporary.clone()));
        }
        let sandbox = sandbox::spawn_here(
            &HereSpec {
                command: spec.command.iter().map(|word| map.text(word)).collect(),
                env,
                cwd: spec.cwd.clone(),
                umask: spec.umask,
                written: vec![APP_ROOT.into(), private.path().to_owned()],
                fence: self.fenced.then_some(inside),
                limits: spec.limits.clone(),
            },
            io,
        )?;
        Ok(Started {
            sandbox,
            held: Some(Held {
                filled,
                _lock: lock,
                _private: private,
            }),
        })
    }
}

fn write(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Write { path, source }
}

/// Gives each mount a path.
fn mounted(mounts: &[Mount], private: &Path, inside: &mut Inside) -> Result<Map, BuildError> {
    let directory = |name: &str| {
        let path = private.join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(write(&path))?;
        Ok::<_, BuildError>(path)
    };
    let files = directory("files")?;
    let mut map = Map {
        temporary: directory("tmp")?.display().to_string(),
        ..Map::default()
    };
    let mut texts = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        let named = |target: &Path| {
            let name = target.file_name().unwrap_or_default().to_string_lossy();
            files.join(format!("{number}-{name}"))
        };
        match mount {
            Mount::Tmpfs { .. } => {}
            Mount::Bind {
                source,
                target,
                read_only,
            } if source.is_dir() => {
                map.add(target, source);
                if *read_only {
                    inside.readable.push(source.clone());
                } else {
                    inside.writable.push(source.clone());
                }
            }
            Mount::Bind { source, target, .. } => {
                let path = named(target);
                fs::copy(source, &path).map_err(write(&path))?;
                map.add(target, &path);
            }
            Mount::Overlay {
                lower,
                upper,
                target,
            } => {
                pod::copy_onto(lower, &upper.upper)?;
                map.add(target, &upper.upper);
                inside.writable.push(upper.upper.clone());
            }
            // The pod's own files exist.
            Mount::File { target, .. } if target.starts_with("/etc") => {}
            Mount::File {
                target,
                contents,
                mode,
            } => {
                let path = named(target);
                map.add(target, &path);
                texts.push((path, contents, *mode));
            }
        }
    }
    for (path, contents, mode) in texts {
        let contents = match std::str::from_utf8(contents) {
            Ok(text) => map.text(text).into_bytes(),
            Err(_) => contents.clone(),
        };
        fs::write(&path, contents)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(write(&path))?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_become_those_that_they_have_here() {
        let mut map = Map {
            temporary: "/w/tmp".into(),
            ..Map::default()
        };
        map.add(
            Path::new("/run/warpdrive/tools"),
            Path::new("/opt/warpdrive/tools"),
        );
        map.add(Path::new("/run/warpdrive/tools-2"), Path::new("/x"));
        assert_eq!(
            map.value("/opt/app-root/bin:/run/warpdrive/tools/bin:/run/warpdrive/tools-2/bin"),
            "/opt/app-root/bin:/opt/warpdrive/tools/bin:/x/bin"
        );
        assert_eq!(map.value("/tmp/.cache"), "/w/tmp/.cache");
        assert_eq!(map.value("/tmpfs"), "/tmpfs");
        assert_eq!(
            map.text("-r /run/warpdrive/tools/a"),
            "-r /opt/warpdrive/tools/a"
        );
    }
}
