//! Chooses the image on which the application runs: the one that the caller or the project names, else the
//! slim twin of its builder, if the store has it and it fits, else the builder itself.
//!
//! The twin fits if it has the same Python, each of the builder's shared libraries that the dependencies
//! need, and the programs that well-known packages run, and if the application can be loaded on it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::app::settings::Settings;
use crate::builder::choose;
use crate::builder::definition;
use crate::rootfs::Merged;
use crate::store::{Needs, Record, Store};

use super::allowed_builders;
use super::apt;
use super::audit_gate;
use super::base::{self, Base};
use super::context::Context;
use super::dependencies::Phase1;
use super::error::BuildError;
use super::image_use::Use;
use super::libraries::{self, Missing};
use super::report::RuntimeReport;
use super::request::Request;

/// The word for the builder image itself.
pub const BUILDER: &str = "builder";

/// Distributions that need a program of the system: its display name, and its file.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("mod-wsgi", "Apache", "/usr/sbin/apache2"),
    ("gitpython", "git", "/usr/bin/git"),
];

/// The application can be loaded on its builder, but not on the twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BuilderOnly {
    /// The error on the twin.
    pub(super) problem: String,
}

impl Record for BuilderOnly {
    const KIND: &'static str = "builder-only";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// Puts the project's choice into the request, unless the caller has made one.
///
/// # Errors
/// If a file of the source names an image that is not allowed.
pub(super) fn take_choice(
    store: &Store,
    request: &mut Request,
    settings: &Settings,
) -> Result<(), BuildError> {
    if request.runtime_image.is_some() || !request.twin {
        return Ok(());
    }
    match settings.value("runtime") {
        None => {}
        Some(named) if named.text == BUILDER => request.twin = false,
        Some(named) => {
            allowed_builders::check(Use::Runtime, store, &named, &request.allowed_builders)?;
            request.runtime_image = Some(named.text);
        }
    }
    Ok(())
}

/// The image that the application runs on, if it is not the one that it was built on.
pub(super) struct RunsOn {
    pub(super) image: Option<Base>,
    /// It was chosen automatically, and this other image would fit as well.
    pub(super) instead: Option<Base>,
    pub(super) because: String,
}

impl RunsOn {
    pub(super) fn report(&self, builder: &Base) -> RuntimeReport {
        let image = self.image.as_ref().unwrap_or(builder);
        RuntimeReport {
            reference: image.reference.clone(),
            because: self.because.clone(),
        }
    }
}

/// The result of the search for a twin.
#[expect(clippy::large_enum_variant, reason = "there is one of it in a build")]
enum Twin {
    Taken(RunsOn),
    Refused { because: String },
}

impl Twin {
    fn refused(because: &str) -> Self {
        Self::Refused {
            because: because.to_owned(),
        }
    }
}

/// The comparison of a twin with the installed packages.
enum Fit {
    /// It fits; with the libraries that its builder lacks as well.
    Whole(Box<Base>, Missing),
    /// It lacks libraries that the builder has.
    Lacks(Missing),
}

impl Fit {
    fn of(twin: Base, missing: Missing, known: &Missing) -> Self {
        let lost = missing.beyond(known);
        if lost.is_empty() {
            Self::Whole(Box::new(twin), missing)
        } else {
            Self::Lacks(lost)
        }
    }
}

/// The candidates.
pub(super) struct Choice<'a> {
    pub(super) context: Context<'a>,
    /// The image that it was built on, with all Debian packages that the project names.
    pub(super) built_on: &'a Base,
    /// The builder without them.
    pub(super) plain: &'a Base,
    /// The image that was named, ready to run on.
    pub(super) named: Option<Base>,
    pub(super) packages: &'a apt::Packages,
    /// Why the twin is not used, if it is known.
    pub(super) no_twin: Option<&'a str>,
}

