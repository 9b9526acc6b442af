//! Whole files that are written once, read at places and removed: the seam under what the spool keeps beside
//! its [`Disk`](super::disk::Disk).

use std::io;

/// Files of one directory that only this program uses. Names are plain, without separators. Calls block.
pub trait Files: Send + Sync {
    /// Begins a file. Nobody sees it under its name before [`NewFile::keep`]; dropped before that, it is removed.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file. What is read from it stays readable when it is removed.
    ///
    /// # Errors
    /// The system's; `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>>;

    /// Removes a file; removing an absent one is no error. After a power cut it may be there again.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, those of unfinished ones included, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// What an operator calls the file: its path.
    fn locate(&self, name: &str) -> String;
}

/// A file being written.
pub trait NewFile: io::Write + Send {
    /// Returns once the file would survive a power cut, whole and under its name. What had that name is replaced.
    ///
    /// # Errors
    /// The system's; the file is then not there, or there as a whole.
    fn keep(self: Box<Self>) -> io::Result<()>;
}

/// A file that is read at places.
pub trait ReadAt: Send + Sync {
    /// Its size in bytes.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` if the file ends before the buffer is full.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}
