//! Making a backup.

use std::io;
use std::ops::ControlFlow;

use super::frame::{Framer, Kind, MAX_CONTENT_BYTES, append_record, file_content};
use super::{Figures, Head};
use crate::env::disk::DiskError;
use crate::spool::contract::{Snapshot, StoreError};
use crate::spool::identities::{file_name, manifest};

/// Keys and values of one frame, in bytes, about.
const RECORDS_BYTES: usize = 64 * 1024;
/// Bytes of a piece of a file of packed identities.
const PIECE_BYTES: usize = 256 * 1024;

/// Takes the bytes of a backup, in order.
pub type Out<'a> = dyn FnMut(Vec<u8>) -> io::Result<()> + 'a;

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody takes it any more.
    #[error(transparent)]
    Out(#[from] io::Error),
}

impl From<DiskError> for WriteError {
    fn from(error: DiskError) -> WriteError {
        WriteError::Store(error.into())
    }
}

/// Writes a backup of `snapshot` and `files` (paths below the state directory, and what is in them). If the store cannot
/// be read to its end, the backup ends in the reason, and whoever reads it is told. Blocks.
///
/// # Errors
/// [`WriteError`].
pub fn write(
    snapshot: &Snapshot,
    head: &Head,
    files: &[(String, Vec<u8>)],
    out: &mut Out<'_>,
) -> Result<Figures, WriteError> {
    let (framer, magic) = Framer::begin();
    out(magic)?;
    let mut backup = Backup { framer, figures: Figures::default(), out };
    match backup.write_all(snapshot, head, files) {
        Ok(()) => {
            let Backup { framer, figures, out } = backup;
            out(framer.end(&figures))?;
            Ok(figures)
        }
        Err(WriteError::Store(error)) => {
            backup.frame(Kind::Failure, error.to_string().as_bytes())?;
            Err(error.into())
        }
        Err(error) => Err(error),
    }
}

struct Backup<'a, 'b> {
    framer: Framer,
    figures: Figures,
    out: &'a mut Out<'b>,
}

impl Backup<'_, '_> {
    fn frame(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        (self.out)(self.framer.frame(kind, content))
    }

    fn write_all(
        &mut self,
        snapshot: &Snapshot,
        head: &Head,
        files: &[(String, Vec<u8>)],
    ) -> Result<(), WriteError> {
        self.frame(Kind::Head, &serde_json::to_vec(head).unwrap_or_default())?;
        for (path, bytes) in files {
            self.figures.files += 1;
            self.figures.bytes += bytes.len() as u64;
            self.frame(Kind::File, &file_content(path, bytes))?;
        }
        for segment in manifest::read(&*snapshot.disk)? {
            self.segment(snapshot, &file_name(segment.number))?;
        }
        self.records(snapshot)
    }

    fn segment(&mut self, snapshot: &Snapshot, name: &str) -> Result<(), WriteError> {
        let unreadable =
            |error: io::Error| StoreError::Unreadable(format!("{}: {error}", snapshot.files.locate(name)));
        let file = snapshot.files.open(name).map_err(unreadable)?;
        let length = file.length().map_err(unreadable)?;
        self.frame(Kind::Segment, name.as_bytes())?;
        let mut at = 0;
        while at < length {
            let size = usize::try_from(length - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let mut piece = vec![0; size];
            file.read_at(&mut piece, at).map_err(unreadable)?;
            self.frame(Kind::Piece, &piece)?;
            at += size as u64;
        }
        self.figures.segments += 1;
        self.figures.bytes += length;
        Ok(())
    }

    fn records(&mut self, snapshot: &Snapshot) -> Result<(), WriteError> {
        let (mut page, mut failure) = (Vec::new(), None);
        snapshot.disk.scan(b"", b"", &mut |key, value| {
            if key.len() + value.len() > MAX_CONTENT_BYTES / 2 {
                failure = Some(StoreError::Unreadable("a value is too large for a backup".into()).into());
                return ControlFlow::Break(());
            }
            append_record(&mut page, key, value);
            self.figures.records += 1;
            self.figures.bytes += (key.len() + value.len()) as u64;
            if page.len() < RECORDS_BYTES {
                return ControlFlow::Continue(());
            }
            let written = self.frame(Kind::Records, &page);
            page.clear();
            snapshot.pass(key);
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(WriteError::Out(error));
                    ControlFlow::Break(())
                }
            }
        })?;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(self.frame(Kind::Records, &page)?),
        }
    }
}
