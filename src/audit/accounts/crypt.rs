//! Passwords that an attacker tries first: SHA-crypt (`$5$`, `$6$`; crypt(5), and "Unix crypt using
//! SHA-256 and SHA-512" by U. Drepper) and yescrypt, in its own module.
//!
//! The other formats are not tried: DES, MD5 and their like are findings whatever the password, and
//! bcrypt, scrypt and Argon2 are not what distributions hash with. All guesses of one audit have a
//! common budget, because a rule that reads an image in a second must not take a minute.

use mcf::Base64;
use sha_crypt::Params;

use super::yescrypt;

/// Passwords to try besides the account's own name, the likeliest first.
const WORDS: [&str; 26] = [
    "",
    "root",
    "password",
    "toor",
    "changeme",
    "admin",
    "secret",
    "123456",
    "1234",
    "test",
    "docker",
    "debian",
    "passw0rd",
    "user",
    "app",
    "12345",
    "password123",
    "ubuntu",
    "default",
    "guest",
    "administrator",
    "letmein",
    "welcome",
    "qwerty",
    "12345678",
    "alpine",
];

/// Most work for one hash, in rounds of SHA-crypt, which take a microsecond or less; the usual 5000
/// rounds for each password are 135,000.
const MAX_WORK: u64 = 600_000;

/// Most work for all hashes of an image.
const MAX_WORK_OF_ALL: u64 = 1_200_000;

/// Blocks of yescrypt that take as long as a round of SHA-crypt.
const YESCRYPT_BLOCKS: u64 = 8;

/// A shadow field that can be tried.
struct Hash<'a> {
    long: bool,
    rounds: u32,
    salt: &'a [u8],
    digest: &'a [u8],
}

impl<'a> Hash<'a> {
    fn parse(field: &'a [u8]) -> Option<Self> {
        let rest = field.strip_prefix(b"$")?;
        let (long, mut rest) = match rest {
            [b'5', b'$', rest @ ..] => (false, rest),
            [b'6', b'$', rest @ ..] => (true, rest),
            _ => return None,
        };
        let mut rounds = Params::RECOMMENDED_ROUNDS;
        if let Some(given) = rest.strip_prefix(b"rounds=") {
            let end = given.iter().position(|&byte| byte == b'$')?;
            rounds = std::str::from_utf8(&given[..end]).ok()?.parse().ok()?;
            rounds = rounds.clamp(Params::ROUNDS_MIN, Params::ROUNDS_MAX);
            rest = &given[end + 1..];
        }
        let end = rest.iter().position(|&byte| byte == b'$')?;
        let hash = &rest[end + 1..];
        let length = if long { 86 } else { 43 };
        if hash.len() != length {
            return None;
        }
        Some(Self {
            long,
            rounds,
            salt: &rest[..end],
            digest: hash,
        })
    }

    fn fits(&self, word: &[u8]) -> bool {
        Params::new(self.rounds)
            .is_ok_and(|rounds| made(word, self.long, self.salt, rounds).as_bytes() == self.digest)
    }
}

/// What follows the salt.
fn made(word: &[u8], long: bool, salt: &[u8], rounds: Params) -> String {
    let order = |hash: &[u8], groups: &[[usize; 3]], last: &[usize]| -> Vec<u8> {
        let all = groups.iter().flatten().chain(last);
        all.map(|&at| hash[at]).collect()
    };
    Base64::Crypt.encode_string(&if long {
        order(
            &sha_crypt::sha512_crypt(word, salt, rounds),
            &ORDER_512,
            &[63],
        )
    } else {
        order(
            &sha_crypt::sha256_crypt(word, salt, rounds),
            &ORDER_256,
            &[30, 31],
        )
    })
}

/// Tries passwords within the budget, in the order of the calls.
pub(crate) struct Guesser {
    left: u64,
}

impl Default for Guesser {
    fn default() -> Self {
        Self {
            left: MAX_WORK_OF_ALL,
        }
    }
}

impl Guesser {
    /// Whether this field's password is one that an attacker tries first.
    pub(crate) fn knows(&mut self, field: &[u8], name: &str) -> bool {
        if let Some(hash) = Hash::parse(field) {
            self.try_all(name, u64::from(hash.rounds), |word| hash.fits(word))
        } else if let Some(hash) = yescrypt::Hash::parse(field) {
            let cost = hash.cost() / YESCRYPT_BLOCKS + 1;
            self.try_all(name, cost, |word| hash.fits(word))
        } else {
            false
        }
    }

