//! What every command is given: where the store is, where words go, whether to speak JSON.

use std::path::PathBuf;

use crate::oci::Descriptor;
use crate::store::Store;

use super::error::{CommandError, ExitStatus};
use super::printer::Printer;

/// The options that all commands share.
pub(super) struct Context {
    /// `--store`, else `WARPDRIVE_STORE` (clap reads both); `None` means the default place.
    pub(super) store: Option<PathBuf>,
    pub(super) printer: Printer,
}

impl Context {
    /// Opens the content store.
    pub(super) fn open_store(&self) -> Result<Store, CommandError> {
        Ok(Store::open(self.store.as_deref())?)
    }
}

/// The image of a name in the store.
pub(super) fn image(store: &Store, name: &str) -> Result<Descriptor, CommandError> {
    store.resolve(name)?.ok_or_else(|| {
        let message = format!("there is no image `{name}` in the store");
        CommandError::new(ExitStatus::Failure, "image-missing", message)
            .with_hint("`warpdrive images` lists those that there are")
    })
}
