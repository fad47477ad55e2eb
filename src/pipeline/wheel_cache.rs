//! The installer's cache of wheels, which builds on one base image share.

use std::path::PathBuf;

use crate::sandbox::IdMode;
use crate::store::{self, Store};

use super::base::Base;
use super::error::BuildError;
use super::overlay::give_to_app;
use super::tree::make_directory;

/// The wheel cache of this id map and base image, shared by all builds of this store on that image:
/// its Python runs while the cache is filled, and is the business of no other image's builds.
pub(super) fn wheel_cache(store: &Store, base: &Base, mode: IdMode) -> Result<PathBuf, BuildError> {
    let image = base.image.manifest.config().digest().digest();
    let path = store.root().join("cache").join(format!(
        // What an earlier release kept is not trusted any more.
        "wheels-2-{}-{}",
        mode.map_name(),
        image.get(..32).unwrap_or(image)
    ));
    // Both every time: a build may have been killed between them.
    make_directory(&path)?;
    give_to_app(&path, mode)?;
    store::spread(&path);
    Ok(path)
}
