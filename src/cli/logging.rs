//! Where the log goes.

/// Writes messages of parts without a terminal (a container's supervisor) to stderr, if
/// `WARPDRIVE_LOG` asks for it (`warn`, `debug`, `warpdrive::container=debug`).
pub(super) fn as_asked() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("WARPDRIVE_LOG") {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .finish();
        // It fails only if a logger is set already.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

/// The same as `WARPDRIVE_LOG=debug`; the variable itself comes first.
pub(super) fn all() {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("debug")
        .with_writer(std::io::stderr)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}
