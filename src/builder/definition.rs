//! `builder.toml`: what a builder image is made from. The definitions below `builder-images/` are
//! compiled in, so that an installed `warpdrive` has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::progress::one_line;

use super::BuilderError;

/// A builder image that can be made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The image's name in the store.
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// `debian:SUITE`; or another builder, which gets uv's Python of this version.
    pub from: String,
    /// For `debian:`, the mirror of the packages.
    #[serde(default)]
    pub suites: Vec<String>,
    /// `3.11`.
    pub python: String,
    pub kind: Kind,
    #[serde(default)]
    pub packages: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// The purpose of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Has compilers and headers.
    Build,
    /// Slim.
    Run,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }
}

/// The builder with Node, for front ends.
pub const NODE: &str = "debian-13-python-3.13-node";

const SHIPPED: [(&str, &str); 9] = [
    (
        "debian-11-python-3.9",
        include_str!("../../builder-images/debian-11-python-3.9/builder.toml"),
    ),
    (
        "debian-11-python-3.9-run",
        include_str!("../../builder-images/debian-11-python-3.9-run/builder.toml"),
    ),
    (
        "debian-12-python-3.11",
        include_str!("../../builder-images/debian-12-python-3.11/builder.toml"),
    ),
    (
        "debian-12-python-3.11-run",
        include_str!("../../builder-images/debian-12-python-3.11-run/builder.toml"),
    ),
    (
        "debian-13-python-3.13",
        include_str!("../../builder-images/debian-13-python-3.13/builder.toml"),
    ),
    (
        NODE,
        include_str!("../../builder-images/debian-13-python-3.13-node/builder.toml"),
    ),
    (
        "debian-13-python-3.13-run",
        include_str!("../../builder-images/debian-13-python-3.13-run/builder.toml"),
    ),
    (
        "debian-14-python-3.14",
        include_str!("../../builder-images/debian-14-python-3.14/builder.toml"),
    ),
    (
        "debian-14-python-3.14-run",
        include_str!("../../builder-images/debian-14-python-3.14-run/builder.toml"),
    ),
];

/// The Debian builders in the order of the rule by which one is chosen: the newest release first, and
/// testing, which changes every day, after all of them.
const ORDER: [&str; 4] = [
    "debian-13-python-3.13",
    "debian-12-python-3.11",
    "debian-11-python-3.9",
    "debian-14-python-3.14",
];

/// The shipped builders with compilers, by the rule's order: name and Python.
pub fn by_rule() -> impl Iterator<Item = (&'static str, &'static str)> {
    ORDER
        .iter()
        .filter_map(|name| Some((*name, name.rsplit_once("-python-")?.1)))
}

/// The definitions that come with this release.
pub fn shipped() -> Result<Vec<Definition>, BuilderError> {
    SHIPPED
        .iter()
        .map(|(name, text)| parse(text, Path::new(name)))
        .collect()
}

/// The shipped definition for this name, or for a similar name.
pub fn meant(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .map(|(shipped, _)| (strsim::damerau_levenshtein(shipped, name), *shipped))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, shipped)| shipped)
}

/// `python-3.12` and `python-3.12-run`: a Python of uv's on the newest Debian builder.
fn of_python(name: &str) -> Option<Definition> {
    let rest = name.strip_prefix("python-")?;
    let (python, kind, end) = match rest.strip_suffix("-run") {
        Some(python) => (python, Kind::Run, "-run"),
        None => (rest, Kind::Build, ""),
    };
    let minor: u32 = python.strip_prefix("3.")?.parse().ok()?;
    let python = format!("3.{minor}");
    let (base, _) = by_rule().next()?;
    let short = format!("python,python3{minor}");
    Some(Definition {
        name: name.to_owned(),
        description: format!("Python {python} of python-build-standalone on {base}{end}"),
        from: format!("{base}{end}"),
        suites: Vec::new(),
        kind,
        packages: Vec::new(),
        labels: BTreeMap::from([
            (
                "io.k8s.display-name".to_owned(),
                format!("Python {python} on Debian"),
            ),
            (
                "io.k8s.description".to_owned(),
                format!("Builds Python {python} web applications"),
            ),
            ("io.openshift.tags".to_owned(), format!("builder,{short}")),
        ]),
        env: BTreeMap::new(),
        python,
    })
}

