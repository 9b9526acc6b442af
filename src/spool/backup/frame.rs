//! Frames: the pieces of a backup, each with a checksum, and a digest over all of them.

use sha2::{Digest as _, Sha256};

use super::{BackupError, Figures};

/// Begins every backup; the last byte is the version of the form.
pub const MAGIC: [u8; 12] = *b"atp-backup\n\x01";
/// Bytes of a frame's kind and length.
const HEAD_BYTES: usize = 5;
/// Bytes of a checksum.
const SUM_BYTES: usize = 4;
/// Bytes of the digest.
const DIGEST_BYTES: usize = 32;
/// Largest content of a frame, in bytes: a page of keys, or the largest value there can be.
pub const MAX_CONTENT_BYTES: usize = 4 * 1024 * 1024;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The [`Head`](super::Head), JSON.
    Head,
    /// A file below the state directory: the length of its path (two bytes, little end first), the path, the content.
    File,
    /// The name of a file of packed identities, whose content follows.
    Segment,
    /// A piece of it.
    Piece,
    /// Keys and values, in order.
    Records,
    /// The [`Figures`], JSON, and the digest of all before this frame.
    End,
    /// Why there is no end: text.
    Failure,
}

impl Kind {
    const ALL: [(Kind, u8); 7] = [
        (Kind::Head, b'H'),
        (Kind::File, b'F'),
        (Kind::Segment, b'S'),
        (Kind::Piece, b'P'),
        (Kind::Records, b'R'),
        (Kind::End, b'E'),
        (Kind::Failure, b'X'),
    ];

    fn byte(self) -> u8 {
        Kind::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, byte)| *byte)
    }

    fn of(byte: u8) -> Option<Kind> {
        Kind::ALL.iter().find(|(_, known)| *known == byte).map(|(kind, _)| *kind)
    }
}

/// The checksum of a frame.
fn sum(index: u64, head: &[u8], content: &[u8]) -> [u8; SUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(head);
    hasher.update(content);
    hasher.finalize().to_le_bytes()
}

/// Makes frames.
#[derive(Default)]
pub struct Framer {
    frames: u64,
    digest: Sha256,
}

impl Framer {
    /// What begins a backup.
    pub fn begin() -> (Framer, Vec<u8>) {
        let mut framer = Framer::default();
        framer.digest.update(MAGIC);
        (framer, MAGIC.to_vec())
    }

    /// A frame. `content` is at most [`MAX_CONTENT_BYTES`].
    pub fn frame(&mut self, kind: Kind, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut frame = Vec::with_capacity(HEAD_BYTES + content.len() + SUM_BYTES);
        frame.push(kind.byte());
        frame.extend_from_slice(&length);
        let sum = sum(self.frames, &frame, content);
        frame.extend_from_slice(content);
        frame.extend_from_slice(&sum);
        self.frames += 1;
        self.digest.update(&frame);
        frame
    }

    /// The last frame.
    pub fn end(mut self, figures: &Figures) -> Vec<u8> {
        let digest: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        let figures = serde_json::to_vec(figures).unwrap_or_default();
        self.frame(Kind::End, &[&digest[..], &figures].concat())
    }
}

/// A frame that has been read and is what was written.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Which.
    pub kind: Kind,
    /// Where its content begins in the file.
    pub at: u64,
    /// Its content.
    pub content: &'a [u8],
}

/// Takes a backup apart as its bytes come, and checks every one of them.
pub struct Parser {
    waiting: Vec<u8>,
    /// Where `waiting` begins in the file.
    at: u64,
    frames: u64,
    digest: Sha256,
    has_begun: bool,
    figures: Option<Figures>,
}

impl Default for Parser {
    fn default() -> Parser {
        Parser {
            waiting: Vec::new(),
            at: 0,
            frames: 0,
            digest: Sha256::new(),
            has_begun: false,
            figures: None,
        }
    }
}

