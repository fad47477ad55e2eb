//! Where the log goes.

/// What parts of the program without a terminal (a container's supervisor) have to say, on stderr,
/// where `WARPDRIVE_LOG` asks for it (`warn`, `debug`, `warpdrive::container=debug`).
pub(super) fn as_asked() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("WARPDRIVE_LOG") {
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .finish();
        // It fails only where one is set already.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

/// As `WARPDRIVE_LOG=debug` asks for; what that variable says is stronger.
pub(super) fn all() {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("debug")
        .with_writer(std::io::stderr)
        .finish();
    let _ = tracing::subscriber::set_global_default(subscriber);
}
