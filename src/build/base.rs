//! Step 3: the builder image an application is built on: chosen, in the store (pulled when it is
//! not), its Python known, the builder layer on top.

use std::path::PathBuf;

use crate::app::python::PythonRequest;
use crate::builder::layer::StoredLayer;
use crate::builder::python::Python;
use crate::builder::{self, BuilderError, choose};
use crate::oci::{Reference, this_architecture};
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions};
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{Image, Store};

use super::error::BuildError;
use super::request::Request;
use super::transfers::Transfers;

/// A builder image, ready to build on.
pub(super) struct Base {
    pub(super) reference: String,
    pub(super) image: Image,
    pub(super) python: Python,
    pub(super) builder_layer: StoredLayer,
    pub(super) builder_layer_cached: bool,
}

impl Base {
    /// What stands for this base in cache keys: its digest, and the builder layer's.
    pub(super) fn identity(&self) -> String {
        format!(
            "{} {}",
            self.image.manifest.config().digest(),
            self.builder_layer.diff_id
        )
    }

    /// The variables of the base's configuration.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.image.config.env()
    }

    pub(super) fn search_path(&self) -> String {
        builder::python::search_path(&self.image)
    }

    /// Overlay lower directories, the uppermost first.
    pub(super) fn lowers(&self, store: &Store) -> Result<Vec<PathBuf>, BuildError> {
        let ownership = IdMode::current().into();
        let mut lowers = vec![rootfs::unpacked_layer(
            store,
            &self.builder_layer.descriptor,
            &self.builder_layer.diff_id(),
            ownership,
        )?];
        lowers.extend(rootfs::lowers(store, &self.image, ownership)?);
        Ok(lowers)
    }
}

/// Chooses the builder, has it in the store, and puts the builder layer on it.
pub(super) fn take(
    store: &Store,
    wish: Option<&str>,
    python: Option<&PythonRequest>,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Base, BuildError> {
    let wish = request.builder.as_deref().or(wish);
    let choice = choose::choose(store, wish, python)?;
    progress.step(&format!(
        "---> Using builder {} ({})",
        choice.reference, choice.reason
    ));
    let base = prepare(store, choice.reference, progress)?;
    if let Some(wanted) = python
        && !wanted.matches(base.python.minor())
    {
        return Err(BuilderError::WrongPython {
            reference: base.reference,
            wanted: wanted.text.clone(),
            wanted_by: wanted.source.clone(),
            found: base.python.version,
        }
        .into());
    }
    Ok(base)
}

/// The image that the application runs on where that is another than it is built on: the layers
/// above the base do not depend on the base's bytes, but on its Python.
pub(super) fn runtime(
    store: &Store,
    reference: &str,
    builder: &Base,
    progress: &dyn Progress,
) -> Result<Base, BuildError> {
    progress.step(&format!("---> Using runtime image {reference}"));
    let base = prepare(store, reference.to_owned(), progress)?;
    if base.python.minor() != builder.python.minor() {
        return Err(BuilderError::WrongPython {
            reference: base.reference,
            wanted: builder.python.minor.clone(),
            wanted_by: format!("the builder image `{}`", builder.reference),
            found: base.python.version,
        }
        .into());
    }
    if base.python.executable != builder.python.executable {
        progress.warning(&format!(
            "Python is {} in the builder image and {} in the runtime image",
            builder.python.executable, base.python.executable
        ));
    }
    Ok(base)
}

/// An image in the store with the builder layer on it.
fn prepare(store: &Store, reference: String, progress: &dyn Progress) -> Result<Base, BuildError> {
    let image = in_store(store, &reference, progress)?;
    let python = builder::python::find(store, &image, &reference)?;
    let (builder_layer, builder_layer_cached) =
        builder::layer::make(store, &image, &python, &reference)?;
    Ok(Base {
        reference,
        image,
        python,
        builder_layer,
        builder_layer_cached,
    })
}

/// The image by this name, pulled when it is not in the store, of this machine's platform.
pub(super) fn in_store(
    store: &Store,
    reference: &str,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let image = match store.image(reference)? {
        Some(image) => image,
        None => pull(store, reference, progress)?,
    };
    fits(&image, reference)?;
    Ok(image)
}

/// Refuses an image of another platform.
pub(super) fn fits(image: &Image, reference: &str) -> Result<(), BuildError> {
    let machine = this_architecture();
    if image.config.architecture() != machine || image.config.os() != "linux" {
        return Err(BuilderError::WrongPlatform {
            found: format!("{}/{}", image.config.os(), image.config.architecture()),
            reference: reference.to_owned(),
            wanted: format!("linux/{machine}"),
        }
        .into());
    }
    Ok(())
}

pub(super) fn pull(
    store: &Store,
    reference: &str,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let parsed: Reference = reference
        .parse()
        .map_err(|error| BuilderError::Reference { error })?;
    progress.step(&format!("---> Pulling {}", parsed.canonical()));
    let client = Client::new(ClientOptions::default())?;
    let descriptor = client.pull(&parsed, store, &Transfers::new(progress))?;
    store.tag(reference, &descriptor)?;
    Ok(store.image_at(&descriptor)?)
}
