//! Versions that build backends take from git: the image has no `.git`, so the version is computed here at
//! collection, and the backend gets it in the variable that it reads for this.

use super::files::{Below, Files};
use super::project::{Project, Source};
use super::requirement::normalize;

/// What git says about the commit that is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// The nearest tag with a digit in it, if there is one.
    pub tag: Option<String>,
    /// Commits since the tag, or since the beginning.
    pub distance: u64,
    /// The commit, hexadecimal.
    pub commit: String,
    /// Tracked files were changed.
    pub changed: bool,
}

/// How a project's version comes from git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromGit {
    /// The backend or plug-in, for people.
    pub tool: &'static str,
    /// The variable in which it takes the version.
    pub variable: String,
    /// Of the project, relative to the tree.
    pub directory: String,
    scheme: Scheme,
    /// `+gCOMMIT` belongs to the version.
    local: bool,
    /// Without git the project has another version: a fallback, or one from an archive of sources.
    pub has_other: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// `1.4.1.dev3`
    GuessNext,
    /// `1.4.0.post3`
    Post,
    /// `1.4.0.post1.dev3`
    NoGuess,
    /// `1.4.0.post3.dev0`
    Dunamai,
    /// `1.4.0`
    Only,
}

/// How the versions of the project, and of the projects of the tree that are installed with it, come from git. Each
/// variable is there once: all are in one repository.
pub fn of_projects(files: &dyn Files, project: &Project) -> Vec<FromGit> {
    let mut found: Vec<FromGit> = of_project(files, project).into_iter().collect();
    for one in project.local_projects() {
        let below = Below {
            files,
            directory: &one.path,
        };
        if !one.path.is_empty()
            && let Some(from) = of_directory(&below, &one.path)
            && !found.iter().any(|known| known.variable == from.variable)
        {
            found.push(from);
        }
    }
    found
}

fn of_project(files: &dyn Files, project: &Project) -> Option<FromGit> {
    let installed = matches!(
        &project.source,
        Source::Static { .. }
            | Source::Dynamic { .. }
            | Source::Lock {
                project: Some(_),
                ..
            }
    ) || project
        .local_projects()
        .iter()
        .any(|one| one.path.is_empty());
    if !installed {
        return None;
    }
    of_directory(files, "")
}

fn of_directory(files: &dyn Files, directory: &str) -> Option<FromGit> {
    let document: toml::Table = toml::from_str(&files.text("pyproject.toml")?).ok()?;
    let tool = |name: &str| document.get("tool").and_then(|tool| tool.get(name));
    // setuptools-scm also lists the files of a project that has a version of its own.
    if document
        .get("project")
        .is_some_and(|project| project.get("version").is_some())
    {
        return None;
    }
    let requires: Vec<String> = document
        .get("build-system")
        .and_then(|system| system.get("requires"))
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .filter_map(super::requirement::name_of)
        .map(|(name, _)| normalize(name))
        .collect();
    let needs = |name: &str| requires.iter().any(|one| one == name);
    let name = document
        .get("project")
        .and_then(|project| project.get("name"))
        .and_then(toml::Value::as_str);
    let text = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(document.get(*first)?, |value, key| value.get(key))
            .and_then(toml::Value::as_str)
    };
    let has_other = files.is_file("PKG-INFO")
        || [
            &["tool", "setuptools_scm", "fallback_version"][..],
            &["tool", "hatch", "version", "fallback-version"],
            &[
                "tool",
                "hatch",
                "version",
                "raw-options",
                "fallback_version",
            ],
            &["tool", "pdm", "version", "fallback_version"],
            &["tool", "uv-dynamic-versioning", "fallback-version"],
        ]
        .into_iter()
        .any(|path| text(path).is_some());
    let simple = |tool, variable: &str, scheme| FromGit {
        tool,
        variable: variable.to_owned(),
        directory: directory.to_owned(),
        scheme,
        local: true,
        has_other,
    };
    let dynamic = document
        .get("project")
        .and_then(|project| project.get("dynamic"))
        .and_then(toml::Value::as_array)
        .is_some_and(|list| list.iter().any(|item| item.as_str() == Some("version")));
    if tool("poetry-dynamic-versioning").is_some() && needs("poetry-dynamic-versioning") {
        return Some(simple(
            "poetry-dynamic-versioning",
            "POETRY_DYNAMIC_VERSIONING_BYPASS",
            Scheme::Dunamai,
        ));
    }
    if needs("uv-dynamic-versioning") && dynamic {
        return Some(simple(
            "uv-dynamic-versioning",
            "UV_DYNAMIC_VERSIONING_BYPASS",
            Scheme::Dunamai,
        ));
    }
    if let Some(version) = tool("pdm").and_then(|pdm| pdm.get("version"))
        && version.get("source").and_then(toml::Value::as_str) == Some("scm")
    {
        return Some(simple(
            "pdm-backend",
            "PDM_BUILD_SCM_VERSION",
            Scheme::GuessNext,
        ));
    }
    let (by, options) = if needs("hatch-vcs") && dynamic {
        let options = tool("hatch")
            .and_then(|hatch| hatch.get("version"))
            .and_then(|version| version.get("raw-options"));
        ("hatch-vcs", options)
    } else if needs("setuptools-scm") || needs("flit-scm") || tool("setuptools_scm").is_some() {
        ("setuptools-scm", tool("setuptools_scm"))
    } else {
        return None;
    };
    let option = |key: &str| options?.get(key)?.as_str();
    Some(FromGit {
        tool: by,
        directory: directory.to_owned(),
        variable: match name {
            // hatch-vcs does not say whose version it asks for.
            Some(name) if by != "hatch-vcs" => format!(
                "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{}",
                normalize(name).replace('-', "_").to_uppercase()
            ),
            _ => "SETUPTOOLS_SCM_PRETEND_VERSION".to_owned(),
        },
        scheme: match option("version_scheme") {
            Some("post-release") => Scheme::Post,
            Some("no-guess-dev") => Scheme::NoGuess,
            Some("only-version") => Scheme::Only,
            _ => Scheme::GuessNext,
        },
        local: option("local_scheme") != Some("no-local-version"),
        has_other,
    })
}

