//! Paths in records. A path is bytes and may not be UTF-8. UTF-8 is written as text, anything else
//! as a list of bytes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'p> {
    Text(&'p str),
    Bytes(&'p [u8]),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Read {
    Text(String),
    Bytes(Vec<u8>),
}

impl<'p> From<&'p Path> for Written<'p> {
    fn from(path: &'p Path) -> Self {
        path.to_str()
            .map_or_else(|| Self::Bytes(path.as_os_str().as_bytes()), Self::Text)
    }
}

impl From<Read> for PathBuf {
    fn from(read: Read) -> Self {
        match read {
            Read::Text(text) => text.into(),
            Read::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    Written::from(path).serialize(to)
}

pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<PathBuf, D::Error> {
    Read::deserialize(from).map(PathBuf::from)
}

/// The same of a list.
pub(super) fn serialize_list<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| Written::from(path.as_path())))
}

pub(super) fn deserialize_list<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let read = Vec::<Read>::deserialize(from)?;
    Ok(read.into_iter().map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        #[serde(with = "super")]
        path: PathBuf,
        #[serde(
            serialize_with = "super::serialize_list",
            deserialize_with = "super::deserialize_list"
        )]
        more: Vec<PathBuf>,
    }

    #[test]
    fn any_path_comes_back() {
        let strange = PathBuf::from(OsString::from_vec(b"a/\xff.pth".to_vec()));
        for path in ["x/y.pth".into(), PathBuf::new(), strange] {
            let record = Record {
                more: vec![path.clone(), "z".into()],
                path,
            };
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(
                serde_json::from_str::<Record>(&text).unwrap(),
                record,
                "{text}"
            );
        }
    }
}
