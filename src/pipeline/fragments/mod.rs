//! The dependency phase without the application: where its list says plainly what it needs, the list
//! is resolved to exact wheels, and each wheel is installed once for all applications on this base
//! image.
//!
//! What one distribution gives is a *fragment*: its files in a directory of their own
//! (`unpacked/MAP/fragment-KEY`, an overlay lower directory), a record of them, and its layer where
//! it is large enough to have one. KEY is made of the wheel's hash and the base image. A list whose
//! fragments are all there runs nothing but the resolver; a new distribution installs only itself; and
//! while the package index is asked, what it said the last time is installed already ([`ahead`]).
//!
//! **What is shared can't be poisoned.** A fragment is a function of the bytes of one wheel, whose hash
//! the resolution names ([`download`]), and of the base image's Python: the files that its RECORD lists,
//! with the bytes that RECORD's hashes name, in places that a package may have ([`wheel`]), and byte-code
//! that was compiled where nothing of a package is to be found ([`bytecode`]). We write all of it
//! ourselves ([`tree`]). Nothing of a package runs, is imported or is read as configuration meanwhile,
//! and the one stage with an installer, the resolution, runs with no package installed
//! ([`super::trusted`]).
//!
//! What is not as plain, or cannot be told apart by `RECORD`, is left to [`super::dependencies`], which
//! installs everything in one tree, for one application. Both ways give the same layers.

mod ahead;
mod archive;
mod bytecode;
mod contents;
mod download;
mod entry_points;
mod here;
mod install;
mod layers;
mod of_wheels;
mod part;
mod plain;
mod resolve;
mod shared;
mod stop;
mod tree;
mod unfit;
mod wheel;
#[cfg(test)]
mod wheel_tests;
mod without_the_base;

#[cfg(feature = "fuzzing")]
use std::fs::File;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::Detected;
use crate::oci::{sha256_hex, to_canonical_json};
use crate::sandbox::IdMode;
use crate::source::Tree;
use crate::store::{Needs, Record, Store};

use super::base::Base;
use super::context::Context;
use super::deferred::Deferred;
use super::error::BuildError;
use super::installed::Dependencies;
use super::locked::Locked;
use super::locked_wheel::{LockedWheel, Pin};
use super::materials::Materials;
use super::path_bytes;
use super::timings::now;
use super::tools::Tools;
use here::Here;
use install::Installation;
use plain::Asked;
use stop::Stop;
use wheel::contested;

pub(super) use layers::layers;
pub(super) use of_wheels::{give_wheels, of_wheels};
pub(super) use part::{part_of, parts};
pub(super) use shared::items as shared_items;
pub(super) use without_the_base::without_the_base;

/// Where the installer may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// The package index, and its own cache as far as that is fresh.
    Index,
    /// Its own cache alone, however old.
    Cache,
}

impl Lookup {
    /// What uv is told.
    fn option(self) -> Option<&'static str> {
        (self == Self::Cache).then_some("--offline")
    }
}

/// What a resolution depends on.
#[derive(Clone, Copy)]
struct Given<'a> {
    inputs: InstallInputs<'a>,
    asked: &'a Asked<'a>,
    detected: &'a Detected,
    tools: &'a Tools,
}

impl<'a> std::ops::Deref for Given<'a> {
    type Target = InstallInputs<'a>;

    fn deref(&self) -> &InstallInputs<'a> {
        &self.inputs
    }
}

/// What an installation of wheels depends on.
#[derive(Clone, Copy)]
struct InstallInputs<'a> {
    context: Context<'a>,
    base: &'a Base,
    /// What takes the place of the base image, whose files are not here.
    here: Option<&'a Here>,
    /// The list that the wheels are of.
    asked: Option<&'a Asked<'a>>,
}

impl InstallInputs<'_> {
    /// Lower directories that a package must not lie over.
    fn below(&self) -> Result<Vec<PathBuf>, BuildError> {
        match self.here {
            Some(here) => Ok(here.below.clone()),
            None => self.base.lowers(self.context.store),
        }
    }
}

/// What the store knows of one installed wheel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fragment {
    pin: Pin,
    /// Relative to the root of the image, byte-code included, path configuration not.
    #[serde(
        serialize_with = "path_bytes::serialize_list",
        deserialize_with = "path_bytes::deserialize_list"
    )]
    files: Vec<PathBuf>,
    /// Of these files, in bytes.
    size: u64,
    /// Its `.pth` files.
    deferred: Vec<Deferred>,
    /// Names its tree.
    tree: String,
}

