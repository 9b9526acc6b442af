//! A handshake that failed, in one sentence.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::judge::OtherCertificate;
use crate::env::dial::{DialError, Mistrust};
use crate::proto::address::Domain;

/// What was wrong, with the peer that was expected to be `name`.
pub(super) fn of(error: &io::Error, name: &str) -> DialError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    if let Some(Error::InvalidCertificate(wrong)) = inner {
        return DialError::Certificate(of_certificate(wrong, name));
    }
    DialError::Tls(match inner {
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) | Some(Error::PeerIncompatible(_)) => {
            format!("{name} does not speak TLS 1.3 as we do")
        }
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            format!("{name} speaks neither h2 nor http/1.1 nor atp/1")
        }
        Some(Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            format!("{name} is not a name that server knows")
        }
        Some(Error::InvalidMessage(_)) => format!("{name} does not answer with TLS on this port"),
        Some(Error::AlertReceived(alert)) => {
            format!("{name} ended the handshake: {}", in_words(&format!("{alert:?}")))
        }
        Some(other) => format!("the handshake with {name} failed: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("{name} closed the connection during the handshake")
        }
        None => format!("the connection to {name} broke during the handshake: {error}"),
    })
}

/// `HandshakeFailure` as `handshake failure`.
fn in_words(name: &str) -> String {
    name.chars().fold(String::new(), |mut words, c| {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        words
    })
}

fn of_certificate(wrong: &CertificateError, name: &str) -> Mistrust {
    use CertificateError as E;
    let text = match wrong {
        E::Expired | E::ExpiredContext { .. } => format!("the certificate of {name} has expired"),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            format!("the certificate of {name} is not valid yet (is a clock wrong?)")
        }
        E::NotValidForNameContext { presented, .. } => {
            let names =
                presented.iter().take(MAX_LISTED_NAMES).filter_map(|name| Domain::parse(plain(name)).ok());
            let text = format!("the certificate is not for {name} but for {}", listed(presented));
            return Mistrust { text, names: names.collect() };
        }
        E::NotValidForName => format!("the certificate is not for {name}"),
        E::UnknownIssuer => format!("the certificate of {name} is from an issuer we do not trust"),
        E::BadSignature => {
            format!(
                "a signature by or on the certificate of {name} does not verify (an issuer of the same name?)"
            )
        }
        E::Revoked => format!("the certificate of {name} has been revoked"),
        E::Other(error) if error.0.is::<OtherCertificate>() => {
            format!("the certificate of {name} is not the one expected of it: {}", error.0)
        }
        E::BadEncoding => format!("the certificate of {name} cannot be read"),
        E::UnhandledCriticalExtension => {
            format!("the certificate of {name} has a critical extension that we do not know")
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            format!("the certificate of {name} is not one for servers")
        }
        E::Other(_) => format!(
            "the certificate of {name} cannot be accepted (is it an authority's own, or of an unusual kind?)"
        ),
        other => format!("the certificate of {name} cannot be accepted: {other}"),
    };
    text.into()
}

/// Most names of a foreign certificate repeated in the log.
const MAX_LISTED_NAMES: usize = 4;

fn listed(presented: &[String]) -> String {
    let names: Vec<_> = presented.iter().take(MAX_LISTED_NAMES).map(|name| printable(plain(name))).collect();
    match presented.len() {
        0 => "no name at all".to_owned(),
        n if n > MAX_LISTED_NAMES => format!("{} and others", names.join(", ")),
        _ => names.join(", "),
    }
}

/// A name without the kind that rustls puts around it.
fn plain(presented: &str) -> &str {
    let quoted = presented.strip_prefix("DnsName(\"").and_then(|rest| rest.strip_suffix("\")"));
    let address = || presented.strip_prefix("IpAddress(").and_then(|rest| rest.strip_suffix(')'));
    quoted.or_else(address).unwrap_or(presented)
}

/// Most characters of such a name.
const MAX_NAME_CHARS: usize = 100;

/// A name as the certificate has it may hold anything, even what steers the terminal it is shown on.
fn printable(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).fold(String::with_capacity(name.len()), |mut out, c| {
        match c {
            ' '..='~' => out.push(c),
            _ => out.extend(c.escape_default()),
        }
        out
    })
}
