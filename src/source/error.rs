//! Errors of a source tree, with the remedy in the text or as `hint()`.

use std::io;
use std::path::{Path, PathBuf};

/// Why a source tree could not be read or copied.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{} is not a directory that can be read: {source}", path.display())]
    Root { path: PathBuf, source: io::Error },
    #[error("could not {doing} `{}`: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "`{}` cannot be read: permission denied; make it readable (`chmod u+r`, for a directory `u+rx`), or name it in .s2iignore if the app does not need it",
        path.display()
    )]
    Unreadable { path: PathBuf },
    #[error(
        "`{}` is a link to `{}`, which lies outside of the source and would be missing in the image: copy what it points to, or name the link in .s2iignore",
        path.display(), target.display()
    )]
    LinkLeadsOut { path: PathBuf, target: PathBuf },
    #[error(
        "`{}` is a link to `{}`, a path of this machine: make it relative (`ln -snr`), or name the link in .s2iignore",
        path.display(), target.display()
    )]
    LinkIsLocal { path: PathBuf, target: PathBuf },
    #[error("`{}` changed while it was being read; try again when nothing writes to the source", path.display())]
    Changed { path: PathBuf },
    #[error("the ignore file `{}` has {size} bytes, more than the {limit} allowed", path.display())]
    IgnoreFileTooLarge {
        path: PathBuf,
        size: u64,
        limit: u64,
    },
    #[error("line {line} of `{}` is not a pattern: {problem}", path.display())]
    Pattern {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("`{}` has {size} bytes, more than the {limit} allowed", path.display())]
    TooLarge {
        path: PathBuf,
        size: u64,
        limit: u64,
    },
    #[error("`git {command}` failed in {}: {message}", path.display())]
    Git {
        command: String,
        path: PathBuf,
        message: String,
    },
    #[error("{what} `{given}` begins with `-`, which programs take for an option: it is refused")]
    LooksLikeOption { what: &'static str, given: String },
    #[error(
        "`{url}` asks git for the transport `{transport}`, which is refused: https, http, ssh and file are allowed"
    )]
    Transport { transport: String, url: String },
    #[error("`{url}` is not a source: {problem}")]
    Url { url: String, problem: &'static str },
    #[error("the reference `{reference}` is refused: {problem}")]
    Reference {
        reference: String,
        problem: &'static str,
    },
    #[error("{url} has no branch, tag or commit `{reference}`")]
    NoSuchReference { reference: String, url: String },
    #[error("{url} has no commit to build from")]
    EmptyRepository { url: String },
    #[error("git could not {} {url}: {message}", doing(command))]
    Fetch {
        url: String,
        command: String,
        message: String,
        /// Git's last message, without credentials.
        tail: Vec<String>,
    },
    #[error("there is no `git` on this machine, and the source is a git repository")]
    NoGit,
    #[error("fetching {url} took longer than {} s and was stopped", after.as_secs())]
    TimedOut {
        url: String,
        after: std::time::Duration,
    },
    #[error("interrupted")]
    Interrupted,
    #[error("{what} has more than {limit} {unit}, more than a source may have")]
    TooMuch {
        what: String,
        limit: u64,
        unit: &'static str,
    },
    #[error("the archive {} cannot be read: {problem}", path.display())]
    Archive { path: PathBuf, problem: String },
    #[error("{} cannot be the source: {found}", path.display())]
    NoArchive { path: PathBuf, found: &'static str },
    #[error("the archive {} is refused for its member `{member}`: {problem}", archive.display())]
    Member {
        archive: PathBuf,
        member: String,
        problem: &'static str,
    },
    #[error("{} is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("the context directory `{}` cannot be used: {problem}", path.display())]
    ContextDir { path: PathBuf, problem: String },
    #[error("could not keep the index of file hashes: {0}")]
    Store(#[from] crate::store::StoreError),
}

/// A git command in words.
fn doing(command: &str) -> &str {
    match command {
        "ls-remote" => "reach",
        "fetch" => "fetch from",
        "submodule" => "fetch the submodules of",
        "reset" => "check out",
        _ => "read",
    }
}

impl SourceError {
    /// What to do about it, for the catalogue of errors in `cli`.
    pub fn hint(&self) -> Option<String> {
        let said = |tail: &[String], words: &[&str]| {
            tail.iter()
                .any(|line| words.iter().any(|word| line.contains(word)))
        };
        match self {
            Self::Fetch { tail, .. } if said(tail, &["Host key verification failed"]) => Some(
                "the server's key is unknown: connect once with `ssh HOST`, or add it to ~/.ssh/known_hosts with `ssh-keyscan HOST`".into(),
            ),
            Self::Fetch { tail, .. } if said(tail, &["Permission denied (", "publickey"]) => Some(
                "nothing asks for a passphrase here: load the key into an agent with `ssh-add`, and check that SSH_AUTH_SOCK is set".into(),
            ),
            Self::Fetch { tail, .. }
                if said(tail, &["could not read Username", "could not read Password", "Authentication failed", "terminal prompts disabled"]) =>
            {
                Some("nothing asks for a password here: configure a credential helper (`git config --global credential.helper …`), or give the login in the URL, where it is shown in no message and no label".into())
            }
            Self::Fetch { tail, .. } if said(tail, &["does not match target host name", "no alternative certificate subject name"]) => Some(
                "the server's certificate is for another name than the one in the address".into(),
            ),
            Self::Fetch { tail, .. } if said(tail, &["certificate verification failed", "SSL certificate problem", "self-signed certificate", "unable to get local issuer"]) => Some(
                "the server's certificate is not trusted here: name the file with its authority's certificate, as in GIT_SSL_CAINFO=FILE or SSL_CERT_FILE=FILE".into(),
            ),
            Self::Fetch { tail, .. } if said(tail, &["transport 'file' not allowed", "not allowed"]) => Some(
                "a submodule asks for a transport that is refused; --ignore-submodules builds without submodules (to allow submodules from this machine's disk: `git config --global protocol.file.allow always`)".into(),
            ),
            Self::Fetch { .. } => Some("check the address and the network (HTTPS_PROXY is honoured)".into()),
            Self::NoGit => Some("install git, or give a directory or an archive".into()),
            Self::NoSuchReference { .. } => Some("`git ls-remote URL` lists the branches and tags".into()),
            Self::LooksLikeOption { .. } => Some("a directory whose name begins with `-` is given as `./-NAME`".into()),
            Self::TimedOut { .. } => Some("give it more with --timeout".into()),
            Self::Transport { .. } => Some("a source is a directory, an archive, `-` for a tar on standard input, https://…, ssh://…, file://… or [USER@]HOST:PATH".into()),
            _ => None,
        }
    }

    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Unreadable {
                path: path.to_owned(),
            },
            _ => Self::Io {
                doing,
                path: path.to_owned(),
                source,
            },
        }
    }
}
