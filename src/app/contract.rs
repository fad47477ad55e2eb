//! The contract between a build on the host and the executable in the image. Each name is defined
//! here once: phases, variables, paths, the label with the plan, exit status. The settings that users
//! write are in `settings`.

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
/// The label with the same, as JSON; every image that warpdrive builds has it.
pub const PLAN_LABEL: &str = "io.warpdrive.plan";

/// The application's root in every image: its virtual environment and its home.
pub const ROOT: &str = "/opt/app-root";
/// The same below the directory of an unpacked tree, and in a layer.
pub const ROOT_IN_TREE: &str = ROOT.split_at(1).1;
/// The source in every image.
pub const SOURCE: &str = "/opt/app-root/src";
/// The same in a tree.
pub const SOURCE_IN_TREE: &str = SOURCE.split_at(1).1;
/// The S2I scripts in every image.
pub const SCRIPTS: &str = "/opt/app-root/s2i/bin";

const HTTP_PORT: &str = "WARPDRIVE_HTTP_PORT";
/// The variables with the port that the application listens on; the first of them counts.
pub const PORTS: [&str; 2] = ["PORT", HTTP_PORT];
/// Without them.
pub const DEFAULT_PORT: u16 = 8080;

/// The port that an application with these variables listens on.
pub fn port(variable: &dyn Fn(&str) -> Option<String>) -> u16 {
    PORTS
        .into_iter()
        .find_map(|name| variable(name)?.trim().parse().ok().filter(|port| *port > 0))
        .unwrap_or(DEFAULT_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_port_that_is_one_counts() {
        for (first, second, expected) in [
            (None, None, 8080),
            (None, Some("81"), 81),
            (Some("82"), Some("81"), 82),
            (Some(""), Some("81"), 81),
            (Some("0"), Some("99999"), 8080),
        ] {
            let found = port(&|name| {
                let value = if name == PORTS[0] { first } else { second };
                value.map(str::to_owned)
            });
            assert_eq!(found, expected, "{first:?} {second:?}");
        }
    }

    #[test]
    fn places_in_an_image_are_below_its_root() {
        assert_eq!(SOURCE, format!("{ROOT}/src"));
        assert_eq!(SCRIPTS, format!("{ROOT}/s2i/bin"));
        assert_eq!(format!("/{ROOT_IN_TREE}"), ROOT);
        assert_eq!(format!("/{SOURCE_IN_TREE}"), SOURCE);
    }
}
