//! A commit of a git repository, fetched into an empty directory by the `git` program.
//!
//! ```text
//! ls-remote (what the reference is) ─► init ─► fetch --depth=1 ─► count ─► check out
//!                        each submodule:  fetch --depth=1 ─► count ─► check out ─► its submodules
//! ```
//!
//! The repository is hostile, its server too. So: URLs and references are checked before
//! (`location`); git speaks the allowed protocols only, also for submodules; hooks, templates and
//! whatever a repository's configuration or attributes could make git run are off (the directory's
//! configuration is ours, and there are no filters); nothing asks for a password; what the commit
//! holds is counted before it is written to disk; every command has a deadline and ends with us.
//! Of the user's own configuration git sees what says *how to reach a server* (`credential.*`,
//! `http.*`, `url.*`) and nothing that changes what is checked out: everyone gets the same files.

mod count;
mod listed;
mod program;
mod submodules;

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use super::fetch_options::FetchOptions;
use super::location::is_commit_id;
use super::{GitUrl, SourceError};
use crate::beneath::Directory;
use count::Totals;
use listed::Listed;
use program::{LOGIN_HELPER, global_configuration};

/// Fetches the commit that `source` names into the empty directory `into`, with a `.git` of its own
/// as a fresh clone has one.
pub(super) fn clone(
    source: &GitUrl,
    into: &Path,
    options: &FetchOptions<'_>,
) -> Result<(), SourceError> {
    let into = std::fs::canonicalize(into).map_err(|e| SourceError::io("find", into, e))?;
    let mut git = Git::new(source, &into, options)?;
    git.take_over_users_settings();
    let wanted = git.resolve()?;
    let format = git.object_format(&wanted)?;
    git.run(&[
        "init",
        "--quiet",
        "--template=",
        "--initial-branch=main",
        &format!("--object-format={format}"),
    ])?;
    // The URL has no credentials in it; `Commit::remote` is made of this.
    git.run(&["config", "remote.origin.url", &source.url])?;
    let id = git.fetch(&wanted)?;
    let mut totals = Totals::default();
    let links = git.count(&into, &id, &mut totals)?;
    match &wanted {
        Wanted::Branch { name, .. } => {
            let branch = format!("refs/heads/{name}");
            git.run(&["update-ref", &branch, &id])?;
            git.run(&["symbolic-ref", "HEAD", &branch])?;
        }
        _ => {
            git.run(&["update-ref", "--no-deref", "HEAD", &id])?;
        }
    }
    git.run(&["reset", "--hard", "--quiet"])?;
    let origin = git.origin_of_local(&source.url);
    let name_origin = |git: &Git<'_>| match &origin {
        Some(origin) => git.run(&["config", "remote.origin.url", origin]).map(drop),
        None => Ok(()),
    };
    if options.submodules && into.join(".gitmodules").symlink_metadata().is_ok() {
        git.may_be_local = git.may_be_local && git.lets_submodules_be_local();
        // Relative URLs of submodules are meant from where the repository was fetched, or, where that is closed
        // to them, from where it was fetched before.
        if !git.may_be_local {
            name_origin(&git)?;
        }
        git.submodules(&into, links, &mut totals)?;
    }
    name_origin(&git)
}

impl Git<'_> {
    /// The origin of a repository of this machine, if it is a URL of a server: from there, other machines can
    /// fetch the source.
    fn origin_of_local(&self, url: &str) -> Option<String> {
        let directory = Path::new(url.strip_prefix("file://").unwrap_or(url));
        if !directory.is_absolute() {
            return None;
        }
        [".git/config", "config"].iter().find_map(|name| {
            let file = directory.join(name);
            if !file.is_file() {
                return None;
            }
            let file = file.to_str()?;
            let found = self
                .run(&[
                    "config",
                    "--file",
                    file,
                    "--no-includes",
                    "--get",
                    "remote.origin.url",
                ])
                .ok()?;
            super::remote::normalized(String::from_utf8_lossy(&found).trim())
        })
    }
}

/// What a reference is, in the repository's own words.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Branch {
        name: String,
        id: String,
    },
    /// A tag or another full name.
    Name {
        name: String,
        id: String,
    },
    Commit(String),
    /// The beginning of a commit's id.
    Short(String),
}

impl Wanted {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Branch { id, .. } | Self::Name { id, .. } | Self::Commit(id) => Some(id),
            Self::Short(_) => None,
        }
    }
}

struct Git<'a> {
    source: &'a GitUrl,
    into: &'a Path,
    options: &'a FetchOptions<'a>,
    deadline: Instant,
    /// What is fetched may lie on this machine.
    may_be_local: bool,
    /// `GIT_CONFIG_KEY_n` and `GIT_CONFIG_VALUE_n`.
    settings: Vec<(OsString, OsString)>,
    /// Where git's "global" configuration lies: ours.
    global: tempfile::NamedTempFile,
}

impl<'a> Git<'a> {
    fn new(
        source: &'a GitUrl,
        into: &'a Path,
        options: &'a FetchOptions<'a>,
    ) -> Result<Self, SourceError> {
        let global = global_configuration(source)?;
        let mut settings: Vec<(OsString, OsString)> = Vec::new();
        if source.login.is_some() {
            let host: String = source
                .url
                .splitn(4, '/')
                .take(3)
                .collect::<Vec<_>>()
                .join("/");
            settings.push((
                format!("credential.{host}.helper").into(),
                LOGIN_HELPER.into(),
            ));
        }
        Ok(Self {
            source,
            into,
            options,
            deadline: Instant::now() + options.timeout,
            may_be_local: true,
            settings,
            global,
        })
    }

