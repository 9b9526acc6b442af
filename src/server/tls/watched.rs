//! A certificate and the files it comes from: looked at again and again, and taken when it is good.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;

use super::own;
use super::pair::Pair;
use super::shown::Entry;
use super::{SECONDS_A_DAY, TlsError, WARN_DAYS};
use crate::config::checked::CertificateFiles;
use crate::config::private;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// How often an operator is told that a certificate is about to end.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Where a certificate comes from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The operator's files.
    Files(CertificateFiles),
    /// One that an authority issued to us, where there is one, else one of our own making.
    Kept {
        /// Where the issued one is put.
        issued: PathBuf,
        /// Where our own is kept.
        own: PathBuf,
        /// For whom it is made.
        domains: Vec<Domain>,
    },
}

/// What is asked of a certificate, and with what it is read.
pub(super) struct Judgement<'a> {
    pub(super) provider: &'a CryptoProvider,
    pub(super) now: UnixMillis,
    pub(super) allow_expired: bool,
}

/// A certificate that is shown, and what is known of its files.
pub(super) struct Watched {
    domain: Option<Domain>,
    source: Source,
    /// Where the pair was read.
    files: CertificateFiles,
    pair: Arc<Pair>,
    /// What the files looked like when they were last judged.
    stamp: Stamp,
    /// Why what they hold now is not shown. `None`: it is.
    trouble: Option<Trouble>,
    /// When the operator was last told that the end is near.
    warned: Option<UnixMillis>,
}

struct Trouble {
    text: String,
    told: bool,
}

impl Watched {
    /// Reads the certificate that is to be shown.
    ///
    /// # Errors
    /// [`TlsError`] if there is none that can be.
    pub(super) fn open(
        domain: Option<Domain>,
        source: Source,
        judgement: &Judgement<'_>,
    ) -> Result<Watched, TlsError> {
        let stamp = Stamp::of(&source);
        let (pair, files, trouble) = match source.read(judgement) {
            Ok((pair, files)) => (pair, files, None),
            Err(error) => {
                let (pair, files) = source.fall_back(judgement).ok_or(error)??;
                // To be read again, and told then if nothing has changed.
                (pair, files, Some(Trouble { text: String::new(), told: false }))
            }
        };
        if private::is_open_to_all(&files.key) {
            tracing::warn!(path = %files.key.display(), "every user of this machine may read the certificate's key; chmod it");
        }
        Ok(Watched { domain, source, files, pair: Arc::new(pair), stamp, trouble, warned: None })
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            domain: self.domain.clone(),
            file: self.files.chain.clone(),
            pair: Arc::clone(&self.pair),
            trouble: self.trouble().map(str::to_owned),
        }
    }

    /// Why what now lies in the files is not shown, once that is sure.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().filter(|trouble| trouble.told).map(|trouble| trouble.text.as_str())
    }

    /// Looks whether there is another certificate, and takes it if it is good. `true`: it was taken. One that is not
    /// good is told once, and not before it has been so for two looks: files are not always replaced in one step.
    pub(super) fn look(&mut self, judgement: &Judgement<'_>) -> bool {
        let stamp = Stamp::of(&self.source);
        let due = self.source.is_due(&self.pair, &self.files, judgement.now);
        if stamp == self.stamp && self.trouble.is_none() && !due {
            return false;
        }
        match self.source.read(judgement) {
            // Written to while it was read: the next look knows more. What we have written ourselves is whole.
            Ok(_) if !due && Stamp::of(&self.source) != stamp => false,
            Ok((pair, files)) => {
                self.stamp = Stamp::of(&self.source);
                self.take(pair, files)
            }
            Err(error) => {
                self.stamp = stamp;
                self.tell(&error.to_string());
                // What is shown meanwhile must not end.
                due && self.remake(judgement)
            }
        }
    }

    fn take(&mut self, pair: Pair, files: CertificateFiles) -> bool {
        let was_told = self.trouble.take().is_some_and(|trouble| trouble.told);
        let is_new = pair.certified.cert != self.pair.certified.cert;
        if is_new || was_told {
            let ends = UnixMillis::from_seconds(pair.not_after);
            tracing::info!(
                path = %files.chain.display(), names = names(&pair), ends = %super::date(ends),
                "this certificate is shown from now on"
            );
        }
        if is_new {
            self.warned = None;
        }
        (self.pair, self.files) = (Arc::new(pair), files);
        is_new
    }

    fn remake(&mut self, judgement: &Judgement<'_>) -> bool {
        let Some(Ok((pair, files))) = self.source.fall_back(judgement) else { return false };
        (self.pair, self.files) = (Arc::new(pair), files);
        true
    }

    fn tell(&mut self, text: &str) {
        match &mut self.trouble {
            Some(trouble) if trouble.text == text => {
                if !std::mem::replace(&mut trouble.told, true) {
                    tracing::error!(
                        path = %self.files.chain.display(), reason = text,
                        "the certificate on disk cannot be shown, the one before it stays; \
                         put a chain and the key it was made for in their place"
                    );
                }
            }
            _ => self.trouble = Some(Trouble { text: text.to_owned(), told: false }),
        }
    }

    /// Tells, once a day, that the end is near.
    pub(super) fn warn(&mut self, now: UnixMillis) {
        let seconds_left = self.pair.seconds_left(now);
        let is_near = seconds_left < WARN_DAYS * SECONDS_A_DAY;
        let is_broken = self.pair.has_expired_above(now);
        let is_told = self.warned.is_some_and(|at| now.since(at) < WARN_EVERY);
        if !(is_near || is_broken) || is_told {
            return;
        }
        self.warned = Some(now);
        let (path, names) = (self.files.chain.display(), names(&self.pair));
        if is_broken {
            tracing::warn!(
                %path, names,
                "a certificate further up in the chain has expired, and servers that need it refuse the whole; \
                 replace the file by the chain that your authority gives now"
            );
        }
        if seconds_left < 0 {
            tracing::error!(%path, names, "the certificate has expired and other servers refuse it; replace the file");
        } else if is_near {
            let days = seconds_left / SECONDS_A_DAY;
            tracing::warn!(%path, names, days, "the certificate ends soon; replace the file in time");
        }
    }
}

