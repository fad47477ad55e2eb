//! The dependency phase without a sandbox and without the base image's files, where the list is another one
//! than in the last build of the application.
//!
//! The last build says of each distribution what the next one has to know of it ([`Part`]), so layers of
//! which no distribution has changed are passed on by their digests and never fetched. A distribution that
//! is new, or shares a layer with one, comes from the cache or is made of its wheel, as everywhere. `uv`
//! resolves the list for the base image's Python and platform, of which the last build tells; a Python of
//! this machine compiles, and runs nothing of what it compiles. Nothing of a package runs.
//!
//! The layers are the same to the byte as those of a sandbox.

use std::path::PathBuf;

use crate::source::Tree;

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::installed::Dependencies;
use super::super::locked_wheel::{LockedWheel, Pin};
use super::super::materials::Materials;
use super::super::part::Part;
use super::super::split::{Group, groups};
use super::super::timings::now;
use super::super::titled_layer::{LayerWriter, TitledLayer};
use super::super::tools;
use super::super::without_sandbox::interpreter;
use super::here::Here;
use super::part::part_of;
use super::stop::Stop;
use super::{Fragment, Given, InstallInputs, Lookup, layers, make, plain, resolve};

fn needs(because: impl Into<String>) -> BuildError {
    BuildError::NeedsSandbox {
        because: vec![because.into()],
    }
}

/// The dependency phase's result, and what the next build can know of it.
pub(in super::super) fn without_the_base(
    materials: &Materials<'_>,
    source: &Tree,
) -> Result<(Dependencies, Vec<Part>), BuildError> {
    let Materials {
        context,
        detected,
        base,
        locked,
        last,
        ..
    } = *materials;
    let Context {
        store,
        request,
        progress,
    } = context;
    let other = "the dependencies are another list than in the last build of the cache";
    if last.parts().is_empty() || !last.has_bare_app_root() {
        return Err(needs(other));
    }
    if request.upgrade || request.no_cache {
        return Err(needs("the dependencies are to be installed again"));
    }
    let plain = plain::list(source, detected, locked, request);
    let asked = plain.map_err(|reason| needs(format!("{other}, and {reason}")))?;
    let Some(interpreter) = interpreter(&base.python) else {
        let minor = &base.python.minor;
        return Err(needs(format!(
            "{other}, and there is no python{minor} here that could compile"
        )));
    };
    progress.step(&format!(
        " -----> Resolving dependencies with uv ({}), without a sandbox",
        asked.names
    ));
    let here = Here::new(context, base, interpreter)?;
    let given = Given {
        inputs: InstallInputs {
            context,
            base,
            here: Some(&here),
            asked: Some(&asked),
        },
        asked: &asked,
        detected,
        tools: &tools::ensure(store, &request.place, progress)?,
    };
    match installed(given, last.parts(), last.layers()) {
        Ok(done) => Ok(done),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::NotPlain(reason)) => Err(needs(format!("{other}, and {reason}"))),
        Err(Stop::Failed) => Err(needs(format!(
            "{other}, and its wheels could not be installed by themselves"
        ))),
    }
}

/// A distribution of the list: known from the last build, or there.
enum Member<'a> {
    Known(&'a Part),
    There(Fragment),
}

impl Member<'_> {
    fn name_and_size(&self) -> (&str, u64) {
        match self {
            Self::Known(part) => (&part.pin.name, part.size),
            Self::There(fragment) => (&fragment.pin.name, fragment.size),
        }
    }

    fn has_files(&self) -> bool {
        match self {
            Self::Known(part) => !part.claims.is_empty(),
            Self::There(fragment) => !fragment.files.is_empty(),
        }
    }
}

