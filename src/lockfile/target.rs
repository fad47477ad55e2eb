//! The environment to lock for: the values of markers, and the wheels that fit.

use crate::app::python_version::PythonVersion;

/// `CPython` on Linux, of the architecture of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `3.11.2`
    full: String,
    /// `3.11`
    minor: String,
    python: PythonVersion,
    /// The version of glibc; `None` for another or an unknown C library.
    glibc: Option<(u32, u32)>,
}

impl Target {
    /// `version` as in `3.11.2`, `libc` as in `glibc 2.36`.
    pub fn of(version: &str, libc: &str) -> Self {
        let python = version.parse().unwrap_or(PythonVersion::new(3, 0));
        let glibc = libc.strip_prefix("glibc ").and_then(|version| {
            let (major, minor) = version.split_once('.')?;
            let minor = minor.split('.').next()?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        Self {
            full: version.to_owned(),
            minor: python.to_string(),
            python,
            glibc,
        }
    }

    pub fn python(&self) -> PythonVersion {
        self.python
    }

    /// `3.11.2`
    pub fn full_version(&self) -> &str {
        &self.full
    }

    /// The value of a marker's variable.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        Some(match name {
            "python_version" => &self.minor,
            "python_full_version" | "implementation_version" => &self.full,
            "sys_platform" | "sys.platform" => "linux",
            "os_name" | "os.name" => "posix",
            "platform_system" => "Linux",
            "platform_machine" | "platform.machine" => std::env::consts::ARCH,
            "platform_python_implementation"
            | "platform.python_implementation"
            | "python_implementation" => "CPython",
            "implementation_name" => "cpython",
            // The variables of the machine that will run it are not known; neither is an extra
            // outside a marker about extras.
            "platform_release" | "platform_version" | "platform.version" | "extra" => "",
            _ => return None,
        })
    }

    /// How well a wheel with this file name fits: lower is better; `None` if it does not fit.
    ///
    /// The order is that of installers (PEP 425, PEP 600): first the interpreter and its ABI, then the
    /// platform, the newest first; a build number decides between two of the same tags.
    pub fn rank(&self, file: &str) -> Option<Rank> {
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        let (build, tags) = match parts.as_slice() {
            [_, _, python, abi, platform] => ("", [*python, *abi, *platform]),
            [_, _, build, python, abi, platform] => (*build, [*python, *abi, *platform]),
            _ => return None,
        };
        let [pythons, abis, platforms] = tags.map(|tag| tag.split('.').collect::<Vec<_>>());
        let mut best: Option<(u32, u32)> = None;
        for python in &pythons {
            for abi in &abis {
                for platform in &platforms {
                    if let Some(rank) = self.tag(python, abi, platform)
                        && best.is_none_or(|best| rank < best)
                    {
                        best = Some(rank);
                    }
                }
            }
        }
        let digits = build
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(build.len());
        let number = build[..digits].parse::<u64>().unwrap_or(0);
        best.map(|(interpreter, platform)| Rank {
            any: platform == u32::MAX,
            interpreter,
            platform,
            build: std::cmp::Reverse((number, build[digits..].to_owned())),
        })
    }

    fn tag(&self, python: &str, abi: &str, platform: &str) -> Option<(u32, u32)> {
        let minor = self.python.minor;
        let own = format!("cp3{minor}");
        let cpython = python
            .strip_prefix("cp3")
            .and_then(|text| text.parse::<u32>().ok());
        let generic = match python.strip_prefix("py3") {
            Some("") => Some(None),
            Some(text) => text.parse::<u32>().ok().map(Some),
            None => None,
        };
        let any = platform == "any";
        let interpreter = match (abi, cpython, generic) {
            (abi, Some(tag), _) if abi == own && tag == minor => 0,
            ("abi3", Some(tag), _) if tag <= minor && tag >= 2 && !any => 1 + (minor - tag) * 2,
            ("none", Some(tag), _) if tag == minor => 2,
            ("none", _, Some(Some(tag))) if tag <= minor => {
                1000 + (minor - tag) * 2 + u32::from(tag < minor)
            }
            // `py3` comes right after the interpreter's own version.
            ("none", _, Some(None)) => 1001,
            _ => return None,
        };
        let platform = if any {
            u32::MAX
        } else {
            self.platform(platform)?
        };
        Some((interpreter, platform))
    }

    /// Newer versions of the C library come first; `linux_x86_64` last.
    fn platform(&self, platform: &str) -> Option<u32> {
        let arch = std::env::consts::ARCH;
        let start = platform.strip_suffix(arch)?.strip_suffix('_')?;
        if start == "linux" {
            return Some(u32::MAX - 1);
        }
        let (have_major, have_minor) = self.glibc?;
        let (major, minor, alias) = match start {
            "manylinux1" => (2, 5, 1),
            "manylinux2010" => (2, 12, 1),
            "manylinux2014" => (2, 17, 1),
            other => {
                let mut numbers = other.strip_prefix("manylinux_")?.split('_');
                let major = numbers.next()?.parse::<u32>().ok()?;
                let minor = numbers.next()?.parse::<u32>().ok()?;
                if numbers.next().is_some() {
                    return None;
                }
                (major, minor, 0)
            }
        };
        (major == have_major && minor <= have_minor && minor < 10_000)
            .then(|| (have_minor - minor) * 2 + alias)
    }
}

