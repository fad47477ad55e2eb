//! A container on disk: `STORE/containers/ID/{config.json,state.json}`.
//!
//! `config.json` is written once and says what was asked for; `state.json` is replaced whenever
//! something changes. A container runs if the processes named in the file exist; the file alone
//! does not decide it. All files here belong to the caller's own uid, except those of `upper` and
//! `work`, which may belong to subordinate ids. So everything except removal works without a user
//! namespace.
//!
//! `prune` can tell what is in use: every `containers/*/config.json` names its image's manifest in
//! `manifest` (a descriptor).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ContainerError;
use super::names::valid_name;
use super::ports::PortMapping;
use super::process::Process;
use super::volumes::Volume;
use crate::layer;
use crate::oci::Descriptor;
use crate::sandbox::{Network, Spec};
use crate::store::Store;

/// Largest record that is read, in bytes: an environment and a command can be long.
const MAX_RECORD: u64 = 8 * 1024 * 1024;

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Config {
    pub id: String,
    pub name: String,
    /// The image's name as it was given.
    pub image: String,
    /// The image's manifest, which must not be pruned.
    pub manifest: Descriptor,
    /// RFC 3339.
    pub created: String,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub uid: u32,
    pub gid: u32,
    pub hostname: String,
    pub stop_signal: i32,
    pub network: Network,
    pub ports: Vec<PortMapping>,
    pub volumes: Vec<Volume>,
    pub read_only: bool,
    pub terminal: bool,
    pub remove: bool,
    pub detached: bool,
    /// `root`, `subuid` or `single`: how the files in `upper` are owned.
    pub map: String,
    /// How the application's project adds a package, as its plan says it, for advice.
    #[serde(default)]
    pub adding: serde_json::Value,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// The process that holds the container.
    pub supervisor: Option<Process>,
    /// The command.
    pub process: Option<Process>,
    /// The ports in use; a free one was chosen where none was given.
    #[serde(default)]
    pub ports: Vec<PortMapping>,
    /// RFC 3339.
    pub started: Option<String>,
    pub finished: Option<String>,
    /// The exit status, 128+N for a signal.
    pub exit: Option<i32>,
    /// Why it never ran.
    pub error: Option<String>,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "status", content = "exit")]
pub enum Status {
    /// Made, its command not started yet.
    Created,
    Running,
    Exited(i32),
    /// Its supervisor ended without recording how the container ended.
    Dead,
}

/// A container: its directory and its records.
#[derive(Debug, Clone)]
pub struct Record {
    directory: PathBuf,
    pub config: Config,
}

impl Record {
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    pub fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Makes a container's directory and writes its config, unless the name is taken.
    pub fn create(store: &Store, config: Config) -> Result<Self, ContainerError> {
        if !valid_name(&config.name) {
            return Err(ContainerError::Name { name: config.name });
        }
        let parent = containers(store);
        let _lock = lock_names(&parent)?;
        if let Some(other) = list(store)?
            .into_iter()
            .find(|other| other.config.name == config.name || other.config.id == config.id)
        {
            return Err(ContainerError::NameTaken {
                name: config.name,
                id: short(&other.config.id).to_owned(),
            });
        }
        sweep(&parent);
        let mut record = Self {
            directory: parent.join(format!("{MAKING}{}", config.id)),
            config,
        };
        let made = |path: &Path, mode: u32| {
            fs::DirBuilder::new()
                .mode(mode)
                .create(path)
                .map_err(|source| ContainerError::Io {
                    doing: "make the container's directory",
                    path: path.to_owned(),
                    source,
                })
        };
        made(&record.directory, 0o700)?;
        if !record.config.read_only {
            let upper = record.upper();
            made(&upper, 0o755)?;
            // It is the container's `/`, whatever the caller's umask.
            fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).map_err(|source| {
                ContainerError::Io {
                    doing: "make the container's directory",
                    path: upper.clone(),
                    source,
                }
            })?;
            made(&record.work(), 0o700)?;
        }
        let state = State {
            supervisor: Process::this(),
            ..State::default()
        };
        record.write_state(&state)?;
        write_atomic(&record.directory, "config.json", &record.config)?;
        let finished = parent.join(&record.config.id);
        fs::rename(&record.directory, &finished).map_err(|source| ContainerError::Io {
            doing: "make the container's directory",
            path: finished.clone(),
            source,
        })?;
        record.directory = finished;
        Ok(record)
    }

    /// Removes it from disk; its name is free at once. Another process may do the same.
    ///
    /// In a process that may remove files of subordinate ids (`sandbox::enter`).
    pub fn remove(&self, store: &Store) -> Result<(), ContainerError> {
        let io = |source| ContainerError::Io {
            doing: "remove",
            path: self.directory.clone(),
            source,
        };
        let aside = containers(store).join(format!("{REMOVING}{}", self.config.id));
        match fs::rename(&self.directory, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io(error)),
        }
        match layer::remove_tree(&aside) {
            Err(_) if !aside.exists() => Ok(()),
            Err(error) => Err(io(io::Error::other(error))),
            Ok(()) => Ok(()),
        }
    }

    pub fn load(store: &Store, id: &str) -> Result<Self, ContainerError> {
        Self::read(containers(store).join(id))
    }

    fn read(directory: PathBuf) -> Result<Self, ContainerError> {
        let config = read_json(&directory.join("config.json"))?;
        Ok(Self { directory, config })
    }

    pub fn state(&self) -> Result<State, ContainerError> {
        read_json(&self.directory.join("state.json"))
    }

    pub fn write_state(&self, state: &State) -> Result<(), ContainerError> {
        write_atomic(&self.directory, "state.json", state)
    }

    /// Its present state.
    pub fn status(&self) -> Result<(Status, State), ContainerError> {
        let state = match self.state() {
            Ok(state) => state,
            // Removed by its own supervisor (--rm) since it was listed.
            Err(_) if !self.directory.exists() => State::default(),
            Err(error) => return Err(error),
        };
        Ok((state.status(), state))
    }
}

