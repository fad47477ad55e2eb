//! `.s2i/environment` and the files of `-E`: variables for assemble and for the image.

use super::{S2iError, shown};

/// Where the source has it.
pub const IN_SOURCE: [&str; 2] = [".s2i/environment", ".sti/environment"];
/// Largest file that is read, in bytes.
pub const MAX: u64 = 1024 * 1024;

/// Reads `NAME=VALUE` lines; `#` and `//` begin comments, there is no quoting and no expansion.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<(String, String)>, S2iError> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |problem: String| S2iError::Environment {
            file: file.to_owned(),
            line: index + 1,
            problem,
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| wrong(format!("{:?} is not of the form NAME=VALUE", shown(line))))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong(format!(
                "{:?} is not the name of a variable",
                shown(name)
            )));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(wrong(format!(
                "the value of {} has control characters",
                shown(name)
            )));
        }
        found.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}
