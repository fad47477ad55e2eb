//! warpdrive turns a Python web application's source tree into an OCI image.
//!
//! The data flows in this order, which is also the order in which to read the modules:
//!
//! ```text
//!  source tree ──► plan ──► base ──► assemble ──► layers ──► commit ──► ship
//!   (source)      (app)   (store,   (sandbox +   (layer)     (oci)   (registry,
//!                          registry)  builder)                       transport)
//! ```
//!
//! [`pipeline`] joins these parts; [`cli`] turns words into calls and results into words. Arrows go
//! down only: `cli → {inspection, dev} → {pipeline, container, doctor} → pod → {builder, lockfile, source, app, s2i,
//! remote_cache, transport, registry, audit}
//! → rootfs → {sandbox, layer, store} → {oci, beneath, parallel, progress}`; `tests/architecture.rs` holds them. [`app`] is all that
//! the static executable inside images knows, and [`sandbox`] all that has `unsafe`: both are crates of
//! their own, in their folders, and so is [`beneath`], which the sandbox needs.

#![forbid(unsafe_code)]

pub use warpdrive_app as app;
pub use warpdrive_beneath as beneath;
pub use warpdrive_sandbox as sandbox;

pub mod audit;
pub mod builder;
pub mod cli;
pub mod container;
pub mod dev;
pub mod doctor;
pub mod inspection;
pub mod layer;
pub mod lockfile;
pub mod oci;
pub mod parallel;
pub mod pipeline;
pub mod pod;
pub mod progress;
pub mod registry;
pub mod remote_cache;
pub mod rootfs;
pub mod s2i;
pub mod source;
pub mod store;
pub mod transport;
