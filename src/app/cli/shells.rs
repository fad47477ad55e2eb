//! What a laptop's shell evaluates: the function `warpdrive` (`rcfile`), and the commands that enter
//! and leave an environment. Every value is quoted for the shell that reads it; a path may hold
//! spaces, quotes, `$` and newlines.

use std::fmt::Write as _;

use crate::contract::{APP_ROOT, SRC_ROOT};
use crate::environment::quote;

/// A shell that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shell {
    /// Bash, and any other shell that understands POSIX syntax.
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    /// Chosen by the program's name in `$SHELL`; otherwise bash, whose syntax most shells understand.
    pub(super) fn of(program: Option<&str>) -> Shell {
        match program.and_then(|path| path.rsplit('/').next()) {
            Some("zsh") => Self::Zsh,
            Some("fish") => Self::Fish,
            _ => Self::Bash,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// Quotes a word, so that this shell takes it literally.
    fn quote(self, text: &str) -> String {
        match self {
            Self::Bash | Self::Zsh => quote(text),
            // In fish `\` and `'` are escaped inside of single quotes, and nothing else is special.
            Self::Fish => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        }
    }
}

/// The function `warpdrive`: `project` and `deactivate` change the shell itself, everything else is
/// passed on literally. (The original's `$*` broke arguments with spaces.)
pub(super) fn function(shell: Shell, program: &str) -> String {
    let program = shell.quote(program);
    let name = shell.name();
    match shell {
        Shell::Bash | Shell::Zsh => format!(
            r#"warpdrive() {{
    case "${{1-}}" in
        project | deactivate)
            for _warpdrive_word in "$@"; do
                case "$_warpdrive_word" in
                    -h | --help) unset _warpdrive_word; {program} "$@"; return ;;
                esac
            done
            unset _warpdrive_word
            _warpdrive_words="$({program} "$@" --shell {name})" || {{
                set -- "$?"; unset _warpdrive_words; return "$1"
            }}
            eval "$_warpdrive_words"
            unset _warpdrive_words
            ;;
        *) {program} "$@" ;;
    esac
}}
"#
        ),
        Shell::Fish => format!(
            r#"function warpdrive --description 'Build and run Python web applications'
    if contains -- "$argv[1]" project deactivate; and not contains -- -h $argv; and not contains -- --help $argv
        set --local _warpdrive_words ({program} $argv --shell {name} | string collect)
        set --local _warpdrive_status $pipestatus[1]
        if test $_warpdrive_status -ne 0
            return $_warpdrive_status
        end
        eval $_warpdrive_words
    else
        {program} $argv
    end
end
"#
        ),
    }
}

/// An environment to enter.
pub(super) struct Entered<'a> {
    pub(super) name: &'a str,
    pub(super) environment: &'a str,
    pub(super) source: &'a str,
}

