//! `-d`: a supervisor process that continues after the command line and its terminal have ended.
//!
//! The command line starts this same executable again, in the user namespace it is in, with the
//! hidden command `container supervise`:
//!
//! ```text
//!  command line                       supervisor (own session, no terminal)
//!    │ stdin: one JSON document ────────► Start { id, spec }
//!    │ stdout: one JSON document ◄─────── Answer: the ports once the command runs, or why not
//!    ▼ prints the id, exits               holds the container to its end
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ContainerError;
use super::attach::Attach;
use super::ports::PortMapping;
use super::prepare::Prepared;
use super::record::Record;
use super::session::io_failed;
use crate::sandbox::Spec;
use crate::store::Store;

/// Largest document that either side reads, in bytes.
const MAX_DOCUMENT: u64 = 32 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Start {
    id: String,
    spec: Spec,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Running {
        ports: Vec<PortMapping>,
        notes: Vec<String>,
    },
    Failed {
        code: String,
        message: String,
        hint: Option<String>,
        status: u8,
    },
}

/// A container that runs.
#[derive(Debug, Clone)]
pub struct Started {
    /// The ports in use; a free one was chosen where none was given.
    pub ports: Vec<PortMapping>,
    /// What the user may want to know: no outbound network, for example.
    pub notes: Vec<String>,
}

/// Starts a supervisor for a prepared container; returns when the command runs.
pub fn start(store: &Store, prepared: &Prepared) -> Result<Started, ContainerError> {
    let ran = |record: &Record| record.state().is_ok_and(|state| state.started.is_some());
    let before = ran(&prepared.record);
    let answer = exchange(store, prepared);
    if answer.is_err() && !before {
        // The supervisor does this too, unless it was killed.
        let _ = prepared.record.remove(store);
    }
    answer
}

fn exchange(store: &Store, prepared: &Prepared) -> Result<Started, ContainerError> {
    let record = &prepared.record;
    let words = record.directory().join("supervisor");
    let failed = |error| io_failed("start the container's supervisor", error);
    let errors = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&words)
        .map_err(failed)?;
    let mut child = Command::new("/proc/self/exe")
        .arg("--store")
        .arg(store.root())
        .args(["container", "supervise"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .map_err(failed)?;
    let start = serde_json::to_vec(&Start {
        id: record.config.id.clone(),
        spec: prepared.spec.clone(),
    })
    .map_err(|error| failed(error.into()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A supervisor that ended early gives the reason in its answer or in its last output.
        let _ = stdin.write_all(&start);
    }
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
    }
    match serde_json::from_slice(&bytes) {
        Ok(Answer::Running { ports, notes }) => Ok(Started { ports, notes }),
        Ok(Answer::Failed {
            code,
            message,
            hint,
            status,
        }) => {
            let _ = child.wait();
            Err(ContainerError::Supervisor {
                code,
                message,
                hint,
                status,
            })
        }
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(ContainerError::Supervisor {
                code: "container".to_owned(),
                message: format!(
                    "the container's supervisor ended before the command ran{}",
                    last_words(&words)
                ),
                hint: None,
                status: 125,
            })
        }
    }
}

fn last_words(path: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes));
    match String::from_utf8_lossy(&bytes).trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// The supervisor itself, for `container supervise`. Returns the container's exit status.
pub fn supervise(store: &Store) -> Result<i32, ContainerError> {
    let ran = read_start().and_then(|start| {
        // This cannot fail: a new child is not the leader of a process group.
        let _ = rustix::process::setsid();
        let record = Record::load(store, &start.id)?;
        silence(Silenced::Stdin);
        let attach = Attach {
            foreground: false,
            interactive: false,
            folded: false,
            patience: Duration::ZERO,
        };
        super::supervise::run(store, &record, &start.spec, attach, &mut |ports, notes| {
            answer(&Answer::Running {
                ports: ports.to_vec(),
                notes: notes.to_vec(),
            });
            silence(Silenced::Stdout);
        })
    });
    if let Err(error) = &ran {
        answer(&Answer::Failed {
            code: error.code().to_owned(),
            message: error.to_string(),
            hint: error.hint(),
            status: error.status(),
        });
    }
    ran
}

fn read_start() -> Result<Start, ContainerError> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(MAX_DOCUMENT)
        .read_to_end(&mut bytes)
        .map_err(|error| io_failed("read what to supervise", error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| io_failed("read what to supervise", error.into()))
}

/// The command line may have ended; then the answer is lost, which does not matter.
fn answer(answer: &Answer) {
    if let Ok(bytes) = serde_json::to_vec(answer) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
    }
}

#[derive(Clone, Copy)]
enum Silenced {
    Stdin,
    Stdout,
}

/// Replaces a standard stream by /dev/null, which closes the pipe to the command line.
fn silence(stream: Silenced) {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    if let Ok(null) = null {
        let _ = match stream {
            Silenced::Stdin => rustix::stdio::dup2_stdin(&null),
            Silenced::Stdout => rustix::stdio::dup2_stdout(&null),
        };
    }
}
