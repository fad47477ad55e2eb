//! Programs of this machine that warpdrive uses if they are installed. None is essential.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::builder::debian::HOOKS;
use crate::sandbox::{Verdict, give_ids};

use super::Check;

/// Debian's signing keys; `builder build` needs them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the programs on the `PATH` are used for.
pub(super) fn checks() -> Vec<Check> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| find(name, &path);
    vec![
        debian(&find, Path::new(KEYRING).exists(), has_hooks()),
        id_mappers(&find),
        one_of(
            &find,
            "network helpers",
            &["pasta", "slirp4netns"],
            "containers with a network of their own reach nothing outside: \
             sudo apt-get install passt",
        ),
        one_of(
            &find,
            "other tools",
            &["podman", "docker"],
            "only needed for containers-storage: and docker-daemon: (export, import, --output)",
        ),
    ]
}

/// What is missing for `builder build` on this machine, and how to get it.
pub(super) fn missing_for_builders() -> Option<(String, String)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| find(name, &path);
    let check = debian(&find, Path::new(KEYRING).exists(), has_hooks());
    let remedy = check.remedy?;
    let what = if check.detail == "not installed" {
        format!("{} is not installed", check.name)
    } else {
        check.detail
    };
    Some((what, remedy))
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(name))
        .find(|file| {
            file.metadata().is_ok_and(|metadata| {
                metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
            })
        })
}

fn has_hooks() -> bool {
    Path::new(HOOKS).exists()
}

/// `hooks`: whether mmdebstrap has the hooks that are used.
fn debian(find: &dyn Fn(&str) -> Option<PathBuf>, keyring: bool, hooks: bool) -> Check {
    const NAME: &str = "mmdebstrap";
    let remedy = "`warpdrive builder build` needs it: sudo apt-get install mmdebstrap \
                  debian-archive-keyring";
    match find("mmdebstrap") {
        Some(program) if !hooks => Check::new(
            NAME,
            Verdict::Warn,
            format!("{} is older than that of Debian 12", program.display()),
        )
        .remedy("`warpdrive builder build` needs a newer one: make builders on a newer machine"),
        Some(program) if keyring => Check::new(
            NAME,
            Verdict::Ok,
            format!("{}, with Debian's keys", program.display()),
        ),
        Some(_) => Check::new(NAME, Verdict::Warn, format!("{KEYRING} is missing")).remedy(remedy),
        None => Check::new(NAME, Verdict::Warn, "not installed").remedy(remedy),
    }
}

fn id_mappers(find: &dyn Fn(&str) -> Option<PathBuf>) -> Check {
    const NAME: &str = "newuidmap";
    match (find("newuidmap"), find("newgidmap")) {
        (Some(program), Some(_)) => Check::new(NAME, Verdict::Ok, program.display().to_string()),
        _ => Check::new(
            NAME,
            Verdict::Warn,
            "newuidmap and newgidmap are not installed",
        )
        .remedy(format!(
            "users other than root have their own id only: sudo apt-get install uidmap, and a \
             range for each: sudo {}",
            give_ids("USER")
        )),
    }
}

fn one_of(
    find: &dyn Fn(&str) -> Option<PathBuf>,
    title: &str,
    names: &[&str],
    without: &str,
) -> Check {
    let found: Vec<String> = names
        .iter()
        .filter_map(|name| find(name))
        .map(|program| program.display().to_string())
        .collect();
    if found.is_empty() {
        Check::new(
            title,
            Verdict::Warn,
            format!("neither {} is installed", names.join(" nor ")),
        )
        .remedy(without)
    } else {
        Check::new(title, Verdict::Ok, found.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<PathBuf> {
        None
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands in for `find`")]
    fn all(name: &str) -> Option<PathBuf> {
        Some(Path::new("/usr/bin").join(name))
    }

    #[test]
    fn what_is_missing_is_said_with_the_package_that_has_it() {
        for (check, word) in [
            (debian(&none, true, true), "mmdebstrap"),
            (debian(&all, false, true), "debian-archive-keyring"),
            (debian(&all, true, false), "a newer machine"),
            (id_mappers(&none), "uidmap"),
            (one_of(&none, "x", &["a", "b"], "install it"), "install it"),
        ] {
            assert_eq!(check.verdict, Verdict::Warn);
            assert!(check.remedy.unwrap().contains(word), "{word}");
        }
        for check in [debian(&all, true, true), id_mappers(&all)] {
            assert_eq!((check.verdict, check.remedy), (Verdict::Ok, None));
        }
    }

    #[test]
    fn programs_are_executable_files() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("only-here");
        std::fs::write(&file, "").unwrap();
        assert_eq!(find("only-here", place.path().as_os_str()), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("only-here", place.path().as_os_str()), Some(file));
    }
}
