//! The result of an application's last build, as a cache in a registry keeps it: one item for each image
//! name, branch and builder; one request fetches it.
//!
//! It has the results of both phases under their keys, and the facts about the base image that a build
//! needs. Its layers stay in the registry: a push mounts them from there, and a build fetches them only to
//! run something on them. Code of the application and of sdists may have made them, so no other
//! application's build finds them; the tag is made from the application's name.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::builder::{self, python::Python};
use crate::oci::{
    Descriptor, ImageManifest, Reference, from_json, sha256, sha256_hex, to_canonical_json,
};
use crate::registry::{Client, ClientOptions};
use crate::remote_cache::{Found, Item, Tag};
use crate::store::Store;

use super::application_result::Application;
use super::base::{self, Base};
use super::context::Context;
use super::draft::in_oci_words;
use super::error::BuildError;
use super::installed::Dependencies;
use super::part::Part;
use super::titled_layer::TitledLayer;
use super::transfers::Transfers;
use super::tree::{APP_ROOT, exists_below};

const KIND: &str = "build";
const FORMAT: u32 = 1;
/// Most bytes of the base's list of accounts.
const MAX_ACCOUNTS: usize = 1 << 20;

/// A result, and the key of everything that decided it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Keyed<T> {
    pub(super) key: String,
    pub(super) result: T,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LastBuildRecord {
    format: u32,
    base: Facts,
    dependencies: Keyed<Dependencies>,
    application: Keyed<Application>,
    /// Facts about the dependencies, if each layer is a distribution.
    #[serde(default)]
    parts: Vec<Part>,
}

/// Everything that a build without the base image's files knows about the base.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    /// The documents, byte for byte.
    manifest: String,
    config: String,
    python: Python,
    /// `/etc/passwd`.
    accounts: Option<String>,
    /// The application's root has only the files of the builder layer.
    #[serde(default)]
    bare_app_root: bool,
}

/// The last build, if a cache has it.
pub(super) struct LastBuild {
    found: Option<(Found, LastBuildRecord)>,
}

/// Under which tag it is.
fn tag(context: Context<'_>, builder: Option<&str>, branch: &str) -> Result<String, BuildError> {
    let request = context.request;
    let name = &request.name;
    let scope = json!({
        "format": FORMAT,
        "name": format!("{}/{}", name.registry(), name.repository()),
        "branch": branch,
        "builder": builder,
        "runtime": request.runtime_image,
        "compression": request.compression.to_string(),
    });
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let short: String = name
        .short_name()
        .chars()
        .filter(|c| harmless(*c))
        .take(50)
        .collect();
    let hash = sha256_hex(&to_canonical_json(&scope)?);
    Ok(format!("a1-{short}-{}", &hash[..32]))
}

impl LastBuild {
    /// Without any cache.
    pub(super) fn unknown() -> Self {
        Self { found: None }
    }

    /// Asks the caches. `builder` is the name as given, `branch` the branch of the source.
    pub(super) fn find(
        context: Context<'_>,
        builder: Option<&str>,
        branch: &str,
    ) -> Result<Self, BuildError> {
        let Context {
            store,
            request,
            progress,
        } = context;
        if request.no_cache || !request.cache.is_read() {
            return Ok(Self::unknown());
        }
        let tag = tag(context, builder, branch)?;
        let found = request.cache.find(&tag, KIND, progress).and_then(|found| {
            let record = from_json::<LastBuildRecord>(&found.record, "the record of the last build").ok()?;
            let has = |layer: &Descriptor| {
                let mut layers = found.layers.iter();
                layers.any(|l| l.digest() == layer.digest() && l.size() == layer.size())
            };
            let mut layers = record.dependencies.result.layers.iter();
            let whole = record.format == FORMAT
                && layers.all(|titled| has(&titled.layer.descriptor))
                && has(&record.application.result.layer.layer.descriptor);
            if !whole {
                progress.warning(&format!(
                    "{}:{tag} cannot be used: its record is of another form, or names layers that it does not have",
                    found.repository.as_given()
                ));
                return None;
            }
            found.note(store);
            Some((found, record))
        });
        Ok(Self { found })
    }

    /// Whether this registry can mount the layers from the cache.
    pub(super) fn is_in(&self, registry: &str) -> bool {
        let found = self.found.as_ref();
        found.is_some_and(|(found, _)| found.repository.registry() == registry)
    }

    /// The result of phase 1 for this key; its layers may be only in the registry.
    pub(super) fn dependencies(&self, key: &str) -> Option<Dependencies> {
        let (_, record) = self.found.as_ref()?;
        (record.dependencies.key == key).then(|| record.dependencies.result.clone())
    }

    /// The facts about each distribution of phase 1.
    pub(super) fn parts(&self) -> &[Part] {
        self.found
            .as_ref()
            .map_or(&[], |(_, record)| record.parts.as_slice())
    }

    /// The layers of phase 1, for any key.
    pub(super) fn layers(&self) -> &[TitledLayer] {
        self.found
            .as_ref()
            .map_or(&[], |(_, record)| &record.dependencies.result.layers)
    }

    /// Whether the base has no file in the application's root that a package could hide.
    pub(super) fn has_bare_app_root(&self) -> bool {
        let found = self.found.as_ref();
        found.is_some_and(|(_, record)| record.base.bare_app_root)
    }

