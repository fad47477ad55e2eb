//! Step 3: the builder image of an application. It is chosen, pulled if the store does not have
//! it, asked for its Python, and gets the builder layer on top.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::app::python::PythonRequest;
use crate::builder::definition::Definition;
use crate::builder::layer::StoredLayer;
use crate::builder::python::Python;
use crate::builder::{self, BuilderError, choose, debian, packages};
use crate::layer::Budget;
use crate::oci::{Digest, Reference, this_architecture};
use crate::pod::BaseFile;
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions, RegistryError};
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{Image, Store};

use super::context::Context;
use super::error::BuildError;
use super::harden;
use super::place::Place;
use super::report::NameAndDigest;
use super::request::{Pull, Request};
use super::transfers::Transfers;

/// A builder image, ready to build on.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) reference: String,
    pub(super) image: Image,
    pub(super) python: Python,
    pub(super) builder_layer: StoredLayer,
    pub(super) builder_layer_cached: bool,
    /// `--harden`, between the base and the builder layer; what runs during the build does not see it.
    pub(super) hardening: Option<StoredLayer>,
    pub(super) hardening_cached: bool,
    /// Where its stages run.
    pub(super) place: Place,
}

impl Base {
    pub(super) fn named(&self) -> NameAndDigest {
        NameAndDigest {
            reference: self.reference.clone(),
            digest: self.image.descriptor.digest().to_string(),
        }
    }

    /// The layers that warpdrive adds to it, the lowest first, with their lines of history.
    pub(super) fn own_layers(&self) -> Vec<(&StoredLayer, &'static str)> {
        self.hardening
            .iter()
            .map(|layer| (layer, harden::CREATED_BY))
            .chain([(&self.builder_layer, "warpdrive: builder layer")])
            .collect()
    }

    /// Puts the layer of `--harden` on it.
    pub(super) fn harden(&mut self, store: &Store, budget: &Budget) -> Result<(), BuildError> {
        (self.hardening, self.hardening_cached) =
            harden::layer(store, &self.image, &self.reference, budget)?;
        Ok(())
    }

    /// The name of this base in cache keys: its digest, and the builder layer's.
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
        if let Some(lowers) = self.place.lowers() {
            return Ok(lowers);
        }
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

/// Chooses the builder, or takes the one that is named, loads it into the store, and puts the builder layer
/// on it.
pub(super) fn take(
    context: Context<'_>,
    named: Option<&str>,
    python: Option<&PythonRequest>,
) -> Result<Base, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    if let Some(base) = in_place(&request.place)? {
        request.place.check_builder(named)?;
        progress.step(&format!("---> Building in place, on {}", base.reference));
        fits_python(&base, python)?;
        return Ok(base);
    }
    let choice = choose::choose(store, named, python)?;
    progress.step(&format!(
        "---> Using builder {} ({})",
        choice.reference, choice.reason
    ));
    let pin = request.pinned.as_ref().map(|pinned| &pinned.builder);
    let reason = choice.reason;
    let reference = match (named, pin) {
        (None, None) => {
            let reference = made_by_rule(context, choice.reference)?;
            refresh(context, &reference)?;
            reference
        }
        _ => choice.reference,
    };
    let official = (named.is_none() && pin.is_none()).then(|| reference.clone());
    let base =
        prepare(store, reference, pin, progress).map_err(|error| match (error, official) {
            (BuildError::Registry(source), Some(reference)) => BuildError::OfficialUnreachable {
                reference,
                reason,
                pythons: builder::definition::by_rule().map(|(_, it)| it).collect(),
                source,
            },
            (error, _) => error,
        })?;
    fits_python(&base, python)?;
    Ok(base)
}

/// The base that this process runs on; `None` if a base has to be loaded.
fn in_place(place: &Place) -> Result<Option<Base>, BuildError> {
    let known = place.base_file();
    known.map(|known| of_file(known, place)).transpose()
}

/// The base of a pod's image.
pub(super) fn of_file(known: &BaseFile, place: &Place) -> Result<Base, BuildError> {
    Ok(Base {
        reference: known.reference.clone(),
        image: known.image()?,
        python: known.python.clone(),
        builder_layer: known.builder_layer.clone(),
        builder_layer_cached: true,
        hardening: None,
        hardening_cached: false,
        place: place.clone(),
    })
}

/// Refuses a base with another Python than the project asks for.
fn fits_python(base: &Base, python: Option<&PythonRequest>) -> Result<(), BuildError> {
    if let Some(wanted) = python
        && !wanted.matches(base.python.minor())
    {
        return Err(BuilderError::WrongPython {
            reference: base.reference.clone(),
            wanted: wanted.text.clone(),
            wanted_by: wanted.source.clone(),
            found: base.python.version.clone(),
        }
        .into());
    }
    Ok(())
}

