//! Passwords that everybody tries first: SHA-crypt (`$5$`, `$6$`; crypt(5), and "Unix crypt using
//! SHA-256 and SHA-512" by U. Drepper) and yescrypt, in its own module.
//!
//! The other formats are not tried: DES, MD5 and their like are findings whatever the password, and
//! bcrypt, scrypt and Argon2 are not what distributions hash with. All guesses of one audit have a
//! common budget, since a rule that reads an image in a second must not take a minute.

use super::yescrypt;

use sha2::{Digest, Sha256, Sha512};

/// Words that are tried besides the account's own name, the likeliest first.
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

/// What one hash may cost, in rounds of SHA-crypt, which take a microsecond or less; the usual 5000
/// for each word are 135,000.
const MAX_WORK: u64 = 600_000;

/// What all hashes of an image may cost.
const MAX_WORK_OF_ALL: u64 = 1_200_000;

/// Blocks of yescrypt that take as long as a round of SHA-crypt.
const YESCRYPT_BLOCKS: u64 = 8;

const DEFAULT_ROUNDS: u32 = 5000;

/// A field of shadow that can be tried.
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
        let mut rounds = DEFAULT_ROUNDS;
        if let Some(given) = rest.strip_prefix(b"rounds=") {
            let end = given.iter().position(|&byte| byte == b'$')?;
            rounds = std::str::from_utf8(&given[..end]).ok()?.parse().ok()?;
            rounds = rounds.clamp(1000, 999_999_999);
            rest = &given[end + 1..];
        }
        let end = rest.iter().position(|&byte| byte == b'$')?;
        let hash = &rest[end + 1..];
        let length = if long { 86 } else { 43 };
        (hash.len() == length).then_some(Self {
            long,
            rounds,
            salt: &rest[..end.min(16)],
            digest: hash,
        })
    }

    fn fits(&self, word: &[u8]) -> bool {
        let made = if self.long {
            encode(&rounds::<Sha512>(word, self.salt, self.rounds), &ORDER_512)
        } else {
            encode(&rounds::<Sha256>(word, self.salt, self.rounds), &ORDER_256)
        };
        made == self.digest
    }
}

/// Tries passwords, as many as are affordable: who asks first is served first.
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
    /// Whether the password of this field is one of those that everybody tries first.
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

/// The steps are those of the specification, by its numbers.
fn rounds<D: Digest>(key: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    // 4 to 8.
    let alternate = D::new()
        .chain_update(key)
        .chain_update(salt)
        .chain_update(key)
        .finalize();
    // 1 to 3, 9 to 12.
    let mut first = D::new().chain_update(key).chain_update(salt);
    first.update(repeated(&alternate, key.len()));
    let mut length = key.len();
    while length > 0 {
        if length & 1 == 1 {
            first.update(&alternate);
        } else {
            first.update(key);
        }
        length >>= 1;
    }
    let first = first.finalize();
    // 13 to 16.
    let mut of_key = D::new();
    for _ in 0..key.len() {
        of_key.update(key);
    }
    let of_key = repeated(&of_key.finalize(), key.len());
    // 17 to 20.
    let mut of_salt = D::new();
    for _ in 0..16 + usize::from(first[0]) {
        of_salt.update(salt);
    }
    let of_salt = repeated(&of_salt.finalize(), salt.len());
    // 21.
    let mut last = first.to_vec();
    for round in 0..rounds {
        let odd = round % 2 == 1;
        let mut next = D::new();
        next.update(if odd { &of_key } else { &last });
        if round % 3 != 0 {
            next.update(&of_salt);
        }
        if round % 7 != 0 {
            next.update(&of_key);
        }
        next.update(if odd { &last } else { &of_key });
        last = next.finalize().to_vec();
    }
    last
}

fn repeated(block: &[u8], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

/// Which bytes go together into four characters (22e), the last group apart.
const ORDER_512: [[usize; 3]; 21] = [
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
];

const ORDER_256: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

fn encode(hash: &[u8], order: &[[usize; 3]]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = Vec::with_capacity(86);
    let mut group = |mut value: usize, count: usize| {
        for _ in 0..count {
            text.push(ALPHABET[value & 63]);
            value >>= 6;
        }
    };
    let byte = |at: usize| usize::from(hash[at]);
    for [a, b, c] in order {
        group(byte(*a) << 16 | byte(*b) << 8 | byte(*c), 4);
    }
    if hash.len() == 64 {
        group(byte(63), 2);
    } else {
        group(byte(31) << 8 | byte(30), 3);
    }
    text
}

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
            let (salt, id) = (b"abcdefgh", if long { 6 } else { 5 });
            let text = if long {
                encode(&rounds::<Sha512>(word.as_bytes(), salt, 5000), &ORDER_512)
            } else {
                encode(&rounds::<Sha256>(word.as_bytes(), salt, 5000), &ORDER_256)
            };
            format!("${id}$abcdefgh${}", String::from_utf8(text).unwrap())
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
        // Too dear to be tried.
        let dear = made("root", true).replace("$6$", "$6$rounds=700000$");
        assert!(!is_guessed(dear.as_bytes(), "root"));
        // By crypt(3), with parameters that cost little: root and x.
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
