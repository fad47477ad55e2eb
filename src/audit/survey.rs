//! Finds the files of an image that give more power to the user who runs them: `--harden` removes this.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::store::Store;

use super::error::AuditError;
use super::flatten::Flat;
use super::input::Image;
use super::interest::Interest;
use super::memory::Memory;

/// A file with a setuid or setgid bit or with capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileged {
    /// Relative to the image's root.
    pub path: PathBuf,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The result for the flattened image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// By path.
    pub privileged: Vec<Privileged>,
    /// The requested paths that exist, by path.
    pub present: Vec<PathBuf>,
}

/// Looks for privileged files, and for these paths (relative to the root).
pub fn survey(store: &Store, image: &Image<'_>, paths: &[&str]) -> Result<Survey, AuditError> {
    let interest = Interest::new(&image.config);
    let memory = Memory::new(store, &interest)?;
    let layers = super::scan_all(image, &interest, Some(&memory), memory.hasher())?;
    let flat = Flat::new(&layers, memory.hasher());
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
    let mut privileged: Vec<Privileged> = flat
        .all()
        .into_iter()
        .filter(|seen| seen.hidden_by.is_none())
        .filter(|seen| {
            let item = seen.item;
            item.is_setuid() || item.is_setgid() || item.capability.is_some()
        })
        .map(|seen| Privileged {
            path: path(seen.path),
            mode: seen.item.mode,
            uid: seen.item.uid,
            gid: seen.item.gid,
        })
        .collect();
    privileged.sort_by(|a, b| a.path.cmp(&b.path));
    let mut present: Vec<PathBuf> = paths
        .iter()
        .filter(|name| flat.has(name.as_bytes()))
        .map(|name| PathBuf::from(*name))
        .collect();
    present.sort();
    Ok(Survey {
        privileged,
        present,
    })
}
