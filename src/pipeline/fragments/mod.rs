//! The dependency phase without the application: where its list says plainly what it needs, the list
//! is resolved to exact wheels, and each wheel is installed once for all applications on this base
//! image.
//!
//! What one distribution gives is a *fragment*: its files in a directory of their own
//! (`unpacked/MAP/fragment-KEY`, an overlay lower directory), a record of them, and its layer where
//! it is large enough to have one. KEY is made of the wheel's hash, the base image and the
//! installer's version. A list whose fragments are all there runs nothing but the resolver; a new
//! distribution installs only itself; and while the package index is asked, what it said the last time
//! is installed already ([`ahead`]).
//!
//! No code of the application or of a package runs here (see [`super::trusted`]), wheels are verified
//! by the hashes of the resolution, and what cannot be told apart by `RECORD` is left to
//! [`super::dependencies`], which installs everything in one tree. Both ways give the same layers.

mod ahead;
mod install;
mod layers;
mod plain;
mod resolve;

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::Detected;
use crate::oci::{sha256_hex, to_canonical_json};
use crate::progress::Progress;
use crate::sandbox::IdMode;
use crate::source::Tree;
use crate::store::Store;

use super::base::Base;
use super::carried::Carried;
use super::dependencies::{Dependencies, now};
use super::error::BuildError;
use super::lock::LockedWheel;
use super::locked::Locked;
use super::request::Request;
use super::tools::{self, Tools};
use install::{Installation, Refusal};
use plain::Asked;

pub(super) use layers::layers;
pub(super) use resolve::Pin;

/// Where the installer may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The package index, and its own cache as far as that is fresh.
    Index,
    /// Its own cache alone, however old.
    Cache,
}

impl Reach {
    /// What uv is told.
    fn option(self) -> Option<&'static str> {
        (self == Self::Cache).then_some("--offline")
    }
}

/// What a resolution and an installation depend on.
#[derive(Clone, Copy)]
struct Given<'a> {
    store: &'a Store,
    asked: &'a Asked<'a>,
    detected: &'a Detected,
    base: &'a Base,
    request: &'a Request,
    tools: &'a Tools,
}

/// What the store knows of one installed wheel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fragment {
    pin: Pin,
    /// Relative to the root of the image, byte-code included, path configuration not.
    files: Vec<PathBuf>,
    /// Of these files, in bytes.
    size: u64,
    /// Its `.pth` files.
    carried: Vec<Carried>,
    /// Names its tree; a list because that is how the store's collector finds it.
    unpacked: Vec<String>,
}

impl Fragment {
    fn tree(&self) -> &str {
        self.unpacked.first().map_or("", String::as_str)
    }
}

/// What decides what is in a fragment.
fn key(pin: &Pin, base: &Base) -> String {
    let document = json!({
        "format": 4,
        "pin": pin,
        "base": base.identity(),
        "python": base.python,
        "tools": tools::versions(),
    });
    sha256_hex(&to_canonical_json(&document))
}

/// Either what the dependency phase gives but for its layers, and the fragments that [`layers`] makes
/// these of; or why it has to be run as a whole.
pub(super) type Outcome = Result<(Dependencies, Vec<Fragment>), String>;

