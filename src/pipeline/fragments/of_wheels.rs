//! Distributions for the cache, made of their wheels alone by a step that has nothing but these: the one of a
//! pipeline that pushes.
//!
//! The step that built the image has run code of others, so none of what it made is taken. It hands over the
//! wheels, each named by its hash; what a wheel gives is made of them here, as everywhere. A wheel of another
//! content has another hash, and a build asks only for hashes that an index has named.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::app::requirement::normalize;
use crate::beneath::open_regular;

use super::super::base::Base;
use super::super::context::Context;
use super::super::error::BuildError;
use super::super::locked_wheel::{Artifact, LockedWheel, Pin};
use super::super::record::BuildRecord;
use super::super::without_sandbox::Interpreter;
use super::download::{MAX_WHEEL, directory};
use super::here::Here;
use super::install::Installation;
use super::stop::Stop;
use super::{InstallInputs, Lookup, find, key};

fn file_name(pin: &Pin) -> String {
    format!("{}.whl", pin.wheel)
}

fn write_failed(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Write { path, source }
}

/// Writes the wheels that this build has fetched to a directory, for a step that fills the cache.
pub(in super::super) fn give_wheels(
    context: Context<'_>,
    wheels: &[LockedWheel],
    target: &Path,
) -> Result<(), BuildError> {
    let kept = directory(context.store)?;
    fs::create_dir_all(target).map_err(write_failed(target))?;
    for wheel in wheels {
        let name = file_name(&wheel.pin);
        let from = kept.join(&name);
        if from.is_file() {
            let to = target.join(&name);
            fs::copy(&from, &to).map_err(write_failed(&to))?;
        }
    }
    Ok(())
}

/// The wheels of an image, by what it says of itself.
fn wheels_of(record: &BuildRecord) -> impl Iterator<Item = LockedWheel> {
    record.wheels.iter().filter_map(|(file, hash)| {
        let name = normalize(file.split('-').next()?);
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (name, version) = record.resolved.iter().find(|(known, _)| *known == name)?;
        is_hash.then(|| LockedWheel {
            pin: Pin {
                name: name.clone(),
                version: version.clone(),
                wheel: hash.clone(),
            },
            artifact: Artifact {
                file: file.clone(),
                ..Artifact::default()
            },
        })
    })
}

/// Makes the fragments of those of an image's wheels that are in this directory; `base` has the Python of this
/// process's own root. Gives the wheels that it has made something of.
pub(in super::super) fn of_wheels(
    context: Context<'_>,
    base: &Base,
    record: &BuildRecord,
    wheels: &Path,
) -> Result<Vec<LockedWheel>, BuildError> {
    let interpreter = Interpreter {
        path: PathBuf::from(&base.python.executable),
        is_same: true,
    };
    let here = Here::new(context, base, interpreter)?;
    let kept = directory(context.store)?;
    let installation = Installation {
        inputs: InstallInputs {
            context,
            base,
            here: Some(&here),
            asked: None,
        },
        lookup: Lookup::Cache,
        wanted: &|| true,
        progress: context.progress,
    };
    let mut made = Vec::new();
    for wheel in wheels_of(record) {
        let name = file_name(&wheel.pin);
        let Ok(from) = open_regular(&wheels.join(&name)) else {
            continue;
        };
        // It is verified by its hash when it is read.
        let to = kept.join(&name);
        let mut file = File::create(&to).map_err(write_failed(&to))?;
        io::copy(&mut from.take(MAX_WHEEL), &mut file).map_err(write_failed(&to))?;
        let problem = match installation.of(&[&wheel]) {
            Ok(_) if find(context.store, &key(&wheel.pin, base)?)?.is_some() => {
                made.push(wheel);
                continue;
            }
            Err(Stop::Error(BuildError::Interrupted)) => return Err(BuildError::Interrupted),
            Ok(_) | Err(Stop::Failed) => "its content is not that of its hash".to_owned(),
            Err(Stop::NotPlain(reason)) => reason,
            Err(Stop::Error(error)) => error.to_string(),
        };
        let Pin { name, version, .. } = &wheel.pin;
        context.progress.warning(&format!(
            "{name} {version} is not written to the cache: {problem}"
        ));
    }
    Ok(made)
}
