//! The installer's cache of wheels, and which builds share one.
//!
//! An application's code can read the cache of its installer, so the cache has only what the application
//! could fetch itself. Packages from `PyPI` are shared by all builds. Packages from the caller's own indexes
//! without a login are shared by all builds with the same indexes. Packages behind a login, or from an index
//! that a source names, are for builds of one application.

use std::path::PathBuf;

use serde_json::json;

use crate::app::requirement::{Line, LineKind, expand};
use crate::lockfile;
use crate::oci::to_canonical_json;
use crate::sandbox::IdMode;
use crate::store::{self, Store};

use super::base::Base;
use super::error::BuildError;
use super::overlay::give_to_app;
use super::request::Request;
use super::sandbox_inputs::PASSED_ON;
use super::secrets::without_credentials;
use super::tree::make_directory;

/// Raised when existing caches must not be used any more.
const FORMAT: u32 = 3;

/// The builds on one base image that share a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CacheScope {
    /// `PyPI` is the only index.
    Everybody,
    /// Builds with the same value here. It may contain logins.
    Those(serde_json::Value),
}

impl CacheScope {
    /// The scope of a build, by the indexes that its installer asks: the caller's, and those in its list.
    pub(super) fn of(request: &Request, lines: &[Line]) -> Self {
        let usual = |value: &str| {
            let value = value.trim().trim_end_matches('/');
            value.is_empty() || value == lockfile::PYPI
        };
        let host = request.host_env.iter();
        let of_caller: Vec<(&str, &str)> = host
            .chain(request.build_env.iter().map(|(name, value)| (name, value)))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, value)| {
                PASSED_ON.contains(name) && name.contains("INDEX") && !usual(value)
            })
            // The strategy for several indexes is not an address.
            .filter(|(name, _)| *name != "UV_INDEX_STRATEGY")
            .collect();
        let said = request.build_env.iter().cloned().collect();
        let of_source: Vec<String> = lines
            .iter()
            .filter(|line| line.kind == LineKind::Option)
            .map(|line| expand(&line.text, &said).0)
            .filter(|text| {
                let place = text.split_once(['=', ' ']).map_or("", |(_, place)| place);
                text.contains("://") && !usual(place)
            })
            .collect();
        if of_caller.is_empty() && of_source.is_empty() {
            return Self::Everybody;
        }
        let private = !of_source.is_empty()
            || of_caller
                .iter()
                .any(|(_, value)| without_credentials(value) != *value);
        let application = private.then(|| request.application());
        Self::Those(json!([of_caller, of_source, application]))
    }

    /// The application that has its own cache, if there is one.
    pub(super) fn application(&self) -> Option<&serde_json::Value> {
        match self {
            Self::Everybody => None,
            Self::Those(what) => what.get(2).filter(|application| !application.is_null()),
        }
    }
}

/// The wheel cache of this id map and base image (its Python runs while the cache is filled, and is the
/// business of no other image's builds) for builds of this scope.
pub(super) fn wheel_cache(
    store: &Store,
    base: &Base,
    mode: IdMode,
    scope: &CacheScope,
) -> Result<PathBuf, BuildError> {
    let image = base.image.manifest.config().digest().digest();
    let mut name = format!(
        "wheels-{FORMAT}-{}-{}",
        mode.map_name(),
        image.get(..32).unwrap_or(image)
    );
    if let CacheScope::Those(what) = scope {
        let hash = store.salted(&to_canonical_json(what)?)?;
        name.push('-');
        name.push_str(hash.get(..32).unwrap_or(&hash));
    }
    let path = store.root().join("cache").join(name);
    // Both every time: a build may have been killed between them.
    make_directory(&path)?;
    give_to_app(&path, mode)?;
    store::spread(&path);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::super::sandbox_inputs::tests::request;
    use super::*;

    fn option(text: &str) -> Line {
        Line {
            file: "requirements.txt".into(),
            number: 1,
            text: text.into(),
            kind: LineKind::Option,
        }
    }

    fn scope(name: &str, host: &[(&str, &str)], lines: &[&str]) -> CacheScope {
        let mut request = request();
        request.name = name.parse().unwrap();
        request.build_env.clear();
        request.host_env = host
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let lines: Vec<Line> = lines.iter().map(|text| option(text)).collect();
        CacheScope::of(&request, &lines)
    }

    /// The host's variables and the lines of a list.
    type Setting<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

    #[test]
    fn who_shares_a_cache() {
        let usual: [Setting<'_>; 3] = [
            (&[], &["--pre", "--no-binary :all:"]),
            (
                &[
                    ("UV_INDEX_URL", "https://pypi.org/simple/"),
                    ("UV_INDEX_STRATEGY", "unsafe-best-match"),
                ],
                &[],
            ),
            (&[], &["--index-url https://pypi.org/simple"]),
        ];
        for (host, lines) in usual {
            assert_eq!(
                scope("a", host, lines),
                CacheScope::Everybody,
                "{host:?} {lines:?}"
            );
        }
        // A mirror without a login is shared by all builds with the same mirror.
        let mirror = [("UV_INDEX_URL", "https://mirror.example/simple")];
        assert_eq!(scope("a", &mirror, &[]), scope("b", &mirror, &[]));
        assert_ne!(scope("a", &mirror, &[]), CacheScope::Everybody);
        // An index with a login, or one that the source names, is for one application.
        let login = [("PIP_EXTRA_INDEX_URL", "https://me:word@corp.example/simple")];
        let source = ["--extra-index-url https://corp.example/simple"];
        let (none, nothing): Setting<'_> = (&[], &[]);
        for (host, lines) in [
            (&login[..], nothing),
            (none, &source[..]),
            (&mirror[..], &source[..]),
        ] {
            assert_eq!(scope("a", host, lines), scope("a:2", host, lines));
            assert_ne!(scope("a", host, lines), scope("b", host, lines));
        }
        let other = [(
            "PIP_EXTRA_INDEX_URL",
            "https://me:other@corp.example/simple",
        )];
        assert_ne!(scope("a", &login, &[]), scope("a", &other, &[]));
    }
}
