//! A build in a pod, where the process gets no namespace, no mount and no capability: its own root file
//! system is the base of the build.
//!
//! Here: what the pod's image says about itself ([`BaseFile`]: `/opt/warpdrive/base.json`, written by
//! `builder push`), the application's root as a build finds it, fills it and leaves it ([`AppRoot`]), what is
//! mounted besides the image ([`Volumes`]), and which credentials this process could read ([`credentials`]).
//! Not here: running commands and the fence around them (`sandbox`), and the steps of a build (`pipeline`).

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
/// Its facts about itself, below [`PLACE`].
pub const BASE_FILE: &str = "base.json";
/// The blob of the builder layer, below [`PLACE`].
pub const BUILDER_LAYER: &str = "builder-layer";
/// uv and pip, below [`PLACE`].
pub const TOOLS: &str = "tools";
