//! `--result NAME=FILE`: writes each result for a pipeline to its own file, as Tekton and Shipwright read
//! it: without a line feed, and replacing what another step wrote there.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::oci::Descriptor;
use crate::store::Image;

use super::error::{CommandError, ExitStatus};

/// Longest value, in bytes: all results of a Tekton step together have 4096.
const MAX: usize = 1024;

/// One of the options.
#[derive(Debug, Clone)]
pub(super) struct ResultFile {
    name: Name,
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Digest,
    Url,
    Size,
    Commit,
    SourceUrl,
    ErrorReason,
    ErrorMessage,
}

const NAMES: [(&str, Name); 7] = [
    ("digest", Name::Digest),
    ("url", Name::Url),
    ("size", Name::Size),
    ("commit", Name::Commit),
    ("source-url", Name::SourceUrl),
    ("error-reason", Name::ErrorReason),
    ("error-message", Name::ErrorMessage),
];

impl FromStr for ResultFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = text
            .split_once('=')
            .filter(|(_, file)| !file.is_empty())
            .ok_or_else(|| format!("`{text}` is not of the form NAME=FILE"))?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let (_, known) = known.ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("`{name}` is not a result: there are {}", names.join(", "))
        })?;
        Ok(Self {
            name: *known,
            file: file.into(),
        })
    }
}

/// The result of a command.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub(super) digest: String,
    pub(super) url: String,
    size: String,
    commit: String,
    source_url: String,
}

impl Values {
    /// An image, and where it is now.
    pub(super) fn of(image: &Image, url: &str) -> Self {
        let annotation = |name: &str| {
            let annotations = image.manifest.annotations().as_ref();
            let key = format!("org.opencontainers.image.{name}");
            annotations
                .and_then(|all| all.get(&key).cloned())
                .unwrap_or_default()
        };
        let size: u64 = image.manifest.layers().iter().map(Descriptor::size).sum();
        Self {
            digest: image.descriptor.digest().to_string(),
            url: url.to_owned(),
            size: (size + image.manifest.config().size()).to_string(),
            commit: annotation("revision"),
            source_url: annotation("source"),
        }
    }
}

/// Runs a command and writes its results. The files are emptied first, so that they never contain another
/// step's values.
///
/// # Errors
/// That of the command; or if a file cannot be written.
pub(super) fn reporting(
    files: &[ResultFile],
    command: impl FnOnce() -> Result<Values, CommandError>,
) -> Result<(), CommandError> {
    for result in files {
        write(&result.file, "")?;
    }
    let outcome = command();
    let (values, error) = match &outcome {
        Ok(values) => (values.clone(), None),
        Err(error) => (Values::default(), Some(error)),
    };
    for result in files {
        let value = match result.name {
            Name::Digest => values.digest.clone(),
            Name::Url => values.url.clone(),
            Name::Size => values.size.clone(),
            Name::Commit => values.commit.clone(),
            Name::SourceUrl => values.source_url.clone(),
            Name::ErrorReason => error
                .map(|error| camel_case(error.code))
                .unwrap_or_default(),
            Name::ErrorMessage => error.map(|error| error.message.clone()).unwrap_or_default(),
        };
        if !value.is_empty() {
            let written = write(&result.file, &one_line(&value));
            // The command's own error says more.
            if error.is_none() {
                written?;
            }
        }
    }
    outcome.map(|_| ())
}

/// `assemble-failed` as `AssembleFailed`.
fn camel_case(code: &str) -> String {
    code.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

fn one_line(text: &str) -> String {
    let mut line = String::new();
    for letter in text.trim().chars() {
        if line.len() + letter.len_utf8() > MAX {
            break;
        }
        line.push(if letter.is_control() { ' ' } else { letter });
    }
    line
}

/// Replaces the entry of this name with a new file: a link there is not followed.
fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    let failed = |error: &dyn fmt::Display| {
        CommandError::new(
            ExitStatus::Failure,
            "result",
            format!(
                "the result could not be written to {}: {error}",
                path.display()
            ),
        )
        .with_hint("name a file in a directory that may be written to")
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".result-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(parent)
        .map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_another_step_wrote_never_stays_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let (url, victim) = (place.path().join("url"), place.path().join("victim"));
        fs::write(&victim, "evil.example/app").unwrap();
        std::os::unix::fs::symlink(&victim, &url).unwrap();
        let digest = place.path().join("digest");
        fs::write(&digest, "sha256:evil").unwrap();
        let reason = place.path().join("reason");
        let message = place.path().join("message");
        let files: Vec<ResultFile> = [
            format!("url={}", url.display()),
            format!("digest={}", digest.display()),
            format!("error-reason={}", reason.display()),
            format!("error-message={}", message.display()),
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let failed = reporting(&files, || {
            Err(CommandError::new(
                ExitStatus::Failure,
                "base-elsewhere",
                "one\ntwo",
            ))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "evil.example/app");
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&url), read(&digest)), (String::new(), String::new()));
        assert_eq!(read(&reason), "BaseElsewhere");
        assert_eq!(read(&message), "one two");
        reporting(&files, || {
            Ok(Values {
                url: "r.example/app:1\n".into(),
                ..Values::default()
            })
        })
        .unwrap();
        assert_eq!(read(&url), "r.example/app:1");
        assert_eq!(
            (read(&reason), read(&message)),
            (String::new(), String::new())
        );
        assert!(!fs::symlink_metadata(&url).unwrap().is_symlink());
    }

    #[test]
    fn results_have_known_names() {
        for bad in ["digest", "digest=", "nope=/x"] {
            assert!(bad.parse::<ResultFile>().is_err(), "{bad}");
        }
    }
}