/// Makes the dependency phase's result of fragments.
#[expect(
    clippy::too_many_arguments,
    reason = "a step of the pipeline: it names all that it depends on"
)]
pub(super) fn phase(
    store: &Store,
    source: &Tree,
    detected: &Detected,
    base: &Base,
    locked: Option<&Locked>,
    request: &Request,
    tools: &Tools,
    progress: &dyn Progress,
) -> Result<Outcome, BuildError> {
    let asked = match plain::list(source, detected, locked, request) {
        Ok(asked) => asked,
        Err(reason) => return Ok(Err(reason)),
    };
    progress.step(&format!(
        " -----> Resolving dependencies with uv ({})",
        asked.names
    ));
    let given = Given {
        store,
        asked: &asked,
        detected,
        base,
        request,
        tools,
    };
    // What the index's answer comes to, once it is there.
    let answer: OnceLock<Vec<Pin>> = OnceLock::new();
    let (resolved, ahead) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let resolved = resolve::resolve(given, Reach::Index);
            let wheels = resolved.as_ref().ok().and_then(|found| found.as_ref().ok());
            let pins = wheels.into_iter().flatten().map(|wheel| wheel.pin.clone());
            let _ = answer.set(pins.collect());
            resolved
        });
        let wanted = |pins: &[&Pin]| {
            let known = answer.get();
            known.is_none_or(|answer| pins.iter().all(|pin| answer.contains(pin)))
        };
        let ahead = ahead::install(given, &wanted);
        (asking.join(), ahead)
    });
    let ahead = ahead?;
    let resolved = match resolved.unwrap_or_else(|panic| resume_unwind(panic))? {
        Ok(found) => found,
        Err(reason) => return Ok(Err(reason)),
    };
    let index = asked.only_index();
    let wheels: Vec<LockedWheel> = resolved
        .into_iter()
        .map(|wheel| wheel.in_index(index))
        .collect();
    progress.step(&format!(
        " -----> Installing dependencies with uv ({})",
        asked.names
    ));
    let mut found = find_all(given, &wheels)?;
    let missing = missing(&wheels, &found);
    let made = wheels.iter().filter(|wheel| ahead.made(&wheel.pin)).count();
    progress.step(&format!(
        "        {} distributions, {} new",
        wheels.len(),
        made + missing.len()
    ));
    if let Some(reason) = ahead.inseparable(&missing) {
        return Ok(Err(reason.to_owned()));
    }
    ahead.tell(&wheels, progress);
    if !missing.is_empty() {
        let scratch = store.scratch("files")?;
        let packages = match asked.locked {
            Some(locked) => {
                let place = Locked::place(&scratch)?;
                let new = wheels.iter().filter(|wheel| missing.contains(&&wheel.pin));
                let new: Vec<&LockedWheel> = new.collect();
                locked.fetch(&new, store, request, &place, progress)?;
                Some(place)
            }
            None => None,
        };
        let installation = Installation {
            given,
            packages: packages.as_deref(),
            reach: Reach::Index,
            wanted: &|| true,
            progress,
        };
        let mut made = match installation.of(&missing)? {
            Ok(made) => made.into_iter(),
            Err(Refusal::Failed) => {
                return Ok(Err("the wheels could not be installed by themselves".into()));
            }
            Err(Refusal::Inseparable(reason)) => return Ok(Err(reason)),
        };
        for slot in found.iter_mut().filter(|slot| slot.is_none()) {
            *slot = made.next();
        }
    }
    let fragments: Vec<Fragment> = found.into_iter().flatten().collect();
    Ok(combine(&fragments, wheels).map(|result| (result, fragments)))
}

/// The dependency phase's result but for its layers; or why these cannot be stacked. The fragments
/// are sorted by name.
fn combine(fragments: &[Fragment], wheels: Vec<LockedWheel>) -> Result<Dependencies, String> {
    let mut seen: HashMap<&Path, &str> = HashMap::new();
    let mut carried = Vec::new();
    for fragment in fragments {
        for path in &fragment.files {
            if let Some(other) = seen.insert(path, &fragment.pin.name) {
                return Err(format!(
                    "{other} and {} both have {}",
                    fragment.pin.name,
                    path.display()
                ));
            }
        }
        carried.extend(fragment.carried.iter().cloned());
    }
    // In the order of a scan of the whole tree.
    carried.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Dependencies {
        layers: Vec::new(),
        blobs: Vec::new(),
        carried,
        resolved: fragments
            .iter()
            .map(|fragment| (fragment.pin.name.clone(), fragment.pin.version.clone()))
            .collect(),
        resolved_at: now(),
        unpacked: fragments
            .iter()
            .flat_map(|fragment| fragment.unpacked.iter().cloned())
            .collect(),
        wheels,
    })
}

/// The fragments of these wheels, as far as they are there and may be used.
fn find_all(given: Given<'_>, wheels: &[LockedWheel]) -> Result<Vec<Option<Fragment>>, BuildError> {
    let find = |wheel: &LockedWheel| {
        if given.request.no_cache {
            return Ok(None);
        }
        find(given.store, &key(&wheel.pin, given.base))
    };
    wheels.iter().map(find).collect()
}

/// The wheels that there is no fragment of, in their order.
fn missing<'a>(wheels: &'a [LockedWheel], found: &[Option<Fragment>]) -> Vec<&'a Pin> {
    let pairs = wheels.iter().zip(found);
    pairs
        .filter_map(|(wheel, found)| found.is_none().then_some(&wheel.pin))
        .collect()
}

/// The fragment of this key, if its record and its tree are there.
fn find(store: &Store, key: &str) -> Result<Option<Fragment>, BuildError> {
    let Some(fragment) = store.cached::<Fragment>("fragment", key)? else {
        return Ok(None);
    };
    let tree = store.find_unpacked(IdMode::current().map_name(), fragment.tree());
    Ok(tree.map(|_| fragment))
}
