//! Finds the owners of changed files, and checks whether another user would have been allowed to change them.
//!
//! Root and users with subordinate ids see owners as layers have them. A user with a single uid sees
//! every file as their own. Then the image's own layers say which user owned a file, and a change that
//! user 1001:0 could not have made is an error, because other machines would build a different image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::layer::{self, Entry, Flat, Kind, Limits, MemberKind};
use crate::rootfs::{Seen, Stacked};
use crate::sandbox::IdMode;
use crate::store::Store;

use super::super::BuildError;
use super::base_image::BaseImage;
use super::error::S2iBuildError;

const UID: u32 = 1001;
const GID: u32 = 0;

/// How an image's files are owned.
pub(super) struct Owners {
    image: String,
    /// Owners by path, if the disk does not have them.
    members: Option<BTreeMap<PathBuf, Flat>>,
}

impl Owners {
    pub(super) fn of(store: &Store, on: &BaseImage) -> Result<Self, BuildError> {
        let members = if IdMode::current() == IdMode::SingleUid {
            let mut layers = Vec::new();
            for layer in on.image.manifest.layers() {
                let blob: File = store.open_blob(layer.digest())?;
                layers.push(layer::decompressor(BufReader::with_capacity(1 << 20, blob)));
            }
            Some(layer::flatten(layers, Limits::default())?)
        } else {
            None
        };
        Ok(Self {
            image: on.reference.clone(),
            members,
        })
    }

    /// Gives the entries the owners that they would have on other machines.
    pub(super) fn correct(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, S2iBuildError> {
        let Some(members) = &self.members else {
            return Ok(entries);
        };
        let mut corrected = Vec::with_capacity(entries.len());
        for mut entry in entries {
            let refused = || S2iBuildError::OneUidChange {
                script: "assemble",
                image: self.image.clone(),
                path: Path::new("/").join(&entry.path),
            };
            let before = members.get(&entry.path).map(|flat| &flat.member);
            let parent = entry.path.parent().and_then(|path| members.get(path));
            // In a directory of the image, its mode decides whether names may be added and removed.
            let named = parent.is_none_or(|parent| {
                let member = &parent.member;
                may_write(member.uid, member.gid, member.mode)
                    && (member.mode & 0o1000 == 0
                        || member.uid == UID
                        || before.is_none_or(|before| before.uid == UID))
            });
            // A directory with the setgid bit gives its files its group.
            let foreign_group = parent
                .is_some_and(|parent| parent.member.mode & 0o2000 != 0 && parent.member.gid != GID);
            match (before, &entry.kind) {
                (None, Kind::Whiteout | Kind::Opaque) => {}
                (None, _) => {
                    if !named || foreign_group {
                        return Err(refused());
                    }
                    (entry.uid, entry.gid) = (UID, GID);
                }
                (Some(_), Kind::Whiteout | Kind::Opaque) => {
                    if !named {
                        return Err(refused());
                    }
                }
                (Some(before), Kind::Directory) if before.kind == MemberKind::Directory => {
                    // It was unpacked with more permissions for this process than in the layer.
                    if entry.mode == before.mode || entry.mode == before.mode | 0o700 {
                        entry.mode = before.mode;
                        (entry.uid, entry.gid) = (before.uid, before.gid);
                    } else if before.uid == UID {
                        (entry.uid, entry.gid) = (UID, before.gid);
                    } else {
                        return Err(refused());
                    }
                }
                (Some(before), _) => {
                    // Changed in place, or removed and made again: no difference if the user owns it.
                    let ours = before.uid == UID && before.gid == GID;
                    if !ours {
                        return Err(refused());
                    }
                    (entry.uid, entry.gid) = (UID, GID);
                }
            }
            corrected.push(entry);
        }
        Ok(corrected)
    }

    /// Whether a directory's owner and mode are those that the image gives it.
    pub(super) fn is_as_before(&self, entry: &Entry, below: &Stacked<'_>) -> bool {
        if let Some(members) = &self.members {
            return members.get(&entry.path).is_some_and(|flat| {
                let before = &flat.member;
                before.kind == MemberKind::Directory
                    && (before.mode, before.uid, before.gid) == (entry.mode, entry.uid, entry.gid)
            });
        }
        match below.at(&Path::new("/").join(&entry.path)) {
            Ok(Seen::Directory(_, before)) => {
                (before.mode() & 0o7777, before.uid(), before.gid())
                    == (entry.mode, entry.uid, entry.gid)
            }
            _ => false,
        }
    }
}

/// Whether user 1001:0 may write what has this owner and mode.
fn may_write(uid: u32, gid: u32, mode: u32) -> bool {
    if uid == UID {
        mode & 0o200 != 0
    } else if gid == GID {
        mode & 0o020 != 0
    } else {
        mode & 0o002 != 0
    }
}
