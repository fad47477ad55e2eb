//! Completions for the shell: names of images, containers and builders.
//!
//! It reads only the standard store, or that of `WARPDRIVE_STORE`, and changes nothing there.

use clap_complete::engine::CompletionCandidate;

use crate::builder::{choose, definition};
use crate::container::{self, Status};
use crate::store::Store;

/// The variable that the shell sets.
pub(super) const VARIABLE: &str = "WARPDRIVE_COMPLETE";

/// The images of the store.
pub(super) fn images() -> Vec<CompletionCandidate> {
    let Some(store) = Store::existing() else {
        return Vec::new();
    };
    let images = store.images().unwrap_or_default();
    images
        .into_iter()
        .map(|named| CompletionCandidate::new(named.name))
        .collect()
}

/// The containers of the store, and their states.
pub(super) fn containers() -> Vec<CompletionCandidate> {
    let Some(store) = Store::existing() else {
        return Vec::new();
    };
    let records = container::list(&store).unwrap_or_default();
    records
        .into_iter()
        .map(|record| {
            let status = match record.status() {
                Ok((Status::Running, _)) => "running",
                Ok((Status::Created, _)) => "created",
                Ok((Status::Exited(_), _)) => "ended",
                Ok((Status::Dead, _)) | Err(_) => "dead",
            };
            let words = format!("{}, {status}", record.config.image);
            CompletionCandidate::new(record.config.name).help(Some(words.into()))
        })
        .collect()
}

/// The builders that can be made.
pub(super) fn definitions() -> Vec<CompletionCandidate> {
    let shipped = definition::shipped().unwrap_or_default();
    shipped
        .into_iter()
        .map(|it| CompletionCandidate::new(it.name).help(Some(it.description.into())))
        .collect()
}

/// The builders that can be made and those that were.
pub(super) fn builders() -> Vec<CompletionCandidate> {
    let mut all = definitions();
    let made = Store::existing()
        .and_then(|store| choose::local(&store).ok())
        .unwrap_or_default();
    for builder in made {
        if all
            .iter()
            .all(|it| it.get_value() != builder.reference.as_str())
        {
            all.push(CompletionCandidate::new(builder.reference));
        }
    }
    all
}
