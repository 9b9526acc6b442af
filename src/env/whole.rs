//! Files of the operator's that are read whole: configuration, certificates, keys, lists.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Largest file that is read where it may hold many entries, in bytes: roots, peers, records.
pub const MAX_LIST_BYTES: u64 = 16 * 1024 * 1024;

/// Opens a file to be read, links followed. A pipe or a device is refused instead of waited for: it may never have an
/// end.
///
/// # Errors
/// The system's, or that it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Or opening a pipe would wait for whoever writes to it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name a file"));
    }
    if !kind.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// As [`open`], or that it is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= most {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is over {} KiB; is it the right file?", most / 1024),
        )),
    }
}

/// The same of text.
///
/// # Errors
/// As [`read`], or that it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
    String::from_utf8(read(path, most)?).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_neither_waited_for_nor_read() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let huge = directory.path().join("huge");
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        std::os::unix::fs::symlink(&one, &other).unwrap();
        std::os::unix::fs::symlink(&other, &one).unwrap();
        for (path, why) in [
            (pipe.as_path(), "not a regular file"),
            (Path::new("/dev/zero"), "not a regular file"),
            (directory.path(), "a directory"),
            (&huge, "over 4 KiB"),
            (&one, "symbolic links"),
        ] {
            let error = read(path, 4096).unwrap_err().to_string();
            assert!(error.contains(why), "{}: {error}", path.display());
        }
    }

    #[test]
    fn a_file_of_just_that_size_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [b'x'; 8]).unwrap();
        assert_eq!(read_text(&path, 8).unwrap(), "xxxxxxxx");
        assert!(read(&path, 7).is_err());
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(read_text(&path, 8).unwrap_err().to_string().contains("UTF-8"));
    }
}
