//! Where Node comes from: an image that the settings name, the application's builder image, or
//! warpdrive's own builder with Node.

use std::path::PathBuf;

use crate::app::settings::Settings;
use crate::builder::definition::NODE;
use crate::builder::python::search_path;
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{Image, Store};

use super::super::allowed_builders;
use super::super::base::{self, Base};
use super::super::context::Context;
use super::super::error::BuildError;
use super::super::image_use::Use;
use super::super::tree::exists_below;

/// A root file system with Node.
pub(super) struct Node {
    /// Its name in cache keys.
    pub(super) identity: String,
    /// The uppermost first.
    pub(super) lowers: Vec<PathBuf>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) path: String,
}

pub(super) fn find(
    context: Context<'_>,
    settings: &Settings,
    base: &Base,
    package: &str,
) -> Result<Node, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let missing = |reference: &str| BuildError::NoNode {
        package: package.to_owned(),
        reference: reference.to_owned(),
    };
    if let Some(named) = settings.value("assets_builder") {
        allowed_builders::check(Use::FrontEnd, store, &named, &request.allowed_builders)?;
        let image = base::in_store(store, &named.text, progress)?;
        let node = of_image(store, &image)?;
        return node.ok_or_else(|| missing(&named.text));
    }
    if let Some(node) = of_image(store, &base.image)? {
        return Ok(node);
    }
    let image = match store.image(NODE)? {
        Some(image) => Some(image),
        None if base::is_made_here(context, NODE)? => store.image(NODE)?,
        None => None,
    };
    let node = match image {
        Some(image) => of_image(store, &image)?,
        None => None,
    };
    node.ok_or_else(|| missing(&base.reference))
}

/// The image's file system, if it has Node and npm.
fn of_image(store: &Store, image: &Image) -> Result<Option<Node>, BuildError> {
    let lowers = rootfs::lowers(store, image, IdMode::current().into())?;
    let has = |name: &str| {
        ["usr/bin", "usr/local/bin", "bin"]
            .iter()
            .any(|directory| exists_below(&lowers, &PathBuf::from(directory).join(name)))
    };
    if !(has("node") && has("npm")) {
        return Ok(None);
    }
    Ok(Some(Node {
        identity: image.manifest.config().digest().to_string(),
        environment: image.config.env(),
        path: search_path(image),
        lowers,
    }))
}
