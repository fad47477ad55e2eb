//! What this module reads of registries and of files, one function for each, for the fuzz targets: each
//! takes any bytes and says whether they meant something.

use std::path::Path;

use super::challenge;
use super::configuration::Configuration;
use super::credentials::AuthFile;
use super::http::Url;
use super::range;
use super::session::joined;

/// The schemes of a `WWW-Authenticate` header.
pub fn challenges(header: &str) -> Vec<String> {
    let found = challenge::parse(header);
    found
        .into_iter()
        .map(|challenge| challenge.scheme)
        .collect()
}

/// An auth file, and every login in it; `legacy` for `.dockercfg`.
pub fn auth_file(bytes: &[u8], legacy: bool) -> bool {
    AuthFile::parse(bytes, legacy).is_ok_and(|file| file.all().all(|login| login.is_ok()))
}

/// `registries.conf`, and where it sends a name: `REGISTRY/REPOSITORY` each.
pub fn registries_conf(text: &str, name: &str) -> Option<Vec<String>> {
    let mut found = Configuration::default();
    found.add(Path::new("registries.conf"), text).ok()?;
    let images = found.sources(&name.parse().ok()?).ok()?;
    let places = images.into_iter().flat_map(|image| image.places);
    Some(
        places
            .map(|place| format!("{}/{}", place.registry, place.repository))
            .collect(),
    )
}

/// `Content-Range` of a download and `Range` of an upload: where the one begins, how far the other is.
pub fn ranges(text: &str) -> (Option<u64>, Option<u64>) {
    (range::first(text), range::received(text))
}

/// Where a registry at `base` sends an upload by a `Location`; `None` when that is refused.
pub fn location(base: &str, given: &str) -> Option<String> {
    let base = Url::parse(base).ok()?;
    let url = joined("the registry", &base, given, &base).ok()?;
    Some(url.to_string())
}
