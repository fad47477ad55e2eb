//! The package indexes of a build: their addresses, logins and files.
//!
//! A login is sent only to the host of its own index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::app::address::{Address, name_and_address};
use crate::app::pip_variables::{DEFAULT_INDEX, is_pypi};
use crate::lockfile::{self, File, Index, Link};
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions, RegistryError, join_url, with_login_of};
use crate::sandbox::Network;
use crate::store::{Needs, Record, Store};

use super::error::BuildError;
use super::index_logins::IndexLogins;
use super::request::Request;
use super::secrets::without_credentials;

/// Largest page of an index, in bytes.
const MAX_PAGE: u64 = 64 * 1024 * 1024;
/// The accepted formats: PEP 691, else PEP 503.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// A known address of a file; the hash proves that it is the same file.
#[derive(Serialize, Deserialize)]
struct Found {
    name: String,
    url: String,
    size: Option<u64>,
}

impl Record for Found {
    const KIND: &'static str = "located";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// The indexes of a build, with their logins.
pub(super) struct Indexes {
    pub(super) client: Client,
    /// The default one, with its login.
    default: Option<String>,
    logins: IndexLogins,
    /// Those that an address in the source may name: the build's own. With the logins of the caller's indexes
    /// in it, an address could send them to a stranger.
    given: BTreeMap<String, String>,
    /// Earlier findings do not count.
    fresh: bool,
    /// Those of which it was said where their logins go.
    said: Mutex<BTreeSet<Index>>,
    /// The build has no network, and nothing is fetched for it.
    offline: bool,
}

impl Indexes {
    pub(super) fn new(request: &Request) -> Result<Self, BuildError> {
        let mut variables = request.host_env.clone();
        variables.extend(request.build_env.iter().cloned());
        let mut indexes = Self::of(variables, request.no_cache)?;
        indexes.given = request.build_env.iter().cloned().collect();
        indexes.offline = request.network == Network::None;
        Ok(indexes)
    }

    /// The indexes that these variables name.
    pub(super) fn of(variables: BTreeMap<String, String>, fresh: bool) -> Result<Self, BuildError> {
        let default = DEFAULT_INDEX
            .iter()
            .find_map(|name| variables.get(*name))
            .map(|index| name_and_address(index).1.trim_end_matches('/').to_owned())
            .filter(|url| !url.is_empty() && !is_pypi(url));
        Ok(Self {
            client: Client::new(ClientOptions::default())?,
            default,
            logins: IndexLogins::of(&variables),
            given: variables,
            fresh,
            said: Mutex::default(),
            offline: false,
        })
    }

    /// Whether earlier findings are ignored.
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// # Errors
    /// If the build has no network: what the source names is not asked for.
    pub(super) fn check_network(&self, what: &str) -> Result<(), BuildError> {
        if self.offline {
            return Err(BuildError::NoNetwork {
                what: what.to_owned(),
            });
        }
        Ok(())
    }

    /// The address of a file, where the lock knows one that counts: a mirror that takes the place of the
    /// usual index has its own.
    pub(super) fn address(&self, file: &File, indexes: &[Index]) -> Option<String> {
        let url = file.url.clone()?;
        let usual = indexes.first().is_some_and(|index| index.url.is_none());
        (!(usual && self.default.is_some())).then_some(url)
    }

    /// The address of an index.
    fn url(&self, index: &Index) -> String {
        match (&index.url, &self.default) {
            (Some(url), _) => self.expanded(url),
            (None, Some(default)) => default.clone(),
            (None, None) => lockfile::PYPI.to_owned(),
        }
    }

    /// The address with its login. A build that has both may use the packages of the index.
    pub(super) fn opened(&self, index: &Index) -> String {
        self.with_login(&self.url(index), std::slice::from_ref(index))
    }

    /// Says where the logins of these go, which are known by their names.
    pub(super) fn say_logins<'i>(
        &self,
        indexes: impl IntoIterator<Item = &'i Index>,
        progress: &dyn Progress,
    ) {
        let all: BTreeSet<&Index> = indexes.into_iter().collect();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for index in all
            .into_iter()
            .filter(|index| said.insert((*index).clone()))
        {
            self.logins.say(index, &self.url(index), progress);
        }
    }

    /// Whether values of variables stand in one of these addresses: then it is not written down.
    pub(super) fn is_made_of_variables(indexes: &[Index]) -> bool {
        let mut urls = indexes.iter().filter_map(|index| index.url.as_ref());
        urls.any(|url| url.contains("${"))
    }

