//! `/etc/nsswitch.conf` (nsswitch.conf(5)): where accounts, groups and hosts come from; and
//! `/etc/netgroup` (netgroup(5)).

use std::collections::BTreeSet;

use super::{is_space, lines, lossy};

/// The sources of one database, `passwd: files db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    pub line: usize,
    pub database: String,
    pub services: Vec<String>,
}

/// Reads the file.
pub fn parse(bytes: &[u8]) -> Vec<Sources> {
    lines(bytes)
        .filter_map(|(line, text)| {
            let text = lossy(text);
            let text = text.split('#').next().unwrap_or_default();
            // The name ends at a blank, too: glibc does not insist on the colon.
            let (database, rest) = text.split_once(|letter| letter == ':' || is_space(letter))?;
            let mut services = Vec::new();
            let mut in_brackets = false;
            for word in rest.split(is_space).filter(|word| !word.is_empty()) {
                in_brackets |= word.starts_with('[');
                if !in_brackets {
                    // `files[NOTFOUND=return]` is read without the blank, too.
                    let (name, more) = word.split_once('[').unwrap_or((word, "]"));
                    services.push(name.to_owned());
                    in_brackets = !more.contains(']');
                } else if word.ends_with(']') {
                    in_brackets = false;
                }
            }
            Some(Sources {
                line,
                database: database.trim().to_ascii_lowercase(),
                services,
            })
        })
        .collect()
}

/// The netgroups of a file that a person with one of these names is in.
pub fn netgroups_of(bytes: &[u8], names: &[String]) -> BTreeSet<String> {
    let joined = lossy(bytes).replace("\\\n", " ");
    let groups: Vec<(String, String)> = lines(joined.as_bytes())
        .filter_map(|(_, text)| {
            let text = lossy(text);
            let (name, rest) = text.trim().split_once(char::is_whitespace)?;
            Some((name.to_owned(), rest.to_owned()))
        })
        .collect();
    let mut ours: BTreeSet<String> = BTreeSet::new();
    for (name, rest) in &groups {
        let fits = rest.split('(').skip(1).any(|triple| {
            let inside = triple.split(')').next().unwrap_or_default();
            let user = inside.split(',').nth(1).unwrap_or("-").trim();
            user.is_empty() || names.iter().any(|name| name == user)
        });
        if fits {
            ours.insert(name.clone());
        }
    }
    // A netgroup may name others: each round adds those that name one of the person's.
    loop {
        let more: Vec<String> = groups
            .iter()
            .filter(|(name, rest)| {
                !ours.contains(name) && rest.split_whitespace().any(|word| ours.contains(word))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return ours;
        }
        ours.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sources_in_order() {
        let text = b"# passwd: evil\npasswd:  files [NOTFOUND=return UNAVAIL=continue] db\nshadow:files[x] own # no\nodd\ngroup own\x0bfiles\n";
        let read = parse(text);
        let read: Vec<_> = read
            .iter()
            .map(|sources| (sources.database.as_str(), sources.services.join(" ")))
            .collect();
        assert_eq!(
            read,
            [
                ("passwd", "files db".into()),
                ("shadow", "files own".into()),
                ("group", "own files".into())
            ]
        );
    }

    #[test]
    fn netgroups() {
        let text = b"ops (,app,) (h,x,)\nall ops\nothers (,x,)\nany (,,)\nhosts (h,-,)\n";
        let ours = netgroups_of(text, &["app".into()]);
        assert_eq!(
            ours.iter().map(String::as_str).collect::<Vec<_>>(),
            ["all", "any", "ops"]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = netgroups_of(&bytes, &["a".into()]);
        }
    }
}
