//! Shows progress: the build's lines and the apps' output as they come, transfers as a bar on a
//! terminal and as plain lines with bytes and rates otherwise.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

use super::printer::{Printer, human_size, line};

/// How often a transfer is mentioned where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Progress for people, on stderr.
pub(super) struct Console<'a> {
    printer: &'a Printer,
    bars: Option<MultiProgress>,
    transfers: Mutex<HashMap<String, Transfer>>,
}

struct Transfer {
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
}

impl<'a> Console<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        let live = !printer.is_quiet() && std::io::stderr().is_terminal();
        Self {
            printer,
            bars: live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            transfers: Mutex::new(HashMap::new()),
        }
    }

    /// Prints beside the bars.
    fn print(&self, print: impl FnOnce()) {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

impl Progress for Console<'_> {
    fn step(&self, line: &str) {
        self.print(|| self.printer.step(line));
    }

    fn warning(&self, text: &str) {
        self.print(|| self.printer.warning(text));
    }

    fn output(&self, line: &str) {
        self.print(|| self.printer.output(line));
    }

    fn moved(&self, what: &str, done: u64, total: Option<u64>) {
        let Ok(mut transfers) = self.transfers.lock() else {
            return;
        };
        let finished = total.is_some_and(|total| done >= total);
        let transfer = transfers
            .entry(what.to_owned())
            .or_insert_with(|| Transfer {
                bar: self.bars.as_ref().map(|bars| {
                    let bar = bars.add(ProgressBar::new(total.unwrap_or(0)));
                    let style = "{msg:28!} {bar:24} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                    if let Ok(style) = ProgressStyle::with_template(style) {
                        bar.set_style(style);
                    }
                    bar.with_message(line(what))
                }),
                started: Instant::now(),
                said: Instant::now(),
            });
        if let Some(bar) = &transfer.bar {
            bar.set_position(done);
            if finished {
                bar.finish_and_clear();
            }
        } else if finished || transfer.said.elapsed() >= PLAIN_EVERY {
            transfer.said = Instant::now();
            self.printer
                .progress(plain(what, done, total, transfer.started.elapsed()));
        }
        if finished {
            transfers.remove(what);
        }
    }
}

/// `layer 3f0c…: 12.0 MB of 34.2 MB, 5.1 MB/s`
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rate for people"
)]
fn plain(what: &str, done: u64, total: Option<u64>, took: Duration) -> String {
    let rate = (done as f64 / took.as_secs_f64().max(0.001)) as u64;
    let of = total.map_or_else(String::new, |total| format!(" of {}", human_size(total)));
    format!(
        "       {what}: {}{of}, {}/s",
        human_size(done),
        human_size(rate)
    )
}
