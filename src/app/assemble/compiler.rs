//! Speaks with an interpreter that runs `compile.py`: sources go in, byte-code in its normal form comes
//! out. The caller decides where the interpreter runs and where the files are.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::marshal::{Layout, normalize};

const SCRIPT: &str = include_str!("compile.py");

/// Magic number, flags and the hash of the source (PEP 552).
const HEADER: usize = 16;

const BUFFER: usize = 256 * 1024;

/// Most files that an interpreter is given beside the one that it compiles.
const AHEAD: usize = 8;

/// All the variables that the interpreter has.
pub const VARIABLES: [(&str, &str); 5] = [
    ("PYTHONHASHSEED", "0"),
    ("LC_ALL", "C.UTF-8"),
    // glibc should not give memory back between two files.
    ("MALLOC_TOP_PAD_", "67108864"),
    ("MALLOC_TRIM_THRESHOLD_", "268435456"),
    ("MALLOC_MMAP_THRESHOLD_", "268435456"),
];

/// How Python decides whether byte code is valid (PEP 552).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Unchecked,
    Checked,
}

/// The arguments of an interpreter. No directory of packages is on its path (`-S -s`, no variable), and
/// it reads none: every source is passed to it.
pub fn arguments(check: Check) -> [&'static str; 6] {
    let check = match check {
        Check::Unchecked => "unchecked",
        Check::Checked => "checked",
    };
    ["-S", "-s", "-B", "-c", SCRIPT, check]
}

/// Lets an interpreter of this machine compile the files that `take` names. Returns the result, and
/// how the interpreter ended.
///
/// # Errors
/// If it could not be started.
pub fn run(
    python: &Path,
    (check, stderr): (Check, Stdio),
    sources: &dyn Sources,
    take: &(dyn Fn() -> Option<usize> + Sync),
    ahead: usize,
) -> io::Result<(Result<(), Unkept>, ExitStatus)> {
    let mut child = Command::new(python)
        .args(arguments(check))
        .env_clear()
        .envs(VARIABLES)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()?;
    let streams = child.stdin.take().zip(child.stdout.take());
    let kept = streams.map_or(Ok(()), |(stdin, stdout)| {
        converse(stdin, stdout, sources, take, ahead)
    });
    Ok((kept, child.wait()?))
}

/// Whether a package has it for its own tests.
pub fn is_of_a_test_suite(path: &Path) -> bool {
    let mut names = path.iter().skip_while(|name| *name != "site-packages");
    names.any(|name| name == "tests")
}

/// Whether Python would import it from here: its path has no hidden directory, no `node_modules`
/// and no `__pycache__`. `path` is relative to the directory of packages.
pub fn is_compiled(path: &Path) -> bool {
    let is_source = path.extension().is_some_and(|extension| extension == "py");
    is_source
        && path.parent().is_some_and(|parent| {
            parent.iter().all(|name| {
                let hidden = name.as_bytes().starts_with(b".");
                !hidden && name != "node_modules" && name != "__pycache__"
            })
        })
}

/// How many files an interpreter gets ahead, for this number of files and interpreters: fewer if
/// there are few files.
pub fn ahead(files: usize, interpreters: usize) -> usize {
    (files / (4 * interpreters.max(1))).clamp(1, AHEAD)
}

/// The files that are compiled, by number.
pub trait Sources: Sync {
    /// The file name that the code object records.
    fn path(&self, number: usize) -> &Path;
    fn read(&self, number: usize) -> io::Result<Vec<u8>>;
    /// Takes the byte-code; [`place`] says where it belongs.
    fn keep(&self, number: usize, tag: &[u8], code: &[u8]) -> io::Result<()>;
}

/// Where the byte-code of a source belongs: `__pycache__/x.TAG.pyc` beside it (PEP 3147).
pub fn place(source: &Path, tag: &[u8]) -> PathBuf {
    let mut name = source.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(std::ffi::OsStr::from_bytes(tag));
    name.push(".pyc");
    source.with_file_name("__pycache__").join(name)
}

