//! A build cache in a registry: results of builds, so that other machines do not have to repeat them.
//!
//! ```text
//!  read   tags of `--cache-from` ──► manifest, verified ──► [`Found`]: a record, and layers that are there
//!  write  [`Item`] ──► manifest ──► tags of `--cache-to`
//! ```
//!
//! An item is an image manifest, not a referrer or an index: every registry knows image manifests, and
//! its collector keeps what a tag leads to. The record is the manifest's configuration, and is also in
//! the manifest itself (`data` of the descriptor), so one request gets everything. Layers stay in the
//! registry until a step opens them; the store notes which repository has them, and a push mounts them
//! from there.
//!
//! An item's tag is the hash of all that decides its content, so a tag is written once: other content
//! under the same tag is an alarm ([`CacheError::Conflict`]). Only a [`Tag::Moving`] is replaced.
//!
//! Here: tags, manifests, bounds. Not here: what records mean and whether they are trusted (`pipeline`).
//! All data from the registry is hostile: sizes are bounded and digests verified before anything is used.

mod error;
mod item;
mod on_the_way;
mod read;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::oci::{Reference, sha256_hex};
use crate::registry::{Client, ClientOptions, RegistryError};

pub use error::CacheError;
pub use item::{Item, Tag};
pub use read::Found;
pub use write::Written;

/// The repositories that a build reads and writes. Cheap to clone; may be empty.
#[derive(Debug, Clone, Default)]
pub struct RemoteCache(Arc<Repositories>);

#[derive(Default)]
struct Repositories {
    from: Vec<Readable>,
    to: Vec<Reference>,
    client: OnceLock<Client>,
}

/// A repository that is read.
struct Readable {
    reference: Reference,
    /// It did not answer, and is not asked again.
    is_out: AtomicBool,
}

impl std::fmt::Debug for Repositories {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from: Vec<&str> = self.from.iter().map(|p| p.reference.as_given()).collect();
        let to: Vec<&str> = self.to.iter().map(Reference::as_given).collect();
        write!(formatter, "RemoteCache(from {from:?}, to {to:?})")
    }
}

impl RemoteCache {
    /// # Errors
    /// If a name has no registry, or a tag or digest.
    pub fn new(from: &[String], to: &[String]) -> Result<Self, CacheError> {
        let parse = |names: &[String]| -> Result<Vec<Reference>, CacheError> {
            let mut found: Vec<Reference> = Vec::new();
            // A pipeline without a cache passes an empty parameter.
            for name in names.iter().filter(|name| !name.is_empty()) {
                let reference = repository(name)?;
                if !found.iter().any(|known| known.as_given() == name) {
                    found.push(reference);
                }
            }
            Ok(found)
        };
        let from = parse(from)?.into_iter().map(|reference| Readable {
            reference,
            is_out: AtomicBool::new(false),
        });
        Ok(Self(Arc::new(Repositories {
            from: from.collect(),
            to: parse(to)?,
            client: OnceLock::new(),
        })))
    }

    /// Whether there is a repository to read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0
            .from
            .iter()
            .any(|place| !place.is_out.load(Ordering::Relaxed))
    }

    /// The key under which this store keeps results that used these repositories. A build that does not read
    /// the same repositories does not find them: only a caller that names the repositories trusts them.
    #[must_use]
    pub fn scoped(&self, key: &str) -> String {
        let mut names: Vec<&str> = self
            .0
            .from
            .iter()
            .map(|place| place.reference.as_given())
            .collect();
        if names.is_empty() {
            return key.to_owned();
        }
        names.sort_unstable();
        names.push(key);
        sha256_hex(names.join("\n").as_bytes())
    }

    /// Whether to write results.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.0.to.is_empty()
    }

    /// One for all requests: connections and logins are kept.
    fn client(&self) -> Result<&Client, RegistryError> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let client = Client::new(ClientOptions::default())?;
        Ok(self.0.client.get_or_init(|| client))
    }
}

/// A repository without a tag.
fn repository(name: &str) -> Result<Reference, CacheError> {
    let bad = |problem: &'static str| CacheError::Name {
        name: name.to_owned(),
        problem,
    };
    let reference: Reference = name
        .parse()
        .map_err(|_| bad("it is not the name of a repository"))?;
    if !reference.has_host() {
        return Err(bad("it has no registry"));
    }
    if reference.digest().is_some() || reference.tag().is_some() {
        return Err(bad("a repository has no tag and no digest"));
    }
    Ok(reference)
}

/// The name of a tag in a repository.
fn tagged(repository: &Reference, tag: &str) -> Result<Reference, CacheError> {
    let full = format!(
        "{}/{}:{tag}",
        repository.registry(),
        repository.repository()
    );
    full.parse().map_err(|_| CacheError::Name {
        name: full.clone(),
        problem: "it is not the name of a tag",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_a_repository_of_a_registry() {
        let one = |name: &str| RemoteCache::new(&[name.to_owned()], &[]);
        assert!(one("r.example/team/cache").unwrap().is_read());
        assert!(one("127.0.0.1:5000/cache").unwrap().is_read());
        assert!(!one("").unwrap().is_read());
        for bad in [
            "cache",
            "r.example/cache:tag",
            "r.example/Cache Bad",
            &format!("r.example/cache@sha256:{}", "0".repeat(64)),
        ] {
            assert!(one(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_other_repositories_had_a_part_in_is_kept_elsewhere() {
        let scoped = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            RemoteCache::new(&names, &[]).unwrap().scoped("key")
        };
        assert_eq!(scoped(&[]), "key");
        assert_ne!(scoped(&["r.example/a"]), "key");
        assert_ne!(scoped(&["r.example/a"]), scoped(&["r.example/b"]));
        assert_eq!(
            scoped(&["r.example/a", "r.example/b"]),
            scoped(&["r.example/b", "r.example/a"])
        );
    }
}
