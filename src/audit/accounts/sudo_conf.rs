//! `/etc/sudo.conf` (sudo.conf(5)): the plugins, which run as root.

use super::joined;

/// Where Debian's sudo has its plugins.
const PLUGINS: &str = "/usr/libexec/sudo";

/// Which plugins sudo loads, by their paths.
pub fn plugins(bytes: &[u8]) -> Vec<String> {
    let (directory, names) = read(bytes);
    let path = |name: &String| beneath(&directory, name);
    let mut paths: Vec<String> = names.iter().map(path).collect();
    // sudo joins both without a slash.
    let glued = names.iter().filter(|name| !name.starts_with('/'));
    paths.extend(glued.map(|name| format!("{directory}{name}")));
    paths.retain(|path| path.starts_with('/'));
    paths
}

/// The path of the plugin with this name.
pub fn in_plugins(bytes: &[u8], name: &str) -> String {
    beneath(&read(bytes).0, name)
}

/// An argument of a plugin that is a path: another file of rules, a module, a login for a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub line: usize,
    pub text: String,
}

/// The plugin arguments that name files, except the file of rules that sudo reads anyway.
pub fn paths(bytes: &[u8]) -> Vec<Argument> {
    let mut paths = Vec::new();
    for (line, text) in joined(bytes, false) {
        let mut words = text.split_whitespace();
        if !words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("plugin"))
        {
            continue;
        }
        let named = words.skip(2).filter(|word| {
            let (key, value) = word.split_once('=').unwrap_or(("", word));
            let value = value.trim_matches('"');
            let names_a_file = ["sudoers_file", "logfile"]
                .iter()
                .any(|known| key.eq_ignore_ascii_case(known));
            (value.contains('/') || names_a_file) && value != "/etc/sudoers"
        });
        paths.extend(named.map(|word| Argument {
            line,
            text: word.to_owned(),
        }));
    }
    paths
}

/// Lines that make sudo write as root to a file that they name (`Debug`), or load plugins that others can
/// write (`Set developer_mode`).
pub fn acting(bytes: &[u8]) -> Vec<Argument> {
    let mut acting = Vec::new();
    for (line, text) in joined(bytes, false) {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default().to_ascii_lowercase();
        let is_developer = || {
            let mut rest = words.clone();
            rest.next() == Some("developer_mode") && rest.next() != Some("false")
        };
        if first == "debug" || (first == "set" && is_developer()) {
            acting.push(Argument {
                line,
                text: text.trim().to_owned(),
            });
        }
    }
    acting
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
    for (_, text) in joined(bytes, false) {
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
    // Without such a line, the plugin of the rules counts.
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

    #[test]
    fn lines_that_write_or_load_as_root() {
        for (text, found) in [
            ("Debug sudo /etc/passwd all@debug", true),
            ("  debug sudoers.so \\\n /etc/passwd all@debug", true),
            ("Set developer_mode true", true),
            ("Set developer_mode false", false),
            ("Set disable_coredump false", false),
            ("#Debug sudo /var/log/sudo_debug all@warn", false),
            ("Plugin sudoers_policy sudoers.so", false),
        ] {
            assert_eq!(!acting(text.as_bytes()).is_empty(), found, "{text}");
        }
    }

    #[test]
    fn arguments_that_are_paths() {
        for (text, expected) in [
            (
                "Plugin sudoers_policy sudoers.so sudoers_file=/opt/own/rules sudoers_mode=0444",
                &["sudoers_file=/opt/own/rules"][..],
            ),
            (
                "plugin sudoers_policy sudoers.so \\\n  sudoers_file=own\n",
                &["sudoers_file=own"],
            ),
            (
                "Plugin python_policy python_plugin.so ModulePath=/opt/own.py ClassName=Own",
                &["ModulePath=/opt/own.py"],
            ),
            (
                "Plugin sudoers_policy sudoers.so sudoers_file=/etc/sudoers",
                &[],
            ),
            (
                "Plugin sudoers_policy /usr/libexec/sudo/sudoers.so sudoers_uid=0",
                &[],
            ),
            ("# Plugin a b.so sudoers_file=/x", &[]),
            (
                "# note \\\nPlugin a b.so sudoers_file=x",
                &["sudoers_file=x"],
            ),
            (
                "Plugin audit_json audit_json.so logfile=passwd",
                &["logfile=passwd"],
            ),
            ("Path askpass /usr/bin/ssh-askpass", &[]),
        ] {
            let found: Vec<String> = paths(text.as_bytes())
                .into_iter()
                .map(|argument| argument.text)
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = paths(&bytes);
            let _ = acting(&bytes);
            let _ = plugins(&bytes);
        }
    }
}
