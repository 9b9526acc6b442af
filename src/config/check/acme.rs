//! `[acme]`

use std::net::SocketAddr;
use std::time::Duration;

use super::report::Report;
use super::server::all;
use crate::config::checked::{Acme, Challenge, Publisher, resolver_address};
use crate::config::file;
use crate::proto::address::Domain;

/// Most host names in a certificate: what authorities commonly allow.
const MAX_NAMES: usize = 100;
/// Shortest and longest `renew_before`.
const RENEW_BEFORE: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(90 * 24 * 3600));

/// The outer `None`: it is wrong; the inner: no certificates are asked for.
pub(super) fn acme(file: &file::Acme, domains: &[Domain], report: &Report<'_>) -> Option<Option<Acme>> {
    let challenge = match file.challenge.as_str() {
        "off" => return Some(None),
        "dns-01" => publisher(file, report).map(Challenge::Dns),
        "http-01" => http_listen(file, report).map(Challenge::Http),
        other => {
            let remedy = format!("{other:?} is unknown; write \"off\", \"dns-01\" or \"http-01\"");
            report.wrong("acme.challenge", remedy)
        }
    };
    if !file.agree_to_terms {
        let remedy =
            "must be true: certificates are given only to who agrees to the authority's terms of service";
        report.tell("acme.agree_to_terms", remedy);
    }
    if !file.directory.starts_with("https://") {
        report.tell("acme.directory", "must be an https:// URL");
    }
    let renew_before = report.time("acme.renew_before", &file.renew_before);
    if renew_before.is_some_and(|before| !(RENEW_BEFORE.0..=RENEW_BEFORE.1).contains(&before)) {
        report.tell("acme.renew_before", "must be 1h to 90d");
    }
    let names = names(&file.names, domains, report);
    Some(Some(Acme {
        names: names?,
        directory: file.directory.clone(),
        ca: file.ca.clone(),
        email: file.email.clone(),
        challenge: challenge?,
        renew_before: renew_before?,
    }))
}

fn names(texts: &[String], domains: &[Domain], report: &Report<'_>) -> Option<Vec<Domain>> {
    let names: Vec<Domain> = match texts {
        [] => domains.iter().filter_map(Domain::default_target).collect(),
        _ => report.each("acme.names", texts, |text| {
            Domain::parse(text).map_err(|error| format!("{text:?}: {error}"))
        })?,
    };
    if !(1..=MAX_NAMES).contains(&names.len()) {
        return report.wrong("acme.names", format!("must be 1 to {MAX_NAMES} host names"));
    }
    Some(names)
}

fn publisher(file: &file::Acme, report: &Report<'_>) -> Option<Publisher> {
    match (&file.hook, &file.nsupdate_server) {
        (Some(hook), None) => Some(Publisher::Hook(hook.clone())),
        (None, Some(text)) => match resolver_address(text) {
            Some(server) => Some(Publisher::Update { server, key: file.nsupdate_key.clone() }),
            None => report.wrong("acme.nsupdate_server", format!("{text:?} is not IP or IP:PORT")),
        },
        (None, None) => {
            let key = report.written("acme.hook", "acme.challenge");
            report.wrong(key, "dns-01 needs a hook or an nsupdate_server to publish its record")
        }
        (Some(_), Some(_)) => report.wrong("acme.hook", "give a hook or an nsupdate_server, not both"),
    }
}

fn http_listen(file: &file::Acme, report: &Report<'_>) -> Option<Option<SocketAddr>> {
    all(file.http_listen.as_ref().map(|text| {
        let remedy = || format!("{text:?} is not IP:PORT; write \"[::]:80\"");
        report.or_told("acme.http_listen", text.parse().map_err(|_| remedy()))
    }))
}
