//! `/etc/passwd` (passwd(5)).

use super::{Id, lines, lossy};

/// One line of passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub line: usize,
    pub name: String,
    /// `x`: the password is in shadow. Empty: no password is needed.
    pub password: Vec<u8>,
    pub uid: Id,
    pub gid: Id,
    pub home: String,
    pub shell: String,
}

/// The accounts, in order, and the numbers of lines that are not accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passwd {
    pub accounts: Vec<Account>,
    pub odd_lines: Vec<usize>,
}

impl Passwd {
    /// The accounts that some program reads as this uid.
    pub fn of_uid(&self, uid: u32) -> impl Iterator<Item = &Account> {
        self.accounts
            .iter()
            .filter(move |account| account.uid.may_be(uid))
    }

    pub fn named(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }
}

/// Reads the file. Programs accept a line as an account only if it has the first four fields.
pub fn parse(bytes: &[u8]) -> Passwd {
    let mut passwd = Passwd::default();
    for (number, line) in lines(bytes) {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        // `+` and `-` at the beginning ask for accounts from elsewhere (nsswitch.conf, "compat").
        let compat = matches!(line.first(), Some(b'+' | b'-'));
        if fields.len() != 7 || field(0).is_empty() || compat {
            passwd.odd_lines.push(number);
        }
        if fields.len() < 3 || field(0).is_empty() || compat {
            continue;
        }
        passwd.accounts.push(Account {
            line: number,
            name: lossy(field(0)),
            password: field(1).to_vec(),
            uid: Id::parse(field(2)),
            gid: Id::parse(field(3)),
            home: lossy(field(5)),
            shell: lossy(field(6)),
        });
    }
    passwd
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_all_kinds() {
        let passwd = parse(
            b"root:x:0:0:root:/root:/bin/bash\n# note\n\napp::1001:0:,,,:/opt/app-root:/bin/sh\n\
              evil:x:+0:0::/:/bin/sh\nshort:x:0\n+::::::\n:x:0:0:::\nno colon\nlast:x:7:7::/:",
        );
        let names: Vec<&str> = passwd.accounts.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["root", "app", "evil", "short", "last"]);
        assert_eq!(passwd.odd_lines, [6, 7, 8, 9]);
        let zero: Vec<&str> = passwd.of_uid(0).map(|a| a.name.as_str()).collect();
        assert_eq!(zero, ["root", "evil", "short"]);
        let app = passwd.named("app").unwrap();
        assert_eq!(
            (app.uid.clone(), app.gid.clone()),
            (Id::Plain(1001), Id::Plain(0))
        );
        assert_eq!(
            (app.line, app.home.as_str(), app.password.len()),
            (4, "/opt/app-root", 0)
        );
        assert_eq!(passwd.named("evil").unwrap().uid, Id::Odd("+0".into()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let passwd = parse(&bytes);
            prop_assert!(passwd.accounts.len() <= bytes.split(|&b| b == b'\n').count());
        }

        #[test]
        fn a_well_formed_line_is_read_as_it_was_written(
            name in "[a-z_][a-z0-9_-]{0,30}", uid in 0..u32::MAX, gid in 0..u32::MAX,
            home in "/[a-z/]{0,20}", shell in "/[a-z/]{0,20}",
        ) {
            let passwd = parse(format!("{name}:x:{uid}:{gid}::{home}:{shell}\n").as_bytes());
            prop_assert!(passwd.odd_lines.is_empty());
            let account = &passwd.accounts[0];
            prop_assert_eq!(&account.name, &name);
            prop_assert_eq!(&account.uid, &Id::Plain(uid));
            prop_assert_eq!(&account.gid, &Id::Plain(gid));
            prop_assert_eq!(&account.home, &home);
        }
    }
}