    /// `${NAME}` in an address, as PDM and Pipenv have it.
    fn expanded(&self, url: &str) -> String {
        let mut out = String::new();
        let mut rest = url;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else {
                break;
            };
            out.push_str(before);
            out.push_str(self.given.get(name).map_or("", String::as_str));
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    /// An address with the login of its index, where it is on the same host and has none.
    pub(super) fn with_login(&self, url: &str, indexes: &[Index]) -> String {
        let known: Vec<String> = indexes
            .iter()
            .map(|index| {
                let at = self.url(index);
                match (self.logins.of_index(index, &at), Address::of(&at)) {
                    (Some((user, password)), Some(address)) => address.with_login(&user, &password),
                    _ => at,
                }
            })
            .collect();
        with_login_of(url, &known)
    }

    /// The files of a package that an index has.
    fn page(&self, index: &Index, name: &str) -> Result<Vec<(Link, String)>, BuildError> {
        let url = format!("{}/{name}/", self.url(index).trim_end_matches('/'));
        let url = self.with_login(&url, std::slice::from_ref(index));
        self.check_network(&format!("the page of {name}"))?;
        let page = self
            .client
            .fetch_text(&url, ACCEPT, MAX_PAGE)
            .map_err(|error| self.explained(error, index, &format!("its page of {name}"), &url))?;
        let links = lockfile::links(&page.content_type, &page.text).into_iter();
        links
            .map(|link| {
                let url = join_url(&page.url, &link.href)?;
                Ok((link, url))
            })
            .filter(|found: &Result<(Link, String), BuildError>| {
                // A page must not lead to other schemes.
                found.as_ref().map_or(true, |(_, url)| {
                    url.starts_with("https://") || url.starts_with("http://")
                })
            })
            .collect()
    }

    /// The address of a file that one of a package's indexes has.
    pub(super) fn find(
        &self,
        store: &Store,
        name: &str,
        indexes: &[Index],
        file: &File,
    ) -> Result<String, BuildError> {
        let wanted = [File {
            name: String::new(),
            ..file.clone()
        }];
        let found = self.named(store, name, indexes, &wanted)?;
        let url = found.into_iter().find_map(|file| file.url);
        url.ok_or_else(|| self.missing(name, indexes))
    }

    /// The files of a package in an index that fit a Python and are not yanked.
    pub(super) fn offered(
        &self,
        index: &Index,
        name: &str,
        python: &str,
    ) -> Result<Vec<File>, BuildError> {
        let found = self.page(index, name)?.into_iter();
        let fitting = found.filter(|(link, _)| !link.withdrawn && link.is_for(python));
        Ok(fitting
            .map(|(link, url)| File {
                url: Some(url),
                ..link.file
            })
            .collect())
    }

    /// The error of a request to an index; a refusal for want of a login names the variables that give it.
    pub(super) fn explained(
        &self,
        error: RegistryError,
        index: &Index,
        what: &str,
        asked: &str,
    ) -> BuildError {
        let status = match &error {
            RegistryError::Unauthorized(_) => 401,
            RegistryError::Status {
                status: status @ (401 | 403),
                ..
            } => *status,
            _ => return error.into(),
        };
        if index.url.is_none() && self.default.is_none() {
            return error.into();
        }
        let shown = self.shown(index);
        let named = index.url.as_ref().and(index.name.as_ref());
        BuildError::IndexLogin {
            what: what.to_owned(),
            index: named.map_or_else(|| shown.clone(), |name| format!("{name} ({shown})")),
            status,
            has_login: without_credentials(asked) != asked,
            variables: named.map(|name| {
                let name = lockfile::variable_name(name);
                // The caller's own choice of the two is named, if there is one.
                let poetry = format!("POETRY_HTTP_BASIC_{name}");
                let start = if self.logins.has(&poetry) {
                    poetry
                } else {
                    format!("UV_INDEX_{name}")
                };
                ["USERNAME", "PASSWORD"].map(|end| format!("{start}_{end}"))
            }),
        }
    }

    pub(super) fn missing(&self, name: &str, indexes: &[Index]) -> BuildError {
        let shown: Vec<String> = indexes.iter().map(|index| self.shown(index)).collect();
        BuildError::NotInIndex {
            package: name.to_owned(),
            index: shown.join(", "),
        }
    }

    pub(super) fn shown(&self, index: &Index) -> String {
        without_credentials(&self.url(index))
    }

    /// The names and addresses of the files with these hashes, as far as the indexes have them.
    pub(super) fn named(
        &self,
        store: &Store,
        name: &str,
        indexes: &[Index],
        files: &[File],
    ) -> Result<Vec<File>, BuildError> {
        let key = |file: &File| {
            let places: Vec<String> = indexes.iter().map(|index| self.shown(index)).collect();
            let text = format!("1 {name} {} {}", places.join(" "), file.sha256);
            crate::oci::sha256_hex(text.as_bytes())
        };
        let mut known = Vec::new();
        for file in files {
            if let Some(found) = store.cached::<Found>(&key(file))?
                && !self.fresh
            {
                known.push(File {
                    name: found.name,
                    url: Some(found.url),
                    size: found.size,
                    ..file.clone()
                });
            }
        }
        if known.len() == files.len() {
            return Ok(known);
        }
        let mut trouble = None;
        for index in indexes {
            let links = match self.page(index, name) {
                Ok(links) => links,
                // The next index may have it; a bound name has one index.
                Err(error) => {
                    trouble.get_or_insert(error);
                    continue;
                }
            };
            let found: Vec<File> = links
                .into_iter()
                .filter(|(link, _)| files.iter().any(|file| file.sha256 == link.file.sha256))
                .map(|(link, url)| File {
                    url: Some(url),
                    ..link.file
                })
                .collect();
            if !found.is_empty() {
                if Self::is_made_of_variables(indexes) {
                    return Ok(found);
                }
                for file in &found {
                    let place = Found {
                        name: file.name.clone(),
                        // A login is not written down.
                        url: without_credentials(file.url.as_deref().unwrap_or_default()),
                        size: file.size,
                    };
                    store.remember(&key(file), &place)?;
                }
                return Ok(found);
            }
        }
        match trouble {
            Some(error) => Err(error),
            None => Err(self.missing(name, indexes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_cannot_send_the_callers_logins_to_an_address_of_its_own() {
        let request = || {
            let mut request = super::super::sandbox_inputs::tests::request();
            request.host_env =
                BTreeMap::from([("UV_INDEX_CORP_PASSWORD".to_owned(), "pw".to_owned())]);
            request.build_env = vec![("PLACE".to_owned(), "simple".to_owned())];
            request
        };
        let indexes = Indexes::new(&request()).unwrap();
        let index = |url: &str| Index {
            name: None,
            url: Some(url.to_owned()),
        };
        let stranger = index("http://attacker.example/${UV_INDEX_CORP_PASSWORD}/${PLACE}");
        assert_eq!(indexes.opened(&stranger), "http://attacker.example//simple");
        assert!(Indexes::is_made_of_variables(&[stranger]));
        assert!(!Indexes::is_made_of_variables(&[index(
            "http://corp.example/simple"
        )]));
    }

    #[test]
    fn an_index_that_wants_a_login_is_named_with_the_variables() {
        let said = |name: Option<&str>, variables: &[&str], asked: &str| {
            let mut request = super::super::sandbox_inputs::tests::request();
            let variables = variables.iter();
            request.host_env = variables
                .map(|name| ((*name).to_owned(), "x".to_owned()))
                .collect();
            let index = Index {
                name: name.map(str::to_owned),
                url: Some("https://me:pw@corp.example/simple".to_owned()),
            };
            let error = RegistryError::Status {
                host: "corp.example".into(),
                status: 403,
                action: String::new(),
                repository: String::new(),
                detail: crate::registry::Detail::default(),
            };
            let indexes = Indexes::new(&request).unwrap();
            match indexes.explained(error, &index, "its page of rates", asked) {
                error @ BuildError::IndexLogin { .. } => {
                    let BuildError::IndexLogin { variables, .. } = &error else {
                        unreachable!()
                    };
                    (error.to_string(), variables.clone())
                }
                other => panic!("{other}"),
            }
        };
        let plain = "https://corp.example/simple/rates/";
        let (text, variables) = said(Some("my-corp"), &[], plain);
        assert_eq!(
            text,
            "the index my-corp (https://corp.example/simple) answered 403 when it was asked for its page of rates without a login"
        );
        assert_eq!(
            variables.unwrap(),
            ["UV_INDEX_MY_CORP_USERNAME", "UV_INDEX_MY_CORP_PASSWORD"]
        );
        let own = ["POETRY_HTTP_BASIC_MY_CORP_PASSWORD"];
        let with = "https://me:pw@corp.example/simple/rates/";
        let (text, variables) = said(Some("my-corp"), &own, with);
        assert!(text.ends_with("with the login that is set"), "{text}");
        assert_eq!(variables.unwrap()[1], own[0]);
        assert_eq!(said(None, &[], plain).1, None);
    }

    #[test]
    fn logins_go_to_their_own_host_alone() {
        let corp = Index {
            name: Some("corp".into()),
            url: Some("https://corp.example/simple".into()),
        };
        let indexes = Indexes {
            client: Client::new(ClientOptions::default()).unwrap(),
            default: Some("https://me:pw@mirror.example/simple".into()),
            logins: IndexLogins::of(&BTreeMap::from([
                ("UV_INDEX_CORP_USERNAME".into(), "ci".into()),
                ("UV_INDEX_CORP_PASSWORD".into(), "a b".into()),
            ])),
            given: BTreeMap::from([("TOKEN".into(), "t".into())]),
            fresh: false,
            said: Mutex::default(),
            offline: false,
        };
        let with = |url: &str, index: &Index| indexes.with_login(url, std::slice::from_ref(index));
        assert_eq!(
            with("https://corp.example/f/x.whl", &corp),
            "https://ci:a%20b@corp.example/f/x.whl"
        );
        for other in [
            "https://other.example/x.whl",
            "http://corp.example/x.whl",
            "https://corp.example:8443/x",
            "https://corp.example\\@other.example/x",
            "https://other.example?@corp.example/x",
        ] {
            assert_eq!(with(other, &corp), other);
        }
        assert_eq!(
            with("https://mirror.example/x.whl", &Index::default()),
            "https://me:pw@mirror.example/x.whl"
        );
        assert_eq!(
            indexes.expanded("https://${TOKEN}:x@h/${NONE}"),
            "https://t:x@h/"
        );
    }
}
