//! Step 3: the builder image an application is built on: chosen, in the store (pulled when it is
//! not), its Python known, the builder layer on top.

use std::path::PathBuf;

use crate::app::python::PythonRequest;
use crate::builder::layer::StoredLayer;
use crate::builder::python::Python;
use crate::builder::{self, BuilderError, choose, debian};
use crate::oci::{Digest, Reference, this_architecture};
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions};
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{Image, Store};

use super::error::BuildError;
use super::harden;
use super::request::{NameAndDigest, Pull, Request};
use super::transfers::Transfers;

/// A builder image, ready to build on.
pub(super) struct Base {
    pub(super) reference: String,
    pub(super) image: Image,
    pub(super) python: Python,
    pub(super) builder_layer: StoredLayer,
    pub(super) builder_layer_cached: bool,
    /// `--harden`, between the base and the builder layer; what runs during the build does not see it.
    pub(super) hardening: Option<StoredLayer>,
    pub(super) hardening_cached: bool,
}

impl Base {
    pub(super) fn named(&self) -> NameAndDigest {
        NameAndDigest {
            reference: self.reference.clone(),
            digest: self.image.descriptor.digest().to_string(),
        }
    }

    /// The layers that we put on it, the lowest first, with the lines of history they get.
    pub(super) fn own_layers(&self) -> Vec<(&StoredLayer, &'static str)> {
        self.hardening
            .iter()
            .map(|layer| (layer, harden::CREATED_BY))
            .chain([(&self.builder_layer, "warpdrive: builder layer")])
            .collect()
    }

