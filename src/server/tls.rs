//! The certificates this server shows: the operator's, one that an authority issued to it, or one of its own making.
//!
//! Which one a client sees is decided at each handshake, by the name it asks for. The files are looked at once a second:
//! a pair that is good takes the place of the one before it, for new handshakes only; one that is not is told and left.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use self::pair::Pair;
use self::shown::{Resolver, Shown};
use self::watched::{Judgement, Source, Watched};
use crate::config::Config;
use crate::config::checked::CertificateFiles;
use crate::config::private::PrivateError;
use crate::env::clock::Clock;
use crate::proto::address::Domain;
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;

mod own;
mod pair;
mod shown;
#[cfg(test)]
mod tests;
mod watched;

/// What the server offers in ALPN; the client's order decides nothing, ours does.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"atp/1"];
/// How many days before its end a certificate is worth a warning.
pub const WARN_DAYS: i64 = 14;
const SECONDS_A_DAY: i64 = 24 * 3600;

/// Why there is no certificate to show. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What was wrong.
        cause: String,
    },
    /// Certificate and key do not fit together.
    #[error("the certificate {chain} and the key {key} cannot be used together: {cause}")]
    Mismatch {
        /// Path of the chain.
        chain: String,
        /// Path of the key.
        key: String,
        /// What was wrong.
        cause: String,
    },
    /// Its time is over.
    #[error(
        "the certificate {path} expired on {}, and other servers refuse it; renew it, or start with --allow-expired-certificate",
        date(*at)
    )]
    Expired {
        /// Path of the chain.
        path: String,
        /// When.
        at: UnixMillis,
    },
    /// Its time has not come.
    #[error(
        "the certificate {path} is not valid before {} (is the clock wrong?); wait, or start with --allow-expired-certificate",
        date(*at)
    )]
    NotYetValid {
        /// Path of the chain.
        path: String,
        /// From when on it is.
        at: UnixMillis,
    },
    /// None could be made.
    #[error("cannot make a certificate: {0}")]
    Making(String),
    /// A private file is unusable.
    #[error(transparent)]
    Private(#[from] PrivateError),
}

fn date(at: UnixMillis) -> String {
    Calendar::from(at).to_string()
}

/// Where certificates are kept that the configuration does not name: `cert.pem` and `key.pem` in each directory.
#[derive(Debug, Clone)]
pub struct Places {
    /// The one of our own making.
    pub own: PathBuf,
    /// The one that an authority issued. It goes before our own, and is taken as soon as it is there.
    pub issued: PathBuf,
}

/// The certificates shown. Shared by the listener and by whoever changes or watches them.
pub struct Certificates {
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    places: Places,
    kept: Mutex<Kept>,
    shown: Arc<ArcSwap<Shown>>,
}

/// What is looked after: held only while files are looked at, never by a handshake.
struct Kept {
    allow_expired: bool,
    server: Watched,
    of_domains: BTreeMap<Domain, Watched>,
}

/// Certificates that have been read and can be shown.
pub struct Prepared(Kept);

/// What an operator wants to know about a certificate that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// For whose names it is shown. `None`: it is the server's, for all others.
    pub domain: Option<Domain>,
    /// The names in it.
    pub names: Vec<String>,
    /// Until when it is valid.
    pub not_after: UnixMillis,
    /// Whole days until then, rounded down; negative once it has expired.
    pub days_left: i64,
    /// The file of its chain.
    pub file: PathBuf,
    /// Whether the server made it itself.
    pub is_own: bool,
    /// Why what now lies in the files is not shown instead, on one line. `None`: nothing else lies there.
    pub trouble: Option<String>,
}

impl CertificateSummary {
    /// Whether servers elsewhere are to accept it: it is not for special-use domains and this machine alone.
    pub fn is_public(&self) -> bool {
        let names = self.names.iter().filter(|name| name.parse::<IpAddr>().is_err());
        names.filter_map(|name| Domain::parse(name).ok()).any(|name| !name.is_special_use())
    }
}

/// Whether a pair of files could be shown at `now`.
///
/// # Errors
/// [`TlsError`] naming the file.
pub fn check(files: &CertificateFiles, allow_expired: bool, now: UnixMillis) -> Result<(), TlsError> {
    let pair = Pair::read(files, &rustls::crypto::aws_lc_rs::default_provider())?;
    if allow_expired { Ok(()) } else { pair.check_validity(files, now) }
}

