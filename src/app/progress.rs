//! How the parts of a build report what they do. The library itself prints nothing.

use super::advice::Advice;

/// Receives the steps of a phase or a start.
pub trait StepProgress: Sync {
    /// `---> Building application from source`
    fn stage(&self, text: &str);
    /// ` -----> Installing dependencies with uv (requirements.txt)`
    fn step(&self, text: &str);
    /// A detail of the step.
    fn note(&self, text: &str);
    fn warn(&self, text: &str);

    /// What went wrong, why it may have, what to do.
    fn advise(&self, advice: &Advice) {
        self.warn(&advice.to_string());
    }
}

/// Prints nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentSteps;

impl StepProgress for SilentSteps {
    fn stage(&self, _: &str) {}
    fn step(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}
