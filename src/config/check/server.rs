//! `[server]`, `[registration]`, `[dns]` and `[verify]`

use std::path::PathBuf;
use std::time::Duration;

use super::report::Report;
use crate::config::checked::{CertificateFiles, Dns, RegistrationMode, Server, Verify, resolver_address};
use crate::config::{file, units};
use crate::proto::limits::SIGNING_ROOM_BYTES;

/// Smallest `server.max_message_size`: room for a submission beside what signing adds.
const MIN_MESSAGE_BYTES: u64 = 2 * SIGNING_ROOM_BYTES as u64;
/// Largest `server.max_message_size`: a message is held in memory while it is checked.
const MAX_MESSAGE_BYTES: u64 = 64 * 1024 * 1024;
/// Longest `server.shutdown_grace`.
const MAX_SHUTDOWN_GRACE: Duration = Duration::from_secs(600);

pub(super) fn server(file: &file::Server, report: &Report<'_>) -> Option<Server> {
    let host = file.host.as_deref().map(|text| {
        let remedy = || format!("{text:?} is not an IP address; write \"::\" or \"192.0.2.1\"");
        report.or_told("server.host", text.parse().map_err(|_| remedy()))
    });
    let shutdown_grace = report.time("server.shutdown_grace", &file.shutdown_grace);
    if shutdown_grace.is_some_and(|grace| grace > MAX_SHUTDOWN_GRACE) {
        let most = units::print_time(MAX_SHUTDOWN_GRACE);
        report.tell("server.shutdown_grace", format!("must be at most {most}"));
    }
    let size = &file.max_message_size;
    let max_message_bytes = max_message_bytes("server.max_message_size", size, MAX_MESSAGE_BYTES, report);
    let certificate = pair("server", file.cert.as_ref(), file.key.as_ref(), report);
    Some(Server {
        host: all(host)?,
        port: file.port,
        certificate: certificate?,
        allow_expired_certificate: file.allow_expired_certificate,
        max_message_bytes: max_message_bytes?,
        shutdown_grace: shutdown_grace?,
    })
}

/// What may be absent, but not wrong.
pub(super) fn all<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(checked) => checked.map(Some),
    }
}

pub(super) fn max_message_bytes(key: &str, text: &str, most: u64, report: &Report<'_>) -> Option<usize> {
    let size = report.size(key, text)?;
    if !(MIN_MESSAGE_BYTES..=most).contains(&size) {
        let (least, most) = (units::print_size(MIN_MESSAGE_BYTES), units::print_size(most));
        return report.wrong(key, format!("must be {least} to {most}"));
    }
    usize::try_from(size).ok()
}

/// `cert` and `key` of a section.
pub(super) fn pair(
    section: &str,
    chain: Option<&PathBuf>,
    key: Option<&PathBuf>,
    report: &Report<'_>,
) -> Option<Option<CertificateFiles>> {
    let goes_with = |there: &str, missing: &str, words: &str| {
        let (missing, there) = (format!("{section}.{missing}"), format!("{section}.{there}"));
        report.wrong(report.written(&missing, &there), format!("{words}; give both or neither"))
    };
    match (chain, key) {
        (Some(chain), Some(key)) => Some(Some(CertificateFiles { chain: chain.clone(), key: key.clone() })),
        (None, None) => Some(None),
        (Some(_), None) => goes_with("cert", "key", "a certificate needs its key"),
        (None, Some(_)) => goes_with("key", "cert", "a key needs its certificate"),
    }
}

/// The outer `None`: it is wrong.
pub(super) fn registration(
    key: &str,
    mode: Option<&str>,
    report: &Report<'_>,
) -> Option<Option<RegistrationMode>> {
    match mode {
        None => Some(None),
        Some("open") => Some(Some(RegistrationMode::Open)),
        Some("loopback") => Some(Some(RegistrationMode::Loopback)),
        Some(other) => {
            let remedy = format!(
                "{other:?} is unknown; write \"open\" or \"loopback\", or leave it out for the usual rule"
            );
            report.wrong(key, remedy)
        }
    }
}

pub(super) fn dns(file: &file::Dns, report: &Report<'_>) -> Option<Dns> {
    let servers = report.each("dns.servers", &file.servers, |text| {
        let remedy = || format!("{text:?} is not an address; write IP or IP:PORT, \"[::1]:53\"");
        resolver_address(text).ok_or_else(remedy)
    });
    Some(Dns { servers: servers?, overrides: file.overrides.clone(), peers: file.peers.clone() })
}

pub(super) fn verify(file: &file::Verify, report: &Report<'_>) -> Option<Verify> {
    let max_message_age = report.time("verify.max_message_age", &file.max_message_age)?;
    Some(Verify { max_message_age, refuse_neutral: file.refuse_neutral })
}
