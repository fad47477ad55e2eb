//! The contract between a build on the host and the executable in the image. Each name is defined
//! here once: phases, variables, paths, exit status. Only these two programs use them; the settings
//! that users write are in `settings`.

/// The halves of `assemble`; [`BUILD_PHASE`] names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Dependencies,
    Application,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Dependencies => "dependencies",
            Self::Application => "application",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Dependencies, Self::Application]
            .into_iter()
            .find(|phase| phase.name() == name)
    }
}

/// Which phase runs; both if it is not set.
pub const BUILD_PHASE: &str = "WARPDRIVE_BUILD_PHASE";
/// Which program builds: `warpdrive` on the host; the default is `image` or `local`.
pub const BUILD_SYSTEM: &str = "WARPDRIVE_BUILD_SYSTEM";
/// `build` or `deploy`.
pub const LIFE_PHASE: &str = "WARPDRIVE_PHASE";
/// The application's root, and the source below it.
pub const APP_ROOT: &str = "WARPDRIVE_APP_ROOT";
pub const SRC_ROOT: &str = "WARPDRIVE_SRC_ROOT";
/// The application's directory in the source.
pub const APP_HOME: &str = "WARPDRIVE_APP_HOME";

/// `1`: code of packages may run; packages without a wheel are built.
pub const BUILD_SDISTS: &str = "WARPDRIVE_BUILD_SDISTS";
/// `1`: everything is resolved again.
pub const UPGRADE: &str = "WARPDRIVE_UPGRADE";
/// `1`: everything in the list is in the installer's cache: the host has fetched it, because only the
/// host knows the logins of the indexes.
pub const FETCHED: &str = "WARPDRIVE_FETCHED";
/// The server's packages, which phase one cannot find out: it does not see the source.
pub const SERVER_PACKAGES: &str = "WARPDRIVE_SERVER_PACKAGES";
/// The agent, for the same reason.
pub const INSTRUMENT: &str = "WARPDRIVE_INSTRUMENT";
/// Names the file with the list from a manager's lock.
pub const LISTED: &str = "WARPDRIVE_LISTED";
/// Names of the variables that the caller has set, with spaces between them.
pub const SAID_VARIABLES: &str = "WARPDRIVE_SAID_VARIABLES";
/// The variables that every image on this base has, as a JSON object.
pub const IMAGE_ENVIRONMENT: &str = "WARPDRIVE_IMAGE_ENVIRONMENT";

/// The status of phase one where something has no wheel (`EX_TEMPFAIL`): call it again with
/// [`BUILD_SDISTS`] and a cache that nothing else reads.
pub const NEEDS_SDISTS: i32 = 75;

/// Everything that exists only during a build is mounted here.
pub const RUN: &str = "/run/warpdrive";
/// The plan, below the application's root: how the application is started.
pub const PLAN_FILE: &str = "etc/warpdrive/plan.json";