    fn try_all(&mut self, name: &str, cost: u64, fits: impl Fn(&[u8]) -> bool) -> bool {
        let mut left = self.left.min(MAX_WORK);
        let all = [name].into_iter().chain(WORDS);
        for word in all.filter(|word| word.len() <= 64) {
            if left < cost {
                return false;
            }
            left -= cost;
            self.left -= cost;
            if fits(word.as_bytes()) {
                return true;
            }
        }
        false
    }
}

/// The order of bytes in the text (22e), the last group apart.
const ORDER_512: [[usize; 3]; 21] = [
    [42, 21, 0],
    [1, 43, 22],
    [23, 2, 44],
    [45, 24, 3],
    [4, 46, 25],
    [26, 5, 47],
    [48, 27, 6],
    [7, 49, 28],
    [29, 8, 50],
    [51, 30, 9],
    [10, 52, 31],
    [32, 11, 53],
    [54, 33, 12],
    [13, 55, 34],
    [35, 14, 56],
    [57, 36, 15],
    [16, 58, 37],
    [38, 17, 59],
    [60, 39, 18],
    [19, 61, 40],
    [41, 20, 62],
];

const ORDER_256: [[usize; 3]; 10] = [
    [20, 10, 0],
    [11, 1, 21],
    [2, 22, 12],
    [23, 13, 3],
    [14, 4, 24],
    [5, 25, 15],
    [26, 16, 6],
    [17, 7, 27],
    [8, 28, 18],
    [29, 19, 9],
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By `openssl passwd`.
    #[test]
    fn as_others_hash() {
        for (field, key) in [
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                "Hello world!",
            ),
            (
                "$6$abcdefgh$cnW4XDznaFa1hR9LnqrjoiAqed87oTXop3rUraOEgMC9xZ8cZ4bnv81B/PgWNFtDN0PNbtGZlCIhm8Jws2OPr0",
                "root",
            ),
            (
                "$5$abcdefgh$R6RGSMgggXQz2wdKz0HpXWjK9oI5Hjvxad6awq8YNS4",
                "root",
            ),
        ] {
            let hash = Hash::parse(field.as_bytes()).unwrap();
            assert!(hash.fits(key.as_bytes()), "{field}");
            assert!(!hash.fits(b"another"), "{field}");
        }
    }

    fn is_guessed(field: &[u8], name: &str) -> bool {
        Guesser::default().knows(field, name)
    }

    #[test]
    fn the_first_words_are_tried() {
        // openssl passwd -6 -salt abcdefgh root, and so on.
        let made = |word: &str, long: bool| {
            let text = super::made(word.as_bytes(), long, b"abcdefgh", Params::RECOMMENDED);
            format!("${}$abcdefgh${text}", if long { 6 } else { 5 })
        };
        for long in [true, false] {
            for (word, name, guessed) in [
                ("", "root", true),
                ("root", "app", true),
                ("opal", "opal", true),
                ("opal", "root", false),
                ("correct horse battery staple", "root", false),
            ] {
                let field = made(word, long);
                assert_eq!(is_guessed(field.as_bytes(), name), guessed, "{word}");
            }
        }
        for other in [
            "",
            "*",
            "!",
            "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
            "$6$salt$short",
            "$6$",
        ] {
            assert!(!is_guessed(other.as_bytes(), "root"), "{other}");
        }
        // Too expensive to try.
        let dear = made("root", true).replace("$6$", "$6$rounds=700000$");
        assert!(!is_guessed(dear.as_bytes(), "root"));
        // By crypt(3), with cheap parameters: root and x.
        let root = "$y$j/.$abcdefgh$haetCDAzuJgGFRocLH9w.8puQ8jFg3hZvjEOUPTXbrA";
        let x = "$y$j2/$abcdefgh$ygWHz2BpGe5FmU5/9fUb32Bvc.3olXxi.c3.4DnSdh/";
        assert!(is_guessed(root.as_bytes(), "app"));
        assert!(!is_guessed(x.as_bytes(), "app") && is_guessed(x.as_bytes(), "x"));
    }

    /// Thousands of hashes take no longer than a few.
    #[test]
    fn all_guesses_have_one_budget() {
        let tries = std::cell::Cell::new(0_u64);
        let mut guesser = Guesser::default();
        for _ in 0..1000 {
            guesser.try_all("name", 5000, |_| {
                tries.set(tries.get() + 1);
                false
            });
        }
        assert_eq!(tries.get() * 5000, MAX_WORK_OF_ALL);
        let mut guesser = Guesser::default();
        tries.set(0);
        guesser.try_all("name", MAX_WORK / 4, |_| {
            tries.set(tries.get() + 1);
            false
        });
        assert_eq!(tries.get(), 4);
    }

    proptest! {
        #[test]
        fn any_field_is_read(field in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Hash::parse(&field);
        }
    }
}
