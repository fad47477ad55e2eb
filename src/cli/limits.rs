//! The options that limit a sandbox, for the commands that start one.

use std::time::Duration;

use clap::ValueEnum;

use crate::container::parse_size;
use crate::layer::Budget;
use crate::sandbox::{self, Limits, Network};

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
    /// A limit that cannot be enforced here is a warning, not an error
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
            written: None,
            best_effort: self.best_effort_limits,
        }
    }
}

/// The bounds on what a build writes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WriteArgs {
    /// Largest layer, content uncompressed, as in 20g
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = parse_size,
        default_value = "16g",
        env = "WARPDRIVE_MAX_LAYER"
    )]
    max_layer: u64,
    /// Most that all layers of a build come to, and that each of its steps leaves on the disk
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = parse_size,
        default_value = "32g",
        env = "WARPDRIVE_MAX_WRITTEN"
    )]
    max_written: u64,
}

impl Default for WriteArgs {
    fn default() -> Self {
        Self {
            max_layer: Budget::USUAL.0,
            max_written: Budget::USUAL.1,
        }
    }
}

impl WriteArgs {
    pub(super) fn bound(&self, limits: &mut Limits) -> Budget {
        limits.written = Some(self.max_written);
        Budget::new(
            self.max_layer,
            self.max_written,
            limits.timeout,
            sandbox::interrupted,
        )
    }
}

/// The network of a build's steps in which code of the application or of its packages runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BuildNetwork {
    Private,
    Host,
    None,
}

impl From<BuildNetwork> for Network {
    fn from(network: BuildNetwork) -> Self {
        match network {
            BuildNetwork::Private => Self::Outward,
            BuildNetwork::Host => Self::Host,
            BuildNetwork::None => Self::None,
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
