//! `[rates]`, and what a domain has otherwise.

use super::report::Report;
use crate::config::checked::{Limit, Rates, Sending};
use crate::config::{file, rates};

pub(super) fn rates(file: &file::Rates, report: &Report<'_>) -> Option<Rates> {
    let short = |key, text: &str| report.or_told(key, rates::parse_short(text));
    let peer = report.or_told("rates.peer", rates::parse(&file.peer));
    let unknown = short("rates.peer_unknown_recipients", &file.peer_unknown_recipients);
    let address = short("rates.address", &file.address);
    let registration = short("rates.registration", &file.registration);
    Some(Rates {
        peer: peer?,
        peer_unknown_recipients: unknown?,
        address: address?,
        registration: registration?,
    })
}

/// What holds for the agents of every domain that has nothing of its own. What is wrong is told, and sets no limit.
pub(super) fn sending(file: &file::Rates, report: &Report<'_>) -> Sending {
    let rate = |key, text: &str| report.or_told(key, rates::parse(text)).unwrap_or_default();
    let daily = |key, text: &str| report.or_told(key, rates::parse_daily(text)).flatten();
    Sending {
        agent: rate("rates.agent", &file.agent),
        agent_new_recipients: daily("rates.agent_new_recipients", &file.agent_new_recipients),
        domain: rate("rates.domain", &file.domain),
        domain_new_recipients: daily("rates.domain_new_recipients", &file.domain_new_recipients),
    }
}

/// Lays a domain's own section over that.
pub(super) fn overlay(own: &mut Sending, section: &file::Domain, key: &str, report: &Report<'_>) {
    let rate = |own: &mut Limit, name: &str, text: &Option<String>| {
        let read = |text: &String| report.or_told(&format!("{key}.{name}"), rates::parse(text));
        *own = text.as_ref().and_then(read).unwrap_or(*own);
    };
    let daily = |own: &mut Option<u32>, name: &str, text: &Option<String>| {
        let read = |text: &String| report.or_told(&format!("{key}.{name}"), rates::parse_daily(text));
        *own = text.as_ref().and_then(read).unwrap_or(*own);
    };
    rate(&mut own.agent, "agent_rate", &section.agent_rate);
    daily(&mut own.agent_new_recipients, "agent_new_recipients", &section.agent_new_recipients);
    rate(&mut own.domain, "rate", &section.rate);
    daily(&mut own.domain_new_recipients, "new_recipients", &section.new_recipients);
}
