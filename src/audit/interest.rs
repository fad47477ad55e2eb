//! Which entries of a layer the rules want to see: system directories, account files, the app's own
//! tree, and every file that gives privileges.

use crate::layer::{Member, MemberKind};
use crate::oci::ImageConfig;

use super::accounts::strict_decimal;
use super::paths::{is_beneath, join, split};
use super::{dpkg, secrets, shipped_setuid};

/// Files that decide which users may become root. Also judged: everything in [`ACCOUNT_DIRECTORIES`].
const ACCOUNT_FILES: [&str; 36] = [
    "etc/npasswd",
    "etc/nshadow",
    "etc/passwd+",
    "etc/passwd-",
    "etc/shadow+",
    "etc/shadow-",
    "etc/group+",
    "etc/group-",
    "etc/gshadow+",
    "etc/gshadow-",
    "etc/subuid+",
    "etc/subuid-",
    "etc/subgid+",
    "etc/subgid-",
    "etc/passwd",
    "etc/shadow",
    "etc/group",
    "etc/gshadow",
    "etc/sudoers",
    "etc/sudo.conf",
    "etc/doas.conf",
    "usr/local/etc/sudoers",
    "usr/local/etc/doas.conf",
    "etc/ld.so.preload",
    "etc/ld.so.conf",
    "etc/ld.so.cache",
    "etc/nsswitch.conf",
    "etc/profile",
    "etc/bash.bashrc",
    "etc/environment",
    "etc/crontab",
    "etc/subuid",
    "etc/subgid",
    "etc/netgroup",
    "etc/pam.conf",
    "usr/etc/nsswitch.conf",
];

const ACCOUNT_DIRECTORIES: [&str; 25] = [
    "run/nscd",
    "var/run/nscd",
    "var/lib/misc",
    "etc/sudoers.d",
    "usr/local/etc/sudoers.d",
    "etc/doas.d",
    "etc/pam.d",
    "usr/lib/pam.d",
    "usr/etc/pam.d",
    "etc/authselect",
    "etc/userdb",
    "run/userdb",
    "run/host/userdb",
    "run/systemd/userdb",
    "usr/lib/userdb",
    "usr/local/lib/userdb",
    "var/lib/extrausers",
    "var/lib/sss",
    "var/db",
    "etc/security",
    "etc/ld.so.conf.d",
    "etc/profile.d",
    "etc/cron.d",
    "etc/update-motd.d",
    "run/sudo",
];

/// Those of them that are read. And the files of [`READ_DIRECTORIES`].
const READ_FILES: [&str; 22] = [
    "etc/security/faillock.conf",
    "etc/passwd",
    "etc/shadow",
    "etc/group",
    "etc/gshadow",
    "etc/sudoers",
    "etc/sudo.conf",
    "etc/doas.conf",
    "usr/local/etc/sudoers",
    "usr/local/etc/doas.conf",
    "etc/ld.so.preload",
    "etc/ld.so.cache",
    "etc/nsswitch.conf",
    "usr/etc/nsswitch.conf",
    "etc/netgroup",
    "etc/pam.conf",
    "etc/subuid",
    "etc/subgid",
    "etc/security/group.conf",
    "etc/security/capability.conf",
    "etc/security/limits.conf",
    "etc/security/namespace.conf",
];

const READ_DIRECTORIES: [&str; 9] = [
    "etc/sudoers.d",
    "usr/local/etc/sudoers.d",
    "etc/doas.d",
    "etc/pam.d",
    "usr/lib/pam.d",
    "usr/etc/pam.d",
    "etc/security/limits.d",
    "etc/security/namespace.d",
    "etc/update-motd.d",
];

/// Where sudo's log usually is. A link there, or a directory that others can write, leads elsewhere.
const LOGS: &[u8] = b"var/log";

/// What lies on the way to the sockets that root's programs ask.
const WAYS: [&[u8]; 7] = [
    b"run",
    b"run/dbus",
    b"run/host",
    b"run/systemd",
    b"var",
    b"var/run",
    b"var/run/dbus",
];

/// Where all users, including root, find programs and load libraries.
const SYSTEM_TREES: [&str; 14] = [
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib32",
    "usr/lib64",
    "usr/libexec",
    "usr/local/bin",
    "usr/local/sbin",
];

/// As [`SYSTEM_TREES`], but many images install their Python here.
const LOCAL_LIBRARY: &str = "usr/local/lib";

