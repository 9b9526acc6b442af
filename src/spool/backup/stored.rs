//! A backup as a disk: checked from the first byte to the last, and then searched where it lies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::{Frame, Kind, Parser, parse_file, take_record};
use super::{BackupError, Figures, Head};
use crate::config::state_files::MAX_BYTES;
use crate::env::disk::{DiskError, Visit};
use crate::env::files::ReadAt;
use crate::env::read_only::{ReadOnlyDisk, ReadOnlyFiles, Search};
use crate::spool::contract::{Snapshot, StoreError};
use crate::spool::identities::is_file_name;
use crate::spool::store::known_schema;

/// Bytes of the file read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Bytes of the files beside the store, which are held in memory: more than any server has.
const MAX_FILES_BYTES: usize = MAX_BYTES as usize + 1024 * 1024;

/// A backup that is whole.
pub struct Stored {
    /// What it says of itself.
    pub head: Head,
    /// How much is in it.
    pub figures: Figures,
    /// Paths below the state directory, and what is to lie there.
    pub files: Vec<(String, Vec<u8>)>,
    /// The store.
    pub snapshot: Snapshot,
    /// The names of the files of packed identities.
    pub segments: Vec<String>,
}

/// Where a part of the file is.
#[derive(Debug, Clone, Copy)]
struct Span {
    at: u64,
    bytes: usize,
}

#[derive(Default)]
struct Seen {
    head: Option<Head>,
    files: Vec<(String, Vec<u8>)>,
    segments: BTreeMap<String, Vec<Span>>,
    latest: Option<String>,
    pages: Vec<(Vec<u8>, Span)>,
    last_key: Option<Vec<u8>>,
    figures: Figures,
    /// Bytes of the files that are held in memory.
    file_bytes: usize,
}

