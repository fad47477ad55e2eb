//! What this machine allows, for `doctor`.

/// Why a user namespace may have been refused, and what to do about it.
pub(super) fn user_namespace_remedy() -> String {
    "see `warpdrive doctor`".to_owned()
}
