//! `pylock.toml` and `pylock.NAME.toml` (PEP 751), for one environment.

use std::collections::BTreeSet;

use crate::app::files;
use crate::app::listed::LocalProject;
use crate::app::lock::{Artifact, Document, Package as Entry};
use crate::app::requirement::normalize;

use super::marker::{self, Chosen};
use super::packages::{
    File, Index, Locked, Origin, Package, is_file_name, is_name, is_version, is_word,
};
use super::requirement;
use super::target::Target;

/// Names and versions of all packages in it, for every environment.
pub(super) fn versions(document: &Document) -> BTreeSet<(String, String)> {
    let all = document.packages.iter();
    all.map(|entry| {
        (
            normalize(&entry.name),
            entry.version.clone().unwrap_or_default(),
        )
    })
    .collect()
}

/// # Errors
/// In words.
pub(super) fn select(
    document: &Document,
    file: &str,
    chosen: &Chosen,
    target: &Target,
) -> Result<Locked, String> {
    let mut environments = document.environments.iter();
    let fits = environments.try_fold(document.environments.is_empty(), |fits, marker| {
        Ok::<bool, String>(fits | marker::holds(marker, target, chosen)?)
    })?;
    if !fits {
        return Err(format!(
            "it is for other environments than Python {} on Linux",
            target.full_version()
        ));
    }
    let mut locked = Locked::default();
    for entry in &document.packages {
        let wrong =
            |problem: &str| format!("the package `{}` {problem}", entry.name.escape_default());
        if !is_name(&entry.name) {
            return Err(wrong("has no name of a package"));
        }
        if let Some(marker) = &entry.marker
            && !marker::holds(marker, target, chosen)?
        {
            continue;
        }
        if let Some(python) = &entry.requires_python
            && !requirement::allows(python, target.full_version())
        {
            return Err(wrong(&format!("is for Python {}", python.escape_default())));
        }
        if let Some(directory) = &entry.directory {
            let beside = files::parent(file);
            let path = files::join(beside, &directory.path)
                .filter(|path| path.is_empty() || is_word(path));
            locked.local.insert(normalize(&entry.name));
            locked.projects.push(LocalProject {
                path: path.ok_or_else(|| wrong("is in a directory outside the source"))?,
                extras: String::new(),
                editable: directory.editable,
                named_in: file.to_owned(),
                is_listed: false,
            });
            continue;
        }
        let name = normalize(&entry.name);
        if locked.packages.iter().any(|package| package.name == name) {
            return Err(wrong("is in it more than once for this Python"));
        }
        locked.packages.push(Package {
            origin: origin(entry).map_err(|problem| wrong(&problem))?,
            version: entry.version.clone().unwrap_or_default(),
            name,
        });
    }
    locked.direct = locked
        .packages
        .iter()
        .map(|package| package.name.clone())
        .collect();
    locked.packages.sort();
    Ok(locked)
}

fn origin(entry: &Entry) -> Result<Origin, String> {
    if let Some(repository) = &entry.vcs {
        let url = repository.url.clone().filter(|url| is_word(url));
        let Some(url) = url.filter(|_| repository.r#type == "git") else {
            return Err("is in a repository that is not git's, or has no URL".into());
        };
        if !is_word(&repository.commit_id)
            || !repository.subdirectory.as_deref().is_none_or(is_word)
        {
            return Err("is in a repository whose commit cannot be used".into());
        }
        return Ok(Origin::Git {
            url,
            commit: repository.commit_id.clone(),
            subdirectory: repository.subdirectory.clone(),
        });
    }
    if let Some(archive) = &entry.archive {
        if archive.url.is_none() {
            return Err("is an archive without a URL".into());
        }
        return Ok(Origin::Archive {
            file: of(archive)?,
            subdirectory: None,
        });
    }
    if !entry.version.as_deref().is_some_and(is_version) {
        return Err("has no version".into());
    }
    let files = entry.wheels.iter().chain(&entry.sdist).map(of);
    let files = files.collect::<Result<Vec<File>, String>>()?;
    if files.is_empty() {
        return Err("has no file".into());
    }
    let index = match &entry.index {
        Some(index) if !is_word(index) || !index.contains("://") => {
            return Err("is in an index whose URL cannot be used".into());
        }
        Some(index) => Index::at(None, index),
        None => Index::default(),
    };
    Ok(Origin::Index {
        indexes: vec![index],
        files,
    })
}

fn of(artifact: &Artifact) -> Result<File, String> {
    let sha256 = artifact.sha256().ok_or("has a file without a SHA-256")?;
    if artifact.url.is_none() && artifact.path.is_some() {
        return Err("is in a file beside the lock, which is not read".into());
    }
    let url = artifact.url.clone();
    if url.as_deref().is_some_and(|url| !is_word(url)) {
        return Err("has a file whose URL cannot be used".into());
    }
    let name = artifact
        .name
        .clone()
        .or_else(|| url.as_deref().map(File::name_of));
    let name = name.unwrap_or_default();
    if !name.is_empty() && !is_file_name(&name) {
        return Err("has a file whose name cannot be used".into());
    }
    Ok(File {
        name,
        url,
        sha256,
        size: artifact.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

    fn chosen_names(more: &str, packages: &str, groups: &[&str]) -> Result<Vec<String>, String> {
        let text = format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n{more}\n{packages}")
            .replace("HASH", HASH);
        let document = Document::parse(&text)?;
        let chosen = Chosen {
            extras: BTreeSet::new(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        let locked = select(
            &document,
            "pylock.toml",
            &chosen,
            &Target::of("3.11.2", "glibc 2.36"),
        )?;
        Ok(locked
            .packages
            .into_iter()
            .map(|package| package.name)
            .collect())
    }

    #[test]
    fn groups_and_environments() {
        let file = "wheels = [{ url = \"https://f/x-1-py3-none-any.whl\", hashes = { sha256 = \"HASH\" } }]\n";
        let package = |name: &str, marker: &str| {
            format!(
                "[[packages]]\nname = \"{name}\"\nversion = \"1\"\nmarker = \"{marker}\"\n{file}"
            )
        };
        let packages = [
            package("a", "python_version >= '3.8'"),
            package("b", "'dev' in dependency_groups"),
            package("c", "sys_platform == 'win32'"),
        ]
        .concat();
        assert_eq!(chosen_names("", &packages, &[]).unwrap(), ["a"]);
        assert_eq!(chosen_names("", &packages, &["dev"]).unwrap(), ["a", "b"]);
        let windows = "environments = [\"sys_platform == 'win32'\"]";
        assert!(chosen_names(windows, &packages, &[]).is_err());
        let twice = package("a", "os_name == 'posix'").repeat(2);
        assert!(chosen_names("", &twice, &[]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}") {
            let _ = chosen_names("", &text, &[]);
        }
    }
}