impl Source {
    fn read(&self, judgement: &Judgement<'_>) -> Result<(Pair, CertificateFiles), TlsError> {
        match self {
            Source::Files(files) => judgement.read(files).map(|pair| (pair, files.clone())),
            Source::Kept { issued, .. } if own::files(issued).chain.exists() => {
                let files = own::files(issued);
                judgement.read(&files).map(|pair| (pair, files))
            }
            Source::Kept { own, domains, .. } => {
                let pair = own::ensure(own, domains, judgement.now, judgement.provider)?;
                Ok((pair, own::files(own)))
            }
        }
    }

    /// What can be shown where what should be cannot. `None`: nothing.
    fn fall_back(&self, judgement: &Judgement<'_>) -> Option<Result<(Pair, CertificateFiles), TlsError>> {
        match self {
            Source::Kept { issued, own, domains } if own::files(issued).chain.exists() => {
                let pair = own::ensure(own, domains, judgement.now, judgement.provider);
                Some(pair.map(|pair| (pair, own::files(own))))
            }
            _ => None,
        }
    }

    /// Whether the certificate is of our own making and has to be made anew.
    fn is_due(&self, pair: &Pair, shown: &CertificateFiles, now: UnixMillis) -> bool {
        match self {
            Source::Kept { own, domains, .. } => {
                *shown == own::files(own) && !own::is_good(pair, domains, now)
            }
            Source::Files(_) => false,
        }
    }

    fn files(&self) -> Vec<CertificateFiles> {
        match self {
            Source::Files(files) => vec![files.clone()],
            Source::Kept { issued, own, .. } => vec![own::files(issued), own::files(own)],
        }
    }
}

impl Judgement<'_> {
    pub(super) fn read(&self, files: &CertificateFiles) -> Result<Pair, TlsError> {
        let pair = Pair::read(files, self.provider)?;
        if !self.allow_expired {
            pair.check_validity(files, self.now)?;
        }
        Ok(pair)
    }
}

/// What files look like from outside, links followed: whatever replaces one changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp(Vec<Option<FileStamp>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(source: &Source) -> Stamp {
        let files = source.files();
        Stamp(
            files
                .iter()
                .flat_map(|files| [&files.chain, &files.key])
                .map(|path| FileStamp::of(path))
                .collect(),
        )
    }
}

impl FileStamp {
    /// `None`: there is none, or it cannot be looked at.
    fn of(path: &Path) -> Option<FileStamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(FileStamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Most names that the log repeats.
const MAX_SHOWN_NAMES: usize = 8;

fn names(pair: &Pair) -> String {
    let shown: Vec<_> = pair.names.iter().take(MAX_SHOWN_NAMES).map(String::as_str).collect();
    shown.join(",")
}
