//! `/etc/shadow` (shadow(5)) and what its password fields mean (crypt(5)).

use super::{lines, lossy};

/// What a password field allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Password {
    /// No password is needed.
    Empty,
    /// No password fits: `*`, `!`, `!hash`, or text that no hash looks like.
    Locked,
    /// A hash that is broken by trying: DES, MD5, NTHASH, `$sha1$`, or SHA-crypt with fewer than
    /// 5000 rounds.
    Weak(&'static str),
    /// A hash. Everyone with the image has it, and a person who knows the password can log in.
    Usable,
    /// The word `x` in passwd: see shadow.
    InShadow,
}

/// One line of shadow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub name: String,
    pub password: Password,
    /// The field as written; never shown.
    pub field: Vec<u8>,
}

/// Reads the file. A line without a colon has no password field: login refuses such an account.
pub fn parse(bytes: &[u8]) -> Vec<Entry> {
    lines(bytes)
        .filter_map(|(line, text)| {
            let mut fields = text.split(|&byte| byte == b':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            let password = fields.next()?;
            Some(Entry {
                line,
                name: lossy(name),
                password: judge(password),
                field: password.to_vec(),
            })
        })
        .collect()
}

/// Reads the meaning of a password field, in shadow or in passwd.
pub fn judge(field: &[u8]) -> Password {
    let is_hash_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"./".contains(byte);
    match field {
        b"" => Password::Empty,
        b"x" => Password::InShadow,
        [b'!' | b'*', ..] => Password::Locked,
        [b'_', rest @ ..] if rest.len() == 19 && rest.iter().all(is_hash_byte) => {
            Password::Weak("BSDi DES")
        }
        [b'$', rest @ ..] => modular(rest),
        // With an age behind a comma, or as bigcrypt: a further part for each eight letters.
        _ if field.len() >= 13 && field[..13].iter().all(is_hash_byte) => {
            let rest = &field[13..];
            let is_hash = rest.first().is_none_or(|first| *first == b',')
                || (rest.len().is_multiple_of(11) && rest.iter().all(is_hash_byte));
            if is_hash {
                Password::Weak("DES")
            } else {
                Password::Locked
            }
        }
        _ => Password::Locked,
    }
}

/// `$ID$…`
fn modular(rest: &[u8]) -> Password {
    let mut parts = rest.split(|&byte| byte == b'$');
    let id = parts.next().unwrap_or_default();
    let second = parts.next();
    match (id, second) {
        (_, None) => Password::Locked,
        (id, _) if id == b"1" || id.starts_with(b"md5") => Password::Weak("MD5"),
        (b"3", _) => Password::Weak("NTHASH"),
        (b"sha1", _) => Password::Weak("SHA-1"),
        (b"5" | b"6", Some(second)) => match second.strip_prefix(b"rounds=") {
            Some(rounds) if few(rounds) => Password::Weak("SHA-crypt with few rounds"),
            _ => Password::Usable,
        },
        // bcrypt, scrypt, yescrypt, Argon2; and what the image's own libcrypt may know.
        _ => Password::Usable,
    }
}

fn few(rounds: &[u8]) -> bool {
    std::str::from_utf8(rounds)
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .is_none_or(|rounds| rounds < 5000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn password_fields() {
        for (field, expected) in [
            ("", Password::Empty),
            ("x", Password::InShadow),
            ("*", Password::Locked),
            ("!", Password::Locked),
            ("!!", Password::Locked),
            ("!$6$salt$hash", Password::Locked),
            ("*LK*", Password::Locked),
            ("secret", Password::Locked),
            ("$", Password::Locked),
            ("$6", Password::Locked),
            ("ab01234567890", Password::Weak("DES")),
            ("ab0123456789:", Password::Locked),
            ("_J9..rasmBYk8r9AiWNc", Password::Weak("BSDi DES")),
            ("$1$salt$qJH7.N4xYta3aEG/dfqo/0", Password::Weak("MD5")),
            (
                "$3$$8846f7eaee8fb117ad06bdd830b7586c",
                Password::Weak("NTHASH"),
            ),
            ("$6$salt$hash", Password::Usable),
            ("$5$rounds=5000$salt$hash", Password::Usable),
            (
                "$5$rounds=1000$salt$hash",
                Password::Weak("SHA-crypt with few rounds"),
            ),
            (
                "$6$rounds=x$salt$hash",
                Password::Weak("SHA-crypt with few rounds"),
            ),
            ("$y$j9T$salt$hash", Password::Usable),
            ("$2b$12$hash", Password::Usable),
            ("$nobody$knows", Password::Usable),
            ("abhfCpXqd4GrI,..", Password::Weak("DES")),
            ("abhfCpXqd4GrIatlJWV.Y872XzhaZhBwF9c", Password::Weak("DES")),
            ("NoPasswordLogin", Password::Locked),
            (
                "$md5,rounds=5000$abcdefgh$$y6y8ASz28gb3dkLcv.bWO1",
                Password::Weak("MD5"),
            ),
        ] {
            assert_eq!(judge(field.as_bytes()), expected, "{field}");
        }
    }

    #[test]
    fn lines_of_all_kinds() {
        let entries = parse(b"root::19000:0:99999:7:::\napp:!:1::::::\nbare\n::1\n#x::\nlast:");
        let read: Vec<(&str, Password)> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.password))
            .collect();
        assert_eq!(
            read,
            [
                ("root", Password::Empty),
                ("app", Password::Locked),
                ("last", Password::Empty)
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_locked_field_stays_locked(hash in "[!*][ -9;-~]{0,40}") {
            prop_assert_eq!(judge(hash.as_bytes()), Password::Locked);
        }
    }
}
