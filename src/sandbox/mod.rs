//! Runs a command in a root file system of its own: namespaces, id maps, mounts, capabilities,
//! seccomp, limits. The only place with `unsafe`; synchronous; knows neither OCI nor Python.

mod spec;

pub use spec::{Exit, Limits, Mount, Network, Root, Spec, Upper};
