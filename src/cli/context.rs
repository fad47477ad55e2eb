//! What every command gets: the store's path, the printer, and whether to print JSON.

use std::path::PathBuf;

use crate::store::Store;

use super::error::CommandError;
use super::printer::Printer;

/// The options that all commands share.
pub(super) struct Context {
    /// `--store`; `None` means `WARPDRIVE_STORE`, else the default place.
    pub(super) store: Option<PathBuf>,
    pub(super) printer: Printer,
}

impl Context {
    /// Opens the content store.
    pub(super) fn open_store(&self) -> Result<Store, CommandError> {
        Ok(Store::open(self.store.as_deref())?)
    }
}
