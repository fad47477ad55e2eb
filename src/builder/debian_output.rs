//! The progress of mmdebstrap, read from the output of apt and dpkg.
//!
//! mmdebstrap installs in two rounds: first the packages that every Debian has, then the requested
//! ones. Each round prints the number of packages, fetches them, unpacks them and sets them up.

/// Reads the lines of one run.
#[derive(Debug, Default)]
pub(super) struct Counter {
    total: u64,
    fetched: u64,
    set_up: u64,
}

/// The kind of item, the number done, the total.
type Count = (&'static str, u64, u64);

const FETCHING: &str = "fetching packages";
const INSTALLING: &str = "installing packages";

impl Counter {
    /// The count that a line changes.
    pub(super) fn read(&mut self, line: &str) -> Option<Count> {
        let line = line.trim();
        if let Some(count) = newly_installed(line) {
            (self.total, self.fetched, self.set_up) = (count, 0, 0);
            return None;
        }
        if self.total == 0 {
            return None;
        }
        let (what, number) = if line.starts_with("Get:") {
            (FETCHING, &mut self.fetched)
        } else if line.starts_with("Setting up ") {
            (INSTALLING, &mut self.set_up)
        } else {
            return None;
        };
        // A package that is fetched again counts only once.
        *number = (*number + 1).min(self.total);
        Some((what, *number, self.total))
    }
}

/// `0 upgraded, 61 newly installed, 0 to remove and 0 not upgraded.`
fn newly_installed(line: &str) -> Option<u64> {
    let (before, _) = line.split_once(" newly installed")?;
    let (_, number) = before.rsplit_once(' ')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rounds_are_counted_each_from_the_beginning() {
        let mut counter = Counter::default();
        let seen: Vec<_> = "Get:1 http://deb.debian.org/debian trixie InRelease [140 kB]
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://deb.debian.org/debian trixie/main amd64 base-files amd64 13.8 [73 kB]
Get:2 http://deb.debian.org/debian trixie/main amd64 bash amd64 5.2 [1 kB]
Get:3 http://deb.debian.org/debian trixie/main amd64 bash amd64 5.2 [1 kB]
Unpacking bash (5.2) ...
Setting up bash (5.2) ...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Setting up python3 (3.13) ..."
            .lines()
            .filter_map(|line| counter.read(line))
            .collect();
        assert_eq!(
            seen,
            [
                (FETCHING, 1, 2),
                (FETCHING, 2, 2),
                (FETCHING, 2, 2),
                (INSTALLING, 1, 2),
                (INSTALLING, 1, 1),
            ]
        );
    }
}
