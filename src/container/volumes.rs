//! `-v SRC:DST[:ro]` and `--mount type=…`: which host paths appear inside, and which user owns them.
//!
//! A *named volume* is in the store (`volumes/NAME`) and stays when its containers are removed. Its top
//! directory belongs to the container's user, group and set-group-id included, so that an app that
//! runs as 1001:0 can write there with any id map. A *host path* is not changed; if it is missing,
//! an empty directory is made, as docker does.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ContainerError;
use super::names::valid_name;

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeSource {
    /// A directory or file of the host.
    Path(PathBuf),
    /// A volume of the store.
    Name(String),
    /// A tmpfs, with its largest size in bytes.
    Tmpfs(Option<u64>),
}

/// One `-v` or `--mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub source: VolumeSource,
    /// Absolute, without `.` and `..`, not `/`.
    pub target: PathBuf,
    pub read_only: bool,
}

impl FromStr for Volume {
    type Err = ContainerError;

    /// Reads `SRC:DST[:ro|:rw]`. A source with a slash is a path; without one it names a volume.
    fn from_str(value: &str) -> Result<Self, ContainerError> {
        let wrong = |problem: String| ContainerError::Volume {
            value: value.to_owned(),
            problem,
        };
        let parts: Vec<&str> = value.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => {
                return Err(wrong(
                    "write SOURCE:TARGET or SOURCE:TARGET:ro (a path that holds a colon goes into \
                     --mount type=bind,source=…,target=…)"
                        .to_owned(),
                ));
            }
        };
        let read_only = match options {
            "" | "rw" => false,
            "ro" => true,
            other => return Err(wrong(format!("`{other}` is not an option: ro or rw"))),
        };
        Ok(Self {
            source: parse_source(source).map_err(wrong)?,
            target: parse_target(target).map_err(wrong)?,
            read_only,
        })
    }
}

impl Volume {
    /// Reads docker's long form: `type=bind|volume|tmpfs,source=…,target=…[,readonly]`.
    pub fn from_mount_option(value: &str) -> Result<Self, ContainerError> {
        parse_mount(value).map_err(|problem| ContainerError::Volume {
            value: value.to_owned(),
            problem,
        })
    }
}

fn parse_mount(value: &str) -> Result<Volume, String> {
    let (mut kind, mut source, mut target) = ("volume", None, None);
    let (mut read_only, mut size) = (false, None);
    for field in value.split(',') {
        let (key, argument) = match field.split_once('=') {
            Some((key, argument)) => (key, Some(argument)),
            None => (field, None),
        };
        match (key, argument) {
            ("type", Some(text)) => kind = text,
            ("source" | "src", Some(text)) => source = Some(text),
            ("target" | "dst" | "destination", Some(text)) => target = Some(text),
            ("readonly" | "ro", None | Some("true" | "1")) => read_only = true,
            ("readonly" | "ro", Some("false" | "0")) => read_only = false,
            ("tmpfs-size", Some(text)) => size = Some(parse_size(text)?),
            _ => return Err(format!("`{field}` is not understood")),
        }
    }
    let target = parse_target(target.ok_or("`target=` is missing")?)?;
    if size.is_some() && kind != "tmpfs" {
        return Err("`tmpfs-size` goes with `type=tmpfs`".to_owned());
    }
    let source = match (kind, source) {
        ("tmpfs", None) => VolumeSource::Tmpfs(size),
        ("tmpfs", Some(_)) => return Err("a tmpfs has no source".to_owned()),
        ("bind" | "volume", None) => return Err("`source=` is missing".to_owned()),
        ("bind", Some(text)) => host_path(text)?,
        ("volume", Some(text)) => volume_name(text)?,
        (other, _) => return Err(format!("`type={other}` is not bind, volume or tmpfs")),
    };
    Ok(Volume {
        source,
        target,
        read_only,
    })
}

fn parse_source(text: &str) -> Result<VolumeSource, String> {
    if text.contains('/') || text == "." || text == ".." {
        host_path(text)
    } else {
        volume_name(text)
    }
}

fn host_path(text: &str) -> Result<VolumeSource, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("the source is empty or holds a NUL".to_owned());
    }
    Ok(VolumeSource::Path(PathBuf::from(text)))
}

fn volume_name(text: &str) -> Result<VolumeSource, String> {
    if valid_name(text) {
        Ok(VolumeSource::Name(text.to_owned()))
    } else {
        Err(format!(
            "`{text}` is not a name of a volume (letters, digits, `_`, `.`, `-`); a path holds a slash"
        ))
    }
}

fn parse_target(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        return Err(format!("the target `{text}` is not an absolute path"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("the target `{text}` holds `..`"));
    }
    let clean: PathBuf = path.components().collect();
    if clean == Path::new("/") {
        return Err("the target cannot be `/`".to_owned());
    }
    for kept in ["/proc", "/sys", "/dev"] {
        if clean == Path::new(kept) || (kept != "/dev" && clean.starts_with(kept)) {
            return Err(format!("the target cannot be in `{kept}`"));
        }
    }
    Ok(clean)
}

