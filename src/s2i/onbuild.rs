//! `OnBuild` triggers of a builder image: the instructions of a Dockerfile that its author left for
//! builds on the image. Triggers that make sense for a source build are read here; the others are
//! refused with the reason, because without them the image would differ from what the author meant.

use crate::oci::ImageConfig;

use super::{S2iError, shown};

/// Most triggers, and the longest, in bytes.
const MAX_TRIGGERS: usize = 200;
const MAX_LENGTH: usize = 64 * 1024;

/// A trigger that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// Sources (relative to the source tree; may be patterns) and the destination.
    Copy {
        sources: Vec<String>,
        destination: String,
        /// `--chown=USER[:GROUP]`.
        chown: Option<String>,
        /// `--chmod=MODE`, octal.
        chmod: Option<u32>,
    },
    /// The command line; a shell's is one text.
    Run(Command),
    Env(Vec<(String, String)>),
    User(String),
    WorkDir(String),
}

/// The two forms of `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Shell(String),
    Exec(Vec<String>),
}

/// The triggers as the image has them.
pub fn triggers(config: &ImageConfig) -> Vec<String> {
    config.words("OnBuild")
}

/// Reads all triggers of the image with the name `image`.
pub fn read(config: &ImageConfig, image: &str) -> Result<Vec<Trigger>, S2iError> {
    let wrong = |trigger: &str, problem: String| S2iError::OnBuild {
        image: image.to_owned(),
        trigger: shown(trigger),
        problem,
    };
    let texts = triggers(config);
    if texts.len() > MAX_TRIGGERS {
        return Err(wrong(
            "…",
            format!("there are more than {MAX_TRIGGERS} of them"),
        ));
    }
    texts
        .iter()
        .map(|text| parse(text).map_err(|problem| wrong(text, problem)))
        .collect()
}

/// Reads one trigger.
pub fn parse(text: &str) -> Result<Trigger, String> {
    if text.len() > MAX_LENGTH {
        return Err("it is too long".into());
    }
    if text.contains('\0') {
        return Err("it has a NUL in it".into());
    }
    // A line that continues on the next one.
    let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let text = text.trim();
    let (word, rest) = text
        .split_once(char::is_whitespace)
        .map_or((text, ""), |(word, rest)| (word, rest.trim()));
    let word = word.to_ascii_uppercase();
    if rest.is_empty() {
        return Err("there is nothing behind its first word".into());
    }
    match word.as_str() {
        "COPY" | "ADD" => copy(&word, rest),
        "RUN" => run(rest),
        "ENV" => env(rest).map(Trigger::Env),
        "USER" => single(rest).map(Trigger::User),
        "WORKDIR" => single(rest).map(Trigger::WorkDir),
        "ARG" | "EXPOSE" | "LABEL" | "CMD" | "ENTRYPOINT" | "STOPSIGNAL" | "SHELL" => Err(format!(
            "{word} says how an image is started or described, which S2I does itself"
        )),
        "VOLUME" => Err("a volume hides what the build puts there".into()),
        "HEALTHCHECK" => Err("an OCI image has no health check".into()),
        "FROM" | "ONBUILD" | "MAINTAINER" => Err("a trigger cannot be this".into()),
        _ => Err("it is not an instruction of a Dockerfile".into()),
    }
}

fn single(text: &str) -> Result<String, String> {
    let words = words(text)?;
    match words.as_slice() {
        [one] if !one.is_empty() => Ok(one.clone()),
        _ => Err("it takes one word".into()),
    }
}

/// `["a", "b"]`, if it has this form.
fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

fn copy(word: &str, rest: &str) -> Result<Trigger, String> {
    let (mut chown, mut chmod) = (None, None);
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, next) = option
            .split_once(char::is_whitespace)
            .ok_or("there is nothing to copy")?;
        match option.split_once('=') {
            Some(("chown", owner)) => chown = Some(owner.to_owned()),
            Some(("chmod", mode)) => {
                chmod = Some(
                    u32::from_str_radix(mode, 8)
                        .ok()
                        .filter(|mode| *mode <= 0o777)
                        .ok_or("its mode is not an octal number up to 777")?,
                );
            }
            Some(("from", _)) => return Err("it copies from another image".into()),
            _ => return Err(format!("the option --{} is unknown here", shown(option))),
        }
        rest = next.trim_start();
    }
    let mut all = match json_words(rest) {
        Some(words) => words,
        None => words(rest)?,
    };
    let destination = all.pop().ok_or("there is nothing to copy")?;
    if all.is_empty() {
        return Err("there is nothing to copy, or no place to copy to".into());
    }
    for source in &all {
        if source.contains("://") || source.starts_with("git@") {
            return Err("it fetches a URL, and a source build has the source alone".into());
        }
        if source.split('/').any(|part| part == "..") {
            return Err("it leaves the source tree".into());
        }
        if source.starts_with("<<") {
            return Err("here-documents are not supported".into());
        }
        let name = source.to_ascii_lowercase();
        let is_archive = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst"]
            .iter()
            .any(|suffix| name.ends_with(suffix));
        if word == "ADD" && is_archive {
            return Err("it would unpack an archive, and only files can be added".into());
        }
    }
    if destination.split('/').any(|part| part == "..") {
        return Err("its destination has `..` in it".into());
    }
    Ok(Trigger::Copy {
        sources: all,
        destination,
        chown,
        chmod,
    })
}