/// A builder of warpdrive that the rule has chosen. It is made here if it is missing and can be
/// made. Otherwise the official image with the same Python takes its place.
fn made_by_rule(context: Context<'_>, reference: String) -> Result<String, BuildError> {
    let Context {
        store, progress, ..
    } = context;
    let Ok(definition) = builder::definition::find(&reference) else {
        return Ok(reference);
    };
    if definition.suite().is_none() || store.image(&reference)?.is_some() {
        return Ok(reference);
    }
    let mode = IdMode::current();
    let lacking = match debian::privilege(mode) {
        None => Some("this user has no subordinate ids to make it with"),
        Some(_) if !debian::is_possible() => {
            Some("mmdebstrap, which makes it, is not installed or too old")
        }
        Some(_) => None,
    };
    if let Some(lacking) = lacking {
        let official = choose::official(&definition.python);
        progress.step(&format!(
            "---> {reference} is not made yet, and {lacking}: using {official}"
        ));
        return Ok(official);
    }
    if !makes(context, &definition)? {
        return Err(BuilderError::NotMade { name: reference }.into());
    }
    if context.request.twin && context.request.runtime_image.is_none() {
        make_twin(context, &definition)?;
    }
    Ok(reference)
}

/// The slim image that runs what a new builder builds. Without it, applications run on the builder.
fn make_twin(context: Context<'_>, builder: &Definition) -> Result<(), BuildError> {
    let Some(twin) = builder.twin() else {
        return Ok(());
    };
    let made = makes(context, &twin);
    if crate::sandbox::interrupted() {
        return Err(BuildError::Interrupted);
    }
    if let Err(error) = made {
        context.progress.warning(&format!(
            "{} was not made ({error}), and the image is based on {}; `warpdrive builder build {}` tries again",
            twin.name, builder.name, twin.name
        ));
    }
    Ok(())
}

/// Makes a missing shipped builder. Returns whether this was possible.
pub(super) fn is_made_here(context: Context<'_>, name: &str) -> Result<bool, BuildError> {
    let definition = builder::definition::find(name)?;
    makes(context, &definition)
}

/// Makes a builder from Debian's packages. Returns whether this is possible here.
pub(super) fn makes(context: Context<'_>, definition: &Definition) -> Result<bool, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    if !can_make() {
        return Ok(false);
    }
    debian::build(
        store,
        definition,
        debian::Privilege::Root,
        mirror(request),
        this_architecture(),
        progress,
    )?;
    Ok(true)
}

/// Whether this process can run mmdebstrap as root. With subordinate ids it is root in a namespace that has
/// all of them, in which mmdebstrap does not need to make another (and could not).
fn can_make() -> bool {
    debian::is_possible() && debian::privilege(IdMode::current()).is_some()
}

fn mirror(request: &Request) -> debian::Mirror<'_> {
    debian::Mirror {
        url: request
            .host_env
            .get("WARPDRIVE_DEBIAN_MIRROR")
            .map(String::as_str),
        expired: false,
    }
}

/// Makes `definition` from a builder and more of Debian's packages. Returns whether this is possible here.
pub(super) fn adds(
    context: Context<'_>,
    definition: &Definition,
    builder: &Image,
    packages: &BTreeSet<String>,
) -> Result<bool, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    if !can_make() {
        return Ok(false);
    }
    let mirror = mirror(request);
    let made = packages::add(store, definition, builder, packages, mirror, progress)?;
    Ok(made.is_some())
}

/// The image that the application runs on, if it is not the one that it is built on: the layers
/// above the base do not depend on the base's bytes, but on its Python.
pub(super) fn runtime(
    context: Context<'_>,
    reference: &str,
    builder: &Base,
) -> Result<Base, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    progress.step(&format!("---> Using runtime image {reference}"));
    let pin = request
        .pinned
        .as_ref()
        .and_then(|pinned| pinned.runtime.as_ref());
    if pin.is_none() {
        refresh(context, reference)?;
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
pub(super) fn prepare(
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
        place: Place::Sandbox,
    })
}

/// The image with a digest, for this machine's platform: found under its name, under another name, or
/// in the registry of its name.
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
        // For a misspelt name, a registry answers that a login is needed.
        Some(name) => {
            return Err(BuilderError::Misspelt {
                reference: reference.to_owned(),
                meant: name.to_owned(),
            }
            .into());
        }
        None => {}
    }
    pull(store, reference, progress)
}

/// Does what `--pull` says for an image: its name may mean another image by now. Images of `builder
/// build` are not in a registry.
pub(super) fn refresh(context: Context<'_>, reference: &str) -> Result<(), BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
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
                "could not ask for a newer {reference} ({error}); the build uses the one in the store"
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

pub(super) fn pull(
    store: &Store,
    reference: &str,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    let parsed: Reference = reference
        .parse()
        .map_err(|error| BuilderError::Reference { error })?;
    progress.step(&format!("---> Pulling {}", parsed.canonical()));
    // Said once, and before its layers are fetched.
    let client = Client::new(ClientOptions {
        platform: Some(crate::oci::this_platform()),
        ..ClientOptions::default()
    })?;
    let descriptor = match client.pull(&parsed, store, &Transfers::new(progress)) {
        Err(RegistryError::OtherPlatform { found, wanted, .. }) => {
            return Err(BuilderError::WrongPlatform {
                reference: reference.to_owned(),
                found,
                wanted,
            }
            .into());
        }
        pulled => pulled?,
    };
    store.tag(reference, &descriptor)?;
    Ok(store.image_at(&descriptor)?)
}
