//! Docker daemon
