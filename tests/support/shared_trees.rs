//! Unpacked trees that many stores have in common.
//!
//! A builder's tree is ten thousands of files: to link them into the store of each test, and to remove them
//! after it, takes longer than most tests. A tree is mounted instead, read-only, in a mount namespace of
//! the test's thread and of what it starts. A store that takes trees away is given a copy of hard links.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::enclosure::Enclosure;
use super::process;

/// Mounts that end with this value. Only the thread that made them can end them.
#[derive(Default)]
pub struct SharedTrees {
    mounted: Vec<PathBuf>,
    /// They lie in an enclosure, and end with it.
    is_inside: bool,
}

/// Copies a store from `$1` to `$2`, and mounts its trees, but for fragments, which tests look into from outside.
/// Prints the mount points.
const INSIDE: &str = r#"set -eu
shopt -s nullglob
like() { mkdir "$2"; chown --reference="$1" "$2"; chmod --reference="$1" "$2"; }
like "$1" "$2"
for part in "$1"/*; do
    [ "$part" = "$1/unpacked" ] || cp --archive --reflink=auto "$part" "$2"
done
like "$1/unpacked" "$2/unpacked"
for map in "$1"/unpacked/*; do
    own=$2/unpacked/${map##*/}
    like "$map" "$own"
    for path in "$map"/*; do
        if [ -d "$path" ] && [[ ${path##*/} != fragment-* ]]; then
            like "$path" "$own/${path##*/}"
            mount --bind "$path" "$own/${path##*/}"
            mount -o remount,bind,ro "$own/${path##*/}"
            echo "$own/${path##*/}"
        else
            cp --archive "$path" "$own"
        fi
    done
done
"#;

impl SharedTrees {
    /// Gives the store at `to` all that the directory `unpacked` of the store at `from` holds.
    pub fn mount(&mut self, from: &Path, to: &Path) {
        let trees = from.join("unpacked");
        if !trees.exists() {
            return;
        }
        if !own_namespace() {
            // Not root.
            Self::copy(from, to);
            return;
        }
        for map in entries(&trees) {
            let own = to.join("unpacked").join(map.file_name().unwrap());
            make_like(&map, &own);
            for path in entries(&map) {
                let own = own.join(path.file_name().unwrap());
                // Already there by a builder that was taken before.
                if own.exists() {
                    continue;
                }
                if !path.is_dir() {
                    // States and locks of trees are written: a file of the store's own.
                    copy(&["--archive"], &path, &own);
                    continue;
                }
                fs::create_dir(&own).unwrap();
                rustix::mount::mount_bind(&path, &own).unwrap();
                self.mounted.push(own.clone());
                rustix::mount::mount_remount(&own, MountFlags::BIND | MountFlags::RDONLY, "")
                    .unwrap();
            }
        }
    }

    /// Makes the store `to` of the one at `from`, owners included, for what runs in an enclosure.
    pub fn inside(enclosure: &Enclosure, from: &Path, to: &Path) -> Self {
        let mut copy = enclosure.root("bash");
        let mounted = process::run(copy.args(["-c", INSIDE, "bash"]).args([from, to]));
        Self {
            mounted: mounted.lines().map(PathBuf::from).collect(),
            is_inside: true,
        }
    }

    /// Gives a store trees that it may take away.
    pub fn copy(from: &Path, to: &Path) {
        let trees = from.join("unpacked");
        if trees.exists() {
            copy(&["--archive", "--link"], &trees, &to.join("unpacked"));
        }
    }

    /// Whether a line of `/proc/PID/mountinfo` is one of these mounts.
    pub fn has(&self, line: &str) -> bool {
        line.split(' ')
            .nth(4)
            .is_some_and(|point| self.mounted.iter().any(|own| own == Path::new(point)))
    }

    pub fn unmount(&mut self) {
        for own in self.mounted.drain(..).filter(|_| !self.is_inside) {
            let _ = rustix::mount::unmount(&own, UnmountFlags::DETACH);
        }
    }
}

impl Drop for SharedTrees {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// A mount namespace for this thread and the processes and threads that it starts, once. Whether there is one.
fn own_namespace() -> bool {
    std::thread_local! {
        static DONE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if DONE.get() {
        return true;
    }
    // SAFETY: nothing here relies on a working directory or a umask that is shared with other threads.
    if unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.is_err() {
        return false;
    }
    // What is mounted outside later is seen, what is mounted here is not seen outside.
    let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    rustix::mount::mount_change("/", flags).expect("no mount is passed on");
    DONE.set(true);
    true
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn make_like(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (from, to) in [(from, to), (from.parent().unwrap(), to.parent().unwrap())] {
        fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    }
}

/// What `cp` does with one file or tree.
pub fn copy(options: &[&str], from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.args(options).arg("--no-target-directory");
    process::run(command.args([from, to]));
}
