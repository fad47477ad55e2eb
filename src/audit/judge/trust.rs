//! What vouches for a file's content: the package database of the layers that are trusted.
//!
//! A database can be changed by the layer that it should judge. So only the lists of the trusted layers
//! prove anything: those that the caller names (`--trusted-base`), else the lowest layer, where a
//! distribution's own database is. A list counts also where a higher layer hides it: removing the lists
//! does not remove the evidence.

use std::collections::HashMap;

use super::super::dpkg::{Md5, without_usr};
use super::super::facts::Item;
use super::super::flatten::Flat;

/// What is known about a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouch {
    AsShipped,
    /// Only a list in an untrusted layer confirms it.
    SelfVouched,
    Changed,
    /// There is a database, and no package has the file.
    Unowned,
    /// There is no database.
    Unknown,
}

impl Vouch {
    /// For findings: what is wrong with the file.
    pub(super) fn problem(self) -> &'static str {
        match self {
            Self::AsShipped | Self::Unknown => "",
            Self::SelfVouched => {
                "is confirmed only by a package database of a layer that is not trusted"
            }
            Self::Changed => "has other content than the package database says",
            Self::Unowned => "belongs to no package",
        }
    }
}

/// The package database, with the layers that its lists are from.
pub(super) struct Trust<'a> {
    entries: HashMap<&'a [u8], Vec<(Md5, usize)>>,
    /// How many layers, the lowest first, can vouch.
    trusted: usize,
    /// The caller has said which.
    is_given: bool,
    has_database: bool,
}

const STATUS: &[u8] = b"var/lib/dpkg/status";

impl<'a> Trust<'a> {
    pub(super) fn new(flat: &Flat<'a>, given: Option<usize>) -> Self {
        let mut entries: HashMap<&[u8], Vec<(Md5, usize)>> = HashMap::new();
        let mut has_database = false;
        for (layer, facts) in flat.layers().iter().enumerate() {
            // dpkg rewrites its status whenever it installs something: a list without a new status
            // was not written by dpkg.
            let distroless = |path: &Vec<u8>| path.starts_with(b"var/lib/dpkg/status.d/");
            let status = flat.layer_has(layer, STATUS);
            let genuine = status || facts.md5sums.keys().all(distroless);
            has_database |= status || !facts.md5sums.is_empty();
            if !genuine {
                continue;
            }
            for (path, md5) in facts.md5sums.values().flatten() {
                entries.entry(path).or_default().push((*md5, layer));
            }
        }
        Self {
            entries,
            trusted: given.unwrap_or(1),
            is_given: given.is_some(),
            has_database,
        }
    }

    /// The caller did not name trusted layers: the lowest layer vouches for itself.
    pub(super) fn is_guessed(&self) -> bool {
        !self.is_given
    }

    /// What is known about the file at this path, which comes from `layer`.
    pub(super) fn vouch(&self, layer: usize, path: &[u8], item: Option<&Item>) -> Vouch {
        let entries = self.entries.get(without_usr(path));
        let fits = |trusted: bool| {
            entries.into_iter().flatten().any(|(md5, list)| {
                (*list < self.trusted) == trusted && item.and_then(|item| item.md5) == Some(*md5)
            })
        };
        let is_owned = |entries: &Vec<(Md5, usize)>| {
            !self.is_given || entries.iter().any(|(_, list)| *list < self.trusted)
        };
        if fits(true) {
            Vouch::AsShipped
        } else if fits(false) && !self.is_given {
            Vouch::SelfVouched
        } else if entries.is_some_and(is_owned) {
            Vouch::Changed
        } else if self.is_given && layer >= self.trusted {
            Vouch::Unowned
        } else if self.is_given && !self.has_database {
            Vouch::AsShipped
        } else if self.has_database {
            Vouch::Unowned
        } else {
            Vouch::Unknown
        }
    }

    /// The same for a file that the image hides.
    pub(super) fn was_changed(&self, path: &[u8], item: &Item) -> bool {
        self.entries
            .get(without_usr(path))
            .is_some_and(|entries| !entries.iter().any(|(md5, _)| item.md5 == Some(*md5)))
    }
}
