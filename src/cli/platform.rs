//! `OS/ARCH[/VARIANT]` on the command line.

use crate::oci::in_words_of_oci;
use crate::registry::Platforms;

pub(super) fn platform(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty()) {
        Ok(in_words_of_oci(text))
    } else {
        Err("not a platform of the form OS/ARCH[/VARIANT]".into())
    }
}

/// The meaning of `--platform` and `--all` together.
pub(super) fn platforms(named: &[String], all: bool) -> Platforms {
    match named {
        _ if all => Platforms::All,
        [] => Platforms::One(None),
        [only] => Platforms::One(Some(only.clone())),
        several => Platforms::Several(several.to_vec()),
    }
}