impl Parser {
    /// Takes more bytes, and calls `each` for every frame that they complete, but for the end.
    ///
    /// # Errors
    /// [`BackupError`] for what is no backup, or damaged, and what `each` says.
    pub fn push(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(Frame<'_>) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.waiting.extend_from_slice(bytes);
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = self.take_magic(&waiting)?;
        while let Some(used) = self.take_frame(rest, each)? {
            rest = rest.get(used..).unwrap_or_default();
        }
        self.waiting = rest.to_vec();
        Ok(())
    }

    fn take_magic<'a>(&mut self, waiting: &'a [u8]) -> Result<&'a [u8], BackupError> {
        let known = MAGIC.len() - 1;
        if self.has_begun {
            return Ok(waiting);
        }
        let seen = waiting.len().min(known);
        if waiting.get(..seen) != MAGIC.get(..seen) {
            return Err(BackupError::Foreign);
        }
        let Some((begin, rest)) = waiting.split_first_chunk::<{ MAGIC.len() }>() else { return Ok(waiting) };
        if begin[known] != MAGIC[known] {
            return Err(BackupError::Version(begin[known]));
        }
        self.digest.update(begin);
        (self.at, self.has_begun) = (begin.len() as u64, true);
        Ok(rest)
    }

    /// How many bytes the first frame of `rest` takes. `None`: it is not there as a whole.
    fn take_frame(
        &mut self,
        rest: &[u8],
        each: &mut dyn FnMut(Frame<'_>) -> Result<(), BackupError>,
    ) -> Result<Option<usize>, BackupError> {
        let at = self.at;
        let damaged = |what| BackupError::Damaged { at, what };
        if self.figures.is_some() && !rest.is_empty() {
            return Err(damaged("something follows its end"));
        }
        let Some((head, body)) = rest.split_first_chunk::<HEAD_BYTES>().filter(|_| self.has_begun) else {
            return Ok(None);
        };
        let kind = Kind::of(head[0]).ok_or_else(|| damaged("no such kind of frame"))?;
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > MAX_CONTENT_BYTES {
            return Err(damaged("a frame is too long"));
        }
        let Some((content, after)) = body.split_at_checked(length) else { return Ok(None) };
        let Some(found) = after.first_chunk::<SUM_BYTES>() else { return Ok(None) };
        if sum(self.frames, head, content) != *found {
            return Err(damaged("a checksum is wrong"));
        }
        if (self.frames == 0) != (kind == Kind::Head) {
            return Err(damaged("its head is not at the front"));
        }
        let used = HEAD_BYTES + length + SUM_BYTES;
        match kind {
            Kind::End => {
                self.figures = Some(self.ended(content).ok_or_else(|| damaged("its digest is wrong"))?)
            }
            Kind::Failure => {
                return Err(BackupError::Unfinished(String::from_utf8_lossy(content).into_owned()));
            }
            _ => each(Frame { kind, at: self.at + HEAD_BYTES as u64, content })?,
        }
        self.digest.update(rest.get(..used).unwrap_or_default());
        self.frames += 1;
        self.at += used as u64;
        Ok(Some(used))
    }

    fn ended(&self, content: &[u8]) -> Option<Figures> {
        let (digest, figures) = content.split_first_chunk::<DIGEST_BYTES>()?;
        let found: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        if found == *digest { serde_json::from_slice(figures).ok() } else { None }
    }

    /// The figures, once everything has been taken.
    ///
    /// # Errors
    /// [`BackupError::CutOff`] if the end has not come.
    pub fn finish(self) -> Result<Figures, BackupError> {
        let taken = self.at + self.waiting.len() as u64;
        self.figures.ok_or(BackupError::CutOff(taken))
    }
}

/// Writes a key and its value behind others.
pub fn append_record(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    for part in [key, value] {
        to.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
    }
    to.extend_from_slice(key);
    to.extend_from_slice(value);
}

/// Takes the first key and value off `bytes`. `None`: there is no whole one.
pub fn take_record<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (key_length, rest) = bytes.split_first_chunk()?;
    let (value_length, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_length) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
    *bytes = rest;
    Some((key, value))
}

/// The content of a frame for a file.
pub fn file_content(path: &str, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&length[..], path.as_bytes(), bytes].concat()
}

/// Path and content of such a frame. `None`: it is none.
pub fn parse_file(content: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = content.split_first_chunk()?;
    let (path, bytes) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(path).ok()?, bytes))
}