/// Why byte-code could not be made.
#[derive(Debug)]
pub enum Unkept {
    /// The connection to the interpreter failed.
    Lost(io::Error),
    Unread(PathBuf, io::Error),
    Unwritten(PathBuf, io::Error),
}

/// Gives the sources that `take` names to an interpreter, this number ahead, and keeps the
/// byte-code.
///
/// # Errors
/// The first source that could not be read, or whose byte-code could not be kept; else that the
/// interpreter ended too early.
pub fn converse(
    stdin: impl Write + Send,
    stdout: impl Read,
    sources: &dyn Sources,
    take: &(dyn Fn() -> Option<usize> + Sync),
    ahead: usize,
) -> Result<(), Unkept> {
    let (send, given) = sync_channel(ahead);
    thread::scope(|scope| {
        let giving = scope.spawn(move || give(stdin, sources, take, &send));
        let heard = hear(stdout, sources, &given);
        // Then nothing more is given.
        drop(given);
        let gave = giving
            .join()
            .unwrap_or_else(|_| Err(Unkept::Lost(io::ErrorKind::Other.into())));
        match (gave, heard) {
            // Then its end is expected.
            (Err(error @ (Unkept::Unread(..) | Unkept::Unwritten(..))), _) => Err(error),
            (gave, heard) => heard.and(gave),
        }
    })
}

fn give(
    stdin: impl Write,
    sources: &dyn Sources,
    take: &(dyn Fn() -> Option<usize> + Sync),
    given: &SyncSender<usize>,
) -> Result<(), Unkept> {
    let mut stdin = BufWriter::with_capacity(BUFFER, stdin);
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len())
            .map(u32::to_le_bytes)
            .map_err(|_| io::ErrorKind::FileTooLarge.into())
    };
    while let Some(number) = take() {
        let path = sources.path(number);
        let unread = |error| Unkept::Unread(path.to_owned(), error);
        let content = sources.read(number).map_err(unread)?;
        let name = path.as_os_str().as_bytes();
        let lengths = [
            length(name).map_err(unread)?,
            length(&content).map_err(unread)?,
        ];
        if given.send(number).is_err() {
            // The other half has ended, and says why.
            return Ok(());
        }
        let mut write = || {
            stdin.write_all(&lengths.concat())?;
            stdin.write_all(name)?;
            stdin.write_all(&content)?;
            stdin.flush()
        };
        write().map_err(Unkept::Lost)?;
    }
    Ok(())
}

fn hear(stdout: impl Read, sources: &dyn Sources, given: &Receiver<usize>) -> Result<(), Unkept> {
    let mut said = BufReader::with_capacity(BUFFER, stdout);
    let mut start = [0; 2];
    said.read_exact(&mut start).map_err(Unkept::Lost)?;
    let layout = Layout::of(start[0]);
    let mut tag = vec![0; start[1].into()];
    said.read_exact(&mut tag).map_err(Unkept::Lost)?;
    // It becomes part of a file's name.
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    if !tag.iter().all(harmless) {
        return Err(Unkept::Lost(io::ErrorKind::InvalidData.into()));
    }
    let mut code = Vec::new();
    for number in given {
        let mut length = [0; 4];
        said.read_exact(&mut length).map_err(Unkept::Lost)?;
        let length = u32::from_le_bytes(length);
        code.clear();
        let read = said.by_ref().take(length.into()).read_to_end(&mut code);
        if read.map_err(Unkept::Lost)? < length as usize {
            return Err(Unkept::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        if length == 0 {
            continue;
        }
        if let (Some(layout), Some(code)) = (layout, code.get_mut(HEADER..)) {
            // What it cannot read is still good byte-code.
            normalize(code, layout);
        }
        let kept = sources.keep(number, &tag, &code);
        kept.map_err(|error| Unkept::Unwritten(sources.path(number).to_owned(), error))?;
    }
    Ok(())
}
