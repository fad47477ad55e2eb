//! What is told of each distribution to the next build ([`Part`]).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::builder::APP_ROOT;

use super::super::error::BuildError;
use super::super::installed::Dependencies;
use super::super::materials::Materials;
use super::super::part::Part;
use super::{Fragment, find, key};

/// Most claims of one distribution.
const MAX_CLAIMS: usize = 500;
/// Files outside the directory of packages that are claimed one by one.
const FEW: usize = 100;

/// What is known of a distribution; `None` where it is too much to be told.
pub(in super::super) fn part_of(fragment: &Fragment) -> Option<Part> {
    let app_root = Path::new(APP_ROOT).strip_prefix("/").ok()?;
    let elsewhere = |path: &&PathBuf| package_of(path, app_root).is_none();
    let few = fragment.files.iter().filter(elsewhere).count() <= FEW;
    let claim = |path: &PathBuf| -> Option<String> {
        let claim = match package_of(path, app_root) {
            Some(package) => package,
            None if few => path.clone(),
            None => path
                .components()
                .take(app_root.components().count() + 2)
                .collect(),
        };
        claim.into_os_string().into_string().ok()
    };
    let claims = fragment
        .files
        .iter()
        .map(claim)
        .collect::<Option<BTreeSet<_>>>()?;
    (claims.len() <= MAX_CLAIMS).then(|| Part {
        pin: fragment.pin.clone(),
        size: fragment.size,
        claims,
        deferred: fragment.deferred.clone(),
    })
}

/// The directory or module of a path in a directory of packages: `…/site-packages/numpy`.
fn package_of(path: &Path, app_root: &Path) -> Option<PathBuf> {
    let mut names = path.strip_prefix(app_root).ok()?.components();
    let site: PathBuf = names.by_ref().take(3).collect();
    if !site.ends_with("site-packages") {
        return None;
    }
    let package = names.next()?;
    Some(app_root.join(site).join(package))
}

/// What is known of the distributions of a result that the store has; nothing if one of them is not known.
pub(in super::super) fn parts(
    materials: &Materials<'_>,
    dependencies: &Dependencies,
) -> Result<Vec<Part>, BuildError> {
    let Materials {
        context,
        base,
        last,
        ..
    } = *materials;
    let (store, cache) = (context.store, &context.request.cache);
    let mut found = Vec::new();
    if !cache.is_written() {
        return Ok(found);
    }
    for wheel in &dependencies.wheels {
        let pin = &wheel.pin;
        let key = key(pin, base)?;
        let own = match find(store, &key)? {
            Some(fragment) => Some(fragment),
            None => find(store, &cache.scoped(&key))?,
        };
        let known = || last.parts().iter().find(|part| part.pin == *pin).cloned();
        match own.as_ref().and_then(part_of).or_else(known) {
            Some(part) => found.push(part),
            None => return Ok(Vec::new()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::locked_wheel::Pin;

    fn fragment(files: &[&str]) -> Fragment {
        Fragment {
            pin: Pin {
                name: "x".into(),
                version: "1".into(),
                wheel: "0".into(),
            },
            files: files
                .iter()
                .map(|file| Path::new("opt/app-root").join(file))
                .collect(),
            size: 1,
            deferred: Vec::new(),
            tree: "t".into(),
        }
    }

    #[test]
    fn a_new_distribution_over_a_known_one_is_seen() {
        let part = part_of(&fragment(&[
            "lib/python3.11/site-packages/x/a/b.py",
            "lib/python3.11/site-packages/x-1.dist-info/RECORD",
            "lib/python3.11/site-packages/one.py",
            "bin/x",
            "share/man/man1/x.1",
        ]))
        .unwrap();
        assert_eq!(part.claims.len(), 5);
        for (path, may) in [
            ("lib/python3.11/site-packages/x/c.py", true),
            ("lib/python3.11/site-packages/x", true),
            ("lib/python3.11/site-packages/one.py", true),
            ("lib/python3.11/site-packages", true),
            ("lib/python3.11/site-packages/xy/c.py", false),
            ("lib/python3.11/site-packages/one", false),
            ("bin/x", true),
            ("bin/y", false),
            ("share/man/man1/y.1", false),
        ] {
            let path = Path::new("opt/app-root").join(path);
            assert_eq!(part.may_have(&path), may, "{}", path.display());
        }
    }

    #[test]
    fn many_files_elsewhere_are_claimed_by_their_directory() {
        let many: Vec<String> = (0..200).map(|n| format!("share/jupyter/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let part = part_of(&fragment(&many)).unwrap();
        assert_eq!(
            part.claims.into_iter().collect::<Vec<_>>(),
            ["opt/app-root/share/jupyter"]
        );
        let modules: Vec<String> = (0..600)
            .map(|n| format!("lib/python3.11/site-packages/m{n}.py"))
            .collect();
        let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
        assert!(part_of(&fragment(&modules)).is_none());
    }
}
