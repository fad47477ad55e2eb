//! `pylock.toml` (PEP 751) as a list of requirements.
//!
//! The packages of a lock file become lines of a requirements file, each with the hashes of its
//! files, so that all code that reads requirements can read locks. Groups and extras are not
//! selected: by the format, a lock for deployment has none.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::requirement::normalize;

/// The lock file that is read by default.
pub const FILE: &str = "pylock.toml";

/// What a lock file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// In the form of a requirements file.
    pub lines: Vec<String>,
    /// The digest of the list that warpdrive made it from ([`digest`]), if it did.
    pub list: Option<String>,
}

/// Whether a file of this name is a lock: `pylock.toml`, `pylock.NAME.toml`.
pub fn is_lock(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_prefix("pylock.")
        .and_then(|rest| rest.strip_suffix("toml"))
        .is_some_and(|middle| {
            middle.is_empty()
                || middle
                    .strip_suffix('.')
                    .is_some_and(|name| !name.is_empty() && !name.contains('.'))
        })
}

/// The parts of a lock file (PEP 751) that are read, without any check of their content.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Document {
    lock_version: String,
    pub requires_python: Option<String>,
    /// Markers, of which one holds where it may be installed.
    #[serde(default)]
    pub environments: Vec<String>,
    #[serde(default)]
    pub extras: Vec<String>,
    #[serde(default)]
    pub dependency_groups: Vec<String>,
    #[serde(default)]
    pub default_groups: Vec<String>,
    #[serde(default)]
    pub packages: Vec<Package>,
    #[serde(default)]
    tool: Tools,
}

#[derive(Debug, Deserialize, Default)]
struct Tools {
    #[serde(default)]
    warpdrive: Ours,
}

#[derive(Debug, Deserialize, Default)]
struct Ours {
    list: Option<String>,
}

/// A package of a lock file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    pub name: String,
    pub version: Option<String>,
    pub marker: Option<String>,
    pub index: Option<String>,
    pub requires_python: Option<String>,
    pub vcs: Option<Repository>,
    pub directory: Option<Directory>,
    pub archive: Option<Artifact>,
    pub sdist: Option<Artifact>,
    #[serde(default)]
    pub wheels: Vec<Artifact>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
/// A commit of a repository.
pub struct Repository {
    pub r#type: String,
    pub url: Option<String>,
    pub commit_id: String,
    pub subdirectory: Option<String>,
}

#[derive(Debug, Deserialize)]
/// A project of the tree.
pub struct Directory {
    pub path: String,
    #[serde(default)]
    pub editable: bool,
}

/// A file of a package: a wheel, an archive.
#[derive(Debug, Deserialize)]
pub struct Artifact {
    pub name: Option<String>,
    pub url: Option<String>,
    pub path: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl Artifact {
    /// Its SHA-256 in lowercase hexadecimal digits, if a valid one is given.
    #[must_use]
    pub fn sha256(&self) -> Option<String> {
        let hash = self.hashes.get("sha256")?;
        let is_one = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| hash.to_ascii_lowercase())
    }
}

impl Document {
    /// Whether warpdrive wrote it.
    pub fn is_ours(&self) -> bool {
        self.tool.warpdrive.list.is_some()
    }

    /// # Errors
    /// A message, if it is not a lock file of version 1.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if document.lock_version.split('.').next() == Some("1") {
            Ok(document)
        } else {
            Err(format!(
                "lock-version {} is not supported; version 1 is",
                document.lock_version
            ))
        }
    }
}

