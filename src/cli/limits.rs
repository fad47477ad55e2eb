//! The options that say what a sandbox may use; those of `image` and `run`.

use std::time::Duration;

use crate::container::parse_size;
use crate::sandbox::Limits;

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct LimitArgs {
    /// Most memory, as in 512m
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    memory: Option<u64>,
    /// Most processor time, as in 1.5
    #[arg(long, value_name = "N", value_parser = cpus)]
    cpus: Option<f64>,
    /// Most processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pids: Option<u64>,
    /// A limit that cannot be enforced here is a warning, no error
    #[arg(long)]
    best_effort_limits: bool,
}

impl LimitArgs {
    pub(super) fn limits(&self, timeout: Option<Duration>) -> Limits {
        Limits {
            timeout,
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            best_effort: self.best_effort_limits,
        }
    }
}

fn cpus(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.01)
        .ok_or_else(|| format!("`{text}` is not a number of processors: write 0.5 or 2"))
}

#[cfg(test)]
mod tests {
    use super::cpus;

    #[test]
    fn processors_are_a_positive_number() {
        assert_eq!(cpus("1.5"), Ok(1.5));
        for bad in ["", "0", "-1", "inf", "NaN", "two"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }
}
