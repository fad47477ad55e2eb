//! warpdrive turns a Python web application's source tree into an OCI image.
//!
//! The way of the data, which is also the order in which to read the modules:
//!
//! ```text
//!  source tree ──► plan ──► base ──► assemble ──► layers ──► commit ──► ship
//!   (source)      (app)   (store,   (sandbox +   (layer)     (oci)   (registry,
//!                          registry)  builder)                       transport)
//! ```
//!
//! [`pipeline`] joins these parts; [`cli`] turns words into calls and results into words. Arrows go
//! down only: `cli → {pipeline, container, doctor} → {builder, source, app, s2i, registry, transport, audit}
//! → rootfs → {sandbox, layer, store} → oci`; `tests/architecture.rs` holds them. [`app`] is all that
//! the static executable inside images knows; it is compiled without the `host` feature.

pub mod app;
#[cfg(feature = "host")]
pub mod audit;
#[cfg(feature = "host")]
pub mod builder;
pub mod cli;
#[cfg(feature = "host")]
pub mod container;
#[cfg(feature = "host")]
pub mod doctor;
#[cfg(feature = "host")]
pub mod layer;
#[cfg(feature = "host")]
pub mod oci;
#[cfg(feature = "host")]
pub mod pipeline;
#[cfg(feature = "host")]
pub mod progress;
#[cfg(feature = "host")]
pub mod registry;
#[cfg(feature = "host")]
pub mod rootfs;
#[cfg(feature = "host")]
pub mod s2i;
#[cfg(feature = "host")]
pub mod sandbox;
#[cfg(feature = "host")]
pub mod source;
#[cfg(feature = "host")]
pub mod store;
#[cfg(feature = "host")]
pub mod transport;
