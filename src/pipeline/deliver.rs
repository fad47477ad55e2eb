//! The frame around every build, for both kinds of builder: the store is protected from `prune`, a lost
//! layer is fetched again, earlier builds' trees are synced to disk, and at the end the image gets its
//! name and is delivered.

use crate::oci::Descriptor;

use super::context::Context;
use super::error::BuildError;
use super::mend::mending;
use super::report::Built;
use super::timings::Timings;
use super::{notes, settle, ship};

/// The name of an image at the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming {
    /// As the request says. `previous_loses`: report that the previous image has no name any more.
    Named { previous_loses: bool },
    /// It has only its digest.
    Nameless,
}

/// Takes a source, builds an image from it, then names and ships it.
pub(super) fn deliver<S>(
    context: Context<'_>,
    naming: Naming,
    source: impl FnOnce() -> Result<S, BuildError>,
    unnamed: impl Fn(&S) -> Result<Built, BuildError>,
) -> Result<Built, BuildError> {
    let Context {
        store, progress, ..
    } = context;
    let _in_use = store.lock_shared()?;
    settle::beside(store, || {
        let source = source()?;
        let mut built = mending(store, progress, || unnamed(&source))?;
        let mut timings = Timings::new();
        match naming {
            Naming::Named { previous_loses } => name(context, &built.descriptor, previous_loses)?,
            Naming::Nameless => store.keep_nameless(&built.descriptor)?,
        }
        built.report.pushed = ship::ship(context, &built.descriptor)?;
        timings.step("ship");
        built.report.timings_ms.extend(timings.steps);
        notes::keep(store, &built)?;
        Ok(built)
    })
}

/// Gives the image its name, and reports what happens to the previous image of this name.
fn name(
    context: Context<'_>,
    descriptor: &Descriptor,
    previous_loses: bool,
) -> Result<(), BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let name = request.name.as_given();
    let previous = store.resolve(name)?;
    store.tag(name, descriptor)?;
    if previous_loses
        && let Some(previous) = previous
        && previous.digest() != descriptor.digest()
    {
        // Other images may share its layers: `prune` removes the layers that nothing needs.
        progress.step(&format!(
            "---> The previous image {} has no name any more: `warpdrive prune` frees it",
            previous.digest()
        ));
    }
    Ok(())
}
