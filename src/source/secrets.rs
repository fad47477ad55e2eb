//! Names of files that often hold secrets. warpdrive warns about them if they would be in an image.

use std::path::Path;

/// Why a file of this name should not be in an image.
pub(super) fn suspicion(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.as_str();
    let is_example = ["example", "sample", "template", "dist", "test"]
        .iter()
        .any(|word| name.rsplit('.').next() == Some(word));
    if (name == ".env" || name.starts_with(".env.")) && !is_example {
        return Some("private settings");
    }
    if ["id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"].contains(&name) {
        return Some("a private SSH key");
    }
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    match (name, suffix) {
        (_, Some("pem" | "key" | "p12" | "pfx" | "jks" | "keystore" | "kdbx")) => {
            Some("a key or certificate")
        }
        (
            ".netrc" | ".pypirc" | ".git-credentials" | ".htpasswd" | ".pgpass"
            | "credentials.json",
            _,
        ) => Some("passwords"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_warned_about() {
        for (path, expected) in [
            (".env", true),
            ("conf/.env.production", true),
            (".env.example", false),
            (".environment", false),
            ("keys/server.PEM", true),
            ("id_rsa", true),
            ("id_rsa.pub", false),
            ("app/key.py", false),
            ("x/.netrc", true),
            ("keyboard", false),
        ] {
            assert_eq!(suspicion(Path::new(path)).is_some(), expected, "{path}");
        }
    }
}