/// The rank of a wheel among those of its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Wheels for every platform come after all others.
    any: bool,
    interpreter: u32,
    platform: u32,
    build: std::cmp::Reverse<(u64, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best first, as in `packaging.tags` for `CPython` 3.11 and glibc 2.36.
    #[test]
    fn wheels_in_the_order_of_an_installer() {
        let target = Target::of("3.11.2", "glibc 2.36");
        let arch = std::env::consts::ARCH;
        let ordered = [
            format!("x-1-cp311-cp311-manylinux_2_34_{arch}.whl"),
            format!("x-1-cp311-cp311-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp311-cp311-manylinux_2_17_{arch}.manylinux2014_{arch}.whl"),
            format!("x-1-cp311-cp311-manylinux2014_{arch}.whl"),
            format!("x-1-cp311-cp311-manylinux1_{arch}.whl"),
            format!("x-1-cp311-cp311-linux_{arch}.whl"),
            format!("x-1-cp311-abi3-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp311-none-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp39-abi3-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp37-abi3-manylinux_2_28_{arch}.whl"),
            format!("x-1-py3-none-manylinux_2_17_{arch}.manylinux2014_{arch}.whl"),
            "x-1-2-py3-none-any.whl".to_owned(),
            "x-1-py3-none-any.whl".to_owned(),
        ];
        let ranks: Vec<Rank> = ordered
            .iter()
            .map(|file| target.rank(file).unwrap_or_else(|| panic!("{file}")))
            .collect();
        for (at, pair) in ranks.windows(2).enumerate() {
            assert!(pair[0] < pair[1], "{} {}", ordered[at], ordered[at + 1]);
        }
        for file in [
            format!("x-1-cp312-cp312-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp312-abi3-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp311-cp311t-manylinux_2_28_{arch}.whl"),
            format!("x-1-cp311-cp311-manylinux_2_39_{arch}.whl"),
            format!("x-1-cp311-cp311-musllinux_1_2_{arch}.whl"),
            "x-1-cp311-cp311-win_amd64.whl".to_owned(),
            "x-1-cp311-cp311-macosx_11_0_arm64.whl".to_owned(),
            "x-1-py2-none-any.whl".to_owned(),
            "x-1.tar.gz".to_owned(),
            "x.whl".to_owned(),
        ] {
            assert_eq!(target.rank(&file), None, "{file}");
        }
        assert!(target.rank("x-1-py2.py3-none-any.whl").is_some());
    }
}
