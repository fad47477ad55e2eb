//! The options about caches in registries.

use crate::remote_cache::RemoteCache;

use super::error::CommandError;

/// Repositories that keep results of builds for other machines.
#[derive(Debug, clap::Args)]
pub(super) struct CacheArgs {
    /// Look for results of earlier builds in this repository of a registry; may be given more than once
    #[arg(long, value_name = "REPOSITORY")]
    cache_from: Vec<String>,
    /// Write what this build makes to this repository of a registry, for other machines; may be given
    /// more than once
    #[arg(long, value_name = "REPOSITORY")]
    cache_to: Vec<String>,
    /// Whether --cache-to is heeded: a pipeline says `false` where it builds code that is not trusted
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    cache_write: bool,
}

impl CacheArgs {
    pub(super) fn cache(&self) -> Result<RemoteCache, CommandError> {
        let to: &[String] = if self.cache_write {
            &self.cache_to
        } else {
            &[]
        };
        RemoteCache::new(&self.cache_from, to).map_err(CommandError::from)
    }
}
