//! An application that listens on 127.0.0.1 only: its container answers itself, and nothing else
//! reaches it. Servers that warpdrive starts listen everywhere; a program of the application's own
//! decides for itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::plan::{Plan, Start};
use super::super::progress::StepProgress;
use super::probe::{Listening, listening};

/// The interval between two checks, and the largest number of checks.
const PAUSE: Duration = Duration::from_millis(250);
const LOOKS: u32 = 480;

/// Programs, and the option by which each listens on another address.
const OPTIONS: &[(&str, &str)] = &[
    ("runserver", "0.0.0.0:$PORT behind runserver"),
    ("gunicorn", "--bind 0.0.0.0:$PORT"),
    ("hypercorn", "--bind 0.0.0.0:$PORT"),
    ("daphne", "--bind 0.0.0.0"),
    ("waitress-serve", "--listen=0.0.0.0:$PORT"),
    ("streamlit", "--server.address=0.0.0.0"),
    ("panel", "--address 0.0.0.0"),
    ("http.server", "--bind 0.0.0.0"),
];

/// The warning.
pub(super) fn words(plan: Option<&Plan>, port: u16) -> String {
    let option = match plan.map(|plan| &plan.start) {
        Some(Start::Command { line }) => OPTIONS
            .iter()
            .find(|(program, _)| line.contains(program))
            .map_or("--host 0.0.0.0", |(_, option)| option),
        _ => "host=\"0.0.0.0\" in its program",
    };
    format!(
        "the application listens on 127.0.0.1:{port} only: Docker and Kubernetes can't reach it; let it listen on 0.0.0.0 ({option})"
    )
}

/// Waits until something listens on the port, and warns if it cannot be reached from outside.
pub(super) fn watch(plan: &Plan, port: u16, ended: &AtomicBool, progress: &dyn StepProgress) {
    for _ in 0..LOOKS {
        std::thread::sleep(PAUSE);
        if ended.load(Ordering::Relaxed) {
            return;
        }
        match listening(port) {
            Listening::Nowhere => {}
            Listening::Anywhere => return,
            Listening::OnLoopback => {
                progress.warn(&words(Some(plan), port));
                return;
            }
        }
    }
}
