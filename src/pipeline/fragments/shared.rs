//! Fragments in a cache in a registry: what another machine made of a wheel is unpacked here in place of
//! being made again.
//!
//! A fragment is an item `f1-KEY` of [`crate::remote_cache`]; KEY is made of the fragment's own key (the
//! wheel's hash, the base image, its Python) and of the compression. Its one layer is the fragment's image
//! layer, to the byte.
//!
//! **What comes is hostile.** The record has to be that of the key and the wheel that were asked for. The
//! layer's bytes have its digest, and unpacked they have its diff id; its members are plain files in places
//! that a package may have; each is listed in RECORD with its hash, but for byte-code, which lies beside a
//! source of the same distribution; and this program, writing a layer of what it unpacked, gets the same
//! diff id: so there is nothing in the layer that is not in the tree. Only what is written with the
//! credentials of the cache can say what byte-code is, or what RECORD says; that is why builds of code that
//! is not trusted do not write there (docs/registry-cache).

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::app::assemble::compiler;
use crate::app::assemble::records;
use crate::builder::layer::{StoredLayer, parent_directory};
use crate::layer::{self, Compression, Limits, MemberKind, TarReader, decompressor};
use crate::oci::{Descriptor, Reference, Sha256Reader, sha256_hex, to_canonical_json};
use crate::parallel::largest_first;
use crate::remote_cache::{Found, Item, RemoteCache, Tag};
use crate::sandbox::IdMode;
use crate::store::Store;

use super::super::base::Base;
use super::super::context::Context;
use super::super::deferred::Deferred;
use super::super::error::BuildError;
use super::super::installed::site_packages;
use super::super::locked_wheel::{LockedWheel, Pin};
use super::super::split::{parse_dist_info, source_of};
use super::super::titled_layer::LayerWriter;
use super::super::tree::APP_ROOT;
use super::contents::Contents;
use super::install::hidden;
use super::tree::Tree;
use super::wheel::judge;
use super::{Fragment, InstallInputs, key, layers};

/// The word for an item of this kind.
const KIND: &str = "fragment";
const FORMAT: u32 = 1;
/// How many are asked for, and fetched, at once.
const AT_ONCE: usize = 16;
/// Most that one unpacks to, in bytes and in headers.
const LIMITS: Limits = Limits {
    max_bytes: 16 << 30,
    max_entries: 500_000,
};

/// The record of a fragment in the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Shared {
    format: u32,
    /// Of the fragment.
    key: String,
    pin: Pin,
    /// `None` where the distribution is path configuration alone.
    layer: Option<StoredLayer>,
    /// What the layer lacks.
    deferred: Vec<Deferred>,
}

/// Under which tag a fragment is.
fn tag(key: &str, compression: &str) -> Result<String, BuildError> {
    let document = json!({"format": FORMAT, "fragment": key, "compression": compression});
    Ok(format!("f1-{}", sha256_hex(&to_canonical_json(&document)?)))
}

/// The fragments of these wheels that the cache has, in their order.
pub(super) fn restore(
    inputs: InstallInputs<'_>,
    wheels: &[&LockedWheel],
) -> Result<Vec<Option<Fragment>>, BuildError> {
    let Context {
        request, progress, ..
    } = inputs.context;
    let cache = &request.cache;
    if request.no_cache || !cache.is_read() || wheels.is_empty() {
        return Ok(wheels.iter().map(|_| None).collect());
    }
    let below = inputs.below()?;
    let weight = |wheel: &&LockedWheel| wheel.artifact.size.unwrap_or(0);
    let found = largest_first(wheels, AT_ONCE, weight, |wheel| {
        match one(inputs, cache, &wheel.pin, &below) {
            Ok(fragment) => Ok(fragment),
            Err(Refused::Bad(problem)) => {
                progress.warning(&format!(
                    "what the cache has of {} {} is not used: {problem}",
                    wheel.pin.name, wheel.pin.version
                ));
                Ok(None)
            }
            Err(Refused::Error(error)) => Err(error),
        }
    })?;
    let count = found.iter().flatten().count();
    if count > 0 {
        progress.step(&format!(
            "        {count} distributions from the cache in the registry"
        ));
    }
    Ok(found)
}

/// Why there is no fragment.
enum Refused {
    /// It is not what it should be.
    Bad(String),
    /// Of this machine.
    Error(BuildError),
}

impl<E: Into<BuildError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

fn bad<T>(problem: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Bad(problem.into()))
}