impl State {
    pub fn status(&self) -> Status {
        let alive = |process: &Option<Process>| process.as_ref().is_some_and(Process::is_alive);
        match (self.exit, alive(&self.supervisor)) {
            (Some(code), _) => Status::Exited(code),
            (None, false) => Status::Dead,
            (None, true) if self.process.is_some() => Status::Running,
            (None, true) => Status::Created,
        }
    }
}

/// The sandbox's specification for its start.
const SPEC: &str = "spec.json";

impl Record {
    /// Keeps the specification of its start, for another start. `prune` keeps the layers that are named here.
    pub(super) fn keep_spec(&self, spec: &Spec) -> Result<(), ContainerError> {
        write_atomic(&self.directory, SPEC, spec)
    }

    pub(super) fn spec(&self) -> Result<Spec, ContainerError> {
        read_json(&self.directory.join(SPEC))
    }
}

/// Name prefixes of directories that are not containers yet, or not any more.
const MAKING: &str = ".making-";
const REMOVING: &str = ".removing-";

/// Removes what killed processes left half made or half removed. It holds the lock of names, so
/// no process makes a container meanwhile.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(MAKING) || name.starts_with(REMOVING) {
            // What cannot be removed now (another id map's files) is left for `prune`.
            let _ = layer::remove_tree(&entry.path());
        }
    }
}

/// The directory that holds all containers.
pub fn containers(store: &Store) -> PathBuf {
    store.root().join("containers")
}

/// The short form of an id.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// 128 random bits in hexadecimal.
pub(super) fn new_id() -> Result<String, ContainerError> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| ContainerError::System {
            doing: "read random bytes",
            source,
        })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// All containers, oldest first. Unreadable ones are left out.
pub fn list(store: &Store) -> Result<Vec<Record>, ContainerError> {
    let parent = containers(store);
    let entries = match fs::read_dir(&parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(ContainerError::Io {
                doing: "list the containers in",
                path: parent,
                source,
            });
        }
    };
    let mut records: Vec<Record> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .filter_map(|entry| Record::read(entry.path()).ok())
        .collect();
    records
        .sort_by(|a, b| (&a.config.created, &a.config.id).cmp(&(&b.config.created, &b.config.id)));
    Ok(records)
}

/// Finds a container by name, id, or an id's unambiguous beginning.
pub fn find(store: &Store, wanted: &str) -> Result<Record, ContainerError> {
    let mut records = list(store)?;
    let exact = records
        .iter()
        .position(|record| record.config.name == wanted || record.config.id == wanted);
    if let Some(index) = exact {
        return Ok(records.swap_remove(index));
    }
    records.retain(|record| !wanted.is_empty() && record.config.id.starts_with(wanted));
    if records.len() > 1 {
        let ids: Vec<&str> = records
            .iter()
            .map(|record| short(&record.config.id))
            .collect();
        return Err(ContainerError::Ambiguous {
            name: wanted.to_owned(),
            ids: ids.join(", "),
        });
    }
    records.pop().ok_or_else(|| ContainerError::NoSuch {
        name: wanted.to_owned(),
    })
}

/// Held while a name is given out.
fn lock_names(parent: &Path) -> Result<File, ContainerError> {
    let io = |source| ContainerError::Io {
        doing: "lock",
        path: parent.join(".lock"),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(io)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(parent.join(".lock"))
        .map_err(io)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| io(error.into()))?;
    Ok(file)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ContainerError> {
    let wrong = |problem: String| ContainerError::Record {
        path: path.to_owned(),
        problem,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_RECORD + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > MAX_RECORD {
        return Err(wrong("it is larger than 8 MiB".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
}

fn write_atomic<T: Serialize>(
    directory: &Path,
    name: &str,
    value: &T,
) -> Result<(), ContainerError> {
    let path = directory.join(name);
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        file.write_all(&serde_json::to_vec_pretty(value)?)?;
        file.write_all(b"\n")?;
        file.as_file().sync_data()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| ContainerError::Io {
        doing: "write",
        path: path.clone(),
        source,
    })
}

/// Now, as RFC 3339 with nanoseconds.
pub(super) fn now() -> String {
    humantime::format_rfc3339_nanos(std::time::SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_what_the_processes_say() {
        let this = Process::this();
        let gone = this.clone().map(|process| Process {
            start: process.start + 1,
            ..process
        });
        let state = |supervisor: &Option<Process>, process: &Option<Process>, exit| State {
            supervisor: supervisor.clone(),
            process: process.clone(),
            exit,
            ..State::default()
        };
        for (state, status) in [
            (state(&this, &None, None), Status::Created),
            (state(&this, &this, None), Status::Running),
            (state(&gone, &this, None), Status::Dead),
            (state(&gone, &gone, Some(3)), Status::Exited(3)),
            (state(&this, &gone, Some(0)), Status::Exited(0)),
            (State::default(), Status::Dead),
        ] {
            assert_eq!(state.status(), status);
        }
    }

    #[test]
    fn ids_differ() {
        let (a, b) = (new_id().unwrap(), new_id().unwrap());
        assert_eq!(a.len(), 32);
        assert_ne!(a, b);
    }
}
