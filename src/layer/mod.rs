//! File trees and tar streams: unpacking layers, finding what changed, writing and compressing.
//!
//! Here: everything that knows the bytes of a layer (image-spec `layer.md`) and how overlayfs
//! stores the same facts in a directory. Not here: where blobs lie (`store`), mounts (`sandbox`),
//! which files belong to which layer (`pipeline`).
//!
//! ```text
//!  blob ─► decompressor ─► TarReader ─► apply ─────► directory (an overlay's lower)
//!                              │
//!                              ├──────► rewrite ─┐
//!                              └──────► flatten  │ (read only: what the stacked layers hold)
//!  overlay's upper ─► scan ─► [Entry] ─► write ──┴─► tar ─► SHA-256 ─► gzip|zstd ─► SHA-256 ─► blob
//!                                                        (diff ID)              (digest)
//! ```
//!
//! All functions are synchronous and hold a bounded amount of memory however large the layer.
//! Bytes that come in are hostile: see `reader` (limits, ambiguous archives), `apply` and `root`
//! (paths stay beneath the root). Bytes that go out depend on nothing but the entries, the
//! compression and this program's release.

mod apply;
mod apply_options;
mod archive;
mod budget;
mod compress;
mod decompress;
mod entry;
mod error;
mod gzip;
mod header;
mod limits;
mod member;
mod members;
mod metadata;
mod number;
mod pax;
mod reader;
mod remove;
mod rewrite;
mod root;
mod scan;
mod write;
mod xattr;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod roundtrip_tests;

pub use apply::{Applied, Skipped, apply, apply_checked, check_space, hides_all_below};
pub use apply_options::ApplyOptions;
pub use archive::{Flat, flatten};
pub use budget::{Budget, Spending};
pub use compress::{Compression, compress, threads};
pub use decompress::{Packing, decompressor};
pub use entry::{Entry, Kind, Mtime, retain_opaque, with_parents};
pub use error::LayerError;
pub use limits::Limits;
pub use member::{Member, MemberKind};
pub use members::{Members, Section};
pub use reader::TarReader;
pub use remove::remove_tree;
pub use rewrite::{Edit, rewrite};
pub use scan::{Scan, scan};
pub use write::{Witness, Written, time_of, write, write_with};

/// What the name of a whiteout begins with (image-spec, `layer.md`, "Whiteouts").
pub const WHITEOUT_PREFIX: &str = ".wh.";

/// The name, inside a directory, that hides all that lower layers have in it.
pub const OPAQUE_NAME: &str = ".wh..wh..opq";
