//! Debian packages that a source names in `Aptfile` or `apt.txt`, one to a line: the builder image is one
//! with these packages too. It is made once for each list, from Debian's signed packages, as the builder
//! itself was, and kept under a name of its own.

use std::collections::BTreeSet;

use crate::app::files::Files;
use crate::builder::definition;
use crate::oci::sha256_hex;

use super::base::{self, Base};
use super::context::Context;
use super::error::BuildError;

const FILES: [&str; 2] = ["Aptfile", "apt.txt"];
/// More packages are not what an application needs.
const MAX: usize = 200;

/// What the option is called that adds packages.
const AUTO: &str = "--auto-apt";

/// What is named, and in which file.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) file: &'static str,
    packages: BTreeSet<String>,
}

/// The packages of the first of the files that is there.
///
/// # Errors
/// For a line that is not the name of a package.
pub(super) fn named(files: &dyn Files) -> Result<Option<Named>, BuildError> {
    let Some((file, text)) = FILES
        .into_iter()
        .find_map(|file| Some((file, files.text(file)?)))
    else {
        return Ok(None);
    };
    let mut packages = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            let plain = word.bytes().all(|byte| {
                byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || matches!(byte, b'.' | b'-' | b'+')
            });
            if !plain || word.starts_with(['-', '.', '+']) || packages.len() >= MAX {
                return Err(BuildError::AptLine {
                    place: format!("{file}:{}", index + 1),
                    text: word.to_owned(),
                });
            }
            packages.insert(word.to_owned());
        }
    }
    Ok((!packages.is_empty()).then_some(Named { file, packages }))
}

impl Named {
    /// What the project names, and these packages, which have libraries that it needs.
    pub(super) fn and(named: Option<&Self>, found: BTreeSet<String>) -> Self {
        let mut packages = found;
        packages.extend(
            named
                .iter()
                .flat_map(|named| named.packages.iter().cloned()),
        );
        Self {
            file: AUTO,
            packages,
        }
    }
}

/// The same base with the packages, made where it is not there yet.
///
/// # Errors
/// If the base is not one that can be made again with more packages.
pub(super) fn with(
    context: Context<'_>,
    base: Base,
    named: Option<&Named>,
) -> Result<Base, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let Some(named) = named.filter(|_| request.pinned.is_none()) else {
        return Ok(base);
    };
    let refused = || BuildError::AptBase {
        file: named.file,
        reference: base.reference.clone(),
        packages: named.packages.iter().cloned().collect(),
    };
    let mut definition = definition::find(&base.reference).map_err(|_| refused())?;
    if definition.suite().is_none() {
        return Err(refused());
    }
    let list: Vec<String> = named.packages.iter().cloned().collect();
    let list = list.join(" ");
    progress.step(&format!(" -----> Debian packages ({}): {list}", named.file));
    // A new builder has new releases of the packages, too.
    let of = format!("{} {list}", base.image.manifest.config().digest());
    let hash = sha256_hex(of.as_bytes());
    let name = format!("{}-apt-{}", base.reference, hash.get(..12).unwrap_or(&hash));
    if store.image(&name)?.is_none() {
        definition.name.clone_from(&name);
        definition.packages.extend(named.packages.iter().cloned());
        if !base::makes(context, &definition)? {
            return Err(refused());
        }
    }
    base::prepare(store, name, None, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::files::Memory;

    #[test]
    fn lists_of_packages() {
        let read = |text: &str| {
            let found = named(&Memory::new().with("Aptfile", text));
            found.map(|named| named.map(|named| Vec::from_iter(named.packages)))
        };
        assert_eq!(
            read("# fonts\nlibpango-1.0-0\n\nlibstdc++6 fonts-dejavu-core # both\n").unwrap(),
            Some(vec![
                "fonts-dejavu-core".to_owned(),
                "libpango-1.0-0".to_owned(),
                "libstdc++6".to_owned()
            ])
        );
        assert_eq!(read("# nothing\n").unwrap(), None);
        for bad in [
            ":repo:deb http://x y z",
            "--hook=x",
            "https://x/y.deb",
            "A;b",
            "a=1",
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("Aptfile:1"), "{error}");
        }
        assert!(named(&Memory::new()).unwrap().is_none());
    }
}