fn one(
    inputs: InstallInputs<'_>,
    cache: &RemoteCache,
    pin: &Pin,
    below: &[PathBuf],
) -> Result<Option<Fragment>, Refused> {
    let InstallInputs { context, base, .. } = inputs;
    let Context {
        store,
        request,
        progress,
    } = context;
    let key = key(pin, base)?;
    let local = cache.scoped(&key);
    if let Some(fragment) = super::find(store, &local)? {
        return Ok(Some(fragment));
    }
    let tag = tag(&key, &request.compression.to_string())?;
    let Some(found) = cache.find(&tag, KIND, progress) else {
        return Ok(None);
    };
    let shared = record(&found, &key, pin)?;
    if let Some(layer) = &shared.layer {
        fetch(cache, &found.repository, &layer.descriptor, store)?;
    }
    let site = site_packages(base);
    let scratch = store.scratch("cached-fragment")?;
    let place = scratch.path().join("tree");
    let contents = unpack(store, &shared, &place, &site, below)?;
    let name = format!("fragment-{local}");
    let fragment = contents.fragment(pin, name.clone());
    store.keep_unpacked(IdMode::current().map_name(), &name, &place)?;
    if let Some(layer) = shared.layer {
        // The image has it as it is, where it has a layer of its own.
        let writer = LayerWriter::new(store, request);
        layers::remember_one(store, &fragment, layer, &writer)?;
    }
    store.remember(&local, &fragment)?;
    Ok(Some(fragment))
}

/// The record, if it is of what was asked for.
fn record(found: &Found, key: &str, pin: &Pin) -> Result<Shared, Refused> {
    let Ok(shared) = serde_json::from_slice::<Shared>(&found.record) else {
        return bad("its record cannot be read");
    };
    if shared.format != FORMAT || shared.key != key || shared.pin != *pin {
        return bad("it is the record of something else");
    }
    let layers: Vec<&Descriptor> = shared.layer.iter().map(|l| &l.descriptor).collect();
    if !layers.into_iter().eq(found.layers.iter()) {
        return bad("its record names other layers than its manifest");
    }
    Ok(shared)
}

/// What cannot be fetched is made here.
fn fetch(
    cache: &RemoteCache,
    repository: &Reference,
    layer: &Descriptor,
    store: &Store,
) -> Result<(), Refused> {
    match cache.fetch(repository, layer, store) {
        Ok(()) => Ok(()),
        Err(crate::remote_cache::CacheError::Store(error)) if !error.is_mismatch() => {
            Err(error.into())
        }
        Err(error) => bad(error.to_string()),
    }
}

/// A file as it came: its hash in RECORD's form, and its size.
type Files = HashMap<PathBuf, (String, u64)>;

/// Unpacks it to a new tree, and judges it.
fn unpack(
    store: &Store,
    shared: &Shared,
    place: &Path,
    site: &Path,
    below: &[PathBuf],
) -> Result<Contents, Refused> {
    let mut tree = Tree::empty(place.to_owned());
    let mut files = Files::new();
    if let Some(layer) = &shared.layer {
        read_layer(store, layer, &mut tree, &mut files)?;
    }
    for deferred in &shared.deferred {
        let Some(bytes) = deferred.contents() else {
            return bad("its path configuration is not a file");
        };
        let is_path = deferred.path.parent() == Some(site)
            && deferred.path.extension().is_some_and(|e| e == "pth");
        if !is_path {
            return bad(format!(
                "{} is not a path configuration",
                deferred.path.display()
            ));
        }
        add(
            &mut tree,
            &mut files,
            &deferred.path,
            false,
            &mut &bytes[..],
        )?;
    }
    let app_root = Path::new(APP_ROOT);
    for path in files.keys() {
        let Ok(inside) = path.strip_prefix(app_root) else {
            return bad(format!("{} is not below the app root", path.display()));
        };
        if judge(inside).is_err() {
            return bad(format!("{} is not a package's place", path.display()));
        }
    }
    let inside = files
        .keys()
        .filter_map(|path| path.strip_prefix(app_root).ok());
    if let Some(path) = hidden(inside, below) {
        return bad(format!("{} lies over the image's", path.display()));
    }
    check_record(place, &files, site, &shared.pin)?;
    let contents = Contents::of(place, site)?;
    if let Some(layer) = &shared.layer {
        // Owners, modes, times, directories: all that the layer says and the tree does not.
        let entries = layer::with_parents(contents.entries.clone(), parent_directory);
        let written = layer::write(&entries, Compression::None, &mut io::sink())?;
        if written.diff_id.to_string() != layer.diff_id {
            return bad("its layer says more than its files");
        }
    } else if !contents.entries.is_empty() {
        return bad("it has files and no layer");
    }
    Ok(contents)
}

/// Reads the files of a layer, and verifies its digest and its diff id.
fn read_layer(
    store: &Store,
    layer: &StoredLayer,
    tree: &mut Tree,
    files: &mut Files,
) -> Result<(), Refused> {
    let blob = store.open_verified(layer.descriptor.digest())?;
    let mut stream = Sha256Reader::new(decompressor(blob));
    let mut tar = TarReader::new(&mut stream, LIMITS);
    let damaged = |error: layer::LayerError| Refused::Bad(error.to_string());
    while let Some(member) = tar.next_member().map_err(damaged)? {
        match member.kind {
            MemberKind::Directory => {}
            MemberKind::File => {
                let executable = member.mode & 0o100 != 0;
                add(tree, files, &member.path, executable, &mut tar)?;
            }
            _ => {
                return bad(format!("{} is not a plain file", member.path.display()));
            }
        }
    }
    tar.drain().map_err(damaged)?;
    let (_, found, _) = stream.finish();
    if found.to_string() != layer.diff_id {
        return bad("its layer has another diff id than its record says");
    }
    Ok(())
}