fn run(rest: &str) -> Result<Trigger, String> {
    if rest.starts_with("--") {
        return Err("options of RUN are not supported".into());
    }
    if rest.starts_with("<<") {
        return Err("here-documents are not supported".into());
    }
    Ok(Trigger::Run(match json_words(rest) {
        Some(words) if words.is_empty() => return Err("there is no command".into()),
        Some(words) => Command::Exec(words),
        None => Command::Shell(rest.to_owned()),
    }))
}

/// `A=1 B="x y"`, or the old form `A the rest`.
fn env(rest: &str) -> Result<Vec<(String, String)>, String> {
    let good = |name: &str| {
        !name.is_empty()
            && !name
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() || c == '=')
    };
    let first = rest.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = rest
            .split_once(char::is_whitespace)
            .ok_or("it gives a variable no value")?;
        return Ok(vec![(name.to_owned(), words(value)?.join(" "))]);
    }
    words(rest)?
        .into_iter()
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .filter(|(name, _)| good(name))
                .ok_or_else(|| format!("{:?} is not of the form NAME=VALUE", shown(&word)))?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Splits at white space; quotes keep words together and `\` escapes the next character. `$`
/// stays for [`expand`].
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => {
                let word = word.get_or_insert_default();
                if c == '$' {
                    word.push('\\');
                }
                word.push(c);
            }
            (_, '\\') => {
                let next = characters.next().ok_or("it ends with a backslash")?;
                let word = word.get_or_insert_default();
                // A literal `$` stays marked for `expand`.
                if next == '$' {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => found.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote in it does not end".into());
    }
    found.extend(word);
    Ok(found)
}

/// Expands variables: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+other}`. An unset variable
/// is empty, as in a Dockerfile.
pub fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\$") {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('\\') {
            out.push('\\');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = after.find('}').ok_or("a `${` in it does not end")?;
            let (inside, after) = after.split_at(end);
            rest = &after[1..];
            let value = |name: &str| variable(name).filter(|value| !value.is_empty());
            if let Some((name, default)) = inside.split_once(":-") {
                out.push_str(&value(name).unwrap_or_else(|| default.to_owned()));
            } else if let Some((name, other)) = inside.split_once(":+") {
                if value(name).is_some() {
                    out.push_str(other);
                }
            } else {
                out.push_str(&variable(inside).unwrap_or_default());
            }
        } else {
            let after = &rest[1..];
            let length = after
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(after.len());
            let (name, after) = after.split_at(length);
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&variable(name).unwrap_or_default());
            }
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copied(sources: &[&str], destination: &str) -> Trigger {
        Trigger::Copy {
            sources: sources.iter().map(|s| (*s).to_owned()).collect(),
            destination: destination.to_owned(),
            chown: None,
            chmod: None,
        }
    }

    #[test]
    fn triggers_are_read() {
        for (text, expected) in [
            ("COPY . /usr/src/app", copied(&["."], "/usr/src/app")),
            ("add a b ./", copied(&["a", "b"], "./")),
            ("COPY [\"a b\", \"/c\"]", copied(&["a b"], "/c")),
            (
                "COPY --chown=1001:0 --chmod=640 x /y",
                Trigger::Copy {
                    sources: vec!["x".into()],
                    destination: "/y".into(),
                    chown: Some("1001:0".into()),
                    chmod: Some(0o640),
                },
            ),
            (
                "RUN pip install \\\n  -r requirements.txt",
                Trigger::Run(Command::Shell("pip install    -r requirements.txt".into())),
            ),
            (
                "RUN [\"/bin/x\", \"a b\"]",
                Trigger::Run(Command::Exec(vec!["/bin/x".into(), "a b".into()])),
            ),
            (
                "ENV A=1 B=\"x y\" C='$D'",
                Trigger::Env(vec![
                    ("A".into(), "1".into()),
                    ("B".into(), "x y".into()),
                    ("C".into(), "\\$D".into()),
                ]),
            ),
            ("ENV A b c", Trigger::Env(vec![("A".into(), "b c".into())])),
            ("USER 1001", Trigger::User("1001".into())),
            ("WORKDIR /a", Trigger::WorkDir("/a".into())),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_carried_out_is_told() {
        for (text, part) in [
            ("VOLUME /data", "hides"),
            ("EXPOSE 80", "S2I does itself"),
            ("FROM x", "cannot be this"),
            ("ONBUILD RUN x", "cannot be this"),
            ("ADD https://example.com/x /y", "fetches a URL"),
            ("ADD git@example.com:x /y", "fetches a URL"),
            ("ADD app.tar.gz /y", "unpack"),
            ("COPY ../x /y", "leaves the source"),
            ("COPY x /../y", "`..`"),
            ("COPY --from=b x /y", "another image"),
            ("COPY --link x /y", "unknown here"),
            ("COPY x", "no place"),
            ("RUN --mount=type=cache x", "options of RUN"),
            ("RUN <<EOF", "here-documents"),
            ("RUN", "nothing behind"),
            ("ENV A", "no value"),
            ("ENV A=\"x", "does not end"),
            ("USER a b", "one word"),
            ("nonsense x", "not an instruction"),
            ("RUN a\0b", "NUL"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn variables_are_put_in() {
        let known = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("$A/${A}/$B.", "1/1/."),
            ("${B:-x}${E:-y}${A:+z}${B:+w}", "xyz"),
            ("\\$A a$ $", "$A a$ $"),
        ] {
            assert_eq!(expand(text, &known).unwrap(), expected, "{text}");
        }
        assert!(expand("${A", &known).is_err());
    }

    proptest! {
        #[test]
        fn no_trigger_is_a_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
            let _ = expand(&text, &|_| None);
        }
    }
}