/// Parent directories of those above: a user who can write here can replace them.
const UPPER_DIRECTORIES: [&str; 7] = [
    "",
    "etc",
    "usr",
    "usr/local",
    "usr/local/etc",
    "var",
    "var/lib",
];

/// The role of a path for the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathKind {
    /// Decides which users may become root.
    Account,
    /// A program or library that not only the app runs, or a directory with such files.
    System,
    /// The app's own files.
    App,
    Elsewhere,
}

/// What the configuration makes the rules look at.
#[derive(Debug)]
pub(super) struct Interest {
    app_roots: Vec<Vec<u8>>,
    search_path: Vec<Vec<u8>>,
    runtime_uid: Option<u32>,
}

impl Interest {
    /// Whether the files of this directory are read.
    pub(super) fn is_read(directory: &[u8]) -> bool {
        READ_DIRECTORIES
            .iter()
            .any(|read| read.as_bytes() == directory)
    }

    /// Whether findings tell of a user other than root who can write to this directory.
    pub(super) fn guards(directory: &[u8]) -> bool {
        let beneath = |list: &[&str]| {
            list.iter()
                .any(|known| is_beneath(directory, known.as_bytes()))
        };
        UPPER_DIRECTORIES
            .iter()
            .any(|known| known.as_bytes() == directory)
            || beneath(&SYSTEM_TREES)
            || beneath(&ACCOUNT_DIRECTORIES)
            || is_beneath(directory, LOCAL_LIBRARY.as_bytes())
    }

    pub(super) fn new(config: &ImageConfig) -> Self {
        let env = config.env();
        let variable = |wanted: &str| {
            let (_, value) = env.iter().rev().find(|(name, _)| name == wanted)?;
            Some(value.as_str())
        };
        let mut app_roots = Vec::new();
        // S2I images name the root of the app in APP_ROOT; HOME and the working directory are its `src`.
        for candidate in [
            variable("APP_ROOT"),
            variable("HOME"),
            Some(config.working_dir()),
        ] {
            let root = candidate.and_then(|text| join(b"", text.as_bytes()));
            let above = root.as_deref().and_then(|root| root.strip_suffix(b"/src"));
            let above = above.filter(|above| may_be_app_root(above));
            let root = above.map(<[u8]>::to_vec).or(root);
            if let Some(root) = root.filter(|root| may_be_app_root(root))
                && !app_roots
                    .iter()
                    .any(|known: &Vec<u8>| is_beneath(&root, known))
            {
                app_roots.push(root);
            }
        }
        let search_path = variable("PATH")
            .unwrap_or_default()
            .split(':')
            .filter(|entry| entry.starts_with('/'))
            .filter_map(|entry| join(b"", entry.as_bytes()))
            .collect();
        let user = config.user();
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        Self {
            app_roots,
            search_path,
            runtime_uid: strict_decimal(user.as_bytes()),
        }
    }

    pub(super) fn has_app_root(&self) -> bool {
        !self.app_roots.is_empty()
    }

    /// Whether the system's own directories come before this path in the search path, if only the
    /// search path makes it a system path.
    pub(super) fn behind_the_system(&self, path: &[u8]) -> Option<bool> {
        let is_system = |entry: &[u8]| {
            SYSTEM_TREES
                .iter()
                .any(|tree| is_beneath(entry, tree.as_bytes()))
        };
        if is_system(path) || is_beneath(path, LOCAL_LIBRARY.as_bytes()) {
            return None;
        }
        let own = self
            .search_path
            .iter()
            .position(|entry| is_beneath(path, entry))?;
        let last = self.search_path.iter().rposition(|entry| is_system(entry));
        Some(last.is_some_and(|last| last < own))
    }

    pub(super) fn place(&self, path: &[u8]) -> PathKind {
        let is = |list: &[&str]| list.iter().any(|known| known.as_bytes() == path);
        let beneath = |list: &[&str]| list.iter().any(|known| is_beneath(path, known.as_bytes()));
        if is(&ACCOUNT_FILES) || beneath(&ACCOUNT_DIRECTORIES) {
            PathKind::Account
        } else if self.app_roots.iter().any(|root| is_beneath(path, root)) {
            PathKind::App
        } else if is(&UPPER_DIRECTORIES)
            || beneath(&SYSTEM_TREES)
            || is_beneath(path, LOCAL_LIBRARY.as_bytes())
            || self.search_path.iter().any(|entry| is_beneath(path, entry))
        {
            PathKind::System
        } else {
            PathKind::Elsewhere
        }
    }

