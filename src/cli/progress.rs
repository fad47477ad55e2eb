//! Shows progress: the build's lines and the apps' output as they come, transfers and counts as bars on
//! a terminal and as plain lines with the same facts otherwise. A long step shows that it continues:
//! with a clock on a terminal, with a line from time to time elsewhere.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::{Progress, Unit};

use super::printer::{Printer, human_size, is_drawn_on, line};

/// How often a transfer is reported without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// When a silent step is reported without a terminal: after this time, and again whenever the time
/// has doubled.
const STILL_AFTER: Duration = Duration::from_secs(15);

const BYTES: &str =
    "{msg:20!} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
const UNKNOWN_BYTES: &str = "{msg:20!} {decimal_bytes} {decimal_bytes_per_sec}";
const COUNT: &str = "{msg:20!} {wide_bar} {pos}/{len} {eta}";
const CLOCK: &str = "{spinner} {wide_msg} {elapsed}";

/// Progress for people, on stderr.
pub(super) struct Console<'a> {
    printer: &'a Printer,
    bars: Option<MultiProgress>,
    transfers: Mutex<HashMap<String, Transfer>>,
    /// The step that runs, on a terminal.
    clock: Mutex<Option<ProgressBar>>,
    /// The same elsewhere.
    still: Option<Still>,
}

struct Transfer {
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
}

/// How something is shown.
#[derive(Clone, Copy)]
struct Shown {
    template: &'static str,
    /// Where there is no terminal, its end is worth a line only if it has had one before.
    passing: bool,
}

impl<'a> Console<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        let live = !printer.is_quiet() && is_drawn_on();
        let bars = live.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        if let Some(bars) = &bars {
            printer.print_beside(bars.clone());
        }
        Self {
            printer,
            still: (!live && !printer.is_quiet()).then(Still::watch),
            bars,
            transfers: Mutex::new(HashMap::new()),
            clock: Mutex::new(None),
        }
    }

    fn bar(&self, template: &str, total: u64, what: &str) -> Option<ProgressBar> {
        let bars = self.bars.as_ref()?;
        let bar = bars.add(ProgressBar::new(total));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Some(bar.with_message(line(what)))
    }

    /// Shows the progress of an item, and forgets it when it is finished.
    fn advance(
        &self,
        what: &str,
        done: u64,
        total: Option<u64>,
        shown: Shown,
        plain: impl FnOnce(Duration) -> String,
    ) {
        let Ok(mut transfers) = self.transfers.lock() else {
            return;
        };
        let finished = total.is_some_and(|total| done >= total);
        let transfer = transfers.entry(what.to_owned()).or_insert_with(|| {
            let now = Instant::now();
            Transfer {
                bar: self.bar(shown.template, total.unwrap_or(0), what),
                started: now,
                said: now,
            }
        });
        self.heard();
        if let Some(bar) = &transfer.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
            if finished {
                // However short it was, how much it was is seen.
                bar.force_draw();
                bar.finish_and_clear();
            }
        } else if (finished && (!shown.passing || transfer.said > transfer.started))
            || transfer.said.elapsed() >= PLAIN_EVERY
        {
            transfer.said = Instant::now();
            self.printer.progress(plain(transfer.started.elapsed()));
        }
        if finished {
            transfers.remove(what);
        }
    }

    /// A line was printed, so the user knows that the step continues.
    fn heard(&self) {
        if let Some(still) = &self.still {
            still.heard(None);
        }
    }
}

/// Does something that may take its time; a terminal shows what it is.
pub(super) fn meanwhile<T>(printer: &Printer, what: &str, work: impl FnOnce() -> T) -> T {
    let console = Console::new(printer);
    console.doing(what);
    work()
}

