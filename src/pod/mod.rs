//! A build in a pod, where no namespace, no mount and no capability can be had: the process stands in the
//! root file system that it builds on.
//!
//! Here: what the pod's image says of itself ([`BaseFile`]: `/opt/warpdrive/base.json`, written by `builder
//! push`), the application's root as a build finds it, fills it and leaves it ([`AppRoot`]), what is mounted
//! besides the image ([`Volumes`]), and which credentials this process could read ([`credentials`]). Not here: what runs in it and what it runs
//! behind (`sandbox`), and the steps of a build (`pipeline`).

mod app_root;
mod base_file;
mod credentials;
mod error;
mod volumes;

pub use app_root::{AppRoot, Filled, copy_onto};
pub use base_file::{BaseFile, Findings};
pub use credentials::credentials;
pub use error::PodError;
pub use volumes::Volumes;

/// Where the pod's image has its tools.
pub const PLACE: &str = "/opt/warpdrive";
/// What it says of itself, below [`PLACE`].
pub const BASE_FILE: &str = "base.json";
/// The blob of the builder layer, below [`PLACE`].
pub const BUILDER_LAYER: &str = "builder-layer";
/// uv and pip, below [`PLACE`].
pub const TOOLS: &str = "tools";
