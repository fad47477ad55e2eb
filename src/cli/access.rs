//! The options about registries: how they are reached and logged in to.

use std::path::PathBuf;
use std::time::Duration;

use crate::registry::{ClientOptions, Retry};

/// How a registry is reached and logged in to.
#[derive(Debug, clap::Args)]
pub(super) struct RegistryArgs {
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// Give up after this time, for example 90s or 15m, waits and further tries included
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

/// The same without a limit.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AccessArgs {
    /// Auth file to look at first, as `podman login --authfile` writes it
    #[arg(long, value_name = "FILE")]
    pub(super) authfile: Option<PathBuf>,
    /// Registry that may speak plain HTTP or have any certificate; also `WARPDRIVE_INSECURE_REGISTRIES`
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
    /// CA certificates (PEM) that count for every registry; may be given more than once
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Blobs that travel at once [default: 6, and up to 16 small ones]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
}

impl AccessArgs {
    pub(super) fn options(&self) -> ClientOptions {
        ClientOptions {
            auth_files: self.authfile.iter().cloned().collect(),
            insecure_registries: self.insecure_registry.clone(),
            authorities: self.ca.clone(),
            jobs: self.jobs.map(usize::from),
            ..ClientOptions::default()
        }
    }
}

impl RegistryArgs {
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn options(&self) -> ClientOptions {
        let options = self.access.options();
        // What the user allows, a registry may ask for.
        let retry = Retry {
            limit: options.retry.limit.max(self.timeout.unwrap_or_default()),
            ..options.retry
        };
        ClientOptions {
            limit: self.timeout,
            retry,
            ..options
        }
    }
}
