//! Loads the images of a build by the pull policy, and reads their labels and users.

use std::path::{Path, PathBuf};

use crate::app::contract::PLAN_LABEL;
use crate::builder::{LABEL_KIND, LABEL_NAME, LABEL_PYTHON};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::rootfs::{self, Merged, Seen, User, find_user};
use crate::s2i::labels::{self, ImageLabels};
use crate::s2i::scripts::{ASSEMBLE, IN_IMAGE};
use crate::s2i::{AllowedUids, onbuild};
use crate::sandbox::IdMode;
use crate::store::{Image, Store};

use super::super::report::NameAndDigest;
use super::super::{BuildError, base};
use super::error::S2iBuildError;
use super::request::{PullPolicy, S2iRequest};

/// The user of processes with a single uid.
const ONLY: (u32, u32) = (1001, 0);

/// An image to build on, its layers laid out.
pub(super) struct BaseImage {
    pub(super) reference: String,
    pub(super) image: Image,
    pub(super) labels: ImageLabels,
    /// The uppermost first.
    pub(super) lowers: Vec<PathBuf>,
}

/// Whether an image is another builder, with its own S2I scripts or `ONBUILD` triggers.
///
/// warpdrive's own builders have scripts too, from the builder layer, and images that warpdrive
/// built have their labels: builds on these have two phases.
pub(super) fn is_s2i_builder(image: &Image) -> bool {
    let config = &image.config;
    !is_ours(image) && (labels::has_scripts(config) || !onbuild::triggers(config).is_empty())
}

/// Whether `builder build` made this image, or warpdrive built it on such an image.
pub(super) fn is_ours(image: &Image) -> bool {
    [LABEL_NAME, LABEL_KIND, LABEL_PYTHON, PLAN_LABEL]
        .iter()
        .any(|label| {
            image
                .config
                .label(label)
                .is_some_and(|value| !value.is_empty())
        })
}

/// Takes an image from the store, or from its registry.
pub fn fetch(
    store: &Store,
    reference: &str,
    policy: PullPolicy,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    match policy {
        PullPolicy::IfNotPresent => base::in_store(store, reference, progress),
        PullPolicy::Always => {
            let image = base::pull(store, reference, progress)?;
            base::fits(&image, reference)?;
            Ok(image)
        }
        PullPolicy::Never => {
            let image = store
                .image(reference)?
                .ok_or_else(|| S2iBuildError::NotInStore {
                    reference: reference.to_owned(),
                })?;
            base::fits(&image, reference)?;
            Ok(image)
        }
    }
}

/// The image of this digest if a record names one, else what [`fetch`] gives.
pub(super) fn fetch_exactly(
    store: &Store,
    reference: &str,
    digest: Option<&Digest>,
    policy: PullPolicy,
    progress: &dyn Progress,
) -> Result<Image, BuildError> {
    match digest {
        Some(digest) => base::exactly(store, reference, digest, progress),
        None => fetch(store, reference, policy, progress),
    }
}

impl BaseImage {
    pub(super) fn new(store: &Store, reference: &str, image: Image) -> Result<Self, BuildError> {
        Ok(Self {
            reference: reference.to_owned(),
            labels: ImageLabels::read(&image.config, reference).map_err(S2iBuildError::S2i)?,
            lowers: rootfs::lowers(store, &image, IdMode::current().into())?,
            image,
        })
    }

    pub(super) fn named(&self) -> NameAndDigest {
        NameAndDigest {
            reference: self.reference.clone(),
            digest: self.image.descriptor.digest().to_string(),
        }
    }

    pub(super) fn merged(&self) -> Merged<'_> {
        Merged(&self.lowers)
    }

    /// The name of this image in cache keys.
    pub(super) fn identity(&self) -> String {
        self.image.manifest.config().digest().to_string()
    }

    /// The user of this name in the image, if this machine can provide it.
    pub(super) fn user(&self, name: &str, what: &'static str) -> Result<User, S2iBuildError> {
        let user = find_user(&self.lowers, name)?;
        must_exist(&user, &self.reference, what)?;
        Ok(user)
    }

    /// Checks the user that the image names against `--allowed-uids`.
    pub(super) fn check_user(&self, allowed: Option<&AllowedUids>) -> Result<(), S2iBuildError> {
        check(
            allowed,
            self.image.config.user(),
            &format!("USER of `{}`", self.reference),
        )
    }

    /// Whether it has an `assemble` at the default path of images without the label.
    pub(super) fn has_assemble(&self) -> bool {
        let path = Path::new(IN_IMAGE).join(ASSEMBLE);
        matches!(self.merged().followed(&path), Ok(Seen::File(..)))
    }

    /// Where relative paths begin: `WORKDIR`, else the root.
    pub(super) fn working_dir(&self) -> PathBuf {
        Path::new("/").join(self.image.config.working_dir())
    }
}

/// Checks one user against `--allowed-uids`; `what` says where the user comes from.
pub(super) fn check(
    allowed: Option<&AllowedUids>,
    user: &str,
    what: &str,
) -> Result<(), S2iBuildError> {
    let Some(allowed) = allowed else {
        return Ok(());
    };
    allowed
        .check(user)
        .map_err(|reason| S2iBuildError::UserRefused {
            what: what.to_owned(),
            user: user.chars().filter(|c| !c.is_control()).take(100).collect(),
            allowed: allowed.to_string(),
            reason,
        })
}

/// The user of assemble, which `--allowed-uids` must allow. `changed` is the one that `ONBUILD` triggers
/// have set.
pub(super) fn check_assemble_user<'a>(
    request: &'a S2iRequest,
    builder: &'a BaseImage,
    changed: Option<&'a str>,
) -> Result<&'a str, S2iBuildError> {
    let user = request
        .assemble_user
        .as_deref()
        .or(builder.labels.assemble_user.as_deref())
        .or(changed)
        .unwrap_or(builder.image.config.user());
    check(request.allowed_uids.as_ref(), user, "the user of assemble")?;
    Ok(user)
}

/// Refuses a user that this machine cannot provide.
pub(super) fn must_exist(
    user: &User,
    image: &str,
    what: &'static str,
) -> Result<(), S2iBuildError> {
    if IdMode::current() == IdMode::SingleUid
        && ((user.uid, user.gid) != ONLY || !user.groups.is_empty())
    {
        return Err(S2iBuildError::OneUid {
            what,
            image: image.to_owned(),
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
        });
    }
    Ok(())
}
