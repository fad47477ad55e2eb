//! yescrypt (`$y$`; crypt(5)), with which Debian hashes passwords: its words are tried like those of
//! SHA-crypt, as long as trying is affordable.
//!
//! After the specification, "yescrypt – password hashing scalable beyond bcrypt and scrypt" by A.
//! Peslyak, for the one flavour that crypt(3) makes: read-write memory, one thread, no ROM, no extra
//! time. Blocks are held in the shuffled order of words (step 5 modulo 16) that pwxform works on.

use sha2::{Digest as _, Sha256};

/// The flavour `j`: read-write memory, six rounds, gathers of four, pairs, S-boxes of 12 KiB.
const FLAVOUR: u32 = 47;

/// Most memory for one guess, in words of four bytes: 16 MiB, what Debian's own hashes take.
const MAX_WORDS: usize = 4 << 20;

/// Words of a block of Salsa20.
const BLOCK: usize = 16;

/// Entries of one S-box, and how many there are.
const BOX: usize = 512;
const BOXES: usize = 3;

const ROUNDS: usize = 6;

type Block = [u32; BLOCK];

/// A field of shadow that can be tried.
pub(super) struct Hash<'a> {
    /// Of N: how many vectors of memory there are.
    log_vectors: u32,
    /// Of r: pairs of blocks in a vector.
    pairs: usize,
    salt: Vec<u8>,
    digest: &'a [u8],
}

impl<'a> Hash<'a> {
    /// `$y$PARAMETERS$SALT$HASH`; `None` for parameters that crypt(3) does not make by itself and for
    /// more than is affordable.
    pub(super) fn parse(field: &'a [u8]) -> Option<Self> {
        let mut parts = field.strip_prefix(b"$y$")?.split(|&byte| byte == b'$');
        let (mut parameters, salt, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let flavour = number(&mut parameters, 0)?;
        let log_vectors = number(&mut parameters, 1)?;
        let pairs = usize::try_from(number(&mut parameters, 1)?).ok()?;
        let known = flavour == FLAVOUR && parameters.is_empty() && parts.next().is_none();
        let words = pairs
            .checked_mul(2 * BLOCK)?
            .checked_mul(1_usize.checked_shl(log_vectors)?)?;
        let salt = decode(salt)?;
        (known
            && digest.len() == 43
            && salt.len() <= 64
            && (2..=20).contains(&log_vectors)
            && words <= MAX_WORDS)
            .then_some(Self {
                log_vectors,
                pairs,
                salt,
                digest,
            })
    }

    /// What one guess costs, in blocks that are mixed.
    pub(super) fn cost(&self) -> u64 {
        (self.pairs as u64 * 2) << self.log_vectors
    }

    pub(super) fn fits(&self, word: &[u8]) -> bool {
        let vectors = 1_usize << self.log_vectors;
        let mut key = word.to_vec();
        // A smaller pass over the password first, where there is much memory.
        if vectors >= 0x100 && vectors * self.pairs >= 0x2_0000 {
            key = self.derive(&key, vectors >> 6, true).to_vec();
        }
        encode(&self.derive(&key, vectors, false)) == self.digest
    }

    fn derive(&self, password: &[u8], vectors: usize, is_first_pass: bool) -> [u8; 32] {
        let name: &[u8] = if is_first_pass {
            b"yescrypt-prehash"
        } else {
            b"yescrypt"
        };
        let password = hmac(name, &[password]);
        let mut bytes = stretched(&password, &self.salt, self.pairs * 2 * BLOCK * 4);
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[..32]);
        let mut blocks: Vec<Block> = bytes.chunks_exact(BLOCK * 4).map(shuffled).collect();
        let mut mixer = Mixer::new(&mut blocks[..2]);
        let last = plain(&blocks[blocks.len() - 1]);
        key = hmac(&last, &[&key]);
        mixer.fill_and_mix(&mut blocks, vectors);
        bytes.clear();
        for block in &blocks {
            bytes.extend_from_slice(&plain(block));
        }
        let mut derived = [0; 32];
        derived.copy_from_slice(&stretched(&key, &bytes, 32));
        if is_first_pass {
            return derived;
        }
        // As in SCRAM (RFC 5802), what is stored does not let one log in elsewhere.
        Sha256::digest(hmac(&derived, &[b"Client Key"])).into()
    }
}