/// A shipped definition by name, or `python-VERSION`.
pub fn known(name: &str) -> Option<Definition> {
    let shipped = || {
        let (name, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        parse(text, Path::new(name)).ok()
    };
    of_python(name).or_else(shipped)
}

/// A shipped definition by name, `python-VERSION`, or the one in a directory.
pub fn find(name_or_directory: &str) -> Result<Definition, BuilderError> {
    if let Some(definition) = of_python(name_or_directory)
        && !Path::new(name_or_directory).is_dir()
    {
        return Ok(definition);
    }
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_directory) {
        return parse(text, Path::new(name));
    }
    let directory = Path::new(name_or_directory);
    if !directory.is_dir() {
        return Err(BuilderError::UnknownDefinition {
            name: name_or_directory.to_owned(),
            known: SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect(),
        });
    }
    let path = directory.join("builder.toml");
    let text = fs::read_to_string(&path).map_err(|source| BuilderError::ReadDefinition {
        path: path.clone(),
        source,
    })?;
    parse(&text, &path)
}

fn parse(text: &str, path: &Path) -> Result<Definition, BuilderError> {
    let bad = |problem: String| BuilderError::Definition {
        path: path.to_owned(),
        problem,
    };
    let definition: Definition =
        toml::from_str(text).map_err(|error| bad(one_line(&error.to_string())))?;
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'_'))
            && !text.starts_with('-')
    };
    for package in &definition.packages {
        if !word(package) {
            return Err(bad(format!(
                "`{package}` is not the name of a Debian package"
            )));
        }
    }
    for suite in definition.suites.iter().chain(definition.suite().as_ref()) {
        if !word(suite) {
            return Err(bad(format!("`{suite}` is not the name of a Debian suite")));
        }
    }
    Ok(definition)
}

impl Definition {
    /// The builder that gets uv's Python; `None` for one that is made from Debian's packages.
    pub fn below(&self) -> Option<&str> {
        (!self.from.starts_with("debian:")).then_some(self.from.as_str())
    }

    /// The definition of the slim image that runs applications built on this one.
    pub fn twin(&self) -> Option<Self> {
        if self.kind == Kind::Run {
            return None;
        }
        known(&format!("{}-run", self.name))
            .filter(|twin| twin.kind == Kind::Run && twin.python == self.python)
    }

    /// The Debian suite of `from = "debian:SUITE"`.
    pub fn suite(&self) -> Option<String> {
        self.from.strip_prefix("debian:").map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_read_and_bears_its_own_name() {
        let shipped = shipped().unwrap();
        for (definition, (name, _)) in shipped.iter().zip(SHIPPED) {
            assert_eq!(definition.name, name);
            assert!(name.contains(&definition.python));
            assert_eq!(definition.kind == Kind::Run, name.ends_with("-run"));
            let twin = definition.twin().map(|twin| twin.name);
            let has_one = definition.kind == Kind::Build && name != NODE;
            assert_eq!(twin, has_one.then(|| format!("{name}-run")));
        }
    }

    #[test]
    fn a_python_of_uvs_by_its_version() {
        let found = find("python-3.12").unwrap();
        assert_eq!((found.python.as_str(), found.kind), ("3.12", Kind::Build));
        assert_eq!(found.below(), Some("debian-13-python-3.13"));
        let run = find("python-3.10-run").unwrap();
        assert_eq!(run.below(), Some("debian-13-python-3.13-run"));
        for name in ["python-3", "python-2.7", "python-3.x", "python-3.12-slim"] {
            assert!(find(name).is_err(), "{name}");
        }
        assert_eq!(find("debian-12-python-3.11").unwrap().below(), None);
    }

    #[test]
    fn names_with_a_slip_of_the_finger_are_known() {
        for (name, expected) in [
            ("debian-12-python-3.11", Some("debian-12-python-3.11")),
            ("debian-12-pyton-3.11", Some("debian-12-python-3.11")),
            (
                "debian-12-python-3.11-runn",
                Some("debian-12-python-3.11-run"),
            ),
            ("docker.io/library/python:3.13-slim", None),
            ("python", None),
        ] {
            assert_eq!(meant(name), expected, "{name}");
        }
    }

    #[test]
    fn a_definition_cannot_smuggle_options_to_mmdebstrap() {
        let text = |package: &str| {
            format!(
                "name='x'\nfrom='debian:bookworm'\npython='3.11'\nkind='run'\npackages=['{package}']\n"
            )
        };
        assert!(parse(&text("git"), Path::new("x")).is_ok());
        for bad in ["--hook=x", "a b", "", "a;b"] {
            assert!(parse(&text(bad), Path::new("x")).is_err(), "{bad}");
        }
        let error = parse("nme='x'", Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("nme"), "{error}");
    }
}
