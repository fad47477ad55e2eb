//! What pip and npm have downloaded and built, kept for the next build of the same application.
//!
//! Scripts may write anything into it, so each application has its own cache. Its key is the builder,
//! the user that assemble runs as, the location of the source, and the image's name. Nothing of it goes
//! into a layer, because it is mounted while assemble runs. A build without a kept cache gets an empty
//! one at the same path, so that the image is the same with and without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::oci::{sha256_hex, to_canonical_json};
use crate::progress::{Progress, human_size};
use crate::rootfs::User;
use crate::sandbox::{IdMode, Mount};
use crate::source::Origin;
use crate::store::Store;

use super::super::BuildError;
use super::super::leaks::Leaks;
use super::base_image::BaseImage;
use super::build_root::{self, BuildRoot};
use super::request::{S2iRequest, Source};

/// Raised when existing caches must not be used any more.
const FORMAT: u32 = 1;
/// The kind of its directory below the store's `cache`.
const KIND: &str = "s2i-packages";
/// Where assemble finds it.
const INSIDE: &str = "/run/warpdrive/packages";
/// The variables by which pip and npm find it.
const VARIABLES: [(&str, &str); 2] = [
    ("PIP_CACHE_DIR", "/run/warpdrive/packages/pip"),
    ("npm_config_cache", "/run/warpdrive/packages/npm"),
];
/// Most bytes for one application: with more, the next build begins with an empty cache.
const MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Whose cache it is.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) request: &'a S2iRequest,
    pub(super) source: &'a Source,
    pub(super) builder: &'a BaseImage,
    /// That assemble runs as.
    pub(super) user: &'a User,
}

/// The directory of one build.
pub(super) struct PackageCache {
    directory: PathBuf,
    /// Its path between builds. It is moved away while scripts write to it: so a later build never uses the
    /// unchecked rest of a killed build, and a simultaneous build gets its own cache.
    home: Option<PathBuf>,
}

impl PackageCache {
    /// The application's own, or an empty one.
    pub(super) fn open(
        store: &Store,
        owner: Owner<'_>,
        root: &BuildRoot,
    ) -> Result<Self, BuildError> {
        let common = &owner.request.common;
        let user = owner.user;
        let wanted = owner.request.package_cache && !common.no_cache && common.pinned.is_none();
        let application = if wanted { application(owner) } else { None };
        let directory = root.aside("packages")?;
        let home = match application {
            Some(key) => Some(store.cache_dir(KIND)?.join(key)),
            None => None,
        };
        if let Some(home) = &home {
            // If there is none, the new empty one is the first.
            let _ = fs::rename(home, &directory);
        }
        build_root::give(&directory, user)?;
        Ok(Self { directory, home })
    }

    pub(super) fn mount(&self) -> Mount {
        Mount::Bind {
            source: self.directory.clone(),
            target: INSIDE.into(),
            read_only: false,
        }
    }

    /// Sets the variables for pip and npm, unless the image or the user sets them.
    pub(super) fn tell(env: &mut BTreeMap<String, String>) {
        for (name, value) in VARIABLES {
            if !env.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                env.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Removes a cache that is too large, and a cache that contains one of these secrets:
    /// otherwise the next build, which does not get them, would find them there.
    pub(super) fn close(self, leaks: &Leaks, progress: &dyn Progress) {
        let Some(home) = self.home else {
            return;
        };
        let size = size(&self.directory);
        let because = if size > MAX {
            format!("has grown to {}", human_size(size))
        } else if let Err(error) = leaks.check_tree(&self.directory) {
            match error {
                BuildError::SecretInImage { .. } => {
                    "holds a login or a secret of this build".to_owned()
                }
                error => format!("could not be searched for secrets ({error})"),
            }
        } else {
            // If another build was faster, its cache stays.
            let _ = fs::rename(&self.directory, &home);
            return;
        };
        progress.warning(&format!(
            "the cache of pip and npm for this application {because}, and is removed"
        ));
    }
}

/// The key of the application's cache; `None` if nothing distinguishes this application from others.
///
/// Data from the source may only make keys differ; it must never make two applications share a cache.
fn application(owner: Owner<'_>) -> Option<String> {
    let common = &owner.request.common;
    let name = owner.request.tag.then(|| {
        let name = &common.name;
        (name.registry().to_owned(), name.repository())
    });
    let commit = owner.source.tree.commit.as_ref();
    // Continuous integration uses the same checkout path for all applications.
    let of_this_machine = |path: &Path| {
        name.as_ref()?;
        let path = fs::canonicalize(path).ok()?;
        let remote = commit.and_then(|commit| commit.remote.as_ref());
        Some(json!(["directory", path.to_string_lossy(), remote]))
    };
    let source = match &common.source.origin {
        Origin::Git(url) => match url.path() {
            Some(path) => of_this_machine(&path)?,
            None => json!(["git", url.address()]),
        },
        Origin::Directory(path) => of_this_machine(path)?,
        Origin::Archive(_) | Origin::Stdin => return None,
    };
    let key = json!([
        FORMAT,
        owner.builder.identity(),
        owner.user.uid,
        owner.user.gid,
        format!("{:?}", IdMode::current()),
        source,
        common.source.context_dir,
        name,
    ]);
    Some(sha256_hex(&to_canonical_json(&key).ok()?))
}

/// The bytes of a tree; links are not followed.
fn size(directory: &Path) -> u64 {
    walkdir::WalkDir::new(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
        .sum()
}