impl FromGit {
    /// The version from git's description; `None` if the tag is not a version.
    pub fn version(&self, described: &Described) -> Option<String> {
        let node: String = described.commit.chars().take(7).collect();
        let local = if self.local {
            let changed = if described.changed { ".changed" } else { "" };
            format!("+g{node}{changed}")
        } else {
            String::new()
        };
        let distance = described.distance;
        let Some(tag) = &described.tag else {
            return Some(match self.scheme {
                Scheme::Dunamai => format!("0.0.0.post{distance}.dev0{local}"),
                _ => format!("0.1.dev{distance}{local}"),
            });
        };
        let base = of_tag(tag)?;
        if distance == 0 && !described.changed {
            return Some(base);
        }
        Some(match self.scheme {
            Scheme::Only => base,
            Scheme::Post => format!("{base}.post{distance}{local}"),
            Scheme::NoGuess => format!("{base}.post1.dev{distance}{local}"),
            Scheme::Dunamai => format!("{base}.post{distance}.dev0{local}"),
            Scheme::GuessNext => format!("{}.dev{distance}{local}", next(&base)),
        })
    }

    /// Whether the owner has already set the version.
    pub fn is_said<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.any(|name| name == self.variable || name == "SETUPTOOLS_SCM_PRETEND_VERSION")
    }
}

/// `v1.4.0`, `release-1.4`, `ledger-v1.4.0rc1` → the version (setuptools-scm's `tag_regex`).
fn of_tag(tag: &str) -> Option<String> {
    let start = tag.find(|c: char| c.is_ascii_digit())?;
    let (before, version) = tag.split_at(start);
    let before = before.trim_end_matches(['v', 'V']);
    let fits = before.is_empty() || before.ends_with(['-', '/', '_']);
    let plain = version
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".!-_+".contains(&b));
    let version = version.split('+').next().unwrap_or(version);
    (fits && plain).then(|| version.replace('_', "."))
}

