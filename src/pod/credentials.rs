//! Which credentials this process can read. Code that it starts can read them too, unless a fence is
//! around it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::volumes::Volumes;

/// Mounts of Tekton and Kubernetes in every step, even if the step does not need them.
const MOUNTED: &[&str] = &[
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
    "/run/secrets/kubernetes.io/serviceaccount/token",
    "/tekton/creds-secrets",
    "/tekton/creds",
];
/// Files that keep a login to a registry or a git server.
const IN_HOME: &[&str] = &[
    ".docker/config.json",
    ".docker/.dockerconfigjson",
    ".dockercfg",
    ".config/containers/auth.json",
    ".git-credentials",
    ".netrc",
    ".ssh",
];

/// Files and directories with credentials that can be read.
#[must_use]
pub fn credentials() -> Vec<PathBuf> {
    let mut found = of(&|name| std::env::var_os(name).map(PathBuf::from), MOUNTED);
    if let Ok(volumes) = Volumes::of_this_process() {
        found.extend(volumes.secrets().filter(|place| holds_something(place)));
    }
    found.sort();
    found.dedup();
    found
}

fn of(variable: &dyn Fn(&str) -> Option<PathBuf>, mounted: &[&str]) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = mounted.iter().map(PathBuf::from).collect();
    places.extend(variable("REGISTRY_AUTH_FILE"));
    if let Some(docker) = variable("DOCKER_CONFIG") {
        for name in ["config.json", ".dockerconfigjson", ".dockercfg"] {
            places.push(docker.join(name));
        }
    }
    if let Some(runtime) = variable("XDG_RUNTIME_DIR") {
        places.push(runtime.join("containers/auth.json"));
    }
    // Tekton writes logins to the home of the image's user, independent of HOME.
    let homes = variable("HOME")
        .into_iter()
        .chain([PathBuf::from("/tekton/home")]);
    for home in homes {
        places.extend(IN_HOME.iter().map(|name| home.join(name)));
    }
    places.retain(|place| holds_something(place));
    places.sort();
    places.dedup();
    places
}

/// A file that can be read, or a directory with one in it.
fn holds_something(place: &Path) -> bool {
    if place.is_dir() {
        return fs::read_dir(place).is_ok_and(|entries| {
            let mut entries = entries.flatten();
            entries.any(|entry| holds_something(&entry.path()))
        });
    }
    place.is_file() && File::open(place).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_tokens_are_found_where_they_are_mounted() {
        let place = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            path
        };
        fs::create_dir_all(place.path().join("creds/.docker")).unwrap();
        let creds = place.path().join("creds").display().to_string();
        let secrets = place.path().join("creds-secrets").display().to_string();
        let variable = |name: &str| match name {
            "HOME" => Some(place.path().join("home")),
            "DOCKER_CONFIG" => Some(place.path().join("docker")),
            _ => None,
        };
        // Empty directories hold nothing.
        assert!(of(&variable, &[&creds, &secrets]).is_empty());
        let token = file("creds-secrets/push/config.json");
        let docker = file("docker/.dockerconfigjson");
        let netrc = file("home/.netrc");
        let found = of(&variable, &[&creds, &secrets]);
        let secret = token.parent().unwrap().parent().unwrap().to_owned();
        assert_eq!(found, [secret, docker, netrc]);
    }
}
