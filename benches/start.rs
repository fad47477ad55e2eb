//! What `warpdrive start` costs before the server runs, and what it holds while it does.
//!
//! `cargo bench --bench start` measures the executable that images have (in the profile of
//! `cargo bench`, or by `--profile dev` an unoptimised one): the time from a program's start to its
//! first instruction's output, by itself and through `warpdrive start`, in turns; and the memory of
//! the parent that stays as process 1. Aims: 20 ms and 15 MB.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TOOL: &str = env!("WARPDRIVE_APP_TOOL_PATH");
const ROUNDS: usize = 100;

/// Says that it runs, and stays until its standard input ends.
const SERVER: &str = "#!/bin/sh\necho up\nread line\n";

fn main() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let home = root.join("src");
    fs::create_dir_all(home.join(".warpdrive"))?;
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("etc/warpdrive"))?;
    let plan = r#"{"version":1,"installer":"uv","home":"","start":{"mode":"server","server":"gunicorn",
        "application":{"module":"wsgi","object":"application","interface":"wsgi"}}}"#;
    fs::write(root.join("etc/warpdrive/plan.json"), plan)?;
    let server = root.join("bin/gunicorn");
    fs::write(&server, SERVER)?;
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755))?;
    compare(root, &server, "no file of variables")?;
    let variables = "A=1\nB=\"$A 2\"\nC=${D:-3}\n";
    fs::write(home.join(".warpdrive/environment"), variables)?;
    compare(
        root,
        &server,
        "with .warpdrive/environment, which a shell reads",
    )?;
    memory(root)
}

fn start(root: &Path) -> Command {
    let mut command = Command::new(TOOL);
    command.arg("start").current_dir(root.join("src"));
    command
        .env("WARPDRIVE_APP_ROOT", root)
        .env("TMPDIR", root)
        .stderr(Stdio::null());
    command
}

fn compare(root: &Path, server: &Path, words: &str) -> io::Result<()> {
    let (mut bare, mut through) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(time(&mut Command::new(server))?);
        through.push(time(&mut start(root))?);
    }
    let (bare, through) = (median(bare), median(through));
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{words}: bare {:.1} ms, start {:.1} ms, difference {:.1} ms",
        milliseconds(bare),
        milliseconds(through),
        milliseconds(through) - milliseconds(bare)
    )
}

/// From its start until it says that it runs.
fn time(command: &mut Command) -> io::Result<Duration> {
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = [0; 3];
    if let Some(stdout) = &mut child.stdout {
        stdout.read_exact(&mut word)?;
    }
    let took = begin.elapsed();
    drop(child.stdin.take());
    child.wait()?;
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// As process 1 of a namespace, where it stays: its own resident memory, by its own account.
fn memory(root: &Path) -> io::Result<()> {
    let script = "#!/bin/sh\ngrep -E '^(VmHWM|RssAnon):' /proc/1/status\n";
    fs::write(root.join("bin/gunicorn"), script)?;
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
    ]);
    command.args([TOOL, "start"]).current_dir(root.join("src"));
    let output = command
        .env("WARPDRIVE_APP_ROOT", root)
        .env("TMPDIR", root)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut out = io::stdout().lock();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        writeln!(out, "process 1: {}", words.join(" "))?;
    }
    Ok(())
}
