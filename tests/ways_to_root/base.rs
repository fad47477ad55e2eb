//! What all cases lie on. It is made once per target directory, behind a lock: the files of Debian's packages, and a
//! store with the base, whose audit it remembers. A test works in a copy of hard links.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use warpdrive::oci::{Digest, sha256};
use warpdrive::store::Store;

use super::{BASE, Parts, judged, put_base};
use crate::support::process;
use crate::support::warpdrive::{PYTHON_311_RUN, link_store, shared_store};

/// The directory of this name with what `make` puts there. It is made anew where it was made of something else.
fn once(name: &str, of: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ways-to-root");
    fs::create_dir_all(&place).unwrap();
    let lock = File::create(place.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let directory = place.join(name);
    let made_of = directory.join("made-of");
    if fs::read_to_string(&made_of).is_ok_and(|text| text == of) {
        return directory;
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    fs::create_dir(&directory).unwrap();
    make(&directory);
    fs::write(made_of, of).unwrap();
    directory
}

/// Packages of Debian, unpacked, and the layer that they are put on.
pub(super) struct Files {
    directory: PathBuf,
    /// The packages' names, for the names of directories.
    name: String,
    /// What decides the content.
    of: String,
}

impl Files {
    pub(super) fn of(packages: &[&str]) -> Self {
        let builder = Store::open(Some(&shared_store(PYTHON_311_RUN))).unwrap();
        let image = builder.image(PYTHON_311_RUN).unwrap().unwrap();
        let layer = image.manifest.layers()[0].digest();
        // For each package an address, the name of its file, with the version, its size and its hash.
        let wanted = process::run(
            Command::new("apt-get")
                .args(["download", "--print-uris"])
                .args(packages),
        );
        let mut names: Vec<&str> = wanted
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        names.sort_unstable();
        assert_eq!(names.len(), packages.len(), "{wanted}");
        let of = format!("{layer} {}", names.join(" "));
        let name = packages.join("+");
        let directory = once(&name, &of, |directory| {
            unpack(packages, directory);
            base_of(&builder, layer, &directory.join("base.tar"));
        });
        Self {
            directory,
            name,
            of,
        }
    }

    /// The directories of the packages: `NAME` with its files, `NAME.control` with what it says of itself.
    pub(super) fn packages(&self) -> PathBuf {
        self.directory.join("packages")
    }

    /// The builder's lowest layer.
    pub(super) fn base(&self) -> PathBuf {
        self.directory.join("base.tar")
    }
}

fn unpack(packages: &[&str], directory: &Path) {
    let [downloads, unpacked] = ["downloads", "packages"].map(|name| directory.join(name));
    for place in [&downloads, &unpacked] {
        fs::create_dir(place).unwrap();
    }
    process::run(
        Command::new("apt-get")
            .current_dir(&downloads)
            .arg("download")
            .args(packages),
    );
    for package in packages {
        let file = fs::read_dir(&downloads)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with(&format!("{package}_"))
            })
            .expect("apt-get has fetched it");
        for (option, target) in [
            ("-x", (*package).to_owned()),
            ("-e", format!("{package}.control")),
        ] {
            process::run(
                Command::new("dpkg-deb")
                    .current_dir(&unpacked)
                    .arg(option)
                    .arg(&file)
                    .arg(target),
            );
        }
    }
    fs::remove_dir_all(downloads).unwrap();
}

fn base_of(builder: &Store, layer: &Digest, to: &Path) {
    let mut blob = flate2::read::MultiGzDecoder::new(builder.open_blob(layer).unwrap());
    std::io::copy(&mut blob, &mut File::create(to).unwrap()).unwrap();
}

/// Fills a new store with the base: the builder's lowest layer with this one on it.
pub(super) fn link(parts: &Parts, layer: &[u8], store: &Path) {
    let files = &parts.files;
    let of = format!("{} {}", files.of, sha256(layer));
    let shared = once(&format!("{}-base", files.name), &of, |directory| {
        let store = Store::open(Some(&directory.join("store"))).unwrap();
        put_base(&store, &parts.on_the_base(layer));
        // Each test looks at the verdict; here it is remembered.
        judged(&store, BASE, None);
    });
    link_store(&shared.join("store"), store);
}
