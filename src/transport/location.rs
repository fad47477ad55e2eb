//! `oci:DIR[:TAG]` and its kin, as text.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::TransportError;
use crate::oci::Reference;

/// Longest tag or name in an `index.json` that is written or asked for.
const MAX_TAG: usize = 512;

/// Where an image is, or shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Oci {
        directory: PathBuf,
        tag: Option<String>,
    },
    OciArchive {
        file: PathBuf,
        tag: Option<String>,
    },
    DockerArchive {
        file: PathBuf,
        reference: Option<Reference>,
    },
    /// `dir:PATH`: manifest and blobs of one image, side by side.
    Dir(PathBuf),
    DockerDaemon(Reference),
    ContainersStorage(Reference),
    Registry(Reference),
}

/// Where an image shall be.
pub type Destination = Location;
/// Where an image is.
pub type Source = Location;

impl Location {
    pub fn parse(text: &str) -> Result<Self, TransportError> {
        text.parse()
    }

    /// Whether this is where the result goes to the terminal or a pipe: `docker-archive:/dev/stdout`.
    pub fn is_stdout(&self) -> bool {
        match self {
            Self::OciArchive { file, .. } | Self::DockerArchive { file, .. } => {
                file == Path::new("/dev/stdout") || file == Path::new("/proc/self/fd/1")
            }
            _ => false,
        }
    }
}

impl FromStr for Location {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, TransportError> {
        let bad = |problem: String| TransportError::Location {
            given: text.chars().take(300).collect(),
            problem,
        };
        let (transport, rest) = text
            .split_once(':')
            .ok_or_else(|| bad("it has no transport before a colon".into()))?;
        let reference = |name: &str| {
            name.parse::<Reference>()
                .map_err(|error| bad(error.to_string()))
        };
        let path_and_tag = || {
            let (path, tag) = match rest.split_once(':') {
                Some((path, tag)) => (path, Some(tag)),
                None => (rest, None),
            };
            if path.is_empty() {
                return Err(bad("it has no path".into()));
            }
            if path.contains('\0') {
                return Err(bad("its path has a NUL in it".into()));
            }
            Ok((PathBuf::from(path), tag))
        };
        let tag = |tag: Option<&str>| match tag {
            Some("") => Err(bad("the tag after the colon is empty".into())),
            Some(tag) if tag.len() > MAX_TAG => Err(bad("its tag is too long".into())),
            Some(tag) if !is_ref_name(tag) => Err(bad(format!(
                "`{}` may not be a name in an OCI layout",
                tag.escape_debug()
            ))),
            tag => Ok(tag.map(str::to_owned)),
        };
        match transport {
            "oci" => {
                let (directory, name) = path_and_tag()?;
                Ok(Self::Oci {
                    directory,
                    tag: tag(name)?,
                })
            }
            "oci-archive" => {
                let (file, name) = path_and_tag()?;
                Ok(Self::OciArchive {
                    file,
                    tag: tag(name)?,
                })
            }
            "docker-archive" => {
                let (file, name) = path_and_tag()?;
                Ok(Self::DockerArchive {
                    file,
                    reference: name.map(reference).transpose()?,
                })
            }
            "dir" if rest.is_empty() => Err(bad("it has no path".into())),
            "dir" if rest.contains('\0') => Err(bad("its path has a NUL in it".into())),
            // Without a tag: a colon is part of the path, as skopeo reads it.
            "dir" => Ok(Self::Dir(PathBuf::from(rest))),
            "docker-daemon" => reference(rest).map(Self::DockerDaemon),
            "containers-storage" => reference(rest).map(Self::ContainersStorage),
            "docker" => {
                let name = rest
                    .strip_prefix("//")
                    .ok_or_else(|| bad("docker: is followed by //, as in docker://REF".into()))?;
                reference(name).map(Self::Registry)
            }
            "docker-reference" | "ostree" | "sif" | "tarball" => {
                Err(bad(format!("the transport `{transport}` is not supported")))
            }
            _ => Err(bad("its transport is not known".into())),
        }
    }
}

/// image-spec, `annotations.md`: `component ("/" component)*` of letters, digits and `-._:@+`.
fn is_ref_name(text: &str) -> bool {
    text.split('/').all(|component| {
        let ends_well = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
        ends_well(component.chars().next())
            && ends_well(component.chars().last())
            && component
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:@+".contains(c))
    })
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = |transport: &str, path: &Path, name: Option<&str>| {
            write!(formatter, "{transport}:{}", path.display())?;
            name.map_or(Ok(()), |name| write!(formatter, ":{name}"))
        };
        match self {
            Self::Oci { directory, tag } => path("oci", directory, tag.as_deref()),
            Self::OciArchive { file, tag } => path("oci-archive", file, tag.as_deref()),
            Self::DockerArchive { file, reference } => path(
                "docker-archive",
                file,
                reference.as_ref().map(Reference::as_given),
            ),
            Self::Dir(directory) => path("dir", directory, None),
            Self::DockerDaemon(name) => write!(formatter, "docker-daemon:{name}"),
            Self::ContainersStorage(name) => write!(formatter, "containers-storage:{name}"),
            Self::Registry(name) => write!(formatter, "docker://{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_read_and_shown() {
        for text in [
            "oci:dir",
            "oci:/a/b:1.2",
            "oci:dir:registry.example.com:5000/team/opal:1",
            "oci-archive:x.tar",
            "oci-archive:/x.tar:localhost/opal:latest",
            "docker-archive:x.tar",
            "docker-archive:x.tar:opal:1",
            "dir:/a/b:c",
            "docker-daemon:opal:1",
            "containers-storage:localhost/opal",
            "docker://registry.example.com/opal",
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_place_says_why() {
        for (text, part) in [
            ("", "no transport"),
            ("opal", "no transport"),
            ("opal:1", "not known"),
            ("oci:", "no path"),
            ("oci::x", "no path"),
            ("oci:d:", "is empty"),
            ("oci:d:a b", "may not be a name"),
            ("oci:d:../x", "may not be a name"),
            ("docker-archive:f:", "empty"),
            ("docker-archive:f:A", "upper-case"),
            ("docker:opal", "followed by //"),
            ("docker-daemon:", "empty"),
            ("dir:", "no path"),
            ("ostree:x", "not supported"),
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().is_some());
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            if let Ok(place) = Location::parse(&text) {
                prop_assert_eq!(place.to_string(), text);
            }
        }
    }
}
