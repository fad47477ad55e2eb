//! Which builder images a source may name. The author of a source decides what its application does,
//! but not which images of the caller's store or registries are used for it with the caller's logins.
//!
//! Always allowed: the builders of `warpdrive builder build`, and the official Python images,
//! which are the default. Other images only if the caller allows them.

use crate::app::settings::{Origin, Value};
use crate::builder::choose;
use crate::oci::Reference;
use crate::store::Store;

use super::error::BuildError;
use super::image_use::Use;

/// The images that an application gets by default.
const OFFICIAL: &str = "docker.io/library/python";

/// Refuses a name from the source's files, unless it is one of the allowed images.
pub(super) fn check(
    used: Use,
    store: &Store,
    named: &Value,
    allowed: &[String],
) -> Result<(), BuildError> {
    let Origin::File(place) = &named.origin else {
        return Ok(());
    };
    if allows(OFFICIAL, &named.text) || allowed.iter().any(|entry| allows(entry, &named.text)) {
        return Ok(());
    }
    let ours = choose::local(store)?;
    if ours.iter().any(|ours| ours.reference == named.text) {
        return Ok(());
    }
    Err(BuildError::BuilderNotAllowed {
        used,
        reference: named.text.chars().filter(|c| !c.is_control()).collect(),
        place: place.clone(),
    })
}

/// Whether an entry (`REGISTRY/NAME`, which means all of its tags, `REGISTRY/NAME:TAG`, or
/// `REGISTRY/PATH/*`) means an image.
fn allows(entry: &str, image: &str) -> bool {
    let Ok(image) = image.parse::<Reference>() else {
        return false;
    };
    let repository = |of: &Reference| format!("{}/{}", of.registry(), of.repository());
    if let Some(path) = entry.strip_suffix("/*") {
        // `HOST/*` has no path that could be read as a reference.
        let full = repository(&image);
        return match format!("{path}/x").parse::<Reference>() {
            Ok(like) => repository(&like)
                .strip_suffix("/x")
                .is_some_and(|path| full.starts_with(&format!("{path}/"))),
            Err(_) => false,
        };
    }
    let Ok(entry) = entry.parse::<Reference>() else {
        return false;
    };
    repository(&entry) == repository(&image)
        && ((entry.tag().is_none() && entry.digest().is_none())
            || entry.tag_or_digest() == image.tag_or_digest())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_mean_images() {
        for (entry, image, means) in [
            (
                "quay.io/sclorg/python-312",
                "quay.io/sclorg/python-312",
                true,
            ),
            (
                "quay.io/sclorg/python-312",
                "quay.io/sclorg/python-312:1",
                true,
            ),
            (
                "quay.io/sclorg/python-312:1",
                "quay.io/sclorg/python-312:1",
                true,
            ),
            (
                "quay.io/sclorg/python-312:1",
                "quay.io/sclorg/python-312:2",
                false,
            ),
            (
                "quay.io/sclorg/python-312:1",
                "quay.io/sclorg/python-312",
                false,
            ),
            ("quay.io/sclorg/*", "quay.io/sclorg/python-312:1", true),
            ("quay.io/sclorg/*", "quay.io/sclorg-evil/x", false),
            ("quay.io/*", "quay.io/any/thing", true),
            ("quay.io/*", "quay.io.evil/any/thing", false),
            ("python", "python:3.13-slim", true),
            (OFFICIAL, "docker.io/library/python:3.13", true),
            (OFFICIAL, "docker.io/mallory/python:3.13", false),
            (OFFICIAL, "evil.example/library/python", false),
            ("*", "quay.io/any/thing", false),
            ("", "quay.io/any/thing", false),
        ] {
            assert_eq!(allows(entry, image), means, "{entry} {image}");
        }
    }
}
