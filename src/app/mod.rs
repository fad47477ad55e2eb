//! What a Python application is, and how it is built and run: inside an image and on a laptop
//! alike. Knows nothing of OCI, and is compiled without the `host` feature for the executable in
//! images.

#[cfg(feature = "host")]
pub mod app_tool;
pub mod plan;
pub mod run;
