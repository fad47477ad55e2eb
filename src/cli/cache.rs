//! The options about caches in registries.

use crate::remote_cache::RemoteCache;

use super::error::CommandError;

/// Repositories that keep results of builds for other machines.
#[derive(Debug, clap::Args)]
pub(super) struct CacheArgs {
    /// Look for results of earlier builds in this repository of a registry; may be given more than once
    #[arg(long = "cache-from", value_name = "REPOSITORY")]
    from: Vec<String>,
    #[command(flatten)]
    to: CacheToArgs,
}

/// The same, for a step that only writes.
#[derive(Debug, clap::Args)]
pub(super) struct CacheToArgs {
    /// Write what is made (with `push`: of --wheels) to this repository of a registry, for other machines;
    /// may be given more than once
    #[arg(long = "cache-to", value_name = "REPOSITORY")]
    to: Vec<String>,
    /// Whether --cache-to is heeded: a pipeline says `false` where it builds code that is not trusted
    #[arg(
        long = "cache-write",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    write: bool,
}

impl CacheToArgs {
    fn repositories(&self) -> &[String] {
        if self.write { &self.to } else { &[] }
    }

    pub(super) fn cache(&self) -> Result<RemoteCache, CommandError> {
        RemoteCache::new(&[], self.repositories()).map_err(CommandError::from)
    }
}

impl CacheArgs {
    pub(super) fn cache(&self) -> Result<RemoteCache, CommandError> {
        RemoteCache::new(&self.from, self.to.repositories()).map_err(CommandError::from)
    }
}
