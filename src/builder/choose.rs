//! Which builder image an application gets when nobody said which.

use crate::app::python::PythonRequest;
use crate::app::python_version::PythonVersion;
use crate::oci::Descriptor;
use crate::store::Store;

use super::{BuilderError, LABEL_KIND, LABEL_NAME, LABEL_PYTHON};

/// A builder and why it was chosen, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub reference: String,
    pub reason: String,
}

/// The Python of an application that asks for none, where no local builder decides.
const DEFAULT_PYTHON: &str = "3.13";

/// A builder image of this store that `warpdrive builder build` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBuilder {
    /// The name under which it stands in the store.
    pub reference: String,
    pub python: String,
    /// `build` or `run`.
    pub kind: String,
    pub digest: String,
    /// Compressed, in bytes.
    pub size: u64,
}

/// The builder images of this store, newest Python first.
///
/// Labels are what an image says of itself: one that was pulled or loaded is no local builder,
/// whatever it claims, and is never chosen unasked. `builder build` gives its images their
/// definition's name; what comes from elsewhere has another.
pub fn local(store: &Store) -> Result<Vec<LocalBuilder>, BuilderError> {
    let mut found = Vec::new();
    for named in store.images()? {
        let Ok(image) = store.image_at(&named.descriptor) else {
            continue;
        };
        let label = |key: &str| image.config.label(key).map(str::to_owned);
        // An application image inherits its base's labels; it has a plan, a builder has none.
        if label("io.warpdrive.plan").is_some() {
            continue;
        }
        if let (Some(name), Some(python), Some(kind)) =
            (label(LABEL_NAME), label(LABEL_PYTHON), label(LABEL_KIND))
        {
            if named.name != name {
                continue;
            }
            found.push(LocalBuilder {
                reference: named.name,
                python,
                kind,
                digest: named.descriptor.digest().to_string(),
                size: image.manifest.layers().iter().map(Descriptor::size).sum(),
            });
        }
    }
    found.sort_by(|a, b| {
        minor(&b.python)
            .cmp(&minor(&a.python))
            .then_with(|| a.reference.cmp(&b.reference))
    });
    Ok(found)
}

/// The wish, else a local builder that fits, else the official Python image.
pub fn choose(
    store: &Store,
    wish: Option<&str>,
    python: Option<&PythonRequest>,
) -> Result<Choice, BuilderError> {
    if let Some(wish) = wish {
        return Ok(Choice {
            reference: wish.to_owned(),
            reason: "as asked for".into(),
        });
    }
    Ok(among(&local(store)?, python))
}

fn among(local: &[LocalBuilder], python: Option<&PythonRequest>) -> Choice {
    let why = |python: &str, wanted: Option<&PythonRequest>| match wanted {
        Some(wanted) => format!("Python {python}, for {} in {}", wanted.text, wanted.source),
        None => format!("Python {python}, the app asks for no version"),
    };
    let fitting = local
        .iter()
        .filter(|builder| builder.kind == "build")
        .find(|builder| {
            python.is_none_or(|wanted| {
                builder
                    .python
                    .parse()
                    .is_ok_and(|version| wanted.matches(version))
            })
        });
    if let Some(builder) = fitting {
        return Choice {
            reference: builder.reference.clone(),
            reason: why(&builder.python, python),
        };
    }
    // The newest minor version that the request allows, as far as this release knows them.
    let version = match python {
        None => DEFAULT_PYTHON.to_owned(),
        Some(wanted) => std::iter::once(DEFAULT_PYTHON.to_owned())
            .chain((8..=14).rev().map(|minor| format!("3.{minor}")))
            .find(|version| version.parse().is_ok_and(|version| wanted.matches(version)))
            .unwrap_or_else(|| DEFAULT_PYTHON.to_owned()),
    };
    Choice {
        reason: why(&version, python),
        reference: format!("docker.io/library/python:{version}-slim"),
    }
}

/// `3.11` is newer than `3.9`; what is no version is oldest.
fn minor(version: &str) -> Option<PythonVersion> {
    version.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(python: &str, kind: &str) -> LocalBuilder {
        LocalBuilder {
            reference: format!("debian-python-{python}-{kind}"),
            python: python.into(),
            kind: kind.into(),
            digest: String::new(),
            size: 0,
        }
    }

    #[test]
    fn a_local_build_image_wins_over_the_official_one() {
        let local = [builder("3.13", "run"), builder("3.11", "build")];
        assert_eq!(among(&local, None).reference, "debian-python-3.11-build");
        assert_eq!(
            among(&[], None).reference,
            "docker.io/library/python:3.13-slim"
        );
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(minor("3.9") < minor("3.11"));
    }
}