/// Reads a number of bytes: `512`, `64k`, `256m`, `1.5g`, with or without a final `b` or `iB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: write 512k, 256m, 1g or a number of bytes");
    let lower = text.to_ascii_lowercase();
    let split = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(split);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    if fraction.len() > 6 || (number.contains('.') && fraction.is_empty()) {
        return Err(wrong());
    }
    let mut bytes = whole.checked_mul(factor).ok_or_else(wrong)?;
    if !fraction.is_empty() {
        let parts: u64 = fraction.parse().map_err(|_| wrong())?;
        let scale = 10_u64.pow(u32::try_from(fraction.len()).unwrap_or(6));
        let more = u128::from(parts) * u128::from(factor) / u128::from(scale);
        bytes = u64::try_from(more)
            .ok()
            .and_then(|more| bytes.checked_add(more))
            .ok_or_else(wrong)?;
    }
    Ok(bytes)
}

/// Makes a host path absolute, and makes a missing directory, which it reports through `say`.
pub(super) fn resolve_host_path(
    path: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, ContainerError> {
    let io = |doing, source| ContainerError::Io {
        doing,
        path: path.to_owned(),
        source,
    };
    match fs::canonicalize(path) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(path).map_err(|error| io("make the directory to mount", error))?;
            say(&format!(
                "{} did not exist: made an empty directory",
                path.display()
            ));
            fs::canonicalize(path).map_err(|error| io("find the directory to mount", error))
        }
        Err(error) => Err(io("find what to mount", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn volume(source: VolumeSource, target: &str, read_only: bool) -> Volume {
        Volume {
            source,
            target: target.into(),
            read_only,
        }
    }

    #[test]
    fn volumes_are_read() {
        let path = |text: &str| VolumeSource::Path(text.into());
        let name = |text: &str| VolumeSource::Name(text.into());
        for (text, expected) in [
            ("data:/data", volume(name("data"), "/data", false)),
            ("data:/data/:ro", volume(name("data"), "/data", true)),
            ("/srv:/data//x/.:rw", volume(path("/srv"), "/data/x", false)),
            ("./x:/data", volume(path("./x"), "/data", false)),
            (".:/data", volume(path("."), "/data", false)),
        ] {
            assert_eq!(text.parse::<Volume>().unwrap(), expected, "{text}");
        }
        for (text, expected) in [
            (
                "type=bind,source=/a:b,target=/c,readonly",
                volume(path("/a:b"), "/c", true),
            ),
            (
                "src=data,dst=/c,ro=false",
                volume(name("data"), "/c", false),
            ),
            (
                "type=tmpfs,target=/t,tmpfs-size=64m",
                volume(VolumeSource::Tmpfs(Some(64 << 20)), "/t", false),
            ),
        ] {
            assert_eq!(Volume::from_mount_option(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for text in [
            "",
            "data",
            "/data",
            ":/data",
            "data:",
            "data:data",
            "data:/",
            "data:/..",
            "data:/a/../b",
            "a:/b:ro:x",
            "a:/b:z",
            "-x:/b",
            "a b:/b",
            "a:/proc",
            "a:/proc/x",
            "a:/dev",
            "a:/sys/fs",
        ] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
        for text in [
            "",
            "type=bind",
            "type=bind,target=/x",
            "type=tmpfs,source=a,target=/x",
            "type=nfs,source=a,target=/x",
            "source=a,target=/x,tmpfs-size=1",
            "source=a,target=/x,wat",
            "type=tmpfs,target=/x,tmpfs-size=x",
        ] {
            assert!(Volume::from_mount_option(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64k", 65536),
            ("1.5g", 3 << 29),
            ("2MiB", 2 << 20),
            ("1b", 1),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "k",
            "1.",
            ".5",
            "1x",
            "-1",
            "99999999999999999999",
            "17179869184g",
            "1.2.3",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn targets_stay_inside(text in "\\PC{0,40}") {
            let read = [text.parse::<Volume>(), Volume::from_mount_option(&text)];
            for read in read.into_iter().flatten() {
                prop_assert!(read.target.is_absolute());
                prop_assert!(read.target.components().count() > 1);
                prop_assert!(read.target.components().all(|part| part != Component::ParentDir));
            }
            let _ = parse_size(&text);
        }

        #[test]
        fn targets_of_slashes_and_dots_stay_inside(target in "[/.a]{0,12}", name in "[a-z.]{1,4}") {
            if let Ok(read) = format!("{name}:{target}").parse::<Volume>() {
                prop_assert!(read.target.components().all(|part|
                    matches!(part, Component::RootDir | Component::Normal(_))));
            }
        }
    }
}
