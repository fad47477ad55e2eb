//! What was missing for a compilation, found in the output of the compiler, the linker and their helpers.

use crate::builder::contents;

/// A missing file or program, and the Debian package that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// `the header sasl/sasl.h`.
    pub what: String,
    pub package: &'static str,
}

/// Reads it in the last lines of a build in an image of this Debian release.
pub(super) fn of(lines: &[String], suite: &str) -> Option<Lacking> {
    lines.iter().find_map(|line| of_line(line, suite))
}

fn of_line(line: &str, suite: &str) -> Option<Lacking> {
    let found = |what: String, package: Option<&'static str>| {
        package.map(|package| Lacking { what, package })
    };
    // gcc, and clang.
    if let Some(name) = between(line, "fatal error: ", ": No such file or directory")
        .or_else(|| between(line, "fatal error: '", "' file not found"))
    {
        return found(format!("the header {name}"), contents::header(suite, name));
    }
    if let Some((_, rest)) = line.split_once("cannot find -l") {
        let name = rest.split([':', ' ', '\'']).next()?;
        let library = format!("lib{name}.so");
        return found(
            format!("the library -l{name}"),
            contents::package(suite, &library),
        );
    }
    // pkg-config in its three forms, and meson.
    for (before, after) in [
        ("No package '", "' found"),
        ("Package '", "', required by"),
        ("Package ", " was not found in the pkg-config search path"),
        ("Dependency \"", "\" not found"),
        ("Dependency lookup for ", " with method"),
    ] {
        if let Some(name) = between(line, before, after) {
            return found(
                format!("{name} for pkg-config"),
                contents::package(suite, &format!("{name}.pc")),
            );
        }
    }
    let program = [
        ("Error: ", " executable not found"),
        ("command '", "' failed: No such file or directory"),
        ("unable to execute '", "': No such file or directory"),
        ("No such file or directory: '", "'"),
        ("sh: 1: ", ": not found"),
    ]
    .into_iter()
    .find_map(|(before, after)| between(line, before, after))?;
    let program = program.strip_prefix("x86_64-linux-gnu-").unwrap_or(program);
    // A plain word is a program: headers and libraries have marks.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    if !program.chars().all(plain) && !program.ends_with("-config") {
        return None;
    }
    // If the compiler is missing, another builder is needed.
    if matches!(program, "gcc" | "g++" | "cc" | "c++") {
        return None;
    }
    found(
        format!("the program {program}"),
        contents::package(suite, program),
    )
}

/// The word between the two.
fn between<'t>(line: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = line.split_once(before)?;
    let (word, _) = rest.split_once(after)?;
    (!word.is_empty() && word.len() < 200 && !word.contains(char::is_whitespace)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_and_their_helpers_say() {
        for (line, what, package) in [
            (
                "  Modules/common.h:15:10: fatal error: sasl/sasl.h: No such file or directory",
                "the header sasl/sasl.h",
                "libsasl2-dev",
            ),
            (
                "x.c:1:10: fatal error: 'lber.h' file not found",
                "the header lber.h",
                "libldap-dev",
            ),
            (
                "/usr/bin/ld: cannot find -lsasl2: No such file or directory",
                "the library -lsasl2",
                "libsasl2-dev",
            ),
            (
                "No package 'cairo' found",
                "cairo for pkg-config",
                "libcairo2-dev",
            ),
            (
                "../meson.build:31:12: ERROR: Dependency \"cairo\" not found, tried pkgconfig",
                "cairo for pkg-config",
                "libcairo2-dev",
            ),
            (
                "Error: pg_config executable not found.",
                "the program pg_config",
                "libpq-dev",
            ),
            (
                "FileNotFoundError: [Errno 2] No such file or directory: 'cmake'",
                "the program cmake",
                "cmake",
            ),
        ] {
            let expected = Lacking {
                what: what.into(),
                package,
            };
            assert_eq!(of_line(line, "bookworm"), Some(expected), "{line}");
        }
        for line in [
            "error: command '/usr/bin/gcc' failed with exit code 1",
            "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
            "x.c:1:10: fatal error: own/own.h: No such file or directory",
            "No such file or directory: '/etc/passwd'",
            "",
        ] {
            assert_eq!(of_line(line, "bookworm"), None, "{line}");
        }
        let lines = ["fatal error: sasl/sasl.h: No such file or directory".to_owned()];
        assert_eq!(of(&lines, "noble"), None);
    }
}
