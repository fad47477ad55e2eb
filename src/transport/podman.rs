//! `containers-storage:REF`: the images of podman and buildah, through `podman load` and `podman save`.
//!
//! The storage itself is podman's business: its drivers, locks and id maps are not a public format.

use std::path::Path;
use std::process::{Command, Stdio};

use super::content::Wanted;
use super::error::TransportError;
use super::{Imported, dir, oci_archive};
use crate::oci::{Descriptor, Reference, docker};
use crate::registry::TransferListener;
use crate::store::Store;

pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    name: &Reference,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let scratch = store.scratch("podman")?;
    let archive = scratch.path().join("image.tar");
    // An OCI archive, so that the manifest keeps its digest.
    oci_archive::export(store, image, &archive, Some(&full_name(name)), progress)?;
    podman(&["load", "--quiet", "--input"], &archive, None)
}

pub(super) fn import(
    store: &Store,
    name: &Reference,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let scratch = store.scratch("podman")?;
    let to = scratch.path().join("image");
    let save = |options: &[&str]| {
        let options = [&["save", "--quiet", "--format"], options, &["--output"]].concat();
        podman(&options, &to, Some(name.as_given()))
    };
    let wanted = Wanted::default();
    // In the other form podman writes another configuration, and so the image would get another ID.
    let imported = if manifest_type(name).as_deref() == Some(docker::MANIFEST) {
        save(&["docker-dir", "--compress"])?;
        dir::import(store, &to, &wanted, progress)?
    } else {
        save(&["oci-archive"])?;
        oci_archive::import(store, &to, None, &wanted, progress)?
    };
    Ok(Imported {
        name: Some(name.as_given().to_owned()),
        ..imported
    })
}

/// The media type of the manifest that podman keeps; an image that it does not have is for `save` to tell.
fn manifest_type(name: &Reference) -> Option<String> {
    let output = Command::new("podman")
        .args(["image", "inspect", "--format", "{{.ManifestType}}"])
        .arg(name.as_given())
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// containers/image puts names without a host below `localhost/` and wants a tag.
fn full_name(name: &Reference) -> String {
    let given = name.as_given().split('@').next().unwrap_or_default();
    let host = if name.has_host() { "" } else { "localhost/" };
    let tag = if name.tag().is_some() { "" } else { ":latest" };
    format!("{host}{given}{tag}")
}

fn podman(arguments: &[&str], archive: &Path, name: Option<&str>) -> Result<(), TransportError> {
    let failed = |problem: String| TransportError::Program {
        program: "podman",
        problem,
    };
    let output = Command::new("podman")
        .args(arguments)
        .arg(archive)
        .args(name)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last: Vec<String> = words
        .lines()
        .rev()
        .take(3)
        .map(|line| line.chars().filter(|c| !c.is_control()).take(300).collect())
        .collect();
    let last: Vec<String> = last.into_iter().rev().collect();
    Err(failed(format!(
        "{} failed ({}): {}",
        arguments[0],
        output.status,
        last.join(" / ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_podmans() {
        for (name, expected) in [
            ("opal", "localhost/opal:latest"),
            ("opal:1", "localhost/opal:1"),
            ("team/opal", "localhost/team/opal:latest"),
            ("localhost/opal", "localhost/opal:latest"),
            ("r.example/opal:2", "r.example/opal:2"),
        ] {
            assert_eq!(full_name(&name.parse().unwrap()), expected);
        }
    }
}
