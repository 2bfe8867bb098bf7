//! A file of lines: one that broke off, as on a full disk, stands alone, and takes no other line with it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

/// Lines on their way to a file. Whoever writes gives the rest of a line up when a call fails, as `write_all` does.
#[derive(Debug)]
pub(super) struct Lines<F> {
    file: F,
    end: End,
}

/// How a file of lines ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a line feed, or it is empty.
    Whole,
    /// In the middle of a line that is being written.
    Open,
    /// In the middle of a line whose rest was given up.
    Torn,
}

impl<F: Write> Lines<F> {
    pub(super) fn new(file: F, end: End) -> Self {
        Self { file, end }
    }
}

impl<F: Write> Write for Lines<F> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.end == End::Torn {
            if self.file.write(b"\n")? == 0 {
                return Ok(0);
            }
            self.end = End::Whole;
        }
        let written = self.file.write(octets);
        self.end = match &written {
            Ok(count @ 1..) if octets[..*count].ends_with(b"\n") => End::Whole,
            Ok(1..) => End::Open,
            // Whoever is told so goes on.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.end,
            Ok(0) | Err(_) if self.end == End::Open => End::Torn,
            Ok(0) | Err(_) => self.end,
        };
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl End {
    /// Of a file that is there already. One that cannot be read is taken to be whole, and so is what is no file: of a pipe
    /// nothing is to be taken away.
    pub(super) fn of(path: &Path) -> Self {
        let last = || -> io::Result<Option<u8>> {
            if !std::fs::metadata(path)?.is_file() {
                return Ok(None);
            }
            let (mut file, mut octet) = (File::open(path)?, [0]);
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut octet)?;
            Ok(Some(octet[0]))
        };
        match last() {
            Ok(Some(octet)) if octet != b'\n' => Self::Torn,
            _ => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many octets with each call, and fails where there are none.
    #[derive(Default)]
    struct Disk {
        rooms: Vec<io::Result<usize>>,
        held: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            let room = if self.rooms.is_empty() { Ok(usize::MAX) } else { self.rooms.remove(0) };
            let taken = octets.len().min(room?);
            self.held.extend_from_slice(&octets[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn full() -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn interrupted() -> io::Result<usize> {
        Err(io::ErrorKind::Interrupted.into())
    }

    #[test]
    fn a_line_that_breaks_off_stands_alone() {
        // what the disk does with the calls, what it holds then of "[1]\n", "[2]\n[3]\n" and "[4]\n"
        let table: [(Vec<io::Result<usize>>, &str); 13] = [
            (vec![], "[1]\n[2]\n[3]\n[4]\n"),
            // Nothing was written of a line: nothing is torn.
            (vec![full()], "[2]\n[3]\n[4]\n"),
            (vec![Ok(0)], "[2]\n[3]\n[4]\n"),
            (vec![Ok(4), full()], "[1]\n[4]\n"),
            (vec![Ok(4), Ok(4), full()], "[1]\n[2]\n[4]\n"),
            // A line in several calls is one line.
            (vec![Ok(1), Ok(1), Ok(9), Ok(2)], "[1]\n[2]\n[3]\n[4]\n"),
            (vec![Ok(1), interrupted(), Ok(1), interrupted()], "[1]\n[2]\n[3]\n[4]\n"),
            // Torn in the one, whole in the next.
            (vec![Ok(2), full()], "[1\n[2]\n[3]\n[4]\n"),
            (vec![Ok(3), Ok(0)], "[1]\n[2]\n[3]\n[4]\n"),
            (vec![Ok(4), Ok(7), full()], "[1]\n[2]\n[3]\n[4]\n"),
            (vec![Ok(4), Ok(5), full()], "[1]\n[2]\n[\n[4]\n"),
            // No room for the line feed either, and then for nothing but that.
            (vec![Ok(2), full(), full()], "[1\n[4]\n"),
            (vec![Ok(2), full(), Ok(1), full()], "[1\n[4]\n"),
        ];
        for (number, (rooms, held)) in table.into_iter().enumerate() {
            let mut lines = Lines::new(Disk { rooms, ..Disk::default() }, End::Whole);
            for octets in [&b"[1]\n"[..], b"[2]\n[3]\n", b"[4]\n"] {
                // What does not get through is counted by the queue.
                drop(lines.write_all(octets));
            }
            assert_eq!(String::from_utf8(lines.file.held).unwrap(), held, "row {number}");
        }
    }

    #[test]
    fn how_files_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        assert_eq!(End::of(&path), End::Whole, "there is none yet");
        for (text, end) in
            [("", End::Whole), ("\n", End::Whole), ("{}\n", End::Whole), ("{", End::Torn), ("{}\n{}", End::Torn)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(End::of(&path), end, "{text:?}");
        }
        for path in [folder.path(), Path::new("/dev/null"), Path::new("/dev/zero")] {
            assert_eq!(End::of(path), End::Whole, "{}", path.display());
        }
    }
}
