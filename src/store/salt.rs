//! A salt, so that hashes of secrets differ from store to store.
//!
//! Keys of the cache contain a hash of a password or a login. An attacker with a copy of the cache could try
//! passwords against it. The hash includes a salt, which a copy of `cache/` does not have, so it reveals
//! nothing.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::oci::sha256_hex;

use super::{Store, StoreError};

const LENGTH: usize = 32;
const RANDOM: &str = "/dev/urandom";

impl Store {
    /// A hash of this text that differs from store to store.
    pub fn salted(&self, text: &[u8]) -> Result<String, StoreError> {
        let mut all = self.salt()?.to_vec();
        all.extend_from_slice(text);
        Ok(sha256_hex(&all))
    }

    /// Made at the first use.
    fn salt(&self) -> Result<[u8; LENGTH], StoreError> {
        let path = self.root().join("salt");
        let failed = |error| StoreError::io("write", &path, error);
        loop {
            if let Some(bytes) = read(&path)? {
                if let Ok(known) = bytes.try_into() {
                    return Ok(known);
                }
                // A power cut has damaged it.
                fs::remove_file(&path).map_err(failed)?;
            }
            let mut salt = [0; LENGTH];
            File::open(RANDOM)
                .and_then(|mut random| random.read_exact(&mut salt))
                .map_err(|e| StoreError::io("read", Path::new(RANDOM), e))?;
            let (mut file, temporary) = self.tmp_file("file")?;
            // A salt that another process has made meanwhile stays.
            let put = file
                .set_permissions(Permissions::from_mode(0o600))
                .and_then(|()| file.write_all(&salt))
                .and_then(|()| file.sync_all())
                .and_then(|()| match fs::hard_link(&temporary, &path) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                    _ => Ok(()),
                });
            let _ = fs::remove_file(&temporary);
            put.map_err(failed)?;
        }
    }
}

/// The existing bytes, which may not be a salt.
fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(LENGTH as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| StoreError::io("read", path, e))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::super::tests::store;
    use super::*;

    #[test]
    fn each_store_has_a_salt_of_its_own_that_stays() {
        let (_one, first) = store();
        let (_other, second) = store();
        let hash = first.salted(b"word").unwrap();
        assert_eq!(first.salted(b"word").unwrap(), hash);
        assert_ne!(first.salted(b"other").unwrap(), hash);
        assert_ne!(second.salted(b"word").unwrap(), hash);
        assert_ne!(sha256_hex(b"word"), hash);
        let path = first.root().join("salt");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.len()), (0o600, 32));
        // A power cut.
        fs::write(&path, b"").unwrap();
        let again = first.salted(b"word").unwrap();
        assert_ne!(again, hash);
        assert_eq!(first.salted(b"word").unwrap(), again);
    }

    #[test]
    fn processes_that_make_it_at_once_have_the_same() {
        let (_place, store) = store();
        let hashes: Vec<String> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| store.salted(b"word").unwrap()))
                .collect();
            let joined = handles.into_iter().map(|handle| handle.join().unwrap());
            joined.collect()
        });
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    }
}
