//! Which script of the protocol comes from where.

use std::path::Path;

use crate::progress::Progress;
use crate::rootfs::{Merged, Seen};
use crate::s2i::scripts::{IN_SOURCE, MAX_SCRIPT};
use crate::s2i::{ScriptsUrl, Where};
use crate::source::Tree;

use super::super::BuildError;
use super::download;
use super::error::S2iBuildError;

/// Where scripts of one image may come from.
pub(super) struct Places<'a> {
    /// `--scripts-url`.
    pub(super) given: Option<&'a ScriptsUrl>,
    pub(super) source: Option<&'a Tree>,
    /// The image's label.
    pub(super) image: Option<&'a ScriptsUrl>,
    /// The image's files.
    pub(super) files: Merged<'a>,
}

impl Places<'_> {
    /// The first place that has this script.
    pub(super) fn find(&self, name: &str) -> Result<Option<Where>, BuildError> {
        if let Some(url) = self.given
            && let Some(found) = self.at(url, name)?
        {
            return Ok(Some(found));
        }
        if let Some(tree) = self.source {
            for directory in IN_SOURCE {
                if let Some(content) = tree.read(&Path::new(directory).join(name), MAX_SCRIPT)? {
                    return Ok(Some(Where::External(content)));
                }
            }
        }
        match self.image {
            Some(url) => self.at(url, name),
            None => Ok(None),
        }
    }

    /// The same for a script that has to be there.
    pub(super) fn require(&self, name: &str) -> Result<Where, BuildError> {
        self.find(name)?.ok_or_else(|| {
            let mut looked = Vec::new();
            looked.extend(self.given.map(|url| format!("--scripts-url {}", word(url))));
            if self.source.is_some() {
                looked.push(".s2i/bin of the source".into());
            }
            looked.push(match self.image {
                Some(url) => format!("{} of the image", word(url)),
                None => {
                    "the image, which has no label io.openshift.s2i.scripts-url and so may be no \
                     S2I builder"
                        .into()
                }
            });
            S2iBuildError::NoScript {
                script: name.to_owned(),
                looked: looked.join(", "),
            }
            .into()
        })
    }

    fn at(&self, url: &ScriptsUrl, name: &str) -> Result<Option<Where>, BuildError> {
        match url {
            ScriptsUrl::Image(directory) => {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                let seen = self.files.followed(Path::new(&path));
                Ok(matches!(seen, Ok(Seen::File(..))).then_some(Where::Image(path)))
            }
            ScriptsUrl::File(_) | ScriptsUrl::Web(_) => {
                Ok(download::script(url, name)?.map(Where::External))
            }
        }
    }
}

/// A URL as a user writes it, without credentials.
pub(super) fn word(url: &ScriptsUrl) -> String {
    match url {
        ScriptsUrl::Image(path) => format!("image://{path}"),
        ScriptsUrl::File(path) => format!("file://{path}"),
        ScriptsUrl::Web(url) => match url.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority.rsplit('@').next().unwrap_or(authority);
                format!("{scheme}://{host}/{path}")
            }
            None => url.clone(),
        },
    }
}

/// A script's command line. What neither begins with `#!` nor is an executable of the kernel's own
/// format is a shell script, as it is to a shell that starts it.
pub(super) fn command(
    path: &str,
    script: &Where,
    files: &Merged<'_>,
) -> Result<Vec<String>, S2iBuildError> {
    let head = match script {
        Where::External(content) => content.get(..4).unwrap_or(content).to_vec(),
        Where::Image(path) => first_bytes(files, path)?,
    };
    let direct = head.starts_with(b"#!") || head.starts_with(b"\x7fELF");
    Ok(if direct {
        vec![path.to_owned()]
    } else {
        vec!["/bin/sh".into(), path.to_owned()]
    })
}

fn first_bytes(files: &Merged<'_>, path: &str) -> Result<Vec<u8>, S2iBuildError> {
    use std::io::Read;
    let failed = |source| S2iBuildError::io("read", path, source);
    let Seen::File(file, _) = files.followed(Path::new(path)).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let mut head = Vec::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(4).read_to_end(&mut head))
        .map_err(failed)?;
    Ok(head)
}

/// Says where a script comes from.
pub(super) fn announce(name: &str, script: &Where, user: u32, progress: &dyn Progress) {
    let from = match script {
        Where::Image(path) => format!("{path} of the image"),
        Where::External(_) => "not of the image".into(),
    };
    progress.step(&format!("---> Running {name} ({from}) as user {user}"));
}