    /// Puts the layer of `--harden` on it.
    pub(super) fn harden(&mut self, store: &Store) -> Result<(), BuildError> {
        (self.hardening, self.hardening_cached) =
            harden::layer(store, &self.image, &self.reference)?;
        Ok(())
    }

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
    let pin = request.pinned.as_ref().map(|pinned| &pinned.builder);
    let reference = match (wish, pin) {
        (None, None) => {
            let reference = made_by_rule(store, choice.reference, request, progress)?;
            refresh(store, &reference, request, progress)?;
            reference
        }
        _ => choice.reference,
    };
    let base = prepare(store, reference, pin, progress)?;
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

/// A builder of ours that the rule has chosen: made here if it is not there and can be made. Where
/// nothing could make it, the official image with the same Python takes its place.
fn made_by_rule(
    store: &Store,
    reference: String,
    request: &Request,
    progress: &dyn Progress,
) -> Result<String, BuildError> {
    let Ok(definition) = builder::definition::find(&reference) else {
        return Ok(reference);
    };
    if definition.suite().is_none() || store.image(&reference)?.is_some() {
        return Ok(reference);
    }
    if !debian::is_possible() {
        let official = choose::official(&definition.python);
        progress.step(&format!(
            "---> {reference} is not made yet, and mmdebstrap, which makes it, is not installed: using {official}"
        ));
        return Ok(official);
    }
    // Inside of a user namespace mmdebstrap cannot make one of its own.
    if debian::privilege(IdMode::current()) != Some(debian::Privilege::Root) {
        return Err(BuilderError::NotMade { name: reference }.into());
    }
    let mirror = request.host_env.get("WARPDRIVE_DEBIAN_MIRROR");
    debian::build(
        store,
        &definition,
        debian::Privilege::Root,
        debian::Mirror {
            url: mirror.map(String::as_str),
            expired: false,
        },
        this_architecture(),
        progress,
    )?;
    Ok(reference)
}

/// The image that the application runs on where that is another than it is built on: the layers
/// above the base do not depend on the base's bytes, but on its Python.
pub(super) fn runtime(
    store: &Store,
    reference: &str,
    builder: &Base,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Base, BuildError> {
    progress.step(&format!("---> Using runtime image {reference}"));
    let pin = request
        .pinned
        .as_ref()
        .and_then(|pinned| pinned.runtime.as_ref());
    if pin.is_none() {
        refresh(store, reference, request, progress)?;
    }
    let base = prepare(store, reference.to_owned(), pin, progress)?;
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
fn prepare(
    store: &Store,
    reference: String,
    pin: Option<&Digest>,
    progress: &dyn Progress,
) -> Result<Base, BuildError> {
    let image = match pin {
        Some(digest) => exactly(store, &reference, digest, progress)?,
        None => in_store(store, &reference, progress)?,
    };
    let python = builder::python::find(store, &image, &reference)?;
    let (builder_layer, builder_layer_cached) =
        builder::layer::make(store, &image, &python, &reference)?;
    Ok(Base {
        reference,
        image,
        python,
        builder_layer,
        builder_layer_cached,
        hardening: None,
        hardening_cached: false,
    })
}

/// The image of a digest: what its name stands for today, under another name, or from the registry of
/// its name. Of this machine's platform.
pub(super) fn exactly(
    store: &Store,
    reference: &str,
    digest: &Digest,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let image = by_digest(store, reference, digest, progress)?;
    fits(&image, reference)?;
    Ok(image)
}

fn by_digest(
    store: &Store,
    reference: &str,
    digest: &Digest,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let named = store.image(reference)?;
    if let Some(image) = named
        && image.descriptor.digest() == digest
    {
        return Ok(image);
    }
    for named in store.images()? {
        if named.descriptor.digest() == digest {
            return Ok(store.image_at(&named.descriptor)?);
        }
    }
    let missing = || BuildError::NoSuchBuilder {
        reference: reference.to_owned(),
        digest: digest.to_string(),
    };
    let parsed: Reference = reference.parse().map_err(|_| missing())?;
    if !parsed.has_host() {
        return Err(missing());
    }
    let exact = format!("{}/{}@{digest}", parsed.registry(), parsed.repository());
    pull(store, &exact, progress)
}

/// The image by this name, pulled when it is not in the store, of this machine's platform.
pub(super) fn in_store(
    store: &Store,
    reference: &str,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let image = match store.image(reference)? {
        Some(image) => image,
        None => pull_what_is_not_ours(store, reference, progress)?,
    };
    fits(&image, reference)?;
    Ok(image)
}

/// Pulls an image, unless it is one that `builder build` makes.
fn pull_what_is_not_ours(
    store: &Store,
    reference: &str,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    match builder::definition::meant(reference) {
        Some(name) if name == reference => {
            let name = name.to_owned();
            return Err(BuilderError::NotMade { name }.into());
        }
        Some(name) => progress.warning(&format!(
            "there is no builder image `{reference}` on this machine: did you mean `{name}`?"
        )),
        None => {}
    }
    pull(store, reference, progress)
}

/// Does what `--pull` says of an image: its name may stand for another one by now. What `builder build`
/// makes comes from no registry.
pub(super) fn refresh(
    store: &Store,
    reference: &str,
    request: &Request,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let Some(present) = store.image(reference)? else {
        return match request.pull {
            Pull::Never => Err(BuildError::NotPulled {
                reference: reference.to_owned(),
            }),
            _ => Ok(()),
        };
    };
    let asks = matches!(request.pull, Pull::Newer | Pull::Always);
    if !asks || builder::definition::find(reference).is_ok() {
        return Ok(());
    }
    let before = present.descriptor.digest();
    match pull(store, reference, progress) {
        Ok(now) if now.descriptor.digest() != before => {
            progress.step(&format!(
                "---> {reference} has moved since it was fetched: it was {before}, and is {} now",
                now.descriptor.digest()
            ));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) if request.pull == Pull::Newer => {
            progress.warning(&format!(
                "whether there is a newer {reference} is not known ({error}); the one in the store is used"
            ));
            Ok(())
        }
        Err(error) => Err(error),
    }
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

/// Does a piece of work, and once more if a layer of an image from a registry turned out to be damaged
/// in the store, and could be fetched again.
pub(super) fn mending<T>(
    store: &Store,
    progress: &dyn Progress,
    work: impl Fn() -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let error = match work() {
        Err(error) => error,
        done => return done,
    };
    let Some(lost) = error.lost_blob() else {
        return Err(error);
    };
    let Some(exact) = where_from(store, lost)? else {
        return Err(error);
    };
    progress.warning(&format!(
        "the layer {lost} was damaged or gone in the store; it is fetched again"
    ));
    let client = Client::new(ClientOptions::default())?;
    match client.pull(&exact, store, &Transfers::new(progress)) {
        Ok(_) => work(),
        Err(again) => {
            progress.warning(&format!("{exact} could not be fetched: {again}"));
            Err(error)
        }
    }
}

/// An image of a registry that has this layer, by its digest.
fn where_from(store: &Store, layer: &Digest) -> Result<Option<Reference>, BuildError> {
    for named in store.images()? {
        let Ok(reference) = named.name.parse::<Reference>() else {
            continue;
        };
        if !reference.has_host() {
            continue;
        }
        // Of another image, whatever is amiss with it is not what is looked for.
        let Ok(image) = store.image_at(&named.descriptor) else {
            continue;
        };
        if image.manifest.layers().iter().any(|l| l.digest() == layer) {
            let (registry, repository) = (reference.registry(), reference.repository());
            let exact = format!("{registry}/{repository}@{}", named.descriptor.digest());
            return Ok(exact.parse().ok());
        }
    }
    Ok(None)
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
