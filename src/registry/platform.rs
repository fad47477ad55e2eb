//! Platforms: which image of an index fits, and whether an image is what its index or its name says. `oci`
//! chooses; here are the errors.

use super::error::{RegistryError, tame};
use crate::oci::{Descriptor, ImageIndex, PlatformName, for_platform, platforms_of, this_platform};

/// Compares the platform in an image's configuration with the requested one: an index may name another one.
/// If none was requested, gives a warning if the image does not run on this machine. `what` names the image.
pub fn check_platform(
    what: &str,
    wanted: Option<&str>,
    config: &[u8],
) -> Result<Option<String>, RegistryError> {
    let this = this_platform();
    let found = PlatformName::of_config(config)
        .filter(|found| !PlatformName::read(wanted.unwrap_or(&this)).runs(found))
        .map(|found| shown(&found));
    match (found, wanted) {
        (None, _) => Ok(None),
        (Some(found), Some(wanted)) => Err(RegistryError::OtherPlatform {
            what: what.to_owned(),
            wanted: wanted.to_owned(),
            found,
        }),
        (Some(found), None) => Ok(Some(format!(
            "{what} is for {found}, and this machine is {this}: it will not run here"
        ))),
    }
}

/// Chooses the entry of an index for a platform (`OS/ARCH[/VARIANT]`).
pub fn choose<'i>(
    index: &'i ImageIndex,
    platform: &str,
    what: &str,
) -> Result<&'i Descriptor, RegistryError> {
    for_platform(index, platform).ok_or_else(|| RegistryError::Platform {
        what: what.to_owned(),
        wanted: platform.to_owned(),
        found: platforms_of(index).iter().map(shown).collect(),
    })
}

fn shown(platform: &PlatformName) -> String {
    tame(&platform.to_string(), 100)
}
