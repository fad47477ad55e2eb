//! Translates Poetry's version conditions to PEP 440.

/// `^1.2`, `~1.2`, `1.2.*`, `>=1 <2`, `1.2` as clauses of PEP 440; an error if there are none.
pub(super) fn clauses(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if text.is_empty() || text == "*" {
        return Ok(Vec::new());
    }
    if text.contains('|') {
        return Err("alternatives (`||`) have no equal in a list of requirements".to_owned());
    }
    let mut found = Vec::new();
    let mut operator = String::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let end = word
            .find(|c: char| !"<>=!~^".contains(c))
            .unwrap_or(word.len());
        operator.push_str(&word[..end]);
        let version = &word[end..];
        if version.is_empty() {
            continue;
        }
        found.extend(clause(&operator, version)?);
        operator.clear();
    }
    if operator.is_empty() {
        Ok(found)
    } else {
        Err(format!("`{text}` is not a condition on a version"))
    }
}

fn clause(operator: &str, version: &str) -> Result<Vec<String>, String> {
    let plain = version
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".!+*_-".contains(&b));
    if !plain || !version.starts_with(|c: char| c.is_ascii_digit() || c == 'v') {
        return Err(format!("`{version}` is not a version"));
    }
    let version = version.trim_start_matches('v');
    let upper = |keep: usize| {
        let numbers: Vec<u64> = numbers(version);
        let at = keep.min(numbers.len().saturating_sub(1));
        let mut upper: Vec<String> = numbers[..at].iter().map(u64::to_string).collect();
        upper.push((numbers[at] + 1).to_string());
        upper.join(".")
    };
    Ok(match operator {
        "" | "=" | "==" => vec![format!("=={version}")],
        "^" => {
            let numbers = numbers(version);
            let first = numbers.iter().position(|number| *number > 0);
            let keep = first.unwrap_or(numbers.len().saturating_sub(1));
            vec![format!(">={version}"), format!("<{}", upper(keep))]
        }
        "~" => vec![format!(">={version}"), format!("<{}", upper(1))],
        "===" | "~=" | "!=" | "<" | "<=" | ">" | ">=" => vec![format!("{operator}{version}")],
        other => {
            return Err(format!(
                "`{other}{version}` is not a condition on a version"
            ));
        }
    })
}

fn numbers(version: &str) -> Vec<u64> {
    let found: Vec<u64> = version
        .split('.')
        .map_while(|part| {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part[..end].parse().ok()
        })
        .collect();
    if found.is_empty() { vec![0] } else { found }
}

/// A condition on Python as a marker.
pub(super) fn python_marker(text: &str) -> Result<Option<String>, String> {
    let clauses = clauses(text)?;
    if clauses.is_empty() {
        return Ok(None);
    }
    let parts: Vec<String> = clauses
        .iter()
        .map(|clause| {
            let end = clause.find(|c: char| c.is_ascii_digit()).unwrap_or(0);
            let (operator, version) = clause.split_at(end);
            let variable = match version.split('.').count() {
                0..=2 => "python_version",
                _ if version.ends_with(".*") => "python_version",
                _ => "python_full_version",
            };
            let version = version.trim_end_matches(".*");
            format!("{variable} {operator} \"{version}\"")
        })
        .collect();
    Ok(Some(parts.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_poetry() {
        for (text, expected) in [
            ("^1.2.3", ">=1.2.3,<2"),
            ("^1", ">=1,<2"),
            ("^0.3", ">=0.3,<0.4"),
            ("^0.0.3", ">=0.0.3,<0.0.4"),
            ("^0", ">=0,<1"),
            ("~1.2.3", ">=1.2.3,<1.3"),
            ("~1", ">=1,<2"),
            ("1.2.*", "==1.2.*"),
            ("1.2.3", "==1.2.3"),
            (">=1.0 <2.0", ">=1.0,<2.0"),
            (">= 1.0, != 1.5", ">=1.0,!=1.5"),
            ("*", ""),
        ] {
            assert_eq!(clauses(text).unwrap().join(","), expected, "{text}");
        }
        for wrong in ["^1 || ^2", "newest", ">=", "%1"] {
            assert!(clauses(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            python_marker("^3.8").unwrap().unwrap(),
            "python_version >= \"3.8\" and python_version < \"4\""
        );
    }
}
