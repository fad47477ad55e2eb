//! Runs one phase of the builder's `assemble` in a sandbox, and shows what it prints.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::app::advice::is_block;
use crate::app::contract::{Phase, SCRIPTS};
use crate::builder::{APP_GID, APP_ROOT, APP_UID, contents};
use crate::progress::{Progress, printable};
use crate::sandbox::{Exit, Mount, Root, Sandbox, Spec, Upper};

use super::environment;
use super::error::BuildError;
use super::lacking;
use super::network::{self, Code};
use super::sandbox_inputs::SandboxInputs;
use super::secrets::Redactor;

/// Number of lines that are repeated below an error.
const TAIL: usize = 60;
/// Longest line that is shown, in bytes.
const MAX_LINE: u64 = 16 * 1024;

/// The root file system of a phase.
pub(super) struct Stage {
    pub(super) command: Vec<String>,
    pub(super) cwd: PathBuf,
    /// The uppermost first.
    pub(super) lowers: Vec<PathBuf>,
    /// Without one, the root is read-only.
    pub(super) upper: Option<Upper>,
    pub(super) mounts: Vec<Mount>,
    pub(super) env: Vec<(String, String)>,
    pub(super) code: Code,
}

/// How a phase ended, with its last lines.
pub(super) struct PhaseEnd {
    pub(super) exit: Exit,
    pub(super) tail: Vec<String>,
}

impl Stage {
    /// `/opt/app-root/s2i/bin/assemble`, with the source in place.
    pub(super) fn assemble(
        lowers: Vec<PathBuf>,
        upper: Upper,
        mounts: Vec<Mount>,
        env: Vec<(String, String)>,
        code: Code,
    ) -> Self {
        Self {
            command: vec![format!("{SCRIPTS}/assemble")],
            cwd: format!("{APP_ROOT}/src").into(),
            lowers,
            upper: Some(upper),
            mounts,
            env,
            code,
        }
    }
}

/// Runs the command and shows what it prints.
pub(super) fn run(
    stage: Stage,
    inputs: &SandboxInputs,
    progress: &dyn Progress,
) -> Result<PhaseEnd, BuildError> {
    let code = stage.code;
    let mut started = network::start(
        spec(stage, inputs),
        code,
        &environment::indexes_and_proxies(inputs),
        &inputs.place,
        progress,
    )?;
    let outcome = attend(&mut started.sandbox, &inputs.redactor, progress)?;
    started.settle()?;
    Ok(outcome)
}

/// The sandbox of a stage.
pub(super) fn spec(stage: Stage, inputs: &SandboxInputs) -> Spec {
    Spec {
        root: Root {
            lowers: stage.lowers,
            writable_only: stage.upper.is_some().then(|| vec![APP_ROOT.into()]),
            upper: stage.upper,
        },
        mounts: stage.mounts,
        network: inputs.network,
        host_services: Vec::new(),
        hostname: "warpdrive".into(),
        command: stage.command,
        env: stage.env,
        cwd: stage.cwd,
        uid: APP_UID,
        gid: APP_GID,
        groups: Vec::new(),
        capabilities: Vec::new(),
        umask: 0o002,
        init: true,
        volatile: true,
        limits: inputs.limits.clone(),
        #[cfg(debug_assertions)]
        without: Vec::new(),
    }
}

/// Waits for the end of a command. Meanwhile shows the output on those of its streams that no
/// other code has taken.
pub(super) fn attend(
    sandbox: &mut Sandbox,
    redactor: &Redactor,
    progress: &dyn Progress,
) -> Result<PhaseEnd, BuildError> {
    let tail = Mutex::new(VecDeque::with_capacity(TAIL));
    let held: Mutex<Vec<String>> = Mutex::new(Vec::new());
    for note in sandbox.notes() {
        progress.warning(note);
    }
    let stdout = sandbox.take_stdout();
    let stderr = sandbox.take_stderr();
    let show = |line: &str| {
        let line = redactor.clean(line);
        // A block at the end belongs to an error, and is shown with it.
        if let Ok(mut held) = held.lock() {
            if !is_block(&line) {
                for line in held.drain(..) {
                    progress.output(&line);
                }
                progress.output(&line);
            } else if held.len() < TAIL {
                held.push(line.clone());
            }
        }
        if let Ok(mut tail) = tail.lock() {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    };
    let show = &show;
    let exit = std::thread::scope(|scope| {
        if let Some(stdout) = stdout {
            scope.spawn(move || lines(stdout, show));
        }
        if let Some(stderr) = stderr {
            scope.spawn(move || lines(stderr, show));
        }
        sandbox.wait()
    })?;
    if exit == Exit::Code(0) {
        for line in held.into_inner().unwrap_or_default() {
            progress.output(&line);
        }
    }
    if exit == Exit::Interrupted {
        return Err(BuildError::Interrupted);
    }
    Ok(PhaseEnd {
        exit,
        tail: tail.into_inner().map(Vec::from).unwrap_or_default(),
    })
}

/// The error of a phase that did not end with status 0.
/// `image`: the layers of the image that it was built on.
pub(super) fn failure(
    phase: Phase,
    outcome: PhaseEnd,
    inputs: &SandboxInputs,
    image: &[PathBuf],
) -> BuildError {
    let suite = contents::suite(image);
    BuildError::Assemble {
        lacking: suite.and_then(|suite| lacking::of(&outcome.tail, &suite)),
        withheld: environment::withheld(inputs),
        phase: phase.name(),
        exit: outcome.exit,
        tail: outcome.tail,
    }
}

/// Calls `show` for every line, however long, whatever its bytes.
fn lines(stream: impl Read, show: &dyn Fn(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                show(&printable(&text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_shown_line_by_line_without_control_characters() {
        let shown = Mutex::new(Vec::new());
        lines(&b"one\r\ntwo\x00\x07\xff\nend"[..], &|line: &str| {
            shown.lock().unwrap().push(line.to_owned());
        });
        assert_eq!(shown.into_inner().unwrap(), ["one", "two\u{fffd}", "end"]);
    }
}
