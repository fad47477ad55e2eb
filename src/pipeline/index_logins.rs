//! Where the login of a named index may go (`UV_INDEX_NAME_USERNAME`, `POETRY_HTTP_BASIC_NAME_PASSWORD`).
//!
//! The source says where the index of a name is, and the caller has the login. So a build prints the
//! host of each login; if the caller binds names to hosts, logins go only to these.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::address::{Address, name_and_address};
use crate::lockfile::{self, Index};
use crate::progress::Progress;
use crate::registry::is_ambiguous;

/// `NAME=HOST`, several of them with commas or white space between: then no other name has a login.
pub const INDEX_LOGINS: &str = "WARPDRIVE_INDEX_LOGINS";

/// uv's own variables may name an index as `NAME=URL`.
const NAMED: &[&str] = &["UV_DEFAULT_INDEX", "UV_INDEX"];

/// Which logins there are, and where they may go.
pub(super) struct IndexLogins {
    variables: BTreeMap<String, String>,
    /// Places, as `scheme://host`, by the names of indexes as variables have them.
    bound: BTreeMap<String, BTreeSet<String>>,
    /// Names that are not bound have no login.
    only_bound: bool,
}

impl IndexLogins {
    pub(super) fn of(variables: &BTreeMap<String, String>) -> Self {
        let mut bound = BTreeMap::<_, BTreeSet<_>>::new();
        let mut add = |word: &str| {
            if let (Some(name), place) = name_and_address(word) {
                let name = lockfile::variable_name(name);
                bound.entry(name).or_default().insert(origin(place));
            }
        };
        let value = |name: &str| variables.get(name).map_or("", String::as_str);
        for name in NAMED {
            value(name).split_whitespace().for_each(&mut add);
        }
        let own = value(INDEX_LOGINS);
        own.split([',', ' ', '\t', '\n']).for_each(&mut add);
        Self {
            variables: variables.clone(),
            bound,
            only_bound: !own.trim().is_empty(),
        }
    }

    /// User and password for an index at this address.
    pub(super) fn of_index(&self, index: &Index, url: &str) -> Option<(String, String)> {
        let login = lockfile::credentials(index, &|name| self.variables.get(name).cloned())?;
        if is_ambiguous(url) {
            return None;
        }
        let name = lockfile::variable_name(index.name.as_deref()?);
        let allowed = match self.bound.get(&name) {
            Some(places) => places.contains(&origin(url)),
            None => !self.only_bound,
        };
        allowed.then_some(login)
    }

    /// Whether the caller gives a user's name or a password with variables of this beginning.
    pub(super) fn has(&self, start: &str) -> bool {
        let mut ends = ["USERNAME", "PASSWORD"].iter();
        ends.any(|end| self.variables.contains_key(&format!("{start}_{end}")))
    }

    /// Says where the login of this index, at this address, goes.
    pub(super) fn say(&self, index: &Index, url: &str, progress: &dyn Progress) {
        let credentials = lockfile::credentials(index, &|name| self.variables.get(name).cloned());
        let (Some(name), Some(_)) = (&index.name, credentials) else {
            return;
        };
        let place = origin(url);
        let host = place.trim_start_matches("https://");
        if self.of_index(index, url).is_none() {
            progress.warning(&format!(
                "the login of the index {name} is not sent to {place}, which is the index's address in the \
                 project: the caller does not allow it there (to allow it: {INDEX_LOGINS}={name}={host})"
            ));
        } else if self.bound.contains_key(&lockfile::variable_name(name)) {
            progress.step(&format!(
                "---> The login of the index {name} goes to {place}"
            ));
        } else {
            progress.step(&format!(
                "---> The login of the index {name} goes to {place}, where the project says that this index is \
                 (to no other place: {INDEX_LOGINS}={name}={host})"
            ));
        }
    }
}

/// Scheme and host of an address, without login; a host alone is one of https.
fn origin(address: &str) -> String {
    Address::of_scheme("https", address).origin()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Said(Mutex<Vec<String>>);

    impl Progress for Said {
        fn step(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn warning(&self, text: &str) {
            self.0.lock().unwrap().push(format!("warning: {text}"));
        }
        fn output(&self, _: &str) {}
        fn moved(&self, _: &str, _: u64, _: Option<u64>) {}
    }

    fn logins(more: &[(&str, &str)]) -> IndexLogins {
        let mut variables: BTreeMap<String, String> = [
            ("UV_INDEX_MY_CORP_USERNAME", "me"),
            ("UV_INDEX_MY_CORP_PASSWORD", "pw"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let more = more.iter();
        variables.extend(more.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        IndexLogins::of(&variables)
    }

    #[test]
    fn a_name_that_the_caller_binds_has_a_login_there_alone() {
        let index = Index {
            name: Some("my-corp".to_owned()),
            url: None,
        };
        let good = "https://pypi.corp.example/simple";
        let bad = [
            "https://attacker.example/simple",
            "http://pypi.corp.example/simple",
            "https://pypi.corp.example:8443/simple",
            "https://pypi.corp.example@attacker.example/simple",
            "https://pypi.corp.example.attacker.example/simple",
            "https://pypi.corp.example\\@attacker.example/simple",
            "https:///pypi.corp.example/simple",
        ];
        let bound = [
            (INDEX_LOGINS, "my-corp=pypi.corp.example"),
            (
                INDEX_LOGINS,
                "other=o.example,My_Corp=https://PyPI.corp.example:443/",
            ),
            (
                "UV_INDEX",
                "my-corp=https://u:p@pypi.corp.example/other/simple https://x.example",
            ),
            ("UV_DEFAULT_INDEX", "my-corp=https://pypi.corp.example"),
        ];
        for variable in bound {
            let logins = logins(&[variable]);
            assert!(logins.of_index(&index, good).is_some(), "{variable:?}");
            for url in bad {
                assert!(logins.of_index(&index, url).is_none(), "{variable:?} {url}");
            }
        }
        // With this variable, names that are not in it have no login.
        let other = logins(&[(INDEX_LOGINS, "other=o.example")]);
        assert!(other.of_index(&index, good).is_none());
        // Not bound, it goes where the project says.
        assert!(logins(&[]).of_index(&index, bad[0]).is_some());
        assert!(
            logins(&[("UV_INDEX", "https://x.example")])
                .of_index(&index, good)
                .is_some()
        );
    }

    #[test]
    fn where_a_login_goes_is_said() {
        let index = Index {
            name: Some("my-corp".to_owned()),
            url: None,
        };
        let said = |logins: &IndexLogins, index: &Index| {
            let said = Said::default();
            logins.say(index, "https://u:p@attacker.example/simple", &said);
            said.0.into_inner().unwrap()
        };
        let free = said(&logins(&[]), &index);
        assert_eq!(
            free,
            [
                "---> The login of the index my-corp goes to https://attacker.example, where the project says \
                 that this index is (to no other place: WARPDRIVE_INDEX_LOGINS=my-corp=attacker.example)"
            ]
        );
        let refused = said(&logins(&[(INDEX_LOGINS, "my-corp=c.example")]), &index);
        assert!(
            refused[0].starts_with(
                "warning: the login of the index my-corp is not sent to https://attacker.example"
            ),
            "{refused:?}"
        );
        let bound = said(
            &logins(&[(INDEX_LOGINS, "my-corp=attacker.example")]),
            &index,
        );
        assert_eq!(
            bound,
            ["---> The login of the index my-corp goes to https://attacker.example"]
        );
        assert_eq!(said(&logins(&[]), &Index::default()), [""; 0]);
    }
}