    /// The same for phase 2.
    pub(super) fn application(&self, key: &str) -> Option<Application> {
        let (_, record) = self.found.as_ref()?;
        (record.application.key == key).then(|| record.application.result.clone())
    }

    /// Loads these layers into the store.
    pub(super) fn fetch<'d>(
        &self,
        context: Context<'_>,
        layers: impl Iterator<Item = &'d Descriptor>,
    ) -> Result<(), BuildError> {
        let Some((found, _)) = &self.found else {
            return Ok(());
        };
        let layers: Vec<&Descriptor> = layers.collect();
        crate::parallel::largest_first(
            &layers,
            6,
            |layer| layer.size(),
            |layer| {
                let request = context.request;
                request.cache.fetch(&found.repository, layer, context.store)
            },
        )?;
        Ok(())
    }

    /// The base image without its files, if its name still means the same image.
    pub(super) fn base(
        &self,
        context: Context<'_>,
        reference: &str,
    ) -> Result<Option<Base>, BuildError> {
        let Context {
            store, progress, ..
        } = context;
        let Some((_, record)) = &self.found else {
            return Ok(None);
        };
        let parsed = reference.parse::<Reference>();
        let Some(parsed) = parsed.ok().filter(Reference::has_host) else {
            return Ok(None);
        };
        let facts = &record.base;
        let client = Client::new(ClientOptions::default())?;
        let resolved = client.resolve(&parsed, &Transfers::new(progress))?;
        if resolved.bytes != facts.manifest.as_bytes() {
            return Ok(None);
        }
        let manifest: ImageManifest = from_json(&resolved.bytes, "the manifest of the base")?;
        let accounts = facts.accounts.as_ref();
        let usable = sha256(facts.config.as_bytes()) == *manifest.config().digest()
            && facts.python.is_usable()
            && accounts.is_none_or(|text| text.len() <= MAX_ACCOUNTS);
        if !usable {
            return Ok(None);
        }
        progress.step(&format!(
            "---> Using builder {reference} (as asked for), whose files stay in the registry"
        ));
        store.put_blob(facts.manifest.as_bytes())?;
        store.put_blob(facts.config.as_bytes())?;
        let image = store.image_at(&resolved.descriptor)?;
        base::fits(&image, reference)?;
        let accounts = accounts.map(String::as_bytes);
        let builder_layer = builder::layer::made_of(store, &facts.python, accounts)?;
        Ok(Some(Base {
            reference: reference.to_owned(),
            image,
            python: facts.python.clone(),
            builder_layer,
            builder_layer_cached: true,
            hardening: None,
            hardening_cached: false,
            place: context.request.place.clone(),
        }))
    }

    fn facts(&self, store: &Store, base: &Base) -> Result<Option<Facts>, BuildError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let image = &base.image;
        let (Some(manifest), Some(config)) =
            (text(&image.manifest_bytes), text(&image.config_bytes))
        else {
            return Ok(None);
        };
        if let Some((_, record)) = &self.found
            && record.base.manifest == manifest
        {
            return Ok(Some(record.base.clone()));
        }
        let lowers = base.lowers(store)?;
        let images_own = lowers.get(1..).unwrap_or_default();
        let bare_app_root = !exists_below(images_own, Path::new(APP_ROOT));
        let accounts = builder::layer::accounts(store, image, &base.reference)?;
        let accounts = match accounts {
            Some(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Some(text),
                Err(_) => return Ok(None),
            },
            None => None,
        };
        Ok(Some(Facts {
            manifest,
            config,
            python: base.python.clone(),
            accounts,
            bare_app_root,
        }))
    }

    /// Makes the record of this build as the last one.
    pub(super) fn item(
        &self,
        context: Context<'_>,
        (builder, branch): (Option<&str>, &str),
        base: &Base,
        dependencies: Keyed<&Dependencies>,
        parts: &[Part],
        application: Keyed<&Application>,
    ) -> Result<Option<Item>, BuildError> {
        let Some(facts) = self.facts(context.store, base)? else {
            return Ok(None);
        };
        let mut layers: Vec<Descriptor> = base
            .image
            .manifest
            .layers()
            .iter()
            .map(in_oci_words)
            .collect();
        layers.push(base.builder_layer.descriptor.clone());
        let of_phases = dependencies
            .result
            .layers
            .iter()
            .chain([&application.result.layer]);
        layers.extend(of_phases.map(|titled| titled.layer.descriptor.clone()));
        let mut known = std::collections::HashSet::new();
        layers.retain(|layer| known.insert(layer.digest().clone()));
        let record = LastBuildRecord {
            format: FORMAT,
            base: facts,
            dependencies: Keyed {
                key: dependencies.key,
                result: Dependencies {
                    // Of this machine.
                    tree: None,
                    ..dependencies.result.clone()
                },
            },
            application: Keyed {
                key: application.key,
                result: application.result.clone(),
            },
            parts: parts.to_vec(),
        };
        Ok(Some(Item {
            tag: Tag::Moving(tag(context, builder, branch)?),
            kind: KIND,
            record: to_canonical_json(&record)?,
            layers,
        }))
    }
}
