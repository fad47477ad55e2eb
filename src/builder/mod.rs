//! Builder images: the images on which applications are built.
//!
//! Here: the definitions below `builder-images/` ([`definition`]), making one from Debian's signed
//! packages ([`debian`], [`packages`]), with a Python of uv's on it ([`standalone`]), finding the Python in a base ([`python`]), the *builder layer* that turns
//! any image with a Python into a builder ([`layer`]), and choosing one for an application
//! ([`choose`]). Not here: running assemble (`pipeline`), fetching an image (`registry`).

pub mod choose;
pub mod contents;
pub mod debian;
mod debian_output;
pub mod definition;
mod error;
mod image;
mod in_image_tool;
pub mod layer;
pub mod packages;
pub mod python;
pub mod standalone;

pub use error::BuilderError;

/// The path of the virtual environment and home in every image of warpdrive.
pub use crate::app::contract::ROOT as APP_ROOT;
/// The same in a layer, and below the directory of an unpacked tree.
pub use crate::app::contract::ROOT_IN_TREE as APP_ROOT_IN_TREE;

/// Owner of everything below [`APP_ROOT`].
pub const APP_UID: u32 = 1001;
pub const APP_GID: u32 = 0;

/// The time of all files in layers that do not depend on the base: 1980-01-01T00:00:01Z, because
/// zip files cannot have an earlier one.
pub const FIXED_TIME: i64 = 315_532_801;
pub const FIXED_TIME_RFC3339: &str = "1980-01-01T00:00:01Z";

/// Label of images made by `warpdrive builder build`: the definition's name.
pub const LABEL_NAME: &str = "io.warpdrive.builder.name";
/// Label: the Python version, `3.11`.
pub const LABEL_PYTHON: &str = "io.warpdrive.builder.python";
/// Label: `build` (with compilers) or `run` (slim).
pub const LABEL_KIND: &str = "io.warpdrive.builder.kind";
