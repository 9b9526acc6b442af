//! `[tls.destination."example.com"]`

use std::collections::BTreeMap;

use super::report::Report;
use crate::config::checked::{DestinationPolicy, DestinationTls};
use crate::config::document::segment;
use crate::config::file;
use crate::proto::address::Domain;

/// Most destinations with a section of their own.
const MAX_DESTINATIONS: usize = 1000;
/// Hexadecimal digits of a SHA-256.
const PIN_DIGITS: usize = 64;

pub(super) fn destinations(
    sections: BTreeMap<String, file::Destination>,
    report: &Report<'_>,
) -> Option<BTreeMap<Domain, DestinationTls>> {
    if sections.len() > MAX_DESTINATIONS {
        return report.wrong("tls.destination", format!("at most {MAX_DESTINATIONS} may have sections"));
    }
    let mut destinations = BTreeMap::new();
    for (name, section) in sections {
        let key = format!("tls.destination.{}", segment(&name));
        let domain = report.or_told(&key, Domain::parse(&name).map_err(|error| error.to_string()));
        let settings = destination(section, &key, report);
        destinations.extend(domain.zip(settings));
    }
    Some(destinations)
}

fn destination(section: file::Destination, key: &str, report: &Report<'_>) -> Option<DestinationTls> {
    let wrong = |name: &str, remedy: &str| report.wrong(&format!("{key}.{name}"), remedy);
    let policy = match (section.policy.as_deref().unwrap_or("any"), section.pin) {
        ("pin", Some(text)) => match pin(&text) {
            Some(pin) => DestinationPolicy::Pin(pin),
            None => {
                let digits = "must be the SHA-256 of the server's certificate, 64 hexadecimal digits";
                return wrong("pin", digits);
            }
        },
        ("pin", None) => {
            return wrong("policy", "the policy \"pin\" needs pin, the certificate's SHA-256, beside it");
        }
        (_, Some(_)) => {
            return wrong("pin", "goes with policy = \"pin\" only; write that, or remove it");
        }
        ("any", None) => DestinationPolicy::Any,
        ("domain", None) => DestinationPolicy::Domain,
        ("unverified", None) => DestinationPolicy::Unverified,
        (other, None) => {
            let remedy =
                format!("{other:?} is unknown; write \"any\", \"domain\", \"pin\" or \"unverified\"");
            return wrong("policy", &remedy);
        }
    };
    let judged = matches!(policy, DestinationPolicy::Any | DestinationPolicy::Domain);
    if section.ca.is_some() && !judged {
        return wrong("ca", "goes with policy = \"any\" or \"domain\" only; remove one of both");
    }
    Some(DestinationTls { policy, ca: section.ca })
}
fn pin(text: &str) -> Option<[u8; 32]> {
    let digits = text.bytes().filter(|byte| *byte != b':').collect::<Vec<_>>();
    if digits.len() != PIN_DIGITS {
        return None;
    }
    let mut pin = [0; 32];
    for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(pin)
}
