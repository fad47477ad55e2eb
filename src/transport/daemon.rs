//! `docker-daemon:REF`: a Docker daemon's images, as docker-archives through its socket.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::error::TransportError;
use super::{Imported, docker_archive};
use crate::oci::{Descriptor, Reference};
use crate::registry::{Client, ClientOptions, TransferListener};
use crate::store::Store;

/// Writes the archive into the daemon while it is made.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    name: &Reference,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let client = Client::new(ClientOptions::default())?;
    let daemon = client.daemon()?;
    let path = Path::new("the Docker daemon");
    let (reader, writer) =
        io::pipe().map_err(|source| TransportError::io("make a pipe to", path, source))?;
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let mut writer = io::BufWriter::with_capacity(256 * 1024, writer);
            let name = name.as_given();
            docker_archive::write(store, image, name, &mut writer, (path, None), progress)?;
            writer
                .flush()
                .map_err(|source| TransportError::io("write to", path, source))
        });
        let loaded = daemon.load(reader);
        let written = writing.join().unwrap_or_else(|_| {
            Err(TransportError::malformed(
                path,
                "the writer of the archive failed",
            ))
        });
        match (loaded, written) {
            // The daemon's own words say why it hung up.
            (Err(error), Err(TransportError::Io { source, .. }))
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Err(error.into())
            }
            (_, Err(error)) => Err(error),
            (loaded, Ok(())) => Ok(loaded?),
        }
    })
}

pub(super) fn import(
    store: &Store,
    name: &Reference,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let scratch = store.scratch("daemon")?;
    let path = scratch.path().join("image.tar");
    let client = Client::new(ClientOptions::default())?;
    let mut file =
        File::create(&path).map_err(|source| TransportError::io("create", &path, source))?;
    client.daemon()?.save(name, &mut file)?;
    let imported = docker_archive::import(store, &path, None, progress)?;
    Ok(Imported {
        name: Some(name.as_given().to_owned()),
        ..imported
    })
}
