//! Explains in the container's log why a server ended right after its start, or could not start. The
//! server's own output is above it. The application is imported once more by itself, because each
//! server reports an import error in a different way.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::adding::Adding;
use super::super::advice::Advice;
use super::super::plan::{Plan, Start};
use super::super::remedy::Cause;
use super::environment::Environment;
use super::error::RunError;

/// A server that ran longer has imported its application.
pub(super) const EARLY: Duration = Duration::from_mins(1);
/// Longest time for the import.
const IMPORT: Duration = Duration::from_secs(20);
/// Lines of the traceback that are repeated.
const TAIL: usize = 12;

/// Refuses to start a server that could not listen: servers report this late, or retry for a while.
pub(super) fn check_port(plan: &Plan, port: u16) -> Result<(), RunError> {
    if plan.server().is_none() {
        return Ok(());
    }
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(RunError::PortInUse { port })
        }
        // The server reports any other problem itself.
        _ => Ok(()),
    }
}

/// The possible cause of a server's early end; nothing if its application can be imported.
pub(super) fn explain(plan: &Plan, environment: &Environment, status: u8) -> Option<Advice> {
    let Start::Server {
        server,
        application: Some(application),
    } = &plan.start
    else {
        return None;
    };
    let text = failed_import(&application.module, environment)?;
    let advice = Advice::new(format!(
        "{server} ended with status {status}: {} cannot be imported",
        application.module
    ));
    Some(hints(advice, &text, plan.adding))
}

/// The traceback of the import, if it fails.
fn failed_import(module: &str, environment: &Environment) -> Option<String> {
    let mut command = Command::new(environment.roots.python());
    command
        .args([
            "-c",
            "import importlib, sys; importlib.import_module(sys.argv[1])",
        ])
        .arg(module)
        .current_dir(&environment.app_home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    environment.give_to(&mut command);
    let mut child = command.spawn().ok()?;
    let begun = Instant::now();
    let failed = loop {
        match child.try_wait() {
            Ok(Some(status)) => break !status.success(),
            Ok(None) if begun.elapsed() < IMPORT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    // Only read what is in the pipe now: a program that the import started may keep it open.
    let stderr = child.stderr.take()?;
    rustix::io::ioctl_fionbio(&stderr, true).ok()?;
    let mut bytes = Vec::new();
    let _ = stderr.take(1 << 20).read_to_end(&mut bytes);
    failed.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// The possible cause why a server with this output does not serve, from the last traceback in
/// it.
#[cfg(feature = "host")]
pub fn of_log(title: String, log: &str, adding: Adding) -> Option<Advice> {
    let start = log.rfind("Traceback (most recent call last):")?;
    let mut traceback = String::new();
    for line in log[start..].lines() {
        traceback.push_str(line);
        traceback.push('\n');
        // The message is the first line that is not indented.
        if !line.starts_with([' ', '\t']) && !line.starts_with("Traceback") {
            break;
        }
    }
    Some(hints(Advice::new(title), &traceback, adding))
}

/// The likely cause by the last line of a traceback, and what to do.
fn hints(advice: Advice, traceback: &str, adding: Adding) -> Advice {
    let lines: Vec<&str> = traceback.lines().map(str::trim_end).collect();
    let advice = match Cause::of(traceback) {
        Cause::Variables(names) => {
            let names = names.join(", ");
            advice
                .cause(format!(
                    "It reads what the environment does not have: {names}."
                ))
                .remedy(format!(
                    "give it to the container: warpdrive run -e {names}=…"
                ))
        }
        cause => cause.explain(advice, &[], adding),
    };
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.is_empty()).collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(TAIL));
    advice.tail(tail.map(|line| (*line).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "host")]
    fn the_last_traceback_of_a_log_says_the_cause() {
        let log = "Traceback (most recent call last):\n  File \"a\"\nKeyError: 'OLD'\nbooting\n\
            Traceback (most recent call last):\n  File \"a\"\n    import yaml\n\
            ModuleNotFoundError: No module named 'yaml'\n[INFO] Worker exiting\n";
        let advice = of_log("x".into(), log, Adding::Poetry).unwrap();
        assert!(advice.causes[0].contains("yaml"), "{advice}");
        let poetry = "run `poetry add PyYAML` and commit what it writes";
        assert_eq!(advice.remedies, [poetry]);
        assert_eq!(advice.tail.len(), 4, "{advice}");
        assert_eq!(of_log("x".into(), "all is well\n", Adding::List), None);
    }

    #[test]
    fn likely_causes() {
        for (last, cause) in [
            (
                "ModuleNotFoundError: No module named 'pkg_resources'",
                "setuptools<82",
            ),
            (
                "ModuleNotFoundError: No module named 'yaml'",
                "yaml is neither",
            ),
            (
                "ImportError: libpq.so.5: cannot open shared object file: No such file or directory",
                "libpq.so.5 is not in the image",
            ),
            (
                "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
                "does not have: SECRET_KEY",
            ),
            ("KeyError: 'DATABASE_URL'", "DATABASE_URL"),
        ] {
            let text = format!("Traceback (most recent call last):\n  File \"x\"\n{last}\n");
            let advice = hints(Advice::new("x"), &text, Adding::default());
            assert!(advice.to_string().contains(cause), "{advice}");
            assert!(!advice.causes.is_empty(), "{advice}");
            assert!(!advice.remedies.is_empty(), "{advice}");
            assert_eq!(advice.tail.last().map(String::as_str), Some(last));
        }
        assert!(
            hints(Advice::new("x"), "boom\n", Adding::default())
                .causes
                .is_empty()
        );
    }
}
