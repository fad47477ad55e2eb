//! `environment.yml` with dependencies for pip alone.
//!
//! This reads only the YAML that conda itself writes: keys at the margin, lists of plain words below
//! them. It refuses the rest, because the in-image executable has no room for a complete parser.

use super::super::files::Files;
use super::super::requirement::{name_of, normalize};
use super::Declared;

/// Packages that conda needs only to run pip.
const CARRIERS: &[&str] = &["python", "pip", "setuptools", "wheel"];

/// Channels that do not change where packages come from.
const DEFAULTS: &[&str] = &["defaults", "nodefaults"];

pub(super) fn read(files: &dyn Files) -> Option<Declared> {
    let file = ["environment.yml", "environment.yaml"]
        .into_iter()
        .find(|file| files.is_file(file))?;
    let text = files.text(file)?;
    let mut declared = Declared::of(file);
    let mut section = String::new();
    // The column of `- pip:`.
    let mut pip: Option<usize> = None;
    for (index, raw) in text.lines().enumerate() {
        let line = raw.split(" #").next().unwrap_or(raw).trim_end();
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') || body == "---" {
            continue;
        }
        let column = line.len() - body.len();
        let place = format!("{file}:{}", index + 1);
        let Some(item) = body
            .strip_prefix('-')
            .filter(|item| item.is_empty() || item.starts_with(' '))
        else {
            if column == 0 {
                pip = None;
                let (key, value) = body.split_once(':').unwrap_or((body, ""));
                key.trim().clone_into(&mut section);
                if section == "dependencies" && !value.trim().is_empty() {
                    other(&mut declared, &place, body);
                }
                if section == "channels" {
                    let names = value.trim().trim_matches(['[', ']']).split(',');
                    for name in names {
                        channel(&mut declared, &place, name);
                    }
                }
            } else if section == "dependencies" {
                other(&mut declared, &place, body);
            }
            continue;
        };
        let item = item.trim().trim_matches(['"', '\'']);
        if section == "channels" {
            channel(&mut declared, &place, item);
        }
        if section != "dependencies" {
            continue;
        }
        match pip {
            Some(at) if column > at => {
                if item.contains(": ") || item.starts_with(['{', '[', '&', '*', '!', '|', '>']) {
                    other(&mut declared, &place, body);
                } else {
                    declared.lines.push(item.to_owned());
                }
            }
            _ if item == "pip:" => pip = Some(column),
            _ => {
                pip = None;
                let name = item.rsplit("::").next().unwrap_or(item);
                let carrier =
                    name_of(name).map_or_else(|| name.to_owned(), |(name, _)| normalize(name));
                let carrier = carrier.split(['=', ' ']).next().unwrap_or_default();
                if !CARRIERS.contains(&carrier) {
                    declared.doubts.push(super::Doubt {
                        place,
                        text: item.to_owned(),
                        wrong: "conda packages are not installed: builders have Python's own packages, from PyPI".to_owned(),
                        write: format!("the name that {carrier} has on PyPI into requirements.txt (or below `- pip:`), and delete the line"),
                    });
                }
            }
        }
    }
    Some(declared)
}

/// A channel decides where packages come from, and warpdrive does not use conda.
fn channel(declared: &mut Declared, place: &str, name: &str) {
    let name = name.trim().trim_matches(['"', '\'']);
    if !name.is_empty() && !DEFAULTS.contains(&name) {
        declared.doubts.push(super::Doubt {
            place: place.to_owned(),
            text: name.to_owned(),
            wrong: "conda's channels are not asked: Python is the builder's, packages are PyPI's".to_owned(),
            write: "the names below `- pip:` into requirements.txt, or delete the channel if all comes from PyPI".to_owned(),
        });
    }
}

fn other(declared: &mut Declared, place: &str, text: &str) {
    declared.doubts.push(super::Doubt {
        place: place.to_owned(),
        text: text.to_owned(),
        wrong: "of environment.yml only plain lists are read".to_owned(),
        write: "the requirements into requirements.txt".to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    fn declared(text: &str) -> Declared {
        read(&Memory::new().with("environment.yml", text)).unwrap()
    }

    #[test]
    fn pip_alone_is_read() {
        let text = "name: x\nchannels:\n  - defaults\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - flask==3.0 # web\n      - \"uvicorn[standard]\"\nprefix: /opt/conda\n";
        let found = declared(text);
        assert_eq!(found.lines, ["flask==3.0", "uvicorn[standard]"]);
        assert_eq!(found.doubts, []);
        let flush = declared("dependencies:\n- python\n- pip:\n  - flask\n");
        assert_eq!(flush.lines, ["flask"]);
    }

    #[test]
    fn conda_is_refused_by_the_line() {
        let found = declared(
            "dependencies:\n  - numpy=1.26\n  - pip:\n    - flask\n  - conda-forge::gdal\n",
        );
        let places: Vec<&str> = found.doubts.iter().map(|d| d.place.as_str()).collect();
        assert_eq!(places, ["environment.yml:2", "environment.yml:5"]);
        assert!(found.doubts[1].write.contains("gdal"));
        for odd in [
            "channels: \n  - conda-forge\ndependencies:\n  - pip:\n    - flask\n",
            "channels: [conda-forge]\ndependencies:\n  - pip:\n    - flask\n",
            "dependencies: [flask]\n",
            "dependencies:\n  - pip: &x\n",
            "dependencies:\n  - pip:\n    - {x: 1}\n",
        ] {
            assert_eq!(declared(odd).doubts.len(), 1, "{odd}");
        }
    }
}
