//! The pinned installers: `uv` and `pip`, fetched from the package index once, kept in the store,
//! mounted below `/run/warpdrive` during a build and never in an image.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::oci::parse_digest;
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions};
use crate::store::Store;

use super::error::BuildError;
use super::place::Place;
use super::tree::make_directory;

/// A wheel of the package index, pinned by its hash.
struct Pin {
    name: &'static str,
    version: &'static str,
    architecture: Option<&'static str>,
    file: &'static str,
    /// Below `https://files.pythonhosted.org/packages/`.
    path: &'static str,
    sha256: &'static str,
}

/// Statically linked against musl, so it runs in every root.
const UV: &[Pin] = &[Pin {
    name: "uv",
    version: "0.13.9",
    architecture: Some("x86_64"),
    file: "uv-0.13.9-py3-none-musllinux_1_1_x86_64.whl",
    path: "fe/fe/794884de0efd3ac77a427cab21aa72c0483e100c55a42cd5cbb02c141b84",
    sha256: "2c45530751517d6c3bbc69a19473f6effe47cce047bede01ffd8af7ea7b36b25",
}];

/// The last release for Python 3.9.
const PIP: Pin = Pin {
    name: "pip",
    version: "26.0.1",
    architecture: None,
    file: "pip-26.0.1-py3-none-any.whl",
    path: "de/f0/c81e05b613866b76d2d1066490adf1a3dbc4ee9d9c839961c3fc8a6997af",
    sha256: "bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b",
};

/// Largest wheel or file in one, in bytes.
const MAX_WHEEL: u64 = 256 * 1024 * 1024;

/// The installers' directories on this machine.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    /// Mounted at `/run/warpdrive/tools`: `bin/uv`, `bin/pip`, `lib/pip/`.
    pub(super) directory: PathBuf,
}

/// The versions, for cache keys.
pub(super) fn versions() -> String {
    format!("uv {} pip {}", UV[0].version, PIP.version)
}

/// The installers' directory: from the store, or fetched.
pub(super) fn ensure(
    store: &Store,
    place: &Place,
    progress: &dyn Progress,
) -> Result<Tools, BuildError> {
    if let Some(directory) = place.tools() {
        return Ok(Tools { directory });
    }
    let name = format!("tools-uv-{}-pip-{}", UV[0].version, PIP.version);
    let directory = store.root().join("cache").join(&name);
    if directory.join("bin/uv").is_file() {
        return Ok(Tools { directory });
    }
    let pin = UV
        .iter()
        .find(|pin| pin.architecture == Some(std::env::consts::ARCH))
        .ok_or(BuildError::NoInstaller {
            architecture: std::env::consts::ARCH,
        })?;
    let scratch = store.scratch("tools")?;
    let place = scratch.path().join(&name);
    let made = |path: &Path, source| BuildError::Write {
        path: path.to_owned(),
        source,
    };
    for folder in ["", "bin", "lib"] {
        make_directory(&place.join(folder))?;
    }
    let uv = fetch(pin, scratch.path(), progress)?;
    extract(&uv, &place, |name| {
        name.ends_with("/scripts/uv")
            .then(|| PathBuf::from("bin/uv"))
    })
    .map_err(|e| made(&uv, e))?;
    let pip = fetch(&PIP, scratch.path(), progress)?;
    extract(&pip, &place, |name| {
        name.starts_with("pip/")
            .then(|| Path::new("lib").join(name))
    })
    .map_err(|e| made(&pip, e))?;
    write_executable(
        &place.join("bin/pip"),
        b"#!/bin/sh\nexec /opt/app-root/bin/python /run/warpdrive/tools/lib/pip \"$@\"\n",
    )
    .map_err(|e| made(&place, e))?;
    // A power cut must not leave a name without its content on the disk.
    File::open(&place)
        .and_then(|opened| Ok(rustix::fs::syncfs(opened)?))
        .map_err(|e| made(&place, e))?;
    match fs::rename(&place, &directory) {
        Ok(()) => {}
        // Another build was quicker.
        Err(_) if directory.join("bin/uv").is_file() => {}
        Err(source) => return Err(made(&directory, source)),
    }
    Ok(Tools { directory })
}

/// The pinned uv, as a program of this machine.
///
/// # Errors
/// If it is not in the store and cannot be fetched.
pub fn pinned_uv(store: &Store, progress: &dyn Progress) -> Result<PathBuf, BuildError> {
    Ok(ensure(store, &Place::Sandbox, progress)?
        .directory
        .join("bin/uv"))
}

fn fetch(pin: &Pin, into: &Path, progress: &dyn Progress) -> Result<PathBuf, BuildError> {
    progress.step(&format!("---> Fetching {} {}", pin.name, pin.version));
    let url = format!(
        "https://files.pythonhosted.org/packages/{}/{}",
        pin.path, pin.file
    );
    let path = into.join(pin.file);
    let mut file = File::create(&path).map_err(|source| BuildError::Write {
        path: path.clone(),
        source,
    })?;
    let digest = parse_digest(&format!("sha256:{}", pin.sha256))?;
    Client::new(ClientOptions::default())?.download(&url, &digest, MAX_WHEEL, &mut file)?;
    Ok(path)
}

/// Takes the files out of a wheel that `place` gives a path for, relative to `directory`.
fn extract(
    wheel: &Path,
    directory: &Path,
    place: impl Fn(&str) -> Option<PathBuf>,
) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(File::open(wheel)?).map_err(io::Error::other)?;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(io::Error::other)?;
        // `enclosed_name` refuses absolute names and `..`.
        let Some(name) = entry.enclosed_name() else {
            continue;
        };
        let Some(target) = name.to_str().and_then(&place) else {
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        let target = directory.join(target);
        if let Some(parent) = target.parent() {
            make_directories(directory, parent)?;
        }
        let executable = target
            .parent()
            .is_some_and(|parent| parent.ends_with("bin"));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&target)?;
        io::copy(&mut entry.take(MAX_WHEEL), &mut file)?;
        set_mode(&file, if executable { 0o755 } else { 0o644 })?;
    }
    Ok(())
}

/// The directories from below `top` down to `path`, with mode 0755 whatever the umask.
fn make_directories(top: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    for directory in path.ancestors().take_while(|above| *above != top) {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))
}

fn write_executable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all(bytes)?;
    set_mode(&file, 0o755)
}