impl Record for Fragment {
    const KIND: &'static str = "fragment";

    fn needs(&self) -> Needs {
        Needs {
            blobs: Vec::new(),
            trees: vec![self.tree.clone()],
        }
    }
}

/// The format of fragments; a change of their content raises it.
const FORMAT: u32 = 5;

/// What decides what is in a fragment.
fn key(pin: &Pin, base: &Base) -> Result<String, BuildError> {
    let document = json!({
        "format": FORMAT,
        "pin": pin,
        "base": base.identity(),
        "python": base.python,
    });
    Ok(sha256_hex(&to_canonical_json(&document)?))
}

/// What comes of a list.
pub(super) enum Gathered {
    /// What the dependency phase gives but for its layers, and the fragments that [`layers`] makes these of.
    Installed(Dependencies, Vec<Fragment>),
    /// Why it has to be installed as a whole.
    NotPlain(String),
}

/// Makes the dependency phase's result of fragments.
pub(super) fn phase(
    materials: &Materials<'_>,
    source: &Tree,
    tools: &Tools,
) -> Result<Gathered, BuildError> {
    let reason = match installed(materials, source, tools) {
        Ok((result, fragments)) => return Ok(Gathered::Installed(result, fragments)),
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::NotPlain(reason)) => reason,
        Err(Stop::Failed) => "the wheels could not be installed by themselves".to_owned(),
    };
    Ok(Gathered::NotPlain(reason))
}

fn installed(
    materials: &Materials<'_>,
    source: &Tree,
    tools: &Tools,
) -> Result<(Dependencies, Vec<Fragment>), Stop> {
    let Materials {
        context,
        detected,
        base,
        locked,
        ..
    } = *materials;
    let Context {
        request, progress, ..
    } = context;
    let asked = plain::list(source, detected, locked, request).map_err(Stop::NotPlain)?;
    progress.step(&format!(
        " -----> Resolving dependencies with uv ({})",
        asked.names
    ));
    let given = Given {
        inputs: InstallInputs {
            context,
            base,
            here: None,
            asked: Some(&asked),
        },
        asked: &asked,
        detected,
        tools,
    };
    // What the index's answer comes to, once it is there.
    let answer: OnceLock<Vec<Pin>> = OnceLock::new();
    let (resolved, ahead) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let resolved = resolve::resolve(given, Lookup::Index);
            let wheels = resolved.as_ref().ok().into_iter().flatten();
            let _ = answer.set(wheels.map(|wheel| wheel.pin.clone()).collect());
            resolved
        });
        let wanted = |wheels: &[&LockedWheel]| {
            let known = answer.get();
            known.is_none_or(|answer| wheels.iter().all(|wheel| answer.contains(&wheel.pin)))
        };
        let ahead = ahead::install(given, &wanted);
        (asking.join(), ahead)
    });
    let ahead = ahead?;
    let resolved = resolved.unwrap_or_else(|panic| resume_unwind(panic))?;
    let index = asked.only_index();
    let wheels: Vec<LockedWheel> = resolved
        .into_iter()
        .map(|wheel| wheel.in_index(index))
        .collect();
    progress.step(&format!(
        " -----> Installing dependencies with uv ({})",
        asked.names
    ));
    let mut found = find_all(*given, &wheels)?;
    let restored = shared::restore(*given, &missing(&wheels, &found))?;
    fill(&mut found, restored);
    let missing = missing(&wheels, &found);
    let made = wheels.iter().filter(|wheel| ahead.made(&wheel.pin)).count();
    progress.step(&format!(
        "        {} distributions, {} new",
        wheels.len(),
        made + missing.len()
    ));
    if let Some(reason) = ahead.inseparable(&missing) {
        return Err(Stop::NotPlain(reason.to_owned()));
    }
    ahead.tell(&wheels, progress);
    fill(&mut found, install(*given, &missing)?.into_iter().map(Some));
    let fragments: Vec<Fragment> = found.into_iter().flatten().collect();
    let result = combine(&fragments, wheels).map_err(Stop::NotPlain)?;
    Ok((result, fragments))
}

