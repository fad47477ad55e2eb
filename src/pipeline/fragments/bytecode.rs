//! Byte-code of what is to be shared: the base image's Python compiles it in a sandbox where nothing of
//! any package is to be found; in a build without a sandbox, a Python of this machine of the same minor version.
//! Sources go in through a pipe, and we write what comes out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::app::assemble::compiler::{
    self, Check, Sources, Unkept, VARIABLES, arguments, converse,
};
use crate::builder::APP_ROOT;
use crate::layer;
use crate::progress::{Progress, Unit};
use crate::sandbox::{Exit, Io, Network, Spec, Stream};

use super::super::assemble::{self, Stage};
use super::super::error::BuildError;
use super::super::network::Code;
use super::super::place::{Place, Reach};
use super::super::sandbox_inputs::SandboxInputs;
use super::super::tally::Tally;
use super::super::without_sandbox::Interpreter;
use super::InstallInputs;
use super::tree::Tree;

/// Compiles what these trees have below `site`, a path from their root; false where the interpreter
/// failed.
pub(super) fn compile(
    inputs: InstallInputs<'_>,
    trees: &[Tree],
    site: &Path,
    progress: &dyn Progress,
) -> Result<bool, BuildError> {
    let mut files: Vec<Source<'_>> = Vec::new();
    for tree in trees {
        for (path, size) in tree.files() {
            let is_compiled = path.strip_prefix(site).is_ok_and(compiler::is_compiled);
            if is_compiled && !compiler::is_of_a_test_suite(path) {
                files.push(Source {
                    inside: Path::new("/").join(path),
                    path,
                    size: *size,
                    tree,
                });
            }
        }
    }
    // The largest first: no interpreter is left with one when the others are done.
    files.sort_by(|a, b| (b.size, &b.inside).cmp(&(a.size, &a.inside)));
    let limits = &inputs.context.request.limits;
    let interpreters = if limits.memory.is_some() || limits.cpus.is_some() {
        1
    } else {
        layer::threads()
    };
    let interpreters = interpreters.min(files.len());
    let ahead = compiler::ahead(files.len(), interpreters);
    let compiled = Tally::new(progress, "compiling", files.len(), Unit::Things);
    let next = AtomicUsize::new(0);
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let is_one = number < files.len();
        if is_one {
            compiled.add(1);
        }
        is_one.then_some(number)
    };
    if let Some(here) = inputs.here {
        return compile_here(&here.interpreter, &files, &take, interpreters);
    }
    let spec = spec(inputs)?;
    let place = &inputs.context.request.place;
    let sources = Files(&files);
    thread::scope(|scope| {
        let running: Vec<_> = (0..interpreters)
            .map(|_| scope.spawn(|| interpret(place, &spec, &sources, &take, ahead)))
            .collect();
        running.into_iter().try_fold(true, |good, worker| {
            let one = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            one.map(|one| good && one)
        })
    })
}

/// The same by interpreters of this machine.
fn compile_here(
    interpreter: &Interpreter,
    files: &[Source<'_>],
    take: &(dyn Fn() -> Option<usize> + Sync),
    interpreters: usize,
) -> Result<bool, BuildError> {
    let ahead = compiler::ahead(files.len(), interpreters);
    let sources = Files(files);
    thread::scope(|scope| {
        let compile = || interpreter.compile(Check::Unchecked, &sources, take, ahead);
        let running: Vec<_> = (0..interpreters).map(|_| scope.spawn(compile)).collect();
        for worker in running {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(true)
    })
}

/// A sandbox with the base image alone: no package, no cache, no installer, no network, and nothing
/// that can be written.
fn spec(inputs: InstallInputs<'_>) -> Result<Spec, BuildError> {
    let python = format!("{APP_ROOT}/bin/python");
    let stage = Stage {
        command: std::iter::once(python.as_str())
            .chain(arguments(Check::Unchecked))
            .map(str::to_owned)
            .collect(),
        cwd: "/".into(),
        lowers: inputs.base.lowers(inputs.context.store)?,
        upper: None,
        mounts: Vec::new(),
        env: VARIABLES
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        code: Code::Ours,
    };
    let sandbox = SandboxInputs::of_shared_stage(inputs.context.request);
    let mut spec = assemble::spec(stage, &sandbox);
    spec.network = Network::None;
    Ok(spec)
}

/// One interpreter, for as long as there is something to compile.
fn interpret(
    place: &Place,
    spec: &Spec,
    sources: &Files<'_>,
    take: &(dyn Fn() -> Option<usize> + Sync),
    ahead: usize,
) -> Result<bool, BuildError> {
    let io = Io::Streams {
        stdin: Stream::Piped,
        stdout: Stream::Piped,
        stderr: Stream::Null,
    };
    let mut started = place.start(spec, io, &Reach::Ports(Vec::new()))?;
    let sandbox = &mut started.sandbox;
    let streams = sandbox.take_stdin().zip(sandbox.take_stdout());
    let (exit, kept) = thread::scope(|scope| {
        let talk = scope.spawn(move || {
            streams.map_or(Ok(()), |(stdin, stdout)| {
                converse(stdin, stdout, sources, take, ahead)
            })
        });
        let exit = sandbox.wait();
        let kept = talk
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (exit, kept)
    });
    let exit = exit?;
    if exit == Exit::Interrupted {
        return Err(BuildError::Interrupted);
    }
    match kept {
        Err(Unkept::Unread(path, source)) => Err(BuildError::Read { path, source }),
        Err(Unkept::Unwritten(path, source)) => Err(BuildError::Write { path, source }),
        Err(Unkept::Lost(error)) => {
            tracing::debug!(%error, ?exit, "the interpreter failed");
            Ok(false)
        }
        Ok(()) => Ok(exit == Exit::Code(0)),
    }
}

/// A file to be compiled.
struct Source<'t> {
    /// Where it is in the image.
    inside: PathBuf,
    /// The same from the tree's root.
    path: &'t Path,
    size: u64,
    tree: &'t Tree,
}

struct Files<'t>(&'t [Source<'t>]);

impl Files<'_> {
    fn file(&self, number: usize) -> io::Result<&Source<'_>> {
        self.0
            .get(number)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Sources for Files<'_> {
    fn path(&self, number: usize) -> &Path {
        self.0
            .get(number)
            .map_or(Path::new(""), |file| &file.inside)
    }

    fn read(&self, number: usize) -> io::Result<Vec<u8>> {
        let file = self.file(number)?;
        std::fs::read(file.tree.place().join(file.path))
    }

    fn keep(&self, number: usize, tag: &[u8], code: &[u8]) -> io::Result<()> {
        let file = self.file(number)?;
        file.tree.add(&compiler::place(file.path, tag), code)
    }
}
