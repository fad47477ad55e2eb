//! Debian packages that a project names: in `Aptfile` or `apt.txt`, one to a line, and in the settings
//! `packages` and `build_packages`. The image is built on the builder plus one layer with all of these
//! packages, which is made once for each base and list. It runs on a base that has only the packages of
//! `packages`.

use std::collections::BTreeSet;

use crate::app::dependencies::DEBIAN_PACKAGES;
use crate::app::files::Files;
use crate::app::settings::{Origin, Settings};
use crate::builder::definition;
use crate::oci::sha256_hex;

use super::base::{self, Base};
use super::context::Context;
use super::error::BuildError;

/// The settings: for the image, and for the build only.
const SETTINGS: [&str; 2] = ["packages", "build_packages"];
/// Most packages: no application needs more.
const MAX: usize = 200;

/// The option that adds packages.
const AUTO: &str = "--auto-apt";

/// A list of packages, and the places that name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// For messages: `Aptfile, packages`.
    pub(super) place: String,
    packages: BTreeSet<String>,
}

/// The packages that a project names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packages {
    /// For the image.
    pub(super) to_run: Option<Named>,
    /// The same, plus those for the build only.
    pub(super) to_build: Option<Named>,
}

impl Packages {
    /// Whether the build has packages that the image does not.
    pub(super) fn has_more_to_build(&self) -> bool {
        let count = |named: &Option<Named>| named.as_ref().map_or(0, |named| named.packages.len());
        count(&self.to_build) > count(&self.to_run)
    }
}

/// The packages of the first existing file, and of the settings.
///
/// # Errors
/// For a word that is not the name of a package.
pub(super) fn named(files: &dyn Files, settings: &Settings) -> Result<Packages, BuildError> {
    let mut to_run = None;
    let file = DEBIAN_PACKAGES
        .into_iter()
        .find_map(|file| Some((file, files.text(file)?)));
    if let Some((file, text)) = file {
        add(&mut to_run, file, &text)?;
    }
    let [run, build] = SETTINGS;
    if let Some(said) = settings.said(run) {
        add(&mut to_run, &place(run, &said.origin), &said.text)?;
    }
    let mut to_build = to_run.clone();
    if let Some(said) = settings.said(build) {
        add(&mut to_build, &place(build, &said.origin), &said.text)?;
    }
    Ok(Packages { to_run, to_build })
}

/// The origin of a setting: the file, or the variable or option.
fn place(setting: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(file) if file.ends_with(setting) => file.clone(),
        Origin::File(file) => format!("{file}: {setting}"),
        origin => format!("{origin}: {setting}"),
    }
}