    /// Asks the repository what the reference is.
    fn resolve(&self) -> Result<Wanted, SourceError> {
        let reference = self.source.reference.as_deref();
        if let Some(id) = reference.filter(|text| is_commit_id(text)) {
            return Ok(Wanted::Commit(id.to_ascii_lowercase()));
        }
        let name = reference.unwrap_or("HEAD");
        let mut arguments = vec!["ls-remote", "--quiet", "--symref", "--", &self.source.url];
        let patterns: Vec<String> = if name == "HEAD" || name.starts_with("refs/") {
            vec![name.to_owned()]
        } else {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        };
        arguments.extend(patterns.iter().map(String::as_str));
        let listed = self.run(&arguments)?;
        let answer = Listed::read(&String::from_utf8_lossy(&listed));
        if let Some(wanted) = answer.find(name) {
            if answer.id(&format!("refs/heads/{name}")).is_some()
                && answer.id(&format!("refs/tags/{name}")).is_some()
            {
                self.options.progress.warning(&format!(
                    "`{name}` is a branch and a tag of {}; the branch is taken, `refs/tags/{name}` names the tag",
                    self.source.url
                ));
            }
            return Ok(wanted);
        }
        match reference {
            None => Err(SourceError::EmptyRepository {
                url: self.source.url.clone(),
            }),
            Some(text)
                if (4..64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                Ok(Wanted::Short(text.to_ascii_lowercase()))
            }
            Some(text) => Err(self.no_such(text)),
        }
    }

    /// How the repository names its objects (gitformat-hash-function-transition).
    fn object_format(&self, wanted: &Wanted) -> Result<&'static str, SourceError> {
        let length = if let Some(id) = wanted.id() {
            id.len()
        } else {
            let listed = self.run(&["ls-remote", "--quiet", "--", &self.source.url, "HEAD"])?;
            let listed = Listed::read(&String::from_utf8_lossy(&listed));
            listed.id("HEAD").map_or(40, str::len)
        };
        Ok(if length == 64 { "sha256" } else { "sha1" })
    }

    fn no_such(&self, reference: &str) -> SourceError {
        SourceError::NoSuchReference {
            reference: reference.to_owned(),
            url: self.source.url.clone(),
        }
    }

    /// Fetches what is wanted, alone where the server can; gives the commit's id.
    fn fetch(&self, wanted: &Wanted) -> Result<String, SourceError> {
        let asked = match wanted {
            Wanted::Branch { name, .. } => format!("refs/heads/{name}"),
            Wanted::Name { name, .. } => name.clone(),
            Wanted::Commit(id) => id.clone(),
            Wanted::Short(_) => String::new(),
        };
        if !asked.is_empty() {
            let into = "refs/source/wanted";
            match self.fetch_refs(&format!("+{asked}:{into}"), true) {
                Ok(()) => return self.commit_of(into),
                Err(
                    error @ (SourceError::TimedOut { .. }
                    | SourceError::Interrupted
                    | SourceError::NoGit),
                ) => return Err(error),
                // Servers that speak without shallow fetches, or give no commit that no branch ends at.
                Err(error) if !may_work_in_full(&error, wanted) => return Err(error),
                Err(_) => {}
            }
        }
        self.options
            .progress
            .step("---> Fetching all of the history: the server gives no single commits");
        for everything in [
            "+refs/heads/*:refs/source/heads/*",
            "+refs/tags/*:refs/source/tags/*",
        ] {
            self.fetch_refs(everything, false)?;
        }
        let revision = match wanted {
            Wanted::Short(id) => id.clone(),
            known => known.id().unwrap_or_default().to_owned(),
        };
        self.commit_of(&revision)
            .map_err(|_| self.no_such(self.source.reference.as_deref().unwrap_or("HEAD")))
    }

    fn fetch_refs(&self, refspec: &str, shallow: bool) -> Result<(), SourceError> {
        let mut arguments = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--update-head-ok",
        ];
        if shallow {
            arguments.push("--depth=1");
        }
        arguments.extend(["--", &self.source.url, refspec]);
        self.run(&arguments).map(drop)
    }

    fn commit_of(&self, revision: &str) -> Result<String, SourceError> {
        let commit = format!("{revision}^{{commit}}");
        let output = self.run(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &commit,
        ])?;
        Ok(String::from_utf8_lossy(output.trim_ascii()).into_owned())
    }
}

/// Whether fetching everything may do what fetching one commit did not.
fn may_work_in_full(error: &SourceError, wanted: &Wanted) -> bool {
    let SourceError::Fetch { tail, .. } = error else {
        return false;
    };
    let said = tail.join("\n");
    said.contains("shallow")
        || (matches!(wanted, Wanted::Commit(_))
            && [
                "not our ref",
                "unadvertised",
                "not allow",
                "no such remote ref",
                "couldn't find remote ref",
            ]
            .iter()
            .any(|words| said.contains(words)))
}

/// A file that says that contents lie elsewhere (git-lfs): without its filter, pointers are checked out.
pub(super) fn uses_lfs(root: &Path) -> bool {
    let attributes =
        Directory::open(root).and_then(|root| root.open_file(Path::new(".gitattributes")));
    let Ok(file) = attributes else {
        return false;
    };
    let mut text = String::new();
    let _ = file.take(1024 * 1024).read_to_string(&mut text);
    text.contains("filter=lfs")
}
