//! Command lines that are not understood: clap's message, and what the user probably meant.

use clap::ColorChoice;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The value of `--color`, for errors that occur before the command line is parsed.
pub(super) fn colour(arguments: &[String]) -> ColorChoice {
    let mut said = ColorChoice::Auto;
    for (index, argument) in arguments.iter().enumerate() {
        let value = match argument.strip_prefix("--color") {
            Some("") => arguments.get(index + 1).map(String::as_str),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        said = match value {
            Some("always") => ColorChoice::Always,
            Some("never") => ColorChoice::Never,
            Some("auto") => ColorChoice::Auto,
            _ => said,
        };
    }
    said
}

/// Suggests the right command to users of another tool. `arguments`: without the program's name.
pub(super) fn hint(error: &clap::Error, arguments: &[String]) -> Option<String> {
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.join(" "),
        _ => String::new(),
    };
    let kind = error.kind();
    let words = from_the_command_on(arguments);
    match (kind, words.as_slice()) {
        (ErrorKind::UnknownArgument, ["build", rest @ ..]) => {
            let name = rest
                .iter()
                .position(|word| matches!(*word, "-t" | "--tag"))
                .and_then(|at| rest.get(at + 1))
                .unwrap_or(&"NAME");
            Some(format!(
                "`warpdrive image {name}` builds an image of the source in the current directory; \
                 `warpdrive build` works in a virtual environment on this machine"
            ))
        }
        (ErrorKind::InvalidSubcommand, [word, ..]) => {
            let meant = match *word {
                "rmi" => "`warpdrive rm NAME` removes an image's name",
                "save" => "`warpdrive export NAME docker-archive:FILE` writes an image to a file",
                "load" => "`warpdrive import docker-archive:FILE` reads an image from a file",
                "start" | "restart" | "kill" | "port" => "see `warpdrive help container`",
                "volume" | "volumes" => "a volume is made by `warpdrive run -v NAME:/PATH`",
                _ => return None,
            };
            Some(meant.to_owned())
        }
        (ErrorKind::MissingRequiredArgument, ["image", ..]) if missing.contains("<NAME>") => Some(
            "the name is yours to choose: `warpdrive image opal`, or \
             `warpdrive image registry.example.com/team/opal:1.2`"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Whether the user asks for the version with an option that means something else.
pub(super) fn is_only_verbose(arguments: &[String]) -> bool {
    matches!(arguments, [word] if word == "-v" || word == "--verbose")
}

/// Without the options before the command.
fn from_the_command_on(arguments: &[String]) -> Vec<&str> {
    let mut words = arguments.iter().map(String::as_str).peekable();
    while let Some(word) = words.peek().filter(|word| word.starts_with('-')) {
        let takes_a_value = matches!(*word, "--store" | "--color");
        words.next();
        if takes_a_value {
            words.next();
        }
    }
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn colours_are_found_before_the_rest_is_understood() {
        for (text, expected) in [
            ("image --color never", ColorChoice::Never),
            ("--color=always image", ColorChoice::Always),
            ("--color=never --color auto", ColorChoice::Auto),
            ("--colour never", ColorChoice::Auto),
            ("x", ColorChoice::Auto),
        ] {
            assert_eq!(colour(&words(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_docker_user_is_told_the_command() {
        for line in ["build -t opal .", "--store /s -q build -t opal ."] {
            let hint = hint(&clap::Error::new(ErrorKind::UnknownArgument), &words(line)).unwrap();
            assert!(hint.contains("`warpdrive image opal`"), "{hint}");
        }
    }
}