/// The release after this one: its last number is one more.
fn next(version: &str) -> String {
    let cut = ["a", "b", "rc", "-", ".dev", ".post"]
        .iter()
        .filter_map(|mark| version.find(mark))
        .min();
    if let Some(cut) = cut {
        // The pre-release's own number: `1.4.0rc1` → `1.4.0rc2`.
        let digits = version.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: u64 = version[digits.len()..].parse().unwrap_or(0);
        return if digits.len() > cut && digits.len() < version.len() {
            format!("{digits}{}", number + 1)
        } else {
            format!("{}.1", &version[..cut])
        };
    }
    match version.rsplit_once('.') {
        Some((before, last)) => {
            let number: u64 = last.parse().unwrap_or(0);
            format!("{before}.{}", number + 1)
        }
        None => (version.parse::<u64>().unwrap_or(0) + 1).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::files::Memory;
    use super::*;

    fn from_git(text: &str) -> Option<FromGit> {
        let files = Memory::new().with("pyproject.toml", text);
        let project = Project::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
        of_project(&files, &project)
    }

    const SCM: &str = "[build-system]\nrequires = ['setuptools>=64', 'setuptools-scm>=8']\nbuild-backend = 'setuptools.build_meta'\n[project]\nname = 'my.ledger'\ndynamic = ['version']\n";

    #[test]
    fn tools_and_their_variables() {
        for (text, expected) in [
            (SCM, Some("SETUPTOOLS_SCM_PRETEND_VERSION_FOR_MY_LEDGER")),
            (
                "[build-system]\nrequires = ['hatchling', 'hatch-vcs']\nbuild-backend = 'hatchling.build'\n[project]\nname = 'x'\ndynamic = ['version']\n",
                Some("SETUPTOOLS_SCM_PRETEND_VERSION"),
            ),
            (
                "[build-system]\nrequires = ['pdm-backend']\nbuild-backend = 'pdm.backend'\n[project]\nname = 'x'\ndynamic = ['version']\n[tool.pdm.version]\nsource = 'scm'\n",
                Some("PDM_BUILD_SCM_VERSION"),
            ),
            (
                "[build-system]\nrequires = ['poetry-core', 'poetry-dynamic-versioning>=1']\nbuild-backend = 'poetry_dynamic_versioning.backend'\n[tool.poetry]\nname = 'x'\n[tool.poetry.dependencies]\n[tool.poetry-dynamic-versioning]\nenable = true\n",
                Some("POETRY_DYNAMIC_VERSIONING_BYPASS"),
            ),
            ("[project]\nname = 'x'\nversion = '1'\n", None),
            (
                "[build-system]\nrequires = ['setuptools', 'setuptools-scm']\n[project]\nname = 'x'\nversion = '1'\n",
                None,
            ),
        ] {
            let found = from_git(text).map(|from| from.variable);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn libraries_of_the_tree_have_versions_too() {
        let hatch = SCM
            .replace("setuptools-scm", "hatch-vcs")
            .replace("my.ledger", "other");
        let files = Memory::new()
            .with(
                "requirements.txt",
                "./libs/ledger\n./libs/one\n./libs/two\n./libs/plain\n",
            )
            .with("libs/ledger/pyproject.toml", SCM)
            .with("libs/one/pyproject.toml", &hatch)
            .with("libs/two/pyproject.toml", &hatch)
            .with("libs/plain/setup.py", "");
        let project = Project::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
        let found: Vec<(String, String)> = of_projects(&files, &project)
            .into_iter()
            .map(|from| (from.directory, from.variable))
            .collect();
        let expected = [
            (
                "libs/ledger",
                "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_MY_LEDGER",
            ),
            ("libs/one", "SETUPTOOLS_SCM_PRETEND_VERSION"),
        ];
        assert_eq!(
            found,
            expected.map(|(place, name)| (place.to_owned(), name.to_owned()))
        );
    }

    #[test]
    fn a_version_where_git_has_none() {
        assert!(!from_git(SCM).unwrap().has_other);
        let text = format!("{SCM}[tool.setuptools_scm]\nfallback_version = '1.0'\n");
        assert!(from_git(&text).unwrap().has_other);
    }

    #[test]
    fn versions() {
        let from = from_git(SCM).unwrap();
        let described = |tag: &str, distance, changed| Described {
            tag: (!tag.is_empty()).then(|| tag.to_owned()),
            distance,
            commit: "0123456789abcdef".into(),
            changed,
        };
        for (tag, distance, changed, expected) in [
            ("v1.4.0", 0, false, Some("1.4.0")),
            ("release-1.4", 0, false, Some("1.4")),
            ("v1.4.0", 3, false, Some("1.4.1.dev3+g0123456")),
            ("1.4.0rc1", 2, false, Some("1.4.0rc2.dev2+g0123456")),
            ("v1.4.0", 0, true, Some("1.4.1.dev0+g0123456.changed")),
            ("", 5, false, Some("0.1.dev5+g0123456")),
            ("stable2", 0, false, None),
        ] {
            assert_eq!(
                from.version(&described(tag, distance, changed)).as_deref(),
                expected,
                "{tag}"
            );
        }
        let plain = from_git(&format!("{SCM}[tool.setuptools_scm]\nversion_scheme = 'post-release'\nlocal_scheme = 'no-local-version'\n")).unwrap();
        assert_eq!(
            plain.version(&described("v1", 2, false)).as_deref(),
            Some("1.post2")
        );
    }
}