/// Fetches wheels and makes fragments of them.
fn install(inputs: InstallInputs<'_>, wheels: &[&LockedWheel]) -> Result<Vec<Fragment>, Stop> {
    let Context {
        store,
        request,
        progress,
    } = inputs.context;
    if wheels.is_empty() {
        return Ok(Vec::new());
    }
    let scratch = store.scratch("files")?;
    // What is locked is fetched from where the lock says, and is there then.
    if let Some(locked) = inputs.asked.and_then(|asked| asked.locked) {
        let place = Locked::place(&scratch)?;
        locked.fetch(wheels, store, request, &place, progress)?;
    }
    let installation = Installation {
        inputs,
        lookup: Lookup::Index,
        wanted: &|| true,
        progress,
    };
    installation.of(wheels)
}

/// The fragments of these wheels: of the store, of the cache in the registry, or made.
fn make(inputs: InstallInputs<'_>, wheels: &[&LockedWheel]) -> Result<Vec<Fragment>, Stop> {
    let owned: Vec<LockedWheel> = wheels.iter().map(|wheel| (*wheel).clone()).collect();
    let mut found = find_all(inputs, &owned)?;
    let restored = shared::restore(inputs, &missing(&owned, &found))?;
    fill(&mut found, restored);
    let made = install(inputs, &missing(&owned, &found))?;
    fill(&mut found, made.into_iter().map(Some));
    Ok(found.into_iter().flatten().collect())
}

/// The dependency phase's result but for its layers; or why these cannot be stacked. The fragments
/// are sorted by name.
fn combine(fragments: &[Fragment], wheels: Vec<LockedWheel>) -> Result<Dependencies, String> {
    let all = fragments.iter().enumerate().flat_map(|(owner, fragment)| {
        let deferred = fragment.deferred.iter().map(|deferred| &deferred.path);
        let paths = fragment.files.iter().chain(deferred);
        paths.map(move |path| (owner, path.as_path()))
    });
    if let Some(path) = contested(all) {
        return Err(format!("two distributions have {}", path.display()));
    }
    let mut deferred = Vec::new();
    for fragment in fragments {
        deferred.extend(fragment.deferred.iter().cloned());
    }
    // In the order of a scan of the whole tree.
    deferred.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Dependencies {
        layers: Vec::new(),
        deferred,
        resolved: fragments
            .iter()
            .map(|fragment| (fragment.pin.name.clone(), fragment.pin.version.clone()))
            .collect(),
        resolved_at: now(),
        trees: fragments
            .iter()
            .map(|fragment| fragment.tree.clone())
            .collect(),
        tree: None,
        wheels,
    })
}

/// The fragments of these wheels, as far as they are there and may be used.
fn find_all(
    inputs: InstallInputs<'_>,
    wheels: &[LockedWheel],
) -> Result<Vec<Option<Fragment>>, BuildError> {
    let find = |wheel: &LockedWheel| {
        if inputs.context.request.no_cache {
            return Ok(None);
        }
        find(inputs.context.store, &key(&wheel.pin, inputs.base)?)
    };
    wheels.iter().map(find).collect()
}

/// Puts what was found or made of the missing ones into their places.
fn fill(found: &mut [Option<Fragment>], made: impl IntoIterator<Item = Option<Fragment>>) {
    let places = found.iter_mut().filter(|place| place.is_none());
    for (place, made) in places.zip(made) {
        *place = made;
    }
}

/// The wheels that there is no fragment of, in their order.
fn missing<'a>(wheels: &'a [LockedWheel], found: &[Option<Fragment>]) -> Vec<&'a LockedWheel> {
    let pairs = wheels.iter().zip(found);
    pairs
        .filter_map(|(wheel, found)| found.is_none().then_some(wheel))
        .collect()
}

/// The fragment of this key, if its record and its tree are there.
fn find(store: &Store, key: &str) -> Result<Option<Fragment>, BuildError> {
    let Some(fragment) = store.cached::<Fragment>(key)? else {
        return Ok(None);
    };
    let tree = store.find_unpacked(IdMode::current().map_name(), &fragment.tree);
    Ok(tree.map(|_| fragment))
}

/// Where the files of a wheel of this name and version go, from the application's root; `None` where it
/// makes no fragment.
#[cfg(feature = "fuzzing")]
pub fn places_of_wheel(
    file: File,
    name: &str,
    version: &str,
    python: &str,
) -> Option<Vec<PathBuf>> {
    let pin = Pin {
        name: name.into(),
        version: version.into(),
        wheel: String::new(),
    };
    let wheel = wheel::Wheel::read(file, &pin, &wheel::Site::of(python)).ok()?;
    Some(wheel.files.into_iter().map(|file| file.place).collect())
}
