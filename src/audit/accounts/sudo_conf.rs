//! `/etc/sudo.conf` (sudo.conf(5)): the plugins, which run as root.

use super::{lines, lossy};

/// Where Debian's sudo has its plugins.
const PLUGINS: &str = "/usr/libexec/sudo";

/// Which plugins sudo loads, by their paths.
pub fn plugins(bytes: &[u8]) -> Vec<String> {
    let (directory, names) = read(bytes);
    let path = |name: &String| beneath(&directory, name);
    names.iter().map(path).collect()
}

/// Where a plugin of this name lies.
pub fn in_plugins(bytes: &[u8], name: &str) -> String {
    beneath(&read(bytes).0, name)
}

fn beneath(directory: &str, name: &str) -> String {
    if name.starts_with('/') {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// The plugins' directory, and the names of those that are loaded.
fn read(bytes: &[u8]) -> (String, Vec<String>) {
    let mut directory = PLUGINS.to_owned();
    let mut names = Vec::new();
    let joined = lossy(bytes).replace("\\\n", " ");
    for (_, text) in lines(joined.as_bytes()) {
        let text = lossy(text);
        let mut words = text.split_whitespace();
        match words.next().map(str::to_ascii_lowercase).as_deref() {
            Some("plugin") => names.extend(words.nth(1).map(str::to_owned)),
            Some("path") => match (words.next(), words.next()) {
                (Some("plugin_dir"), Some(path)) => {
                    path.trim_matches('"').clone_into(&mut directory);
                }
                (Some("sesh"), Some(path)) => names.push(path.trim_matches('"').to_owned()),
                _ => {}
            },
            _ => {}
        }
    }
    // What no line names is the rules' own.
    names.push("sudoers.so".into());
    (directory, names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plugins_and_where_they_lie() {
        for (text, expected) in [
            ("", "/usr/libexec/sudo/sudoers.so"),
            (
                "Plugin sudoers_policy own.so x\n",
                "/usr/libexec/sudo/own.so",
            ),
            ("Plugin sudoers_policy /opt/own.so\n", "/opt/own.so"),
            ("Path plugin_dir /opt\n", "/opt/sudoers.so"),
            (
                "# Plugin sudoers_policy own.so\n",
                "/usr/libexec/sudo/sudoers.so",
            ),
            ("plugin a \\\n /b.so\n", "/b.so"),
        ] {
            assert_eq!(plugins(text.as_bytes())[0], expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = plugins(&bytes);
        }
    }
}
