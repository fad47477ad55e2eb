//! The commands that a wheel wants to have (PyPA's entry points specification), and the scripts that an
//! installer makes of them.

use std::collections::HashSet;

/// What scripts that are made, or that ask for Python, begin with.
pub(super) const SHEBANG: &str = "#!/opt/app-root/bin/python";

/// A command and the function that it calls.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) name: String,
    module: String,
    function: String,
}

impl Script {
    /// The same as uv's, to the byte.
    pub(super) fn text(&self) -> String {
        let Self {
            module, function, ..
        } = self;
        let import = function.split('.').next().unwrap_or(function);
        format!(
            "{SHEBANG}\n\
             # -*- coding: utf-8 -*-\n\
             import sys\n\
             from {module} import {import}\n\
             if __name__ == \"__main__\":\n    \
                 if sys.argv[0].endswith(\"-script.pyw\"):\n        \
                     sys.argv[0] = sys.argv[0][:-11]\n    \
                 elif sys.argv[0].endswith(\".exe\"):\n        \
                     sys.argv[0] = sys.argv[0][:-4]\n    \
                 sys.exit({function}())\n"
        )
    }
}

/// The commands that `entry_points.txt` names; in words, why it is not as plain as it should be.
pub(super) fn scripts(text: &str) -> Result<Vec<Script>, String> {
    let mut found = Vec::new();
    let mut names = HashSet::new();
    let mut ours = false;
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            ours = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !ours {
            continue;
        }
        let script = script(bare).ok_or_else(|| format!("`{bare}` is not a plain entry point"))?;
        if !names.insert(script.name.clone()) {
            return Err(format!("it has the entry point {} twice", script.name));
        }
        found.push(script);
    }
    Ok(found)
}

/// `NAME = MODULE:FUNCTION`.
fn script(line: &str) -> Option<Script> {
    let (name, object) = line.split_once('=')?;
    let (module, function) = object.split_once(':')?;
    let (name, module, function) = (name.trim(), module.trim(), function.trim());
    let dotted = |text: &str| {
        text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let named = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 200
        && name.chars().all(harmless);
    (named && dotted(module) && dotted(function)).then(|| Script {
        name: name.to_owned(),
        module: module.to_owned(),
        function: function.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_where_all_is_plain() {
        let text = "# x\n  [console_scripts]\n  flask = flask.cli:main\nx=a:b.c\n\n[other]\n x y z\n[gui_scripts]\ng-1 = g:m\n";
        let found = scripts(text).unwrap();
        let names: Vec<&str> = found.iter().map(|script| script.name.as_str()).collect();
        assert_eq!(names, ["flask", "x", "g-1"]);
        assert!(found[1].text().contains("\nfrom a import b\n"));
        assert!(found[1].text().ends_with("\n    sys.exit(b.c())\n"));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_installer() {
        for line in [
            "../x = a:b",
            "x/y = a:b",
            ".x = a:b",
            "x = a",
            "x = a:b [extra]",
            "x = a; import os:b",
            "x = a:b()",
            "x = a:b # c",
            "x: a:b",
            "x = a:b\nx = c:d",
        ] {
            assert!(
                scripts(&format!("[console_scripts]\n{line}\n")).is_err(),
                "{line}"
            );
        }
    }
}