/// Reads a backup and checks every byte; `progress` is told how many have been read, and how many there are.
///
/// # Errors
/// [`BackupError`].
pub fn open(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Stored, BackupError> {
    let mut file = File::open(path)?;
    let (all, mut done) = (file.metadata()?.len(), 0);
    let (mut parser, mut seen, mut buffer) = (Parser::default(), Seen::default(), vec![0; READ_BYTES]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        parser.push(buffer.get(..count).unwrap_or_default(), &mut |frame| seen.take(frame))?;
        done += count as u64;
        progress(done, all);
    }
    let figures = parser.finish()?;
    let damaged = |what| BackupError::Damaged { at: all, what };
    if figures != seen.figures {
        return Err(damaged("its figures are not those of its content"));
    }
    let head = seen.head.ok_or_else(|| damaged("it has no head"))?;
    let file = Arc::new(file);
    let segments = seen.segments.keys().cloned().collect();
    let open = seen.segments.into_iter().map(|(name, spans)| {
        let pieces: Arc<dyn ReadAt> = Arc::new(Pieces { file: Arc::clone(&file), spans });
        (name, pieces)
    });
    let path = path.display().to_string();
    let files = ReadOnlyFiles::new(open.collect(), move |name| format!("{path}:{name}"));
    let disk = StoredDisk { file: Arc::clone(&file), pages: seen.pages, latest: Mutex::default() };
    let snapshot = Snapshot::of(Arc::new(ReadOnlyDisk(Arc::new(disk))), Arc::new(files));
    Ok(Stored { head, figures, files: seen.files, snapshot, segments })
}

impl Stored {
    /// Whether its records are of a kind that this program knows.
    ///
    /// # Errors
    /// [`StoreError`] if they are of a newer one, or it cannot be told.
    pub fn check_schema(&self) -> Result<(), StoreError> {
        known_schema(&*self.snapshot.disk)
    }
}

impl Seen {
    fn take(&mut self, frame: Frame<'_>) -> Result<(), BackupError> {
        let Frame { kind, at, content } = frame;
        let damaged = |what| BackupError::Damaged { at, what };
        let span = Span { at, bytes: content.len() };
        match kind {
            Kind::Head => {
                let head = serde_json::from_slice(content).map_err(|_| damaged("its head cannot be read"))?;
                self.head = Some(head);
            }
            Kind::File => {
                let (path, bytes) = parse_file(content).ok_or_else(|| damaged("a file cannot be read"))?;
                self.figures.files += 1;
                self.figures.bytes += bytes.len() as u64;
                self.file_bytes += content.len();
                if self.file_bytes > MAX_FILES_BYTES {
                    return Err(damaged("its files are too large"));
                }
                self.files.push((path.to_owned(), bytes.to_vec()));
            }
            Kind::Segment => {
                let name = std::str::from_utf8(content).ok().filter(|name| is_file_name(name));
                let name = name.ok_or_else(|| damaged("a name that no file of a store has"))?;
                self.figures.segments += 1;
                self.segments.insert(name.to_owned(), Vec::new());
                self.latest = Some(name.to_owned());
            }
            Kind::Piece => {
                let pieces = self.latest.as_ref().and_then(|name| self.segments.get_mut(name));
                pieces.ok_or_else(|| damaged("a piece of nothing"))?.push(span);
                self.figures.bytes += content.len() as u64;
            }
            Kind::Records => {
                self.take_records(content, span).ok_or_else(|| damaged("records are out of order"))?
            }
            Kind::End | Kind::Failure => {}
        }
        Ok(())
    }

    fn take_records(&mut self, content: &[u8], span: Span) -> Option<()> {
        let (mut rest, mut first) = (content, None);
        while !rest.is_empty() {
            let (key, value) = take_record(&mut rest)?;
            if self.last_key.as_ref().is_some_and(|last| last.as_slice() >= key) {
                return None;
            }
            self.last_key = Some(key.to_vec());
            first.get_or_insert_with(|| key.to_vec());
            self.figures.records += 1;
            self.figures.bytes += (key.len() + value.len()) as u64;
        }
        self.pages.extend(first.map(|first| (first, span)));
        Some(())
    }
}

/// The keys of a backup.
struct StoredDisk {
    file: Arc<File>,
    /// The first key of each page, and where it is.
    pages: Vec<(Vec<u8>, Span)>,
    /// The page that was read last.
    latest: Mutex<Option<(usize, Arc<Vec<u8>>)>>,
}

impl StoredDisk {
    fn page(&self, index: usize) -> Result<Option<Arc<Vec<u8>>>, DiskError> {
        let Some((_, span)) = self.pages.get(index) else { return Ok(None) };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, page)) = &*latest
            && *number == index
        {
            return Ok(Some(Arc::clone(page)));
        }
        let mut page = vec![0; span.bytes];
        self.file.read_exact_at(&mut page, span.at).map_err(|error| DiskError::Io(error.to_string()))?;
        let page = Arc::new(page);
        *latest = Some((index, Arc::clone(&page)));
        Ok(Some(page))
    }

    /// The page that would hold a key.
    fn page_of(&self, key: &[u8]) -> usize {
        self.pages.partition_point(|(first, _)| first.as_slice() <= key).saturating_sub(1)
    }
}

impl Search for StoredDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(page) = self.page(self.page_of(key))? else { return Ok(None) };
        let mut rest = page.as_slice();
        while let Some((found, value)) = take_record(&mut rest) {
            if found == key {
                return Ok(Some(value.to_vec()));
            }
        }
        Ok(None)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let start = from.max(prefix);
        let mut index = self.page_of(start);
        while let Some(page) = self.page(index)? {
            let mut rest = page.as_slice();
            while let Some((key, value)) = take_record(&mut rest) {
                if key < start {
                    continue;
                }
                if !key.starts_with(prefix) || visit(key, value).is_break() {
                    return Ok(());
                }
            }
            index += 1;
        }
        Ok(())
    }
}

/// A file of packed identities in a backup.
struct Pieces {
    file: Arc<File>,
    spans: Vec<Span>,
}

impl ReadAt for Pieces {
    fn length(&self) -> io::Result<u64> {
        Ok(self.spans.iter().map(|span| span.bytes as u64).sum())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut begin, mut filled) = (0, 0);
        for span in &self.spans {
            let end = begin + span.bytes as u64;
            let at = offset + filled as u64;
            if at >= begin && at < end && filled < buffer.len() {
                let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len() - filled);
                let part = buffer.get_mut(filled..filled + count).ok_or(io::ErrorKind::UnexpectedEof)?;
                self.file.read_exact_at(part, span.at + (at - begin))?;
                filled += count;
            }
            begin = end;
        }
        if filled == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