/// A number of variable length, `least` the smallest.
fn number(text: &mut &[u8], least: u32) -> Option<u32> {
    let mut next = || {
        let (&first, rest) = text.split_first()?;
        *text = rest;
        value_of(first)
    };
    let (mut value, mut start, mut end, mut more) = (least, 0, 47, 0_u32);
    let first = next()?;
    while first > end {
        value = value.checked_add((end + 1 - start) << (6 * more))?;
        start = end + 1;
        end = start + (62 - end) / 2;
        more += 1;
    }
    value = value.checked_add((first - start) << (6 * more))?;
    while more > 0 {
        more -= 1;
        value = value.checked_add(next()? << (6 * more))?;
    }
    Some(value)
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn value_of(letter: u8) -> Option<u32> {
    let at = ALPHABET.iter().position(|&known| known == letter)?;
    u32::try_from(at).ok()
}

/// Four letters are three bytes, the lowest bits first.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in text.chunks(4) {
        let mut value = 0;
        for (at, &letter) in group.iter().enumerate() {
            value |= value_of(letter)? << (6 * at);
        }
        let count = group.len() * 6 / 8;
        if count == 0 || value >> (8 * count) != 0 {
            return None;
        }
        bytes.extend_from_slice(&value.to_le_bytes()[..count]);
    }
    Some(bytes)
}

fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let mut value = group
            .iter()
            .rev()
            .fold(0_usize, |value, &byte| value << 8 | usize::from(byte));
        for _ in 0..(group.len() * 8).div_ceil(6) {
            text.push(ALPHABET[value & 63]);
            value >>= 6;
        }
    }
    text
}