/// Reads names of packages, with comments from `#` on.
fn add(to: &mut Option<Named>, place: &str, text: &str) -> Result<(), BuildError> {
    let mut found = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for word in line.split_whitespace() {
            let plain = word.bytes().all(|byte| {
                byte.is_ascii_lowercase()
                    || byte.is_ascii_digit()
                    || matches!(byte, b'.' | b'-' | b'+')
            });
            // To apt, `-` at the end means that the package goes.
            let odd = word.starts_with(['-', '.', '+']) || word.ends_with('-');
            if !plain || odd || found.len() >= MAX {
                return Err(BuildError::AptLine {
                    place: format!("{place}:{}", index + 1),
                    text: word.to_owned(),
                });
            }
            found.insert(word.to_owned());
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    match to {
        Some(named) => {
            named.place = format!("{}, {place}", named.place);
            named.packages.extend(found);
        }
        None => {
            *to = Some(Named {
                place: place.to_owned(),
                packages: found,
            });
        }
    }
    Ok(())
}

impl Named {
    /// The project's packages, and these packages, which have libraries that it needs.
    pub(super) fn and(named: Option<&Self>, found: BTreeSet<String>) -> Self {
        let mut packages = found;
        packages.extend(
            named
                .iter()
                .flat_map(|named| named.packages.iter().cloned()),
        );
        Self {
            place: AUTO.to_owned(),
            packages,
        }
    }
}

/// The same base with the packages; made if it does not exist yet.
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
        place: named.place.clone(),
        reference: base.reference.clone(),
        packages: named.packages.iter().cloned().collect(),
    };
    let mut definition = definition::find(&base.reference).map_err(|_| refused())?;
    if definition.suite().is_none() {
        return Err(refused());
    }
    let list: Vec<String> = named.packages.iter().cloned().collect();
    let list = list.join(" ");
    progress.step(&format!(
        " -----> Debian packages ({}): {list}",
        named.place
    ));
    // A new builder has new releases of the packages, too.
    let of = format!("2 {} {list}", base.image.manifest.config().digest());
    let hash = sha256_hex(of.as_bytes());
    let name = format!("{}-apt-{}", base.reference, hash.get(..12).unwrap_or(&hash));
    if store.image(&name)?.is_none() {
        definition.name.clone_from(&name);
        if !base::adds(context, &definition, &base.image, &named.packages)? {
            return Err(refused());
        }
    }
    base::prepare(store, name, None, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::files::Memory;

    fn read(files: &Memory) -> Result<Packages, BuildError> {
        let none = std::collections::BTreeMap::new();
        let settings = Settings::load(files, &none, &none).unwrap();
        named(files, &settings)
    }

    #[test]
    fn lists_of_packages() {
        let in_file = |text: &str| {
            let found = read(&Memory::new().with("Aptfile", text));
            found.map(|found| found.to_run.map(|named| Vec::from_iter(named.packages)))
        };
        assert_eq!(
            in_file("# fonts\nlibpango-1.0-0\n\nlibstdc++6 fonts-dejavu-core # both\n").unwrap(),
            Some(vec![
                "fonts-dejavu-core".to_owned(),
                "libpango-1.0-0".to_owned(),
                "libstdc++6".to_owned()
            ])
        );
        assert_eq!(in_file("# nothing\n").unwrap(), None);
        for bad in [
            ":repo:deb http://x y z",
            "--hook=x",
            "https://x/y.deb",
            "A;b",
            "a=1",
            "libc6-",
        ] {
            let error = in_file(bad).unwrap_err().to_string();
            assert!(error.contains("Aptfile:1"), "{error}");
        }
        assert_eq!(read(&Memory::new()).unwrap(), Packages::default());
    }

    #[test]
    fn packages_of_the_settings_are_added_and_those_for_the_build_are_apart() {
        let list = |named: &Option<Named>| {
            let named = named.as_ref().unwrap();
            let packages: Vec<&str> = named.packages.iter().map(String::as_str).collect();
            (named.place.clone(), packages.join(" "))
        };
        let files = Memory::new()
            .with("apt.txt", "tini\n")
            .with(".warpdrive/packages", "# two\nlibpq5\ntini\n")
            .with(
                "pyproject.toml",
                "[tool.warpdrive]\nbuild-packages = ['libsasl2-dev']\n",
            );
        let found = read(&files).unwrap();
        assert_eq!(
            list(&found.to_run),
            (
                "apt.txt, .warpdrive/packages".to_owned(),
                "libpq5 tini".to_owned()
            )
        );
        assert_eq!(list(&found.to_build).1, "libpq5 libsasl2-dev tini");
        assert!(found.has_more_to_build());

        let bad = Memory::new().with(".warpdrive/packages", "tini\nA;b\n");
        let error = read(&bad).unwrap_err().to_string();
        assert!(error.contains(".warpdrive/packages:2"), "{error}");
        let bad = Memory::new().with(
            "pyproject.toml",
            "[tool.warpdrive]\npackages = ['tini', 'a=1']\n",
        );
        let error = read(&bad).unwrap_err().to_string();
        assert!(error.contains("[tool.warpdrive]: packages"), "{error}");
        let same = Memory::new().with(
            "pyproject.toml",
            "[tool.warpdrive]\npackages = ['tini']\nbuild_packages = ['tini']\n",
        );
        assert!(!read(&same).unwrap().has_more_to_build());
    }
}
