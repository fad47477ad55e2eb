//! Files of the user's and the machine's, which other programs write: read within a bound.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::error::RegistryError;

/// The content; `None` where there is no such file.
///
/// # Errors
/// If it cannot be read, or is larger than `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, RegistryError> {
    let bad = |problem: String| RegistryError::File {
        path: path.to_owned(),
        problem,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(bad(error.to_string())),
    };
    let mut bytes = Vec::new();
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 > max {
        return Err(bad(format!("it is larger than {max} bytes")));
    }
    Ok(Some(bytes))
}
