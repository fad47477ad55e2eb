//! Running other people's programs: found or named, with a deadline, failing with what they said.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a single command gets before it is killed and the test fails.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// The directories of system tools that an unprivileged user's `PATH` often lacks.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that tell programs which certificates and proxies to use: kept wherever the rest of the
/// environment is cleared, since a build behind a company's proxy fails without them.
const KEPT: &[&str] = &[
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// The absolute path of `name`.
///
/// # Panics
/// When it is not installed, with the command that installs it.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    PATH.split(':')
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!(
                "`{name}` is not installed, and the integration tests need it: run `make test-deps`"
            )
        })
}

/// `program`, run as root: through `sudo` where the tests themselves are not.
pub fn as_root(program: &str) -> Command {
    if is_root() {
        return Command::new(tool(program));
    }
    let mut command = Command::new(tool("sudo"));
    command.arg("--non-interactive").arg(tool(program));
    command
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// `K=V` for every variable that [`KEPT`] names and that is set.
pub fn kept_environment() -> Vec<String> {
    KEPT.iter()
        .filter_map(|name| {
            std::env::var(name)
                .ok()
                .map(|value| format!("{name}={value}"))
        })
        .collect()
}

/// Runs `command` to its end and returns what it printed, whatever its status.
///
/// # Panics
/// When it does not start, or is not done after [`DEADLINE`].
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    output_within(command, DEADLINE)
}

/// As [`output`], with a deadline of one's own.
#[track_caller]
pub fn output_within(command: &mut Command, deadline: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let begin = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().expect("waiting for a child") {
            break status;
        }
        if begin.elapsed() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            // A grandchild may hold the pipes open, so what was printed is left where it is.
            panic!("{command:?} was not done after {deadline:?}");
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    let collect = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Output {
        status,
        stdout: collect(stdout),
        stderr: collect(stderr),
    }
}

/// Runs `command` with this on its standard input, which is short; gives the status and all words.
pub fn with_input(mut command: Command, input: &str) -> (i32, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a program");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("what it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    (output.status.code().unwrap_or(-1), words(&output))
}

/// Runs `command`, which must succeed, and returns its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}",
        output.status,
        words(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard error and then standard output, for messages.
pub fn words(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    )
}

/// What was printed has to have `part` in it.
#[track_caller]
pub fn says(output: &Output, part: &str) {
    let words = words(output);
    assert!(words.contains(part), "`{part}` is missing in:\n{words}");
}

/// Repeats `attempt` until it gives something; `None` after `deadline`.
pub fn poll<T>(deadline: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return Some(result);
        }
        if begin.elapsed() > deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Reads until `marker` is there: what was read, and nothing behind it.
///
/// # Panics
/// When the end comes before.
#[track_caller]
pub fn read_until(from: &mut impl Read, marker: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(marker.as_bytes()) {
        let read = from.read(&mut byte).expect("reading what is printed");
        let so_far = String::from_utf8_lossy(&bytes);
        assert!(read == 1, "`{marker}` is missing in:\n{so_far}");
        bytes.push(byte[0]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}
