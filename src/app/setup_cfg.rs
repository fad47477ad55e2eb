//! `setup.cfg`, the declarative form of setuptools.

use super::files::Files;

/// A value of `setup.cfg`: as Python's configparser reads it, without interpolation.
pub(crate) fn value(files: &dyn Files, section: &str, key: &str) -> Option<String> {
    let text = files.text("setup.cfg")?;
    let mut in_section = false;
    let mut value: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            if let Some(value) = &mut value
                && in_section
                && !trimmed.is_empty()
            {
                value.push('\n');
                value.push_str(trimmed);
            }
            continue;
        }
        if value.is_some() && !trimmed.is_empty() {
            break;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            in_section = name.trim_end_matches(']') == section;
        } else if in_section
            && let Some((name, text)) = trimmed.split_once(['=', ':'])
            && name.trim().replace('-', "_") == key
        {
            value = Some(text.trim().to_owned());
        }
    }
    value.map(|value| value.trim().to_owned())
}