/// Reads a lock file as a list of requirements.
///
/// # Errors
/// A message, if it is not a lock, or cannot be installed as written.
pub fn read(text: &str) -> Result<Lock, String> {
    let document = Document::parse(text)?;
    let mut indexes: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for package in &document.packages {
        if let Some(index) = &package.index
            && !indexes.contains(&index.as_str())
        {
            if !is_word(index) || !index.contains("://") {
                return Err(format!("`{index}` is not the URL of an index"));
            }
            indexes.push(index);
        }
        lines.push(line(package)?);
    }
    // A single index is the index; of several, none comes before the others.
    let pypi = "https://pypi.org/simple";
    if !indexes
        .iter()
        .all(|index| index.trim_end_matches('/') == pypi)
    {
        let first = usize::from(
            !indexes
                .iter()
                .any(|index| index.trim_end_matches('/') == pypi),
        );
        let others = indexes
            .iter()
            .filter(|index| index.trim_end_matches('/') != pypi);
        let options = others.enumerate().map(|(at, index)| {
            let option = if at < first {
                "--index-url"
            } else {
                "--extra-index-url"
            };
            format!("{option} {index}")
        });
        lines.splice(0..0, options.collect::<Vec<_>>());
    }
    Ok(Lock {
        lines,
        list: document.tool.warpdrive.list,
    })
}

/// One package as a line.
fn line(package: &Package) -> Result<String, String> {
    let name = &package.name;
    let wrong = |problem: &str| Err(format!("the package `{name}` {problem}"));
    let harmless = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !harmless(name, "-_.") {
        return wrong("has no name of a package");
    }
    let marker = match &package.marker {
        None => String::new(),
        Some(marker) if marker.contains("extras") || marker.contains("dependency_groups") => {
            return wrong("depends on an extra or a group, of which none is chosen here");
        }
        Some(marker) if marker.chars().any(char::is_control) || marker.contains(" --") => {
            return wrong("has an invalid marker");
        }
        Some(marker) => format!(" ; {marker}"),
    };
    if let Some(directory) = &package.directory {
        if !is_word(&directory.path) || directory.path.starts_with('-') {
            return wrong("is in a directory whose name cannot be used");
        }
        let editable = if directory.editable { "-e " } else { "" };
        return Ok(format!(
            "{editable}./{}",
            directory.path.trim_start_matches("./")
        ));
    }
    if let Some(repository) = &package.vcs {
        let Some(url) = &repository.url else {
            return wrong("is in a repository without a URL");
        };
        let subdirectory = match &repository.subdirectory {
            Some(path) => format!("#subdirectory={path}"),
            None => String::new(),
        };
        let url = format!(
            "{}+{url}@{}{subdirectory}",
            repository.r#type, repository.commit_id
        );
        if !is_word(&url) {
            return wrong("is in a repository whose URL cannot be used");
        }
        return Ok(format!("{name} @ {url}{marker}"));
    }
    let hashes = |files: &[&Artifact]| {
        let mut options = String::new();
        for file in files {
            options.push_str(" --hash=sha256:");
            options.push_str(&file.sha256()?);
        }
        (!options.is_empty()).then_some(options)
    };
    if let Some(archive) = &package.archive {
        let Some(url) = archive.url.as_ref().filter(|url| is_word(url)) else {
            return wrong("is an archive without a URL");
        };
        let Some(hashes) = hashes(&[archive]) else {
            return wrong("has no SHA-256");
        };
        return Ok(format!("{name} @ {url}{marker}{hashes}"));
    }
    let files: Vec<&Artifact> = package.wheels.iter().chain(&package.sdist).collect();
    if files
        .iter()
        .any(|file| file.url.is_none() && file.path.is_some())
    {
        return wrong("is in a file beside the lock, which is not read");
    }
    let Some(hashes) = hashes(&files) else {
        return wrong("has a file without a SHA-256, or no file");
    };
    match &package.version {
        Some(version) if harmless(version, "-_.+!") => {
            Ok(format!("{}=={version}{marker}{hashes}", normalize(name)))
        }
        _ => wrong("has no version"),
    }
}