    /// Whether a rule may need this entry; the path is in its normal form.
    pub(super) fn keeps(&self, path: &[u8], member: &Member) -> bool {
        let writable = member.mode & 0o022 != 0;
        let place = self.place(path);
        if place == PathKind::Account {
            return true;
        }
        let own = member.uid != 0 || writable;
        let leads = is_beneath(path, LOGS) || WAYS.contains(&path);
        if leads && is_way(&member.kind, own) {
            return true;
        }
        match &member.kind {
            MemberKind::CharDevice { .. } | MemberKind::BlockDevice { .. } => true,
            MemberKind::File | MemberKind::HardLink(_) | MemberKind::Directory => {
                let directory = member.kind == MemberKind::Directory;
                // In `/usr/local/lib`, many images have thousands of files of a builder's.
                let is_local = !directory && is_beneath(path, LOCAL_LIBRARY.as_bytes());
                let foreign =
                    member.uid != 0 && (!is_local || Some(member.uid) == self.runtime_uid);
                (!directory && (member.mode & 0o6000 != 0 || dpkg::is_verified(path)))
                    || (directory && member.mode & 0o1002 == 0o002)
                    || (place == PathKind::System && (writable || foreign))
                    || (place == PathKind::App
                        && Use::of(directory, member.mode, member.gid) != Use::Full)
            }
            // A link in place of a system directory, or a link that leads to libraries.
            // Packages of Node.js have thousands of others.
            MemberKind::Symlink(_) => {
                let deep = path.split(|&byte| byte == b'/').count() > 5;
                let local = is_beneath(path, LOCAL_LIBRARY.as_bytes());
                shipped_setuid::is_library(path)
                    || shipped_setuid::is_conversion_list(path)
                    || path == LOCAL_LIBRARY.as_bytes()
                    || (place == PathKind::System && !deep && !local)
            }
            MemberKind::Fifo => false,
        }
    }

    /// Whether the file's content is kept until the layers are combined.
    pub(super) fn reads(path: &[u8]) -> bool {
        let (directory, _) = split(path);
        let is = |list: &[&str], path: &[u8]| list.iter().any(|known| known.as_bytes() == path);
        is(&READ_FILES, path)
            || is(&READ_DIRECTORIES, directory)
            || is_beneath(directory, b"etc/authselect")
    }

    /// Whether the content is only examined while the layer is read.
    pub(super) fn looks_into(path: &[u8]) -> bool {
        dpkg::is_md5sums(path) || secrets::is_read(path)
    }
}

/// Whether another path lies behind an entry, or may come to lie there.
fn is_way(kind: &MemberKind, own: bool) -> bool {
    match kind {
        MemberKind::Symlink(_) | MemberKind::HardLink(_) => true,
        _ => own,
    }
}

/// Directories of the system are not an app's, whatever the configuration says.
fn may_be_app_root(root: &[u8]) -> bool {
    let system = SYSTEM_TREES
        .iter()
        .chain(&UPPER_DIRECTORIES)
        .chain(&[
            "boot", "dev", "proc", "root", "run", "sys", "tmp", "var", "var/lib", "home", "opt",
        ])
        .chain(&[LOCAL_LIBRARY, "usr/src", "usr/share", "srv"]);
    let holds_system = SYSTEM_TREES
        .iter()
        .any(|tree| is_beneath(tree.as_bytes(), root));
    let within = SYSTEM_TREES
        .iter()
        .chain(&["etc", "boot", "dev", "proc", "sys"])
        .any(|tree| is_beneath(root, tree.as_bytes()));
    !holds_system && !within && !system.clone().any(|known| known.as_bytes() == root)
}

/// What an arbitrary uid with gid 0 can do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Everything that the owner can do.
    Full,
    /// Not write what the owner can write.
    ReadOnly,
    /// Not read, enter or execute what the owner can.
    None,
}

