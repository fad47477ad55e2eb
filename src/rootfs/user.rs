//! An image's `User` and `-u`: numbers, or names from the image's own `/etc/passwd` and
//! `/etc/group`, read by our own parser (a static glibc must not ask NSS in a foreign root).

use std::io;
use std::path::{Path, PathBuf};

use super::merged::{Merged, read_file_in};

/// Largest `/etc/passwd` or `/etc/group` that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Most supplementary groups (the kernel's `NGROUPS_MAX` is 65536).
const MAX_GROUPS: usize = 1000;

/// The user that runs the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// From `/etc/group`, for a user of `/etc/passwd` without an explicit group, as docker does it.
    pub groups: Vec<u32>,
    /// From `/etc/passwd`; `/` for an unknown user.
    pub home: String,
}

/// A user that cannot run a command.
#[derive(Debug, thiserror::Error)]
#[error("cannot run as user `{user}`: {problem}")]
pub struct UserError {
    pub user: String,
    pub problem: String,
}

/// Finds `UID`, `NAME`, `UID:GID`, `NAME:GROUP` …; an empty text means root.
pub fn find_user(lowers: &[PathBuf], text: &str) -> Result<User, UserError> {
    find(text, |path| Merged(lowers).read(path, MAX_FILE))
}

/// The same in a running container, whose root is at `root` (`/proc/PID/root`).
pub fn find_user_in(root: &Path, text: &str) -> Result<User, UserError> {
    find(text, |path| read_file_in(root, path, MAX_FILE))
}

fn find(
    text: &str,
    read: impl Fn(&Path) -> io::Result<Option<Vec<u8>>>,
) -> Result<User, UserError> {
    let wrong = |problem: String| UserError {
        user: text.to_owned(),
        problem,
    };
    let read = |path: &str| {
        read(Path::new(path))
            .map(|bytes| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
            .map_err(|error| wrong(format!("{path} of the image cannot be read: {error}")))
    };
    let passwd = read("/etc/passwd")?;
    let group = read("/etc/group")?;
    resolve(&passwd, &group, text).map_err(wrong)
}

fn resolve(passwd: &str, group: &str, text: &str) -> Result<User, String> {
    let (user, group_name) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = parse_id(user);
    let line = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| match number {
            Some(uid) => fields.get(2).and_then(|text| parse_id(text)) == Some(uid),
            None => fields.first() == Some(&user),
        });
    let field = |index: usize| line.as_ref().and_then(|fields| fields.get(index).copied());
    let uid = match number {
        Some(uid) => uid,
        None => field(2)
            .and_then(parse_id)
            .ok_or_else(|| format!("`{user}` is not in the image's /etc/passwd"))?,
    };
    let gid = match group_name {
        Some(name) if !name.is_empty() => match parse_id(name) {
            Some(gid) => gid,
            None => group
                .lines()
                .find_map(|line| {
                    let mut fields = line.split(':');
                    (fields.next() == Some(name)).then(|| parse_id(fields.nth(1)?))?
                })
                .ok_or_else(|| format!("`{name}` is not in the image's /etc/group"))?,
        },
        _ => field(3).and_then(parse_id).unwrap_or(0),
    };
    let home = field(5)
        .filter(|home| home.starts_with('/'))
        .unwrap_or("/")
        .to_owned();
    let groups = match (group_name, field(0)) {
        (None, Some(name)) => memberships(group, name, gid),
        _ => Vec::new(),
    };
    Ok(User {
        uid,
        gid,
        groups,
        home,
    })
}

/// The groups besides `gid` that list this user as a member.
fn memberships(group: &str, name: &str, gid: u32) -> Vec<u32> {
    let mut found: Vec<u32> = group
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let members = fields.get(3)?;
            let member = members.split(',').any(|member| member.trim() == name);
            parse_id(fields.get(2)?).filter(|id| member && *id != gid)
        })
        .take(MAX_GROUPS)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// A uid or gid in decimal digits. The largest number means "no change" to the kernel.
fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1001:0::/opt/app-root:\nodd:x:7:8:::\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app\n:::\n";

    #[test]
    fn users_are_found() {
        for (text, uid, gid, home) in [
            ("", 0, 0, "/root"),
            ("0", 0, 0, "/root"),
            ("app", 1001, 0, "/opt/app-root"),
            ("1001", 1001, 0, "/opt/app-root"),
            ("1001:5", 1001, 5, "/opt/app-root"),
            ("app:staff", 1001, 50, "/opt/app-root"),
            ("1000650000", 1_000_650_000, 0, "/"),
            ("1000650000:0", 1_000_650_000, 0, "/"),
            ("odd", 7, 8, "/"),
            (":staff", 0, 50, "/root"),
            ("app:", 1001, 0, "/opt/app-root"),
        ] {
            let home = home.to_owned();
            let groups = match text {
                "app" | "1001" => vec![50],
                _ => Vec::new(),
            };
            assert_eq!(
                resolve(PASSWD, GROUP, text),
                Ok(User {
                    uid,
                    gid,
                    groups,
                    home
                }),
                "{text}"
            );
        }
    }

    #[test]
    fn who_is_not_there_is_refused() {
        for text in [
            "nobody",
            "broken",
            "app:wheel",
            "-1",
            "4294967295",
            "+1",
            "99999999999",
        ] {
            assert!(resolve(PASSWD, GROUP, text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read(passwd in "\\PC{0,60}", group in "[a:0-9\n]{0,40}", text in "[a-c0-9:]{0,6}") {
            let _ = resolve(&passwd, &group, &text);
        }
    }
}