impl Progress for Console<'_> {
    fn step(&self, text: &str) {
        self.printer.step(text);
        self.doing(text.trim_start_matches([' ', '-', '>']));
    }

    fn doing(&self, title: &str) {
        if let Some(still) = &self.still {
            still.heard(Some(title));
        }
        if let Ok(mut clock) = self.clock.lock() {
            if let Some(before) = clock.take() {
                before.finish_and_clear();
            }
            *clock = self.bar(CLOCK, 0, title);
            if let Some(bar) = &*clock {
                // Seen at once: the thread that ticks, and what bounds the frames of a second, may be later than the
                // end of the step.
                bar.force_draw();
                bar.enable_steady_tick(Duration::from_millis(120));
            }
        }
    }

    fn warning(&self, text: &str) {
        self.heard();
        self.printer.warning(text);
    }

    fn output(&self, line: &str) {
        self.heard();
        self.printer.output(line);
    }

    fn moved(&self, what: &str, done: u64, total: Option<u64>) {
        let template = if total.is_some() {
            BYTES
        } else {
            UNKNOWN_BYTES
        };
        let shown = Shown {
            template,
            passing: false,
        };
        self.advance(what, done, total, shown, |took| {
            plain(what, done, total, took)
        });
    }

    fn counted(&self, what: &str, done: u64, total: u64) {
        let shown = Shown {
            template: COUNT,
            passing: false,
        };
        self.advance(what, done, Some(total), shown, |_| {
            counted(what, done, total)
        });
    }

    fn passing(&self, what: &str, done: u64, total: u64, unit: Unit) {
        let shown = Shown {
            template: match unit {
                Unit::Bytes => BYTES,
                Unit::Things => COUNT,
            },
            passing: true,
        };
        self.advance(what, done, Some(total), shown, |took| match unit {
            Unit::Bytes => plain(what, done, Some(total), took),
            Unit::Things => counted(what, done, total),
        });
    }

    fn detail(&self, line: &str) {
        if self.printer.is_verbose() {
            self.output(line);
        }
    }
}

impl Drop for Console<'_> {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
        if let Ok(mut clock) = self.clock.lock()
            && let Some(bar) = clock.take()
        {
            bar.finish_and_clear();
        }
        self.printer.print_alone();
    }
}

/// Reports that a step continues, where there is no clock on a terminal.
struct Still {
    shared: Arc<(Mutex<Silence>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

struct Silence {
    step: String,
    began: Instant,
    /// When it is reported next.
    next: Duration,
    heard: Instant,
    over: bool,
}

impl Still {
    fn watch() -> Self {
        let silence = Silence {
            step: String::new(),
            began: Instant::now(),
            next: STILL_AFTER,
            heard: Instant::now(),
            over: false,
        };
        let shared = Arc::new((Mutex::new(silence), Condvar::new()));
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("still".to_owned())
            .spawn(move || {
                let (silence, changed) = &*seen;
                let Ok(mut silence) = silence.lock() else {
                    return;
                };
                while !silence.over {
                    let Ok((guard, _)) = changed.wait_timeout(silence, Duration::from_secs(1))
                    else {
                        return;
                    };
                    silence = guard;
                    if let Some(words) = silence.words(Instant::now()) {
                        let _ = writeln!(std::io::stderr().lock(), "{}", line(&words));
                    }
                }
            });
        Self {
            shared,
            thread: thread.ok(),
        }
    }

    /// A line was printed; with a step, the step began.
    fn heard(&self, step: Option<&str>) {
        if let Ok(mut silence) = self.shared.0.lock() {
            silence.heard = Instant::now();
            if let Some(step) = step {
                step.clone_into(&mut silence.step);
                silence.began = silence.heard;
                silence.next = STILL_AFTER;
            }
        }
    }
}

impl Silence {
    /// The line to print now, if any.
    fn words(&mut self, now: Instant) -> Option<String> {
        let took = now.duration_since(self.began);
        let due = !self.step.is_empty()
            && took >= self.next
            && now.duration_since(self.heard) >= PLAIN_EVERY;
        if !due {
            return None;
        }
        self.next = took * 2;
        self.heard = now;
        Some(format!(
            "       still, after {} s: {}",
            took.as_secs(),
            self.step
        ))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        if let Ok(mut silence) = self.shared.0.lock() {
            silence.over = true;
        }
        self.shared.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `installing packages: 12 of 166`
fn counted(what: &str, done: u64, total: u64) -> String {
    format!("       {what}: {done} of {total}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_step_is_mentioned_at_ever_longer_intervals() {
        let began = Instant::now();
        let mut silence = Silence {
            step: "Compressing".into(),
            began,
            next: STILL_AFTER,
            heard: began,
            over: false,
        };
        let said: Vec<u64> = (1..200)
            .filter(|second| {
                silence
                    .words(began + Duration::from_secs(*second))
                    .is_some()
            })
            .collect();
        assert_eq!(said, [15, 30, 60, 120]);
        silence.heard = began + Duration::from_secs(239);
        assert_eq!(silence.words(began + Duration::from_secs(241)), None);
        silence.step.clear();
        assert_eq!(silence.words(began + Duration::from_mins(15)), None);
    }
}