impl Use {
    pub(super) fn of(directory: bool, mode: u32, gid: u32) -> Self {
        let owner = (mode >> 6) & 0o7;
        let ours = if gid == 0 {
            (mode >> 3) & 0o7
        } else {
            mode & 0o7
        };
        let missing = owner & !ours;
        // A directory needs both the read and the execute permission.
        let needed = if directory { 0o5 } else { owner & 0o5 };
        if missing & 0o5 != 0 || ours & needed != needed {
            Self::None
        } else if missing & 0o2 != 0 {
            Self::ReadOnly
        } else {
            Self::Full
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn interest(home: &str, directory: &str) -> Interest {
        let mut config = ImageConfig::new("linux", "amd64");
        config.set("User", json!("1001"));
        config.set("WorkingDir", json!(directory));
        config.set(
            "Env",
            json!([
                format!("HOME={home}"),
                "PATH=/opt/app-root/bin:/opt/tools/bin:/usr/bin"
            ]),
        );
        Interest::new(&config)
    }

    #[test]
    fn places() {
        let interest = interest("/opt/app-root", "/opt/app-root/src");
        assert_eq!(interest.app_roots.len(), 1);
        for (path, place) in [
            ("etc/passwd", PathKind::Account),
            ("etc/sudoers.d/app", PathKind::Account),
            ("etc/hostname", PathKind::Elsewhere),
            ("opt/app-root/bin/python", PathKind::App),
            ("opt/tools/bin/x", PathKind::System),
            ("usr/lib/x/y", PathKind::System),
            ("usr", PathKind::System),
            ("", PathKind::System),
            ("usr/share/x", PathKind::Elsewhere),
        ] {
            assert_eq!(interest.place(path.as_bytes()), place, "{path}");
        }
    }

    #[test]
    fn the_root_of_an_s2i_app() {
        let place = |home: &str, path: &str| interest(home, "").place(path.as_bytes());
        assert_eq!(
            place("/opt/app-root/src", "opt/app-root/bin/x"),
            PathKind::App
        );
        // `/usr/src` is not a root of an app's.
        assert_eq!(place("/usr/src", "usr/bin/x"), PathKind::System);
        assert_eq!(place("/opt/src", "opt/tools/bin/x"), PathKind::System);
    }

    #[test]
    fn where_the_search_path_has_the_system() {
        let with = |path: &str| {
            let mut config = ImageConfig::new("linux", "amd64");
            config.set("Env", json!([format!("PATH={path}")]));
            Interest::new(&config)
        };
        let path = b"opt/tools/bin";
        assert_eq!(
            with("/usr/bin:/bin:/opt/tools/bin").behind_the_system(path),
            Some(true)
        );
        assert_eq!(
            with("/opt/tools/bin:/usr/bin").behind_the_system(path),
            Some(false)
        );
        assert_eq!(
            with("/usr/bin:/opt/tools/bin:/bin").behind_the_system(path),
            Some(false)
        );
        assert_eq!(with("/usr/bin").behind_the_system(path), None);
        assert_eq!(
            with("/opt/tools/bin:/usr/bin").behind_the_system(b"usr/bin/x"),
            None
        );
    }

    #[test]
    fn a_system_directory_is_no_app() {
        for (home, app) in [
            ("/opt/app-root", true),
            ("/srv/app", true),
            ("/usr/src/app", true),
            ("/app", true),
            ("/home/app", true),
            ("/", false),
            ("/usr", false),
            ("/usr/local", false),
            ("/usr/bin", false),
            ("/usr/lib/app", false),
            ("/etc", false),
            ("/root", false),
            ("/opt/../usr", false),
            ("", false),
        ] {
            assert_eq!(interest(home, "").has_app_root(), app, "{home}");
        }
    }

    #[test]
    fn what_an_arbitrary_uid_can_do() {
        for (directory, mode, gid, expected) in [
            (false, 0o664, 0, Use::Full),
            (false, 0o644, 0, Use::ReadOnly),
            (false, 0o644, 1001, Use::ReadOnly),
            (false, 0o600, 0, Use::None),
            (false, 0o640, 1001, Use::None),
            (false, 0o666, 1001, Use::Full),
            (false, 0o744, 0, Use::None),
            (false, 0o444, 0, Use::Full),
            (true, 0o775, 0, Use::Full),
            (true, 0o755, 0, Use::ReadOnly),
            (true, 0o700, 0, Use::None),
            (true, 0o775, 1001, Use::ReadOnly),
            (true, 0o500, 0, Use::None),
        ] {
            assert_eq!(Use::of(directory, mode, gid), expected, "{mode:o} {gid}");
        }
    }
}
