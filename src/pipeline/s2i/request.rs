//! The request for a build with an S2I builder.

use crate::s2i::scripts::IN_IMAGE;
use crate::s2i::{AllowedUids, Artifact, Injection, ScriptsUrl, Volume};
use crate::sandbox::Network;
use crate::source::Tree;

use super::super::request::Request;

/// One `warpdrive s2i build`, or one `warpdrive image --builder` with an S2I builder.
///
/// Options about the source alone (`--ref`, `--context-dir`, `--exclude`, `--keep-symlinks`,
/// `--copy`, ignore files) were applied when [`Source`] was made.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct S2iRequest {
    /// Name, builder, runtime image, variables, secrets, outputs, network, timeout. `builder` is
    /// required. `env` has the variables of `-E` and `-e`; [`super::build`] itself reads the
    /// source's `.s2i/environment` and puts it before them. `path` is for messages.
    pub common: Request,
    /// Give the image `common.name` in the store. Otherwise the image has only its digest, and the
    /// name is used only in messages.
    pub tag: bool,
    pub pull: PullPolicies,
    /// `--scripts-url`: before the source's and the image's own.
    pub scripts_url: Option<ScriptsUrl>,
    /// `--image-scripts-url`: for a builder that does not say where its scripts are.
    pub image_scripts_url: Option<ScriptsUrl>,
    /// [`Self::scripts_url`] comes from an image's record, not from the caller.
    pub scripts_url_recorded: bool,
    /// The same for [`Self::image_scripts_url`].
    pub image_scripts_url_recorded: bool,
    /// Hosts (`HOST`, `HOST:PORT`) from which an image may have scripts fetched.
    pub script_hosts: Vec<String>,
    /// Fetch no scripts: `--network none`.
    pub offline: bool,
    /// Give assemble a cache for pip and npm that is kept between builds of one application.
    pub package_cache: bool,
    /// `--destination`; else the image's label, else `/tmp`.
    pub destination: Option<String>,
    /// `--assemble-user`; else the image's label, else the image's user.
    pub assemble_user: Option<String>,
    /// `--assemble-runtime-user`; else the runtime image's label, else its user.
    pub assemble_runtime_user: Option<String>,
    pub allowed_uids: Option<AllowedUids>,
    /// Restore the output of the previous image's `save-artifacts`.
    pub incremental: bool,
    /// The previous image, if it is not the one that `common.name` names.
    pub previous: Option<String>,
    pub injections: Vec<Injection>,
    /// `--runtime-artifact`; else the label of the runtime image, or, in old images, of the builder.
    pub runtime_artifacts: Vec<Artifact>,
    /// `io.k8s.display-name`; else the name of the image.
    pub application_name: Option<String>,
    /// `io.k8s.description`.
    pub description: Option<String>,
    /// More labels for the image, after those that the build makes.
    pub labels: Vec<(String, String)>,
    /// Sort the changes into layers that other applications share; otherwise there is one.
    pub split: bool,
    /// `HOST:ADDRESS`, only during the build.
    pub add_hosts: Vec<(String, String)>,
    /// Names of capabilities (`CHOWN`, `CAP_CHOWN`, `all`) that not even a root assemble gets.
    pub cap_drop: Vec<String>,
    pub volumes: Vec<Volume>,
    /// `--rm`: say that the previous image has lost its name, so that `prune` frees it.
    pub remove_previous: bool,
    /// `--quiet`: the output of scripts is shown only if they fail.
    pub quiet: bool,
}

impl S2iRequest {
    /// The value of the label io.k8s.display-name.
    pub(super) fn display_name(&self) -> Option<String> {
        self.application_name
            .clone()
            .or_else(|| self.tag.then(|| self.common.name.as_given().to_owned()))
    }

    /// The request of `warpdrive image` to an S2I builder.
    pub fn of_image(request: &Request, builder: String) -> Self {
        Self {
            common: Request {
                builder: Some(builder),
                ..request.clone()
            },
            tag: true,
            pull: PullPolicies::default(),
            scripts_url: None,
            image_scripts_url: Some(ScriptsUrl::Image(IN_IMAGE.to_owned())),
            scripts_url_recorded: false,
            image_scripts_url_recorded: false,
            script_hosts: Vec::new(),
            offline: matches!(request.network, Network::None),
            package_cache: false,
            destination: None,
            assemble_user: None,
            assemble_runtime_user: None,
            allowed_uids: None,
            incremental: request.incremental,
            previous: None,
            injections: Vec::new(),
            runtime_artifacts: Vec::new(),
            application_name: None,
            description: None,
            labels: Vec::new(),
            split: true,
            add_hosts: Vec::new(),
            cap_drop: Vec::new(),
            volumes: Vec::new(),
            remove_previous: false,
            quiet: false,
        }
    }
}

/// `always`, `never`, `if-not-present`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    Always,
    Never,
    #[default]
    IfNotPresent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullPolicies {
    pub builder: PullPolicy,
    pub previous: PullPolicy,
    pub runtime: PullPolicy,
}

/// A prepared source: its files for the image, and where they came from.
#[derive(Debug, Clone)]
pub struct Source {
    /// `.s2i/bin` and `.s2i/environment` are still in it. `tree.commit` gives the labels about the
    /// commit.
    pub tree: Tree,
    /// Label `source-location`: a URL without credentials, or another description of where the
    /// source is; never a path of this machine.
    pub location: Option<String>,
    /// Label `source-context-dir`.
    pub context_dir: Option<String>,
    /// Label `commit.ref`, if it is not the branch in `tree.commit`.
    pub reference: Option<String>,
    /// It is a directory of the caller, whose files have chosen modes. Files that warpdrive fetched or
    /// unpacked have the modes of its own umask.
    pub modes_count: bool,
    /// `--exclude`, if it is not the default.
    pub exclude: Option<String>,
}

impl Source {
    /// A collected source; `context` is the directory in it that is the source, if it is not the whole.
    pub fn of_tree(tree: Tree, context: Option<&std::path::Path>) -> Self {
        Self {
            tree,
            location: None,
            context_dir: context.map(|path| path.to_string_lossy().into_owned()),
            reference: None,
            modes_count: false,
            exclude: None,
        }
    }
}