/// HMAC-SHA256 (RFC 2104) of the parts in one.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut padded = [0; 64];
    if key.len() > padded.len() {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let mut inner = Sha256::new();
    inner.update(padded.map(|byte| byte ^ 0x36));
    for part in parts {
        inner.update(part);
    }
    let mut outer = Sha256::new();
    outer.update(padded.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// PBKDF2 (RFC 8018, section 5.2) with HMAC-SHA256 and one iteration.
fn stretched(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut number = 1_u32;
    while bytes.len() < length {
        bytes.extend_from_slice(&hmac(password, &[salt, &number.to_be_bytes()]));
        number += 1;
    }
    bytes.truncate(length);
    bytes
}

fn shuffled(bytes: &[u8]) -> Block {
    let mut block = [0; BLOCK];
    for (at, word) in block.iter_mut().enumerate() {
        let from = at * 5 % BLOCK * 4;
        *word = u32::from_le_bytes([
            bytes[from],
            bytes[from + 1],
            bytes[from + 2],
            bytes[from + 3],
        ]);
    }
    block
}

fn plain(block: &Block) -> [u8; BLOCK * 4] {
    let mut bytes = [0; BLOCK * 4];
    for (at, word) in block.iter().enumerate() {
        let to = at * 5 % BLOCK * 4;
        bytes[to..to + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn add(block: &mut Block, other: &Block) {
    for (word, other) in block.iter_mut().zip(other) {
        *word ^= other;
    }
}

/// Salsa20 (D. Bernstein) with so many double rounds, over a shuffled block.
fn salsa20(block: &mut Block, double_rounds: usize) {
    const QUARTERS: [[usize; 4]; 8] = [
        [0, 4, 8, 12],
        [5, 9, 13, 1],
        [10, 14, 2, 6],
        [15, 3, 7, 11],
        [0, 1, 2, 3],
        [5, 6, 7, 4],
        [10, 11, 8, 9],
        [15, 12, 13, 14],
    ];
    let mut x = [0_u32; BLOCK];
    for (at, word) in block.iter().enumerate() {
        x[at * 5 % BLOCK] = *word;
    }
    for _ in 0..double_rounds {
        for [a, b, c, d] in QUARTERS {
            x[b] ^= x[a].wrapping_add(x[d]).rotate_left(7);
            x[c] ^= x[b].wrapping_add(x[a]).rotate_left(9);
            x[d] ^= x[c].wrapping_add(x[b]).rotate_left(13);
            x[a] ^= x[d].wrapping_add(x[c]).rotate_left(18);
        }
    }
    for (at, word) in block.iter_mut().enumerate() {
        *word = word.wrapping_add(x[at * 5 % BLOCK]);
    }
}

/// Integerify: which vector comes next, in terms of the last block.
fn integer(blocks: &[Block]) -> usize {
    // Memory is far below what the upper word would matter for.
    blocks.last().map_or(0, |last| last[0] as usize)
}

/// The S-boxes, their order, and where the next entry is written.
struct Mixer {
    boxes: [Vec<u64>; BOXES],
    next: usize,
}

impl Mixer {
    /// Makes the S-boxes from the first two blocks, as scrypt fills its memory.
    fn new(blocks: &mut [Block]) -> Self {
        let mut words = Vec::with_capacity(BOX * BOXES);
        while words.len() < BOX * BOXES {
            for block in &*blocks {
                words.extend(
                    block
                        .chunks_exact(2)
                        .map(|pair| u64::from(pair[1]) << 32 | u64::from(pair[0])),
                );
            }
            let mut carried = blocks[1];
            for block in &mut *blocks {
                add(&mut carried, block);
                salsa20(&mut carried, 4);
                *block = carried;
            }
        }
        let part = |index: usize| words[index * BOX..(index + 1) * BOX].to_vec();
        Self {
            boxes: [part(2), part(1), part(0)],
            next: 0,
        }
    }

    /// Fills memory with what the blocks become, and goes through it as they say.
    fn fill_and_mix(&mut self, blocks: &mut [Block], vectors: usize) {
        let length = blocks.len();
        let mut memory: Vec<Block> = Vec::with_capacity(vectors * length);
        for index in 0..vectors {
            memory.extend_from_slice(blocks);
            if index > 1 {
                let power = 1 << index.ilog2();
                let chosen = (integer(blocks) & (power - 1)) + (index - power);
                let from = &memory[chosen * length..(chosen + 1) * length];
                blocks
                    .iter_mut()
                    .zip(from)
                    .for_each(|(block, other)| add(block, other));
            }
            self.mix(blocks);
        }
        let passes = vectors.div_ceil(3).next_multiple_of(2);
        for _ in 0..passes {
            let chosen = integer(blocks) & (vectors - 1);
            let vector = &mut memory[chosen * length..(chosen + 1) * length];
            for (block, other) in blocks.iter_mut().zip(vector) {
                add(block, other);
                *other = *block;
            }
            self.mix(blocks);
        }
    }

    /// `BlockMix` with pwxform.
    fn mix(&mut self, blocks: &mut [Block]) {
        let last = blocks.len() - 1;
        let mut carried = blocks[last];
        for block in &mut *blocks {
            add(&mut carried, block);
            self.transform(&mut carried);
            *block = carried;
        }
        salsa20(&mut blocks[last], 1);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "words are taken out of lanes, and few of their bits"
    )]
    /// pwxform: multiplies, adds and substitutes, and writes some of what comes out into a box.
    fn transform(&mut self, block: &mut Block) {
        // A word's low bits name an entry; entries are pairs.
        let entry = |word: u64| (word as usize & 0xff0) / 8;
        let mut lanes = [0_u64; BLOCK / 2];
        for (lane, pair) in lanes.iter_mut().zip(block.chunks_exact(2)) {
            *lane = u64::from(pair[1]) << 32 | u64::from(pair[0]);
        }
        let [first, second, written] = &mut self.boxes;
        for round in 0..ROUNDS {
            for pair in lanes.chunks_exact_mut(2) {
                let (a, b) = (entry(pair[0]), entry(pair[0] >> 32));
                for (at, lane) in pair.iter_mut().enumerate() {
                    *lane = (*lane >> 32)
                        .wrapping_mul(*lane & 0xffff_ffff)
                        .wrapping_add(first[a + at])
                        ^ second[b + at];
                    if round != 0 && round != ROUNDS - 1 {
                        written[self.next] = *lane;
                        self.next += 1;
                    }
                }
            }
        }
        for (pair, lane) in block.chunks_exact_mut(2).zip(lanes) {
            (pair[0], pair[1]) = (lane as u32, (lane >> 32) as u32);
        }
        self.boxes.rotate_right(1);
        self.next %= BOX;
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
            assert!(hash.log_vectors > 9 || !hash.fits(b"another"), "{field}");
        }
    }

    #[test]
    fn what_is_no_such_hash_or_too_dear() {
        let digest = "a".repeat(43);
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
                prop_assert!(hash.cost() <= MAX_WORDS as u64);
                if hash.cost() < 1000 {
                    let _ = hash.fits(b"x");
                }
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