impl Certificates {
    /// The certificates that the configuration wants. One of our own making is made if need be.
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn open(config: &Config, places: Places, clock: Arc<dyn Clock>) -> Result<Certificates, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut kept = Kept::read(config, &places, &provider, clock.now())?;
        kept.tell(config, clock.now());
        let shown = Arc::new(ArcSwap::from_pointee(kept.shown()));
        Ok(Certificates { clock, provider, places, kept: Mutex::new(kept), shown })
    }

    /// Reads what another configuration wants, without showing it. Reads files: not to be called where nothing may
    /// wait.
    ///
    /// # Errors
    /// [`TlsError`] naming the file.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, TlsError> {
        let mut kept = Kept::read(config, &self.places, &self.provider, self.clock.now())?;
        kept.tell(config, self.clock.now());
        Ok(Prepared(kept))
    }

    /// Shows what has been prepared, to all handshakes from now on.
    pub fn commit(&self, prepared: Prepared) {
        let mut kept = self.kept();
        *kept = prepared.0;
        self.shown.store(Arc::new(kept.shown()));
    }

    /// Looks at all files, and shows what is good and new. `true`: something is. Reads files: not to be called where
    /// nothing may wait.
    pub fn look(&self) -> bool {
        self.look_at(&mut self.kept())
    }

    fn look_at(&self, kept: &mut Kept) -> bool {
        let now = self.clock.now();
        let judgement = Judgement { provider: &self.provider, now, allow_expired: kept.allow_expired };
        let mut is_new = false;
        let mut is_otherwise = false;
        for watched in kept.watched() {
            let before = watched.trouble().map(str::to_owned);
            is_new |= watched.look(&judgement);
            is_otherwise |= watched.trouble() != before.as_deref();
            watched.warn(now);
        }
        if is_new || is_otherwise {
            self.shown.store(Arc::new(kept.shown()));
        }
        is_new
    }

    /// What is shown at present, the server's own first.
    pub fn summary(&self) -> Vec<CertificateSummary> {
        let now = self.clock.now();
        let summary = |entry: &shown::Entry| CertificateSummary {
            domain: entry.domain.clone(),
            names: entry.pair.names.clone(),
            not_after: UnixMillis::from_seconds(entry.pair.not_after),
            days_left: entry.pair.seconds_left(now).div_euclid(SECONDS_A_DAY),
            file: entry.file.clone(),
            is_own: entry.file == own::files(&self.places.own).chain,
            trouble: entry.trouble.clone(),
        };
        self.shown.load().entries().map(summary).collect()
    }

    /// SHA-256 of the certificate, in DER, that whoever asks for `domain` is shown at present.
    pub fn sha256_for(&self, domain: &Domain) -> [u8; 32] {
        self.shown.load().choose(Some(domain.as_str())).pair.sha256
    }

    /// The server's side of TLS: 1.3 only, each handshake with the certificate of its moment. Session tickets are good
    /// beyond a change of certificates; their keys rotate by themselves, every six hours.
    ///
    /// # Errors
    /// [`TlsError::Making`] if the machine gives no random bytes.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let failed = |error: rustls::Error| TlsError::Making(error.to_string());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(&self.shown))));
        config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(failed)?;
        Ok(Arc::new(config))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn read(
        config: &Config,
        places: &Places,
        provider: &CryptoProvider,
        now: UnixMillis,
    ) -> Result<Kept, TlsError> {
        let allow_expired = config.server.allow_expired_certificate;
        let judgement = Judgement { provider, now, allow_expired };
        let source = match &config.server.certificate {
            Some(files) => Source::Files(files.clone()),
            None => Source::Kept {
                issued: places.issued.clone(),
                own: places.own.clone(),
                domains: config.domains().to_vec(),
            },
        };
        let mut of_domains = BTreeMap::new();
        for domain in config.domains() {
            let files = config.settings_of(domain).and_then(|settings| settings.certificate.clone());
            if let Some(files) = files {
                let watched = Watched::open(Some(domain.clone()), Source::Files(files), &judgement)?;
                of_domains.insert(domain.clone(), watched);
            }
        }
        Ok(Kept { allow_expired, server: Watched::open(None, source, &judgement)?, of_domains })
    }

    fn watched(&mut self) -> impl Iterator<Item = &mut Watched> {
        std::iter::once(&mut self.server).chain(self.of_domains.values_mut())
    }

    fn shown(&self) -> Shown {
        Shown::new(self.server.entry(), self.of_domains.values().map(Watched::entry).collect())
    }

    /// Tells the operator what other servers may object to.
    fn tell(&mut self, config: &Config, now: UnixMillis) {
        self.watched().for_each(|watched| watched.warn(now));
        let shown = self.shown();
        for domain in config.domains().iter().filter(|domain| !domain.is_special_use()) {
            let entry = shown.choose(Some(&format!("atp.{domain}")));
            let is_within = |name: &String| {
                name.strip_suffix(domain.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'))
            };
            if !entry.pair.names.iter().any(is_within) {
                tracing::warn!(
                    %domain, path = %entry.file.display(), names = entry.pair.names.join(","),
                    "the certificate has no name of the domain: other servers accept it only if the domain's SVCB \
                     record names one of these"
                );
            }
        }
    }
}
