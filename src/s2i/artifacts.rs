//! What `save-artifacts` prints: a tar of files that the next build may reuse.
