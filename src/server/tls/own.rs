//! The certificate of our own making: for all domains and loopback, remade before it ends. Nobody trusts it but those
//! who pin it or do not verify.

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::CryptoProvider;

use super::TlsError;
use super::pair::Pair;
use crate::config::checked::CertificateFiles;
use crate::config::private;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// For how long it is made.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// How much earlier than now it begins: clocks differ.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);
/// How long before its end it is made anew, in seconds.
const RENEW_SECONDS: i64 = 30 * 24 * 3600;

/// Chain and key in a directory.
pub(super) fn files(directory: &Path) -> CertificateFiles {
    CertificateFiles { chain: directory.join("cert.pem"), key: directory.join("key.pem") }
}

/// The certificate in `directory`; made if there is none, or if what is there cannot be used for long or for all of
/// `domains`.
pub(super) fn ensure(
    directory: &Path,
    domains: &[Domain],
    now: UnixMillis,
    provider: &CryptoProvider,
) -> Result<Pair, TlsError> {
    let files = files(directory);
    if files.chain.exists() || files.key.exists() {
        match Pair::read(&files, provider) {
            Ok(pair) if is_good(&pair, domains, now) => return Ok(pair),
            Ok(_) => tracing::info!(path = %files.chain.display(), "a new certificate of our own making"),
            Err(error) => {
                tracing::warn!(path = %files.chain.display(), %error, "a new certificate of our own making");
            }
        }
    }
    make(&files, directory, domains, now)?;
    Pair::read(&files, provider)
}

/// Whether it will do for a while.
pub(super) fn is_good(pair: &Pair, domains: &[Domain], now: UnixMillis) -> bool {
    let of_all = domains.iter().all(|domain| pair.covers(domain.as_str()));
    of_all && pair.not_before <= now.seconds() && pair.seconds_left(now) > RENEW_SECONDS
}

fn make(
    files: &CertificateFiles,
    directory: &Path,
    domains: &[Domain],
    now: UnixMillis,
) -> Result<(), TlsError> {
    let making = |error: rcgen::Error| TlsError::Making(error.to_string());
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    for domain in domains {
        names.push(domain.to_string());
        names.push(format!("atp.{domain}"));
    }
    let mut params = CertificateParams::new(names).map_err(making)?;
    let now = date_time_ymd(1970, 1, 1) + now.since(UnixMillis(0));
    params.not_before = now - BACKDATED;
    params.not_after = now + VALIDITY;
    let key = KeyPair::generate().map_err(making)?;
    let certificate = params.self_signed(&key).map_err(making)?;
    private::create_dir(directory)?;
    private::write(&files.key, key.serialize_pem().as_bytes())?;
    private::write(&files.chain, certificate.pem().as_bytes())?;
    Ok(())
}