/// The commands that enter an environment, after leaving an active one. They do not source the
/// environment's own `bin/activate`, whose quoting depends on the Python that wrote it.
pub(super) fn enter(shell: Shell, entered: &Entered<'_>) -> String {
    let mut words = String::new();
    let variables = [
        ("WARPDRIVE_ENV_NAME", entered.name),
        (APP_ROOT, entered.environment),
        (SRC_ROOT, entered.source),
        ("VIRTUAL_ENV", entered.environment),
        ("VIRTUAL_ENV_PROMPT", entered.name),
    ];
    let programs = shell.quote(&format!("{}/bin", entered.environment));
    let prompt = shell.quote(&format!("({}) ", entered.name));
    if shell == Shell::Fish {
        words.push_str("functions --query deactivate; and deactivate\n");
        for (name, value) in variables {
            let _ = writeln!(words, "set --global --export {name} {}", shell.quote(value));
        }
        let _ = write!(
            words,
            r"set --global _WARPDRIVE_OLD_PATH $PATH
set --global --export PATH {programs} $PATH
if set --query PYTHONHOME
    set --global _WARPDRIVE_OLD_PYTHONHOME $PYTHONHOME
    set --erase PYTHONHOME
end
if not set --query VIRTUAL_ENV_DISABLE_PROMPT; and functions --query fish_prompt
    functions --copy fish_prompt _warpdrive_old_prompt
    function fish_prompt
        printf %s {prompt}
        _warpdrive_old_prompt
    end
end
function deactivate --description 'Leave the warpdrive project'
    set --query _WARPDRIVE_OLD_PATH; and set --global --export PATH $_WARPDRIVE_OLD_PATH
    if set --query _WARPDRIVE_OLD_PYTHONHOME
        set --global --export PYTHONHOME $_WARPDRIVE_OLD_PYTHONHOME
    end
    if functions --query _warpdrive_old_prompt
        functions --erase fish_prompt
        functions --copy _warpdrive_old_prompt fish_prompt
        functions --erase _warpdrive_old_prompt
    end
    set --erase _WARPDRIVE_OLD_PATH _WARPDRIVE_OLD_PYTHONHOME WARPDRIVE_ENV_NAME {APP_ROOT} {SRC_ROOT} VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    functions --erase deactivate
end
"
        );
        return words;
    }
    words.push_str("if typeset -f deactivate >/dev/null 2>&1; then deactivate; fi\n");
    for (name, value) in variables {
        let _ = writeln!(words, "export {name}={}", shell.quote(value));
    }
    let _ = write!(
        words,
        r#"_WARPDRIVE_OLD_PATH="${{PATH-}}"
export PATH={programs}"${{PATH:+:$PATH}}"
if [ -n "${{PYTHONHOME+x}}" ]; then _WARPDRIVE_OLD_PYTHONHOME="$PYTHONHOME"; unset PYTHONHOME; fi
if [ -z "${{VIRTUAL_ENV_DISABLE_PROMPT-}}" ] && [ -n "${{PS1+x}}" ]; then _WARPDRIVE_OLD_PS1="$PS1"; PS1={prompt}"$PS1"; fi
deactivate() {{
    if [ -n "${{_WARPDRIVE_OLD_PATH+x}}" ]; then PATH="$_WARPDRIVE_OLD_PATH"; export PATH; fi
    if [ -n "${{_WARPDRIVE_OLD_PYTHONHOME+x}}" ]; then export PYTHONHOME="$_WARPDRIVE_OLD_PYTHONHOME"; fi
    if [ -n "${{_WARPDRIVE_OLD_PS1+x}}" ]; then PS1="$_WARPDRIVE_OLD_PS1"; fi
    unset _WARPDRIVE_OLD_PATH _WARPDRIVE_OLD_PYTHONHOME _WARPDRIVE_OLD_PS1
    unset WARPDRIVE_ENV_NAME {APP_ROOT} {SRC_ROOT} VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    hash -r 2>/dev/null
    unset -f deactivate
}}
hash -r 2>/dev/null || :
"#
    );
    words
}

/// The commands that leave the environment.
pub(super) fn leave(shell: Shell) -> String {
    match shell {
        Shell::Bash | Shell::Zsh => {
            format!(
                "if typeset -f deactivate >/dev/null 2>&1; then deactivate; else unset WARPDRIVE_ENV_NAME {APP_ROOT} {SRC_ROOT}; fi\n"
            )
        }
        Shell::Fish => {
            format!(
                "if functions --query deactivate; deactivate; else; set --erase WARPDRIVE_ENV_NAME {APP_ROOT} {SRC_ROOT}; end\n"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_to_the_letter() {
        for (shell, text, expected) in [
            (Shell::Bash, "it's $x", r"'it'\''s $x'"),
            (Shell::Fish, r"it's \n", r"'it\'s \\n'"),
        ] {
            assert_eq!(shell.quote(text), expected);
        }
        assert_eq!(Shell::of(Some("/usr/bin/fish")), Shell::Fish);
        assert_eq!(Shell::of(Some("/bin/dash")), Shell::Bash);
    }
}
