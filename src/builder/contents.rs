//! Which Debian package has a shared library, a header or a tool of a build: a table of the common ones,
//! which `scripts/debian-contents` writes from the archive's own lists. The network is not used.

use std::path::{Path, PathBuf};

use crate::rootfs::Merged;

const TABLE: &str = include_str!("contents.tsv");
/// Largest `os-release` that is read.
const MAX_RELEASE: u64 = 64 * 1024;

/// The Debian release of an image by its layers' directories, the uppermost first: `bookworm`.
pub fn suite(lowers: &[PathBuf]) -> Option<String> {
    let merged = Merged(lowers);
    let bytes = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| merged.read(Path::new(path), MAX_RELEASE).ok()?)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))?
        .trim_matches(['"', '\''])
        .to_owned();
    column(&name).map(|_| name)
}

/// The package that has a file in this release: a soname (`libxcb.so.1`), the name by which a linker looks
/// for a library (`libsasl2.so`), a program (`pg_config`), a file of pkg-config (`cairo.pc`).
pub fn package(suite: &str, name: &str) -> Option<&'static str> {
    let column = column(suite)?;
    let row = TABLE.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('\t'))
    })?;
    let mut found = None;
    for (index, cell) in row.split('\t').skip(1).enumerate() {
        match cell {
            "=" => {}
            "-" => found = None,
            cell => found = Some(cell),
        }
        if index == column {
            break;
        }
    }
    found
}

/// The package with the header that an `#include` names.
pub fn header(suite: &str, name: &str) -> Option<&'static str> {
    package(suite, name).or_else(|| {
        let (directory, _) = name.split_once('/')?;
        package(suite, &format!("{directory}/"))
    })
}

fn column(suite: &str) -> Option<usize> {
    let titles = TABLE.lines().find(|line| line.starts_with("#name\t"))?;
    titles.split('\t').skip(1).position(|title| title == suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_headers_and_tools_have_their_packages() {
        for (suite, name, expected) in [
            ("bookworm", "libxcb.so.1", Some("libxcb1")),
            ("bookworm", "libGL.so.1", Some("libgl1")),
            ("bookworm", "libglib-2.0.so.0", Some("libglib2.0-0")),
            ("trixie", "libglib-2.0.so.0", Some("libglib2.0-0t64")),
            ("bullseye", "libssl.so.1.1", Some("libssl1.1")),
            ("bookworm", "libssl.so.1.1", None),
            ("bookworm", "libsasl2.so", Some("libsasl2-dev")),
            ("bookworm", "pg_config", Some("libpq-dev")),
            ("bookworm", "cairo.pc", Some("libcairo2-dev")),
            ("trixie", "libavcodec.so.61", Some("libavcodec61")),
            ("trixie", "libicuuc.so.76", Some("libicu76")),
            ("trixie", "libgdal.so.36", Some("libgdal36")),
            ("trixie", "libnetsnmp.so.40", Some("libsnmp40t64")),
            ("trixie", "libblas.so.3", Some("libblas3")),
            ("bookworm", "libnss3.so", Some("libnss3")),
            ("bookworm", "libnothing.so.9", None),
            ("noble", "libxcb.so.1", None),
        ] {
            assert_eq!(package(suite, name), expected, "{name} of {suite}");
        }
        for (name, expected) in [
            ("sasl/sasl.h", Some("libsasl2-dev")),
            ("libpq-fe.h", Some("libpq-dev")),
            ("openssl/ssl.h", Some("libssl-dev")),
            ("libxml/xmlversion.h", Some("libxml2-dev")),
            ("curl/curl.h", Some("libcurl4-openssl-dev")),
            ("Python.h", Some("python3-dev")),
            ("own/own.h", None),
        ] {
            for suite in ["bookworm", "trixie"] {
                assert_eq!(header(suite, name), expected, "{name} of {suite}");
            }
        }
    }

    #[test]
    fn the_table_has_a_cell_for_each_release() {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        for row in rows {
            assert_eq!(row.split('\t').count(), 5, "{row}");
        }
    }

    #[test]
    fn the_release_of_an_image() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("etc")).unwrap();
        let release = place.path().join("etc/os-release");
        let lowers = [place.path().to_owned()];
        std::fs::write(&release, "ID=debian\nVERSION_CODENAME=trixie\n").unwrap();
        assert_eq!(suite(&lowers).as_deref(), Some("trixie"));
        std::fs::write(&release, "ID=alpine\n").unwrap();
        assert_eq!(suite(&lowers), None);
    }
}
