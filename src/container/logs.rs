//! Reading a container's log, and following it until the container ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::ContainerError;
use super::log::{Line, rotated};
use super::record::{Record, Status};

/// How often a followed log is checked.
const PAUSE: Duration = Duration::from_millis(100);

/// Longest line of a log that is read: a line of output is 16 KiB, written as JSON at most six times that.
const MAX_RECORD: u64 = 256 * 1024;

/// Gives the log's lines to `each` until it returns `false`: the last `tail` of them, or all; with
/// `follow` also those to come, until the container ends.
pub fn read_logs(
    record: &Record,
    tail: Option<usize>,
    follow: bool,
    each: &mut dyn FnMut(&Line) -> bool,
) -> Result<(), ContainerError> {
    let path = record.log();
    let io = |source| ContainerError::Io {
        doing: "read the log",
        path: path.clone(),
        source,
    };
    let mut current = Tail::open(&path).map_err(io)?;
    // Opened after the current one: if a new file begins in between, lines are read twice, never lost.
    let mut earlier = Tail::open(&rotated(&path)).map_err(io)?;
    if let (Some(a), Some(b)) = (&current, &earlier)
        && a.inode == b.inode
    {
        current = Tail::open(&path).map_err(io)?;
    }
    let mut last = VecDeque::new();
    for log in [&mut earlier, &mut current].into_iter().flatten() {
        while let Some(line) = log.next().map_err(io)? {
            match tail {
                None if !each(&line) => return Ok(()),
                None => {}
                Some(most) => {
                    last.push_back(line);
                    if last.len() > most {
                        last.pop_front();
                    }
                }
            }
        }
    }
    for line in last {
        if !each(&line) {
            return Ok(());
        }
    }
    if follow {
        self::follow(record, &path, current, each).map_err(io)?;
    }
    Ok(())
}

fn follow(
    record: &Record,
    path: &Path,
    mut current: Option<Tail>,
    each: &mut dyn FnMut(&Line) -> bool,
) -> io::Result<()> {
    loop {
        // Checked before reading, so that output written before the end is still read.
        let ended = !matches!(record.status(), Ok((Status::Running | Status::Created, _)));
        loop {
            if let Some(log) = &mut current {
                while let Some(line) = log.next()? {
                    if !each(&line) {
                        return Ok(());
                    }
                }
            }
            let there = std::fs::metadata(path).map(|metadata| metadata.ino()).ok();
            match (&current, there) {
                (Some(log), Some(inode)) if log.inode != inode => current = Tail::open(path)?,
                (None, Some(_)) => current = Tail::open(path)?,
                _ => break,
            }
        }
        if ended {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// A log that may grow.
struct Tail {
    reader: BufReader<File>,
    inode: u64,
    rest: Vec<u8>,
}

impl Tail {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self {
                inode: file.metadata()?.ino(),
                reader: BufReader::new(file),
                rest: Vec::new(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next complete line; a line that is not a record (cut by a full disk) is skipped.
    fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let room = MAX_RECORD.saturating_sub(self.rest.len() as u64);
            let read = (&mut self.reader)
                .take(room)
                .read_until(b'\n', &mut self.rest)?;
            if !self.rest.ends_with(b"\n") {
                if room == 0 {
                    self.rest.clear();
                    continue;
                }
                if read == 0 || (read as u64) < room {
                    return Ok(None);
                }
                continue;
            }
            let line = serde_json::from_slice(&self.rest).ok();
            self.rest.clear();
            if line.is_some() {
                return Ok(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn half_lines_wait_and_broken_ones_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = File::create(&path).unwrap();
        let mut tail = Tail::open(&path).unwrap().unwrap();
        let record = br#"{"log":"a\n","stream":"stdout","time":"t"}"#;
        file.write_all(&record[..10]).unwrap();
        assert_eq!(tail.next().unwrap(), None);
        file.write_all(&record[10..]).unwrap();
        file.write_all(b"\nbroken\n").unwrap();
        file.write_all(&vec![b'x'; 600 * 1024]).unwrap();
        file.write_all(b"\n").unwrap();
        file.write_all(record).unwrap();
        file.write_all(b"\n").unwrap();
        assert_eq!(tail.next().unwrap().unwrap().log, "a\n");
        assert_eq!(tail.next().unwrap().unwrap().log, "a\n");
        assert_eq!(tail.next().unwrap(), None);
    }
}
