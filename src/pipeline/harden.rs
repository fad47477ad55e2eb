//! `--harden`: a layer on the base that removes setuid and setgid bits, file capabilities, and the
//! programs that change users, passwords and accounts.
//!
//! A container that runs as one user does not need them. The layer is directly on the base, below
//! the builder layer, and is made for each base (`--runtime-image`, another `--builder`): it holds
//! copies of the base's files, which do not fit another base.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit;
use crate::builder::FIXED_TIME;
use crate::builder::layer::StoredLayer;
use crate::layer::{self, Budget, Compression, Entry, Kind, Mtime};
use crate::oci::{descriptor, sha256_hex};
use crate::rootfs;
use crate::sandbox::IdMode;
use crate::store::{self, Image, Needs, Store};

use super::error::BuildError;

/// Raised whenever the same base gives other bytes.
const FORMAT: u32 = 1;

/// Largest privileged file, in bytes; the largest that distributions ship (sudo, exim) have 1.5 MB.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// Programs that turn one user into another, and those that change accounts.
const TOOLS: [&str; 44] = [
    "addgroup",
    "adduser",
    "chage",
    "chfn",
    "chgpasswd",
    "chpasswd",
    "chsh",
    "cvtsudoers",
    "delgroup",
    "deluser",
    "doas",
    "expiry",
    "gpasswd",
    "groupadd",
    "groupdel",
    "groupmems",
    "groupmod",
    "grpck",
    "grpconv",
    "grpunconv",
    "login",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "newusers",
    "passwd",
    "pkexec",
    "pwck",
    "pwconv",
    "pwunconv",
    "runuser",
    "sg",
    "su",
    "sudo",
    "sudo_logsrvd",
    "sudoedit",
    "sudoreplay",
    "sulogin",
    "useradd",
    "userdel",
    "usermod",
    "vigr",
    "vipw",
    "visudo",
];

const DIRECTORIES: [&str; 4] = ["bin", "sbin", "usr/bin", "usr/sbin"];

/// The layer in words, and its line of history.
pub(super) const TITLE: &str = "no setuid bits, no account tools";
pub(super) const CREATED_BY: &str = "warpdrive: hardening";

#[derive(Serialize, Deserialize)]
struct HardeningRecord {
    /// `None` if there is nothing to remove from the base.
    layer: Option<StoredLayer>,
}

impl store::Record for HardeningRecord {
    const KIND: &'static str = "hardening";

    fn needs(&self) -> Needs {
        Needs::blobs(self.layer.iter().map(|layer| &layer.descriptor))
    }
}

/// The layer that hardens this base, and whether it existed already.
pub(super) fn layer(
    store: &Store,
    base: &Image,
    reference: &str,
    budget: &Budget,
) -> Result<(Option<StoredLayer>, bool), BuildError> {
    let key = sha256_hex(format!("{FORMAT} {}", base.manifest.config().digest()).as_bytes());
    if let Some(record) = store.cached::<HardeningRecord>(&key)? {
        return Ok((record.layer, true));
    }
    let entries = entries(store, base, reference)?;
    let layer = if entries.is_empty() {
        None
    } else {
        let mut blob = store.blob_writer()?;
        let written = layer::write_with(
            &entries,
            Compression::default(),
            layer::threads(),
            &mut blob,
            None,
            Some(budget),
        )?;
        blob.commit(Some(&written.digest))?;
        Some(StoredLayer {
            descriptor: descriptor(written.media_type, written.digest, written.size),
            diff_id: written.diff_id.to_string(),
        })
    };
    let record = HardeningRecord { layer };
    store.remember(&key, &record)?;
    Ok((record.layer, false))
}

fn entries(store: &Store, base: &Image, reference: &str) -> Result<Vec<Entry>, BuildError> {
    let tools: Vec<String> = DIRECTORIES
        .iter()
        .flat_map(|directory| TOOLS.iter().map(move |tool| format!("{directory}/{tool}")))
        .collect();
    let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
    let image = audit::from_store(store, reference, base)?;
    let survey = audit::survey(store, &image, &tools)?;
    let lowers = rootfs::lowers(store, base, IdMode::current().into())?;
    let removed: BTreeSet<PathBuf> = survey.present.into_iter().collect();
    let mut entries: Vec<Entry> = removed.iter().map(|path| whiteout(path)).collect();
    for file in survey.privileged {
        if removed.contains(&file.path) {
            continue;
        }
        let mut entry = whiteout(&file.path);
        entry.kind = Kind::Bytes(content(&lowers, &file.path)?);
        (entry.uid, entry.gid) = (file.uid, file.gid);
        entry.mode = file.mode & 0o1777;
        entries.push(entry);
    }
    Ok(layer::with_parents(entries, |path| {
        directory(&lowers, path)
    }))
}

fn whiteout(path: &Path) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: Kind::Whiteout,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Mtime::Fixed(FIXED_TIME),
        xattrs: BTreeMap::new(),
    }
}

/// A directory of the base, with its mode. If its owner is not root, no privileged file may be in
/// it.
fn directory(lowers: &[PathBuf], path: &Path) -> Entry {
    let mode = lowers
        .iter()
        .find_map(|lower| std::fs::symlink_metadata(lower.join(path)).ok())
        .filter(std::fs::Metadata::is_dir)
        .map_or(0o755, |metadata| metadata.mode() & 0o7777);
    let mut entry = whiteout(path);
    (entry.kind, entry.mode) = (Kind::Directory, mode);
    entry
}

/// A file of the base, from the uppermost layer that has it.
fn content(lowers: &[PathBuf], path: &Path) -> Result<Vec<u8>, BuildError> {
    let failed = |source| BuildError::Read {
        path: Path::new("/").join(path),
        source,
    };
    for lower in lowers {
        if let Some(bytes) = rootfs::read_beneath(lower, path, MAX_FILE).map_err(failed)? {
            return Ok(bytes);
        }
    }
    Err(failed(std::io::ErrorKind::NotFound.into()))
}
