//! Chooses the builder image for an application when none was named.

use crate::app::contract::PLAN_LABEL;
use crate::app::python::PythonRequest;
use crate::app::python_version::PythonVersion;
use crate::oci::Descriptor;
use crate::store::{Image, Store};

use super::{BuilderError, LABEL_KIND, LABEL_NAME, LABEL_PYTHON, definition};

/// A builder, and the reason for the choice as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub reference: String,
    pub reason: String,
}

/// A builder image of this store that `warpdrive builder build` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBuilder {
    /// Its name in the store.
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
/// An image's labels are only its own claim: a pulled or loaded image is not a local builder,
/// whatever its labels say, and is never chosen by default. `builder build` gives its images
/// their definition's name; other images have other names.
pub fn local(store: &Store) -> Result<Vec<LocalBuilder>, BuilderError> {
    let mut found = Vec::new();
    for named in store.images()? {
        let Ok(image) = store.image_at(&named.descriptor) else {
            continue;
        };
        let label = |key: &str| image.config.label(key).map(str::to_owned);
        // An application image inherits its base's labels; it has a plan, a builder has none.
        if label(PLAN_LABEL).is_some() {
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

/// Pythons that have an official image, and for which uv has an interpreter.
const PYTHONS: std::ops::RangeInclusive<u32> = 8..=14;

/// The requested builder, else one by this rule, which does not depend on other images in the store:
/// the newest supported Debian builder that fits, then a builder `python-VERSION` of this store,
/// then the official image.
///
/// # Errors
/// If no known Python fits: no registry is asked.
pub fn choose(
    store: &Store,
    requested: Option<&str>,
    python: Option<&PythonRequest>,
) -> Result<Choice, BuilderError> {
    if let Some(requested) = requested {
        return Ok(Choice {
            reference: requested.to_owned(),
            reason: "as asked for".into(),
        });
    }
    by_rule(&local(store)?, python)
}

fn by_rule(local: &[LocalBuilder], python: Option<&PythonRequest>) -> Result<Choice, BuilderError> {
    let fits = |version: &str| {
        python.is_none_or(|wanted| version.parse().is_ok_and(|version| wanted.matches(version)))
    };
    let reason = |python_has: &str| match python {
        Some(wanted) => format!(
            "Python {python_has}, for {} in {}",
            wanted.text, wanted.source
        ),
        None => format!("Python {python_has}, the app asks for no version"),
    };
    if let Some((name, version)) = definition::by_rule().find(|(_, version)| fits(version)) {
        return Ok(Choice {
            reference: name.to_owned(),
            reason: reason(version),
        });
    }
    // Newest first.
    let Some(version) = PYTHONS
        .rev()
        .map(|minor| format!("3.{minor}"))
        .find(|version| fits(version))
    else {
        let (wanted, wanted_by) = python.map_or_else(Default::default, |wanted| {
            (wanted.text.clone(), wanted.source.clone())
        });
        return Err(BuilderError::NoBuilderFits {
            wanted,
            wanted_by,
            known: definition::by_rule()
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .collect(),
        });
    };
    let own = format!("python-{version}");
    let made = local
        .iter()
        .any(|builder| builder.reference == own && builder.kind == "build");
    Ok(Choice {
        reference: if made { own } else { official(&version) },
        reason: reason(&version),
    })
}

/// The name of the slim twin of a builder from `builder build`.
pub fn twin_name(reference: &str, builder: &Image) -> Option<String> {
    let label = |key| builder.config.label(key);
    let is_ours = label(LABEL_NAME) == Some(reference) && label(LABEL_KIND) == Some("build");
    is_ours.then(|| format!("{reference}-run"))
}

/// Whether the store has an image of that name that `builder build` made as this builder's twin.
///
/// # Errors
/// If the store cannot be read.
pub fn is_twin(store: &Store, name: &str, builder: &Image) -> Result<bool, BuilderError> {
    let Some(image) = store.image(name)? else {
        return Ok(false);
    };
    let label = |key| image.config.label(key);
    Ok(label(LABEL_NAME) == Some(name)
        && label(LABEL_KIND) == Some("run")
        && label(LABEL_PYTHON) == builder.config.label(LABEL_PYTHON)
        && image.config.architecture() == builder.config.architecture())
}

/// The official image of a Python.
pub fn official(version: &str) -> String {
    format!("docker.io/library/python:{version}-slim")
}

/// `3.11` is newer than `3.9`; text that is not a version is the oldest.
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

    fn request(text: &str) -> PythonRequest {
        PythonRequest {
            text: text.into(),
            source: "x".into(),
        }
    }

    #[test]
    fn the_rule_does_not_depend_on_the_store() {
        for (text, expected) in [
            ("", "debian-13-python-3.13"),
            (">=3.9", "debian-13-python-3.13"),
            ("<3.13", "debian-12-python-3.11"),
            ("3.9", "debian-11-python-3.9"),
            ("3.14", "debian-14-python-3.14"),
            ("3.12", "docker.io/library/python:3.12-slim"),
            ("<3.9", "docker.io/library/python:3.8-slim"),
        ] {
            let wanted = (!text.is_empty()).then(|| request(text));
            for local in [
                &[][..],
                &[builder("3.11", "build"), builder("3.14", "build")],
            ] {
                let choice = by_rule(local, wanted.as_ref()).unwrap();
                assert_eq!(choice.reference, expected, "{text}");
            }
        }
        let mut own = builder("3.12", "build");
        own.reference = "python-3.12".into();
        let choice = by_rule(&[own], Some(&request("3.12"))).unwrap();
        assert_eq!(choice.reference, "python-3.12");
        for text in ["2.7", ">=3.40", "3.7"] {
            let error = by_rule(&[], Some(&request(text))).unwrap_err();
            assert!(
                matches!(error, BuilderError::NoBuilderFits { .. }),
                "{error}"
            );
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(minor("3.9") < minor("3.11"));
    }
}
