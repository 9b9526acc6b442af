//! `domains` and `[domain."example.com"]`

use std::collections::BTreeMap;

use super::rates;
use super::report::Report;
use super::server::{max_message_bytes, pair, registration};
use crate::config::checked::{DomainSettings, Mailbox};
use crate::config::document::segment;
use crate::config::{file, limits};
use crate::proto::address::Domain;

/// Most domains of one daemon.
const MAX_DOMAINS: usize = 1000;

/// The first domain, and all of them.
pub(super) fn domains(texts: &[String], report: &Report<'_>) -> Option<(Domain, Vec<Domain>)> {
    let parse = |text: &str| Domain::parse(text).map_err(|error| format!("{text:?}: {error}"));
    let mut domains: Vec<Domain> = Vec::with_capacity(texts.len());
    for domain in report.each("domains", texts, parse)? {
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    if domains.len() > MAX_DOMAINS {
        return report.wrong("domains", format!("one server serves at most {MAX_DOMAINS} domains"));
    }
    match domains.first() {
        Some(first) => Some((first.clone(), domains)),
        None => report.wrong("domains", "name at least one domain, here or with --domain"),
    }
}

/// What holds for each of our domains: the sections laid over what holds for all. `domains`: `None` if it is not known
/// which are ours.
pub(super) fn settings(
    sections: &BTreeMap<String, file::Domain>,
    domains: Option<&[Domain]>,
    for_all: &DomainSettings,
    report: &Report<'_>,
) -> BTreeMap<Domain, DomainSettings> {
    let ours = domains.into_iter().flatten();
    let mut settings: BTreeMap<_, _> = ours.map(|domain| (domain.clone(), for_all.clone())).collect();
    for (name, section) in sections {
        let key = format!("domain.{}", segment(name));
        let own = overlay(for_all.clone(), section, &key, report);
        match Domain::parse(name) {
            Err(error) => report.tell(&key, error.to_string()),
            Ok(domain) if domains.is_none_or(|domains| domains.contains(&domain)) => {
                settings.insert(domain, own);
            }
            Ok(_) => report.tell(&key, "is not one of `domains`; name it there too, or remove the section"),
        }
    }
    settings
}

fn overlay(
    mut own: DomainSettings,
    section: &file::Domain,
    key: &str,
    report: &Report<'_>,
) -> DomainSettings {
    if let Some(certificate) = pair(key, section.cert.as_ref(), section.key.as_ref(), report) {
        own.certificate = certificate;
    }
    if let Some(mode) = &section.registration {
        let mode = registration(&format!("{key}.registration"), Some(mode), report);
        own.registration = mode.unwrap_or(own.registration);
    }
    own.refuse_neutral = section.refuse_neutral.unwrap_or(own.refuse_neutral);
    if let Some(text) = &section.max_message_size {
        let most = u64::try_from(own.max_message_bytes).unwrap_or(u64::MAX);
        let bytes = max_message_bytes(&format!("{key}.max_message_size"), text, most, report);
        own.max_message_bytes = bytes.unwrap_or(own.max_message_bytes);
    }
    mailbox(&mut own.mailbox, section, key, report);
    rates::overlay(&mut own.sending, section, key, report);
    if section.max_waiting_per_sender == Some(0) {
        report.tell(&format!("{key}.max_waiting_per_sender"), "must be at least 1");
    }
    own.max_waiting_per_sender = section.max_waiting_per_sender.unwrap_or(own.max_waiting_per_sender);
    own
}

fn mailbox(own: &mut Mailbox, section: &file::Domain, key: &str, report: &Report<'_>) {
    let keep = |name: &str, text: &str| report.or_told(&format!("{key}.{name}"), limits::keep(text));
    if let Some(text) = &section.keep_acknowledged {
        own.keep_acknowledged = keep("keep_acknowledged", text).unwrap_or(own.keep_acknowledged);
    }
    if let Some(text) = &section.keep_unread {
        own.keep_unread = keep("keep_unread", text).unwrap_or(own.keep_unread);
    }
    if let Some(text) = &section.quota {
        let quota = report.or_told(&format!("{key}.quota"), limits::quota(text));
        own.quota_bytes = quota.unwrap_or(own.quota_bytes);
    }
}