/// Creates a file; refuses a path that could lead elsewhere.
fn add(
    tree: &mut Tree,
    files: &mut Files,
    path: &Path,
    executable: bool,
    content: &mut dyn Read,
) -> Result<(), Refused> {
    let plain = path.starts_with(APP_ROOT)
        && path
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
    if !plain {
        return bad(format!("{} is not a place for a file", path.display()));
    }
    let mut content = Hashing {
        inner: content,
        hash: Sha256::new(),
    };
    let size = match tree.copy(path, executable, &mut content) {
        Ok(size) => size,
        Err(source) if source.kind() == io::ErrorKind::StorageFull => {
            return Err(BuildError::Write {
                path: path.to_owned(),
                source,
            }
            .into());
        }
        Err(error) => return bad(format!("{}: {error}", path.display())),
    };
    let hash = URL_SAFE_NO_PAD.encode(content.hash.finalize());
    files.insert(path.to_owned(), (format!("sha256={hash}"), size));
    Ok(())
}

struct Hashing<'r> {
    inner: &'r mut dyn Read,
    hash: Sha256,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// Holds every file against the distribution's RECORD, and RECORD against the files.
fn check_record(tree: &Path, files: &Files, site: &Path, pin: &Pin) -> Result<(), Refused> {
    let mut found = files.keys().filter(|path| {
        path.ends_with("RECORD")
            && path.parent().and_then(Path::parent) == Some(site)
            && path
                .parent()
                .is_some_and(|info| info.extension().is_some_and(|end| end == "dist-info"))
    });
    let (Some(own), None) = (found.next(), found.next()) else {
        return bad("it has not exactly one RECORD");
    };
    let info = own
        .parent()
        .and_then(Path::file_name)
        .and_then(|n| n.to_str());
    if info.and_then(parse_dist_info) != Some((pin.name.clone(), pin.version.clone())) {
        return bad("its RECORD is another distribution's");
    }
    let text = std::fs::read_to_string(tree.join(own));
    let Ok(text) = text else {
        return bad("its RECORD is not text");
    };
    let mut listed: HashMap<PathBuf, String> = HashMap::new();
    for entry in records::parse(&text) {
        let Some(path) = resolved(site, &entry.path) else {
            return bad(format!("its RECORD lists {}", entry.path));
        };
        if path == *own {
            continue;
        }
        match files.get(&path) {
            Some((hash, _)) if *hash == entry.hash => {}
            Some(_) => return bad(format!("{} is not what RECORD says", path.display())),
            None => return bad(format!("{} of its RECORD is not there", path.display())),
        }
        listed.insert(path, entry.hash);
    }
    for path in files.keys() {
        if listed.contains_key(path) || path == own {
            continue;
        }
        let source = source_of(path).filter(|source| {
            files.contains_key(source) && source.strip_prefix(site).is_ok_and(compiler::is_compiled)
        });
        if source.is_none() {
            return bad(format!("{} is in no RECORD", path.display()));
        }
    }
    Ok(())
}

/// A path of RECORD from the image's root.
fn resolved(site: &Path, path: &str) -> Option<PathBuf> {
    let mut resolved = site.to_owned();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(name) => resolved.push(name),
            std::path::Component::ParentDir if resolved.pop() => {}
            _ => return None,
        }
    }
    Some(resolved)
}

/// The items of these wheels' fragments.
pub(in super::super) fn items(
    context: Context<'_>,
    base: &Base,
    wheels: &[LockedWheel],
) -> Result<Vec<Item>, BuildError> {
    let Context { store, request, .. } = context;
    let writer = LayerWriter::new(store, request);
    let all = largest_first(
        wheels,
        layer::threads(),
        |wheel| wheel.artifact.size.unwrap_or(0),
        |wheel| -> Result<Option<Item>, BuildError> {
            let key = key(&wheel.pin, base)?;
            let Some(fragment) = super::find(store, &key)? else {
                return Ok(None);
            };
            let layer = layers::of_one(store, &fragment, &writer)?;
            let shared = Shared {
                format: FORMAT,
                key: key.clone(),
                pin: fragment.pin,
                layer,
                deferred: fragment.deferred,
            };
            Ok(Some(Item {
                tag: Tag::Fixed(tag(&key, &writer.compression())?),
                kind: KIND,
                record: to_canonical_json(&shared)?,
                layers: shared
                    .layer
                    .into_iter()
                    .map(|layer| layer.descriptor)
                    .collect(),
            }))
        },
    )?;
    Ok(all.into_iter().flatten().collect())
}
