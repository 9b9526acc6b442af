//! `[acme]`

use std::net::SocketAddr;
use std::time::Duration;

use super::report::Report;
use super::server::all;
use crate::config::checked::{Acme, Binding, Challenge, Publisher, resolver_address};
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
    if !is_https(&file.directory) {
        report.tell("acme.directory", "must be an https:// URL");
    }
    let renew_before = report.time("acme.renew_before", &file.renew_before);
    if renew_before.is_some_and(|before| !(RENEW_BEFORE.0..=RENEW_BEFORE.1).contains(&before)) {
        report.tell("acme.renew_before", "must be 1h to 90d");
    }
    if file.email.as_deref().is_some_and(|email| !is_mail_address(email)) {
        report.tell("acme.email", "is not an address such as admin@example.com");
    }
    let binding = binding(file, report);
    let names = names(&file.names, domains, report);
    Some(Some(Acme {
        names: names?,
        directory: file.directory.clone(),
        ca: file.ca.clone(),
        email: file.email.clone(),
        binding: binding?,
        challenge: challenge?,
        renew_before: renew_before?,
    }))
}

/// As far as an authority could object to it: something on both sides of one `@`.
fn is_mail_address(text: &str) -> bool {
    let is_good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && c != '@');
    text.split_once('@').is_some_and(|(name, domain)| is_good(name) && is_good(domain))
}

fn is_https(text: &str) -> bool {
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    !host.is_empty() && rest.chars().all(|c| c.is_ascii_graphic())
}

fn binding(file: &file::Acme, report: &Report<'_>) -> Option<Option<Binding>> {
    match (&file.eab_key_id, &file.eab_key_file) {
        (Some(id), Some(key)) => Some(Some(Binding { id: id.clone(), key: key.clone() })),
        (None, None) => Some(None),
        (Some(_), None) => report.wrong("acme.eab_key_id", "needs eab_key_file; give both or neither"),
        (None, Some(_)) => report.wrong("acme.eab_key_file", "needs eab_key_id; give both or neither"),
    }
}

fn names(texts: &[String], domains: &[Domain], report: &Report<'_>) -> Option<Vec<Domain>> {
    let names: Vec<Domain> = match texts {
        [] => {
            // No public authority gives one for a special-use domain, and it would refuse the others with it.
            let has_public = domains.iter().any(|domain| !domain.is_special_use());
            let asked_for = domains.iter().filter(|domain| !has_public || !domain.is_special_use());
            asked_for.filter_map(Domain::default_target).collect()
        }
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
