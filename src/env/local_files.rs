//! [`Files`] in a directory of this machine, for nobody's eyes but ours.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::files::{Files, NewFile, ReadAt};

/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".tmp";
/// Bytes written between two syncs: much at once would make others wait for the disk.
const SYNC_EVERY_BYTES: usize = 8 * 1024 * 1024;

/// A directory of mode 0700, its files of mode 0600.
pub struct LocalFiles {
    directory: PathBuf,
}

impl LocalFiles {
    /// Makes the directory if it is not there. Its parent must be.
    ///
    /// # Errors
    /// The system's.
    pub fn open(directory: &Path) -> io::Result<LocalFiles> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if let Some(parent) = directory.parent() {
            sync_directory(parent)?;
        }
        Ok(LocalFiles { directory: directory.to_owned() })
    }
}

impl Files for LocalFiles {
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let path = self.directory.join(name);
        let unfinished = self.directory.join(format!("{name}{UNFINISHED}"));
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let directory = self.directory.clone();
        Ok(Box::new(Unfinished { file, unsynced: 0, unfinished: Some(unfinished), path, directory }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        Ok(Box::new(Open(File::open(self.directory.join(name))?)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.directory)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn locate(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

struct Unfinished {
    file: File,
    unsynced: usize,
    /// `None`: it has got its name.
    unfinished: Option<PathBuf>,
    path: PathBuf,
    directory: PathBuf,
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for Unfinished {
    fn keep(mut self: Box<Self>) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(unfinished) = &self.unfinished {
            std::fs::rename(unfinished, &self.path)?;
        }
        self.unfinished = None;
        sync_directory(&self.directory)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // What stays is removed when the directory is opened the next time.
            let _ = std::fs::remove_file(unfinished);
        }
    }
}

struct Open(File);

impl ReadAt for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_appears_whole_and_private_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("files");
        let files = LocalFiles::open(&directory).unwrap();
        let mut file = files.create("a").unwrap();
        file.write_all(b"hello").unwrap();
        assert!(files.open("a").is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        file.keep().unwrap();
        drop(files.create("b").unwrap());
        assert_eq!(files.list().unwrap(), ["a"]);

        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("a"))), (0o700, 0o600));
        let open = files.open("a").unwrap();
        let mut buffer = [0; 3];
        open.read_at(&mut buffer, 2).unwrap();
        assert_eq!((open.length().unwrap(), &buffer), (5, b"llo"));
        assert!(open.read_at(&mut buffer, 3).is_err());

        files.remove("a").unwrap();
        files.remove("a").unwrap();
        open.read_at(&mut buffer, 0).unwrap();
        assert_eq!((&buffer, LocalFiles::open(&directory).unwrap().list().unwrap().len()), (b"hel", 0));
    }
}
