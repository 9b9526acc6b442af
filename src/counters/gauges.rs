//! What other parts of the daemon know at a moment and whoever watches it wants to see. Each is asked when somebody
//! looks; what nobody feeds is not shown.

use std::fmt;
use std::sync::OnceLock;

use crate::proto::time::UnixMillis;

/// A certificate that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// The domain it is shown for.
    pub domain: String,
    /// When it ends.
    pub expires: UnixMillis,
    /// Whether the server made it itself: then nobody outside trusts it, and its end matters little.
    pub is_own: bool,
    /// Whether servers elsewhere are to accept it.
    pub is_public: bool,
    /// Why what now lies in its files is not shown, in one line. `None`: it is.
    pub trouble: Option<String>,
}

/// A signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Whose.
    pub domain: String,
    /// Which.
    pub selector: String,
    /// `active`, `pending`, `retiring`, `retired`, `revoked` or `idle`.
    pub state: &'static str,
    /// When it ends. `None`: it does not.
    pub expires: Option<UnixMillis>,
}

/// How the certificate authority has been asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeState {
    /// From when the certificate it last gave is valid. `None`: it has given none.
    pub renewed: Option<UnixMillis>,
    /// When the certificate in place is due. `None`: there is none, or it lacks a name.
    pub due: Option<UnixMillis>,
    /// Why it is not asked at all, and what to do, in one line. `None`: it is.
    pub hindered: Option<&'static str>,
    /// When it is asked next. `None`: that is not known.
    pub next: Option<UnixMillis>,
    /// Failures since the last success.
    pub failures: u64,
    /// The last of them, in one line. `None`: there is none.
    pub last_error: Option<String>,
}

/// What came of the last reload of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadState {
    /// When.
    pub at: UnixMillis,
    /// Why it was refused, in one line. `None`: it was carried out.
    pub error: Option<String>,
}

type Source<T> = OnceLock<Box<dyn Fn() -> T + Send + Sync>>;

/// Where to ask. Every source answers at once and from memory.
#[derive(Default)]
pub struct Gauges {
    certificates: Source<Vec<CertificateState>>,
    keys: Source<Vec<KeyState>>,
    acme: Source<Option<AcmeState>>,
    reload: Source<Option<ReloadState>>,
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Gauges {
    /// Says who knows the certificates. Only the first one is asked.
    pub fn feed_certificates(&self, source: impl Fn() -> Vec<CertificateState> + Send + Sync + 'static) {
        let _ = self.certificates.set(Box::new(source));
    }

    /// Likewise the keys.
    pub fn feed_keys(&self, source: impl Fn() -> Vec<KeyState> + Send + Sync + 'static) {
        let _ = self.keys.set(Box::new(source));
    }

    /// Likewise the dealings with the certificate authority.
    pub fn feed_acme(&self, source: impl Fn() -> Option<AcmeState> + Send + Sync + 'static) {
        let _ = self.acme.set(Box::new(source));
    }

    /// Likewise the last reload.
    pub fn feed_reload(&self, source: impl Fn() -> Option<ReloadState> + Send + Sync + 'static) {
        let _ = self.reload.set(Box::new(source));
    }

    /// The certificates shown.
    pub fn certificates(&self) -> Vec<CertificateState> {
        self.certificates.get().map(|source| source()).unwrap_or_default()
    }

    /// The signing keys.
    pub fn keys(&self) -> Vec<KeyState> {
        self.keys.get().map(|source| source()).unwrap_or_default()
    }

    /// The dealings with the certificate authority. `None`: there are none.
    pub fn acme(&self) -> Option<AcmeState> {
        self.acme.get().and_then(|source| source())
    }

    /// The last reload. `None`: there was none since the start.
    pub fn reload(&self) -> Option<ReloadState> {
        self.reload.get().and_then(|source| source())
    }
}