impl Choice<'_> {
    /// Chooses, and reports what the chosen image lacks. `loads` says why the application cannot be loaded
    /// on the twin, if it is known.
    pub(super) fn make(
        mut self,
        phase1: &Phase1,
        loads: impl Fn(&Base) -> Result<Option<String>, BuildError>,
    ) -> Result<RunsOn, BuildError> {
        if let Some(named) = self.named.take() {
            let added = self.with_libraries(phase1, &named)?;
            return Ok(RunsOn {
                image: Some(added.unwrap_or(named)),
                instead: None,
                because: "this image was asked for".into(),
            });
        }
        let own = self.without_build_packages()?;
        let otherwise = own.as_ref().unwrap_or(self.built_on);
        let because = match self.twin(phase1, otherwise, loads)? {
            Twin::Taken(twin) => return Ok(twin),
            Twin::Refused { because } => because,
        };
        let added = self.with_libraries(phase1, otherwise)?;
        Ok(RunsOn {
            image: added.or(own),
            instead: None,
            because,
        })
    }

    /// The twin, or why it is not used: `otherwise` is the image that the application runs on then.
    fn twin(
        &self,
        phase1: &Phase1,
        otherwise: &Base,
        loads: impl Fn(&Base) -> Result<Option<String>, BuildError>,
    ) -> Result<Twin, BuildError> {
        let Context {
            store,
            request,
            progress,
        } = self.context;
        if let Some(because) = self.no_twin {
            return Ok(Twin::refused(because));
        }
        if !request.twin {
            return Ok(Twin::refused("the builder image itself was asked for"));
        }
        let Some(name) = choose::twin_name(&self.plain.reference, &self.plain.image) else {
            return Ok(Twin::refused("there is no slim twin of its builder"));
        };
        if !choose::is_twin(store, &name, &self.plain.image)? {
            let remedy = if definition::known(&name).is_some() {
                format!(
                    "`warpdrive builder build {}` makes it",
                    self.plain.reference
                )
            } else {
                "an image with that name would be used".to_owned()
            };
            let because = format!("{name} is not in the store: {remedy}");
            return Ok(Twin::Refused { because });
        }
        let stays = |because: String| {
            progress.step(&format!(
                "---> Running on {}: {because}",
                otherwise.reference
            ));
            Ok(Twin::Refused { because })
        };
        let plain = base::prepare(store, name.clone(), None, progress)?;
        let (ours, its) = (&self.built_on.python, &plain.python);
        if (&ours.minor, &ours.abi, &ours.libc, &ours.executable)
            != (&its.minor, &its.abi, &its.libc, &its.executable)
        {
            return stays(format!("{name} has another Python"));
        }
        let twin = match apt::with(self.context, plain, self.packages.to_run.as_ref()) {
            Err(BuildError::AptBase { .. }) => {
                return stays(format!("{name} cannot be made with the packages here"));
            }
            other => other?,
        };
        if let Some((distribution, program)) = self.lacks_program(phase1, &twin, otherwise)? {
            return stays(format!(
                "{distribution} needs {program}, which {name} lacks"
            ));
        }
        let (mut twin, missing) = match self.fits(phase1, &name, twin, otherwise)? {
            Fit::Whole(twin, missing) => (*twin, missing),
            Fit::Lacks(lost) => return stays(format!("{name} lacks {}", lost.in_words())),
        };
        if let Some(problem) = loads(&twin)? {
            return stays(format!(
                "the application cannot be loaded on {name}: {problem}"
            ));
        }
        let because = "it has what the dependencies need, and no compiler".to_owned();
        progress.step(&format!("---> Running on {}: {because}", twin.reference));
        missing.tell(&twin.reference, progress);
        if request.harden {
            twin.harden(store, &request.budget)?;
        }
        audit_gate::builder(self.context, &twin)?;
        Ok(Twin::Taken(RunsOn {
            image: Some(twin),
            instead: Some(otherwise.clone()),
            because,
        }))
    }

    /// The twin (with packages that `--auto-apt` adds, if needed), and what both it and the builder
    /// lack; or what only the twin lacks.
    fn fits(
        &self,
        phase1: &Phase1,
        name: &str,
        twin: Base,
        otherwise: &Base,
    ) -> Result<Fit, BuildError> {
        let Context {
            store,
            request,
            progress,
        } = self.context;
        let missing = libraries::missing(store, phase1, &twin)?;
        if missing.is_empty() {
            return Ok(Fit::Whole(Box::new(twin), missing));
        }
        let known = libraries::missing(store, phase1, otherwise)?;
        let found = missing.packages();
        if request.auto_apt && !found.is_empty() {
            let named = apt::Named::and(self.packages.to_run.as_ref(), found);
            let plain = base::prepare(store, name.to_owned(), None, progress)?;
            match apt::with(self.context, plain, Some(&named)) {
                Err(BuildError::AptBase { .. }) => {}
                added => {
                    let added = added?;
                    let missing = libraries::missing(store, phase1, &added)?;
                    return Ok(Fit::of(added, missing, &known));
                }
            }
        }
        Ok(Fit::of(twin, missing, &known))
    }

    /// A distribution, and the program that it runs and that only the builder has.
    fn lacks_program(
        &self,
        phase1: &Phase1,
        twin: &Base,
        otherwise: &Base,
    ) -> Result<Option<(&'static str, &'static str)>, BuildError> {
        let store = self.context.store;
        let installed = |name: &str| phase1.result.resolved.iter().any(|(own, _)| own == name);
        for (distribution, program, file) in PROGRAMS {
            if !installed(distribution) {
                continue;
            }
            let has = |base: &Base| -> Result<bool, BuildError> {
                Ok(Merged(&base.lowers(store)?).exists(Path::new(file)))
            };
            if !has(twin)? && has(otherwise)? {
                return Ok(Some((distribution, program)));
            }
        }
        Ok(None)
    }

    /// The builder without the packages for the build only, if there are such packages.
    fn without_build_packages(&self) -> Result<Option<Base>, BuildError> {
        let request = self.context.request;
        if !self.packages.has_more_to_build() || request.pinned.is_some() {
            return Ok(None);
        }
        let own = self.plain.clone();
        let mut own = apt::with(self.context, own, self.packages.to_run.as_ref())?;
        if request.harden {
            own.harden(self.context.store, &request.budget)?;
        }
        audit_gate::builder(self.context, &own)?;
        Ok(Some(own))
    }

    /// Compares the installed packages with the shared libraries of the image that they will run in, and
    /// reports missing libraries. With `--auto-apt`: adds the Debian packages that have them.
    fn with_libraries(&self, phase1: &Phase1, runtime: &Base) -> Result<Option<Base>, BuildError> {
        let Context {
            store,
            request,
            progress,
        } = self.context;
        let missing = libraries::missing(store, phase1, runtime)?;
        let found = missing.packages();
        if !request.auto_apt || found.is_empty() || request.pinned.is_some() {
            missing.tell(&runtime.reference, progress);
            return Ok(None);
        }
        let named = apt::Named::and(self.packages.to_run.as_ref(), found);
        let plain = request
            .runtime_image
            .as_ref()
            .unwrap_or(&self.plain.reference);
        let below = base::prepare(store, plain.to_owned(), None, progress)?;
        let mut added = apt::with(self.context, below, Some(&named))?;
        if request.harden {
            added.harden(store, &request.budget)?;
        }
        audit_gate::builder(self.context, &added)?;
        libraries::missing(store, phase1, &added)?.tell(&added.reference, progress);
        Ok(Some(added))
    }
}

/// The text for `--dry-run`: what is known about it before anything is built.
pub(super) fn expected(
    store: &Store,
    request: &Request,
    builder: &str,
) -> Result<String, BuildError> {
    if let Some(named) = &request.runtime_image {
        return Ok(named.clone());
    }
    if !request.twin {
        return Ok(builder.to_owned());
    }
    let twin = match store.image(builder)? {
        Some(image) => match choose::twin_name(builder, &image) {
            Some(name) if choose::is_twin(store, &name, &image)? => Some(name),
            _ => None,
        },
        None => None,
    };
    Ok(match twin {
        Some(twin) => format!("{twin}, if it has what the dependencies need, else {builder}"),
        None => builder.to_owned(),
    })
}
