//! Names that a user may give.

/// Docker's rule for names of containers and volumes, with a largest length.
pub(super) fn valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 64
        && bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["a", "opal-1", "A_b.c", "0"] {
            assert!(valid_name(name), "{name}");
        }
        for name in ["", "-a", ".a", "a b", "a/b", "é", &"a".repeat(65)] {
            assert!(!valid_name(name), "{name}");
        }
    }
}