/// Whether the text is exactly one word of a list.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

    fn lines(packages: &str) -> Result<Vec<String>, String> {
        read(&format!(
            "lock-version = \"1.0\"\ncreated-by = \"x\"\n{packages}"
        ))
        .map(|lock| lock.lines)
    }

    fn package(more: &str) -> String {
        format!(
            "[[packages]]\nname = \"Flask_X\"\n{}\n",
            more.replace("HASH", HASH)
        )
    }

    #[test]
    fn names_of_locks() {
        for (path, expected) in [
            ("pylock.toml", true),
            ("deploy/pylock.prod.toml", true),
            ("pylock..toml", false),
            ("pylock.a.b.toml", false),
            ("poetry.toml", false),
            ("pylocktoml", false),
        ] {
            assert_eq!(is_lock(path), expected, "{path}");
        }
    }

    #[test]
    fn packages_become_lines() {
        let wheel = "{ url = \"https://x/y.whl\", hashes = { sha256 = \"HASH\" } }";
        let with_hash = |start: &str| format!("{start} --hash=sha256:{HASH}");
        for (more, expected) in [
            (
                format!("version = \"1.0\"\nwheels = [{wheel}]"),
                with_hash("flask-x==1.0"),
            ),
            (
                format!("version = \"1\"\nmarker = \"os_name == 'posix'\"\nwheels = [{wheel}]"),
                with_hash("flask-x==1 ; os_name == 'posix'"),
            ),
            (
                format!("version = \"1\"\nwheels = [{wheel}]\nsdist = {wheel}"),
                with_hash(&with_hash("flask-x==1")),
            ),
            (
                format!("archive = {wheel}"),
                with_hash("Flask_X @ https://x/y.whl"),
            ),
            (
                "vcs = { type = \"git\", url = \"https://x/y\", commit-id = \"abc\" }".into(),
                "Flask_X @ git+https://x/y@abc".into(),
            ),
            (
                "directory = { path = \"lib\", editable = true }".into(),
                "-e ./lib".into(),
            ),
        ] {
            assert_eq!(lines(&package(&more)), Ok(vec![expected]), "{more}");
        }
    }

    #[test]
    fn what_cannot_be_installed_as_it_stands_is_refused() {
        let wheel = format!("{{ url = \"https://x/y.whl\", hashes = {{ sha256 = \"{HASH}\" }} }}");
        for more in [
            String::new(),
            "version = \"1\"".into(),
            format!("wheels = [{wheel}]"),
            format!("version = \"1 -e x\"\nwheels = [{wheel}]"),
            "version = \"1\"\nwheels = [{ url = \"x\", hashes = { md5 = \"0\" } }]".into(),
            "version = \"1\"\nwheels = [{ url = \"x\", hashes = { sha256 = \"0\\n-e .\" } }]"
                .into(),
            format!("version = \"1\"\nmarker = \"'dev' in dependency_groups\"\nwheels = [{wheel}]"),
            format!("version = \"1\"\nmarker = \"x\\n-e .\"\nwheels = [{wheel}]"),
            format!("version = \"1\"\nindex = \"x y\"\nwheels = [{wheel}]"),
            "archive = { path = \"x.whl\", hashes = {} }".into(),
            "directory = { path = \"a b\" }".into(),
            "vcs = { type = \"git\", url = \"x\\n\", commit-id = \"y\" }".into(),
        ] {
            assert!(lines(&package(&more)).is_err(), "{more}");
        }
        assert!(read("lock-version = \"2.0\"").is_err());
        assert!(read("[project]").is_err());
    }

    #[test]
    fn indexes_that_are_not_the_usual_one_are_named() {
        let one = |index: &str| {
            package(&format!(
                "version = \"1\"\nindex = \"{index}\"\nwheels = [{{ hashes = {{ sha256 = \"HASH\" }} }}]"
            ))
        };
        let pypi = one("https://pypi.org/simple");
        assert_eq!(lines(&pypi).unwrap().len(), 1);
        let (a, b) = (one("https://a/simple"), one("https://b/simple"));
        let options = |text: &str| lines(text).unwrap()[..2].to_vec();
        assert_eq!(
            options(&format!("{a}{b}")),
            [
                "--index-url https://a/simple",
                "--extra-index-url https://b/simple"
            ]
        );
        assert_eq!(
            options(&format!("{pypi}{b}"))[0],
            "--extra-index-url https://b/simple"
        );
    }
}
