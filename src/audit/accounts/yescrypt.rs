//! yescrypt (`$y$`; crypt(5)), the format in which Debian hashes passwords. The same passwords are
//! tried as for SHA-crypt, as far as the budget allows.
//!
//! Only the one flavour that crypt(3) makes: read-write memory, one thread, no ROM, no extra time.

use mcf::Base64;
use yescrypt::{Mode, Params};

/// Most memory for one guess, in bytes: what Debian's own hashes take.
const MAX_MEMORY: u64 = 16 << 20;

/// Size of a pair of blocks, in bytes.
const PAIR: u64 = 128;

/// A shadow field that can be tried.
pub(super) struct Hash {
    parameters: Params,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl Hash {
    /// `$y$PARAMETERS$SALT$HASH`; `None` for parameters that crypt(3) does not make by itself, and
    /// for a cost above the budget.
    pub(super) fn parse(field: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(field)
            .ok()?
            .strip_prefix("$y$")?
            .split('$');
        let (given, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let read: Params = given.parse().ok()?;
        let pairs = read.n().checked_mul(u64::from(read.r()))?;
        if parts.next().is_some() || pairs > MAX_MEMORY / PAIR || read.n() < 4 {
            return None;
        }
        // The numbers that are left out here influence the time, too.
        let parameters = Params::new(Mode::default(), read.n(), read.r(), 1).ok()?;
        let salt = Base64::Crypt.decode_vec(salt).ok()?;
        let digest = Base64::Crypt.decode_vec(digest).ok()?;
        (parameters == read && digest.len() == 32 && salt.len() <= 64).then_some(Self {
            parameters,
            salt,
            digest,
        })
    }

    /// What one guess costs, in blocks that are mixed.
    pub(super) fn cost(&self) -> u64 {
        self.parameters.n() * u64::from(self.parameters.r()) * 2
    }

    pub(super) fn fits(&self, word: &[u8]) -> bool {
        let mut made = [0; 32];
        yescrypt::yescrypt(word, &self.salt, &self.parameters, &mut made).is_ok()
            && made[..] == self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By crypt(3) of libxcrypt.
    #[test]
    fn as_others_hash() {
        for (field, word) in [
            (
                "$y$j/.$abcdefgh$haetCDAzuJgGFRocLH9w.8puQ8jFg3hZvjEOUPTXbrA",
                "root",
            ),
            (
                "$y$j4.$abcdefgh$b/zdhp3Ys01zNDUt3rwFhJ0kFbCJN7oXbCGrQbqJD.8",
                "changeme",
            ),
            (
                "$y$j2/$abcdefgh$ygWHz2BpGe5FmU5/9fUb32Bvc.3olXxi.c3.4DnSdh/",
                "x",
            ),
            (
                "$y$j75$abcdefgh$6ZvxexusCzGsCgle6Bjp2rKgtXD4N3/pObrnOr9xYH.",
                "root",
            ),
            // As Debian makes them.
            (
                "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$7sns0mBDIWgdwoL7WtVeg8OpRLmM3pIF24UUv.9/Cu.",
                "root",
            ),
        ] {
            let hash = Hash::parse(field.as_bytes()).unwrap();
            assert!(hash.fits(word.as_bytes()), "{field}");
            assert!(
                hash.parameters.n() > 512 || !hash.fits(b"another"),
                "{field}"
            );
        }
    }

    #[test]
    fn what_is_no_such_hash_or_too_dear() {
        let digest = ".".repeat(43);
        for (parameters, salt, known) in [
            ("j9T", "abcdefgh", true),
            ("j9T", "", true),
            ("j9U", "abcdefgh", false),
            ("jAT", "abcdefgh", false),
            ("k9T", "abcdefgh", false),
            ("j9T/", "abcdefgh", false),
            ("j", "abcdefgh", false),
            ("zzzzzzzz", "abcdefgh", false),
            ("j9T", "abcde", false),
            ("j9T", "abc!", false),
        ] {
            let field = format!("$y${parameters}${salt}${digest}");
            let found = Hash::parse(field.as_bytes());
            assert_eq!(found.is_some(), known, "{field}");
        }
        for field in ["$y$", "$y$j9T$abcdefgh", "$y$j9T$abcdefgh$short", "$6$a$b"] {
            assert!(Hash::parse(field.as_bytes()).is_none(), "{field}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_read_without_a_panic(field in "[$]y[$][./0-9A-Za-z]{0,8}[$][./0-9A-Za-z]{0,12}[$][./0-9A-Za-z]{43}") {
            if let Some(hash) = Hash::parse(field.as_bytes()) {
                prop_assert!(hash.cost() <= MAX_MEMORY / 64);
                if hash.cost() < 1000 {
                    let _ = hash.fits(b"x");
                }
            }
        }
    }
}
