//! `SOURCE[:DESTINATION]`: injections, runtime artifacts, volumes.

use std::path::{Component, Path, PathBuf};

/// `-i`: files of this machine that exist only during the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// A file or directory of this machine.
    pub source: PathBuf,
    /// The directory inside that the file, or the files of the directory, appear in; a relative path
    /// is below the image's working directory. Empty: the working directory itself.
    pub destination: String,
}

/// `--runtime-artifact`: a part of the builder's result for the runtime image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Artifact {
    /// Absolute, in the assembled builder. A trailing `/.` means the content of a directory.
    pub source: String,
    /// A directory below the runtime image's working directory; empty is that itself.
    pub destination: String,
}

/// `-v`: a directory of this machine, mounted only during the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub source: PathBuf,
    /// Absolute.
    pub destination: String,
    pub read_only: bool,
}

/// The two halves of `a:b`; the second may be empty.
fn halves(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}

impl Injection {
    /// `SRC`, `SRC:DST`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (source, destination) = halves(text.trim());
        if source.is_empty() {
            return Err("there is nothing before the colon".into());
        }
        let destination = match destination.trim_end_matches('/') {
            "" if destination.is_empty() => String::new(),
            path if path.starts_with('/') || destination.starts_with('/') => absolute(destination)?,
            path => relative(path)?,
        };
        Ok(Self {
            source: source.into(),
            destination,
        })
    }

    /// Several, separated by `;`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Self::parse)
            .collect()
    }
}

impl Artifact {
    /// `SRC`, `SRC:DST`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (source, destination) = halves(text.trim());
        if !source.starts_with('/') {
            return Err(format!("{source:?} is not an absolute path"));
        }
        if source.contains(['*', '?', '[', ']']) {
            return Err(format!("{source:?}: wildcards are not supported"));
        }
        let contents = source.ends_with("/.");
        let mut clean = absolute(source)?;
        if contents {
            clean.push_str("/.");
        }
        if destination.starts_with('/') {
            return Err(format!(
                "{destination:?} is absolute, but files go below the runtime image's working directory"
            ));
        }
        Ok(Self {
            source: clean,
            destination: relative(destination)?,
        })
    }

    /// Several, separated by `;`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        text.split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Self::parse)
            .collect()
    }
}

/// An absolute path inside an image, cleaned: no `.`, no `//`, no trailing `/`. `..`, control
/// characters, the root itself and the sandbox's own mounts are refused.
pub fn absolute(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("it is not an absolute path".into());
    }
    let clean = relative(text.trim_start_matches('/'))?;
    if clean.is_empty() {
        return Err("the root itself cannot be it".into());
    }
    let top = clean.split('/').next().unwrap_or_default();
    if matches!(top, "proc" | "sys" | "dev") {
        return Err(format!("/{top} is not part of an image"));
    }
    Ok(format!("/{clean}"))
}

/// The same for a relative path; empty is allowed.
pub fn relative(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it has control characters".into());
    }
    if text.len() > 4000 {
        return Err("it is too long for a path".into());
    }
    let mut parts = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::CurDir => {}
            Component::ParentDir => return Err("it has `..` in it".into()),
            Component::RootDir | Component::Prefix(_) => {
                return Err("it is not a relative path".into());
            }
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn injections_are_read() {
        let parse = |text: &str| {
            Injection::parse(text).map(|i| (i.source.to_str().unwrap().to_owned(), i.destination))
        };
        let ok = |source: &str, destination: &str| Ok((source.to_owned(), destination.to_owned()));
        assert_eq!(parse("/a"), ok("/a", ""));
        assert_eq!(parse("/a:/b/./c/"), ok("/a", "/b/c"));
        assert_eq!(parse("a:conf//x"), ok("a", "conf/x"));
        for bad in [
            "",
            ":/x",
            "/a:/",
            "/a:../x",
            "/a:/x/../y",
            "/a:/dev/x",
            "/a:b\nc",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Injection::parse_list("/a:/b;/c:/d").unwrap().len(), 2);
    }

    #[test]
    fn artifacts_are_read() {
        let parse = |text: &str| Artifact::parse(text).map(|a| (a.source, a.destination));
        let ok = |source: &str, destination: &str| Ok((source.to_owned(), destination.to_owned()));
        assert_eq!(parse("/a/b"), ok("/a/b", ""));
        assert_eq!(parse("/a/b/:dist"), ok("/a/b", "dist"));
        assert_eq!(parse("/a/b/.:./x"), ok("/a/b/.", "x"));
        for bad in ["a", "/a*", "/a:/b", "/a:../b", "/a/../b", "/", ""] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_mapping_climbs(text in "\\PC{0,40}") {
            if let Ok(path) = absolute(&text) {
                prop_assert!(path.starts_with('/') && !path.split('/').any(|p| p == ".."));
            }
            let _ = Artifact::parse(&text);
            let _ = Injection::parse_list(&text);
        }
    }
}