fn installed(
    given: Given<'_>,
    known: &[Part],
    known_layers: &[TitledLayer],
) -> Result<(Dependencies, Vec<Part>), Stop> {
    let Context {
        store,
        request,
        progress,
    } = given.context;
    let index = given.asked.only_index();
    let wheels: Vec<LockedWheel> = resolve::resolve(given, Lookup::Index)?
        .into_iter()
        .map(|wheel| wheel.in_index(index))
        .collect();
    let known_of = |wheel: &LockedWheel| known.iter().find(|part| part.pin == wheel.pin);
    let new: Vec<&LockedWheel> = wheels.iter().filter(|w| known_of(w).is_none()).collect();
    progress.step(&format!(
        "        {} distributions, {} of them as in the last build",
        wheels.len(),
        wheels.len() - new.len()
    ));
    let made = make(*given, &new)?;
    let stays: Vec<&Part> = wheels.iter().filter_map(known_of).collect();
    apart(&made, &stays)?;
    let mut made = made.into_iter();
    let mut members = Vec::new();
    for wheel in &wheels {
        let member = match known_of(wheel) {
            Some(part) => Member::Known(part),
            None => Member::There(made.next().ok_or(Stop::Failed)?),
        };
        members.push(member);
    }

    // What shares a layer with a new one has to be there, too.
    let had = Layers::of(known, known_layers);
    let present: Vec<usize> = (0..members.len())
        .filter(|at| members[*at].has_files())
        .collect();
    let sizes: Vec<(&str, u64)> = present
        .iter()
        .map(|at| members[*at].name_and_size())
        .collect();
    let groups = groups(&sizes);
    let pins_of = |group: &Group| -> Vec<&Pin> {
        let places = group.members().iter().map(|at| present[*at]);
        places.map(|at| &wheels[at].pin).collect()
    };
    let shared: Vec<Option<&TitledLayer>> = groups
        .iter()
        .map(|group| had.of_these(&pins_of(group)))
        .collect();
    let to_write = groups
        .iter()
        .zip(&shared)
        .filter(|(_, layer)| layer.is_none());
    let missing: Vec<usize> = to_write
        .flat_map(|(group, _)| group.members().iter().map(|at| present[*at]))
        .filter(|at| matches!(members[*at], Member::Known(_)))
        .collect();
    let wanted: Vec<&LockedWheel> = missing.iter().map(|at| &wheels[*at]).collect();
    let fetched = make(*given, &wanted)?;
    let fragments: Vec<Option<&Fragment>> = (0..members.len())
        .map(|at| match &members[at] {
            Member::There(fragment) => Some(fragment),
            Member::Known(_) => {
                let place = missing.iter().position(|missing| *missing == at)?;
                fetched.get(place)
            }
        })
        .collect();

    let writer = LayerWriter::new(store, request);
    let mut layers = Vec::new();
    for (group, shared) in groups.iter().zip(shared) {
        let pins = pins_of(group);
        if let Some(layer) = shared {
            layers.push(TitledLayer {
                layer: layer.layer.clone(),
                title: layers::title_of(group, &pins),
                cached: true,
            });
            continue;
        }
        let own = group.members().iter().map(|at| fragments[present[*at]]);
        let own: Option<Vec<&Fragment>> = own.collect();
        let own = own.ok_or(Stop::Failed)?;
        let threads = crate::layer::threads();
        layers.push(layers::layer(store, group, &own, &writer, threads, false)?);
    }
    let mut deferred = Vec::new();
    let mut parts = Vec::new();
    for member in &members {
        match member {
            Member::Known(part) => {
                deferred.extend(part.deferred.iter().cloned());
                parts.push((*part).clone());
            }
            Member::There(fragment) => {
                deferred.extend(fragment.deferred.iter().cloned());
                parts.extend(part_of(fragment));
            }
        }
    }
    if parts.len() != members.len() {
        parts.clear();
    }
    deferred.sort_by(|a, b| a.path.cmp(&b.path));
    let result = Dependencies {
        layers,
        deferred,
        resolved: wheels
            .iter()
            .map(|wheel| (wheel.pin.name.clone(), wheel.pin.version.clone()))
            .collect(),
        resolved_at: now(),
        // They are not all here.
        trees: Vec::new(),
        tree: None,
        wheels,
    };
    Ok((result, parts))
}

/// Stops where a new distribution may have a file of another one.
fn apart(new: &[Fragment], known: &[&Part]) -> Result<(), Stop> {
    let paths = |fragment: &Fragment| {
        let deferred = fragment
            .deferred
            .iter()
            .map(|deferred| deferred.path.clone());
        fragment
            .files
            .iter()
            .cloned()
            .chain(deferred)
            .collect::<Vec<_>>()
    };
    let all: Vec<(usize, PathBuf)> = new
        .iter()
        .enumerate()
        .flat_map(|(at, fragment)| paths(fragment).into_iter().map(move |path| (at, path)))
        .collect();
    let contested = super::wheel::contested(all.iter().map(|(at, path)| (*at, path.as_path())));
    let over = all
        .iter()
        .find(|(_, path)| known.iter().any(|part| part.may_have(path)));
    match contested.or(over.map(|(_, path)| path.as_path())) {
        Some(path) => Err(Stop::NotPlain(format!(
            "two distributions may have {}",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// The layers of the last build, by the distributions that are in them.
struct Layers<'a>(Vec<(Vec<&'a Pin>, &'a TitledLayer)>);

impl<'a> Layers<'a> {
    fn of(parts: &'a [Part], layers: &'a [TitledLayer]) -> Self {
        let present: Vec<&Part> = parts
            .iter()
            .filter(|part| !part.claims.is_empty())
            .collect();
        let sizes: Vec<(&str, u64)> = present
            .iter()
            .map(|part| (part.pin.name.as_str(), part.size))
            .collect();
        let groups = groups(&sizes);
        if groups.len() != layers.len() {
            return Self(Vec::new());
        }
        let pins = |group: &Group| group.members().iter().map(|at| &present[*at].pin).collect();
        Self(groups.iter().map(pins).zip(layers).collect())
    }

    fn of_these(&self, pins: &[&Pin]) -> Option<&'a TitledLayer> {
        let mut all = self.0.iter();
        all.find(|(had, _)| had == pins).map(|(_, layer)| *layer)
    }
}
