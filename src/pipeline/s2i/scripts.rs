//! Which script of the protocol comes from where.

use std::path::Path;

use crate::progress::Progress;
use crate::rootfs::{Merged, Seen};
use crate::s2i::scripts::{IN_SOURCE, MAX_SCRIPT};
use crate::s2i::{ScriptsUrl, Where};
use crate::source::Tree;

use super::super::BuildError;
use super::base_image::BaseImage;
use super::download::{self, Word, shown};
use super::error::S2iBuildError;
use super::request::S2iRequest;

/// Where scripts of one image may come from.
#[derive(Clone)]
pub(super) struct Places<'a> {
    request: &'a S2iRequest,
    /// `--scripts-url`, and where it comes from.
    pub(super) given: Option<(&'a ScriptsUrl, Word<'a>)>,
    source: Option<&'a Tree>,
    /// The image's label, or its substitute.
    image: Option<(&'a ScriptsUrl, Word<'a>)>,
    is_labelled: bool,
    /// The image's files, and its name.
    files: Merged<'a>,
    reference: &'a str,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        request: &'a S2iRequest,
        source: Option<&'a Tree>,
        on: &'a BaseImage,
    ) -> Self {
        let record = |recorded: bool| {
            if recorded {
                Word::Image(&on.reference)
            } else {
                Word::Caller
            }
        };
        let label = on.labels.scripts_url.as_ref();
        let otherwise = request.image_scripts_url.as_ref();
        Self {
            request,
            given: request
                .scripts_url
                .as_ref()
                .map(|url| (url, record(request.scripts_url_recorded))),
            source,
            image: label
                .map(|url| (url, Word::Image(&on.reference)))
                .or(otherwise.map(|url| (url, record(request.image_scripts_url_recorded)))),
            is_labelled: label.is_some(),
            files: on.merged(),
            reference: &on.reference,
        }
    }

    /// Sets the place of scripts for an image without the label.
    pub(super) fn say_without_label<'s>(
        &self,
        scripts: impl IntoIterator<Item = &'s Where>,
        progress: &dyn Progress,
    ) {
        let Some(url) = &self.request.image_scripts_url else {
            return;
        };
        let ScriptsUrl::Image(directory) = url else {
            return;
        };
        let there = |script: &Where| match script {
            Where::Image(path) => Path::new(path).starts_with(directory),
            Where::External { .. } => false,
        };
        if self.is_labelled || !scripts.into_iter().any(there) {
            return;
        }
        progress.step(&format!(
            "---> {} has no label io.openshift.s2i.scripts-url: its scripts are those at {}",
            self.reference,
            shown(url)
        ));
    }

    /// The same without the scripts of the user and of the source.
    pub(super) fn of_the_image_alone(&self) -> Self {
        Self {
            given: None,
            source: None,
            ..self.clone()
        }
    }

    /// The same without scripts that the image places outside itself.
    pub(super) fn without_the_web(mut self) -> Self {
        let in_image = |(url, _): &(&ScriptsUrl, Word<'_>)| matches!(url, ScriptsUrl::Image(_));
        let otherwise = self.request.image_scripts_url.as_ref();
        self.image = self
            .image
            .filter(in_image)
            .or(otherwise.map(|url| (url, Word::Caller)).filter(in_image));
        self
    }

    /// The first place that has this script.
    pub(super) fn find(&self, name: &str) -> Result<Option<Where>, BuildError> {
        if let Some((url, word)) = self.given
            && let Some(found) = self.at(url, word, name)?
        {
            return Ok(Some(found));
        }
        if let Some(tree) = self.source {
            for directory in IN_SOURCE {
                if let Some(content) = tree.read(&Path::new(directory).join(name), MAX_SCRIPT)? {
                    return Ok(Some(Where::External {
                        content,
                        from: format!("{directory} of the source"),
                    }));
                }
            }
        }
        match self.image {
            Some((url, word)) => self.at(url, word, name),
            None => Ok(None),
        }
    }

    /// The same for a required script.
    pub(super) fn require(&self, name: &str) -> Result<Where, BuildError> {
        self.find(name)?.ok_or_else(|| {
            let mut looked = Vec::new();
            looked.extend(
                self.given
                    .map(|(url, _)| format!("--scripts-url {}", shown(url))),
            );
            if self.source.is_some() {
                looked.push(".s2i/bin of the source".into());
            }
            looked.push(match self.image {
                Some((url, _)) => format!("{} of the image", shown(url)),
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

    fn at(
        &self,
        url: &ScriptsUrl,
        word: Word<'_>,
        name: &str,
    ) -> Result<Option<Where>, BuildError> {
        match url {
            ScriptsUrl::Image(directory) => {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                let seen = self.files.followed(Path::new(&path));
                Ok(matches!(seen, Ok(Seen::File(..))).then_some(Where::Image(path)))
            }
            ScriptsUrl::File(_) | ScriptsUrl::Web(_) => {
                let content = download::script(self.request, url, word, name)?;
                Ok(content.map(|content| Where::External {
                    content,
                    from: shown(url),
                }))
            }
        }
    }
}

/// A script's command line. A file that does not begin with `#!` and is not an executable of the
/// kernel's own format is a shell script, as for a shell that starts it.
pub(super) fn command(
    path: &str,
    script: &Where,
    files: &Merged<'_>,
) -> Result<Vec<String>, S2iBuildError> {
    let head = match script {
        Where::External { content, .. } => content.get(..4).unwrap_or(content).to_vec(),
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

/// Prints where a script comes from.
pub(super) fn announce(name: &str, script: &Where, user: u32, progress: &dyn Progress) {
    let from = match script {
        Where::Image(path) => format!("{path} of the image"),
        Where::External { from, .. } => format!("from {from}"),
    };
    progress.step(&format!("---> Running {name} ({from}) as user {user}"));
}
