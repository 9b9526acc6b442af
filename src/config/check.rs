//! The rules of the configuration: a file with the command line laid over it becomes a [`Config`], or everything that
//! is wrong is told, each with its key and a remedy.

use std::time::Duration;

use super::checked::{Config, DomainSettings, Log, Mailbox};
use super::file::File;

mod acme;
mod admin;
mod domain;
mod queue;
mod rates;
pub(super) mod report;
mod server;
mod tls;

use report::Report;

/// What must lie between giving up and the age at which receivers stop remembering (`docs/protocol.md` §10).
const GIVE_UP_MARGIN: Duration = Duration::from_secs(24 * 3600);

/// Stands in where the limits for all are wrong, so that those of domains are checked all the same.
const NO_LIMITS: Mailbox = Mailbox { keep_acknowledged: None, keep_unread: None, quota_bytes: None };

/// Checks a file over which the command line has been laid. Every check is made, although one has failed; there is a
/// configuration only if nothing was told.
pub(super) fn check(file: File, report: &Report<'_>) -> Option<Config> {
    let domains = domain::domains(&file.domains, report);
    let named = domains.as_ref().map_or(&[][..], |(_, domains)| domains);
    let acme = if domains.is_some() { acme::acme(&file.acme, named, report) } else { None };
    let server = server::server(&file.server, report);
    let mode = file.registration.mode.as_deref();
    let registration = server::registration("registration.mode", mode, report);
    let dns = server::dns(&file.dns, report);
    let verify = server::verify(&file.verify, report);
    let queue = queue::queue(&file.queue, report);
    let mailbox = queue::mailbox(&file.mailbox, report);
    let guard = queue::guard(&file.guard, report);
    let webhooks = queue::webhooks(&file.webhooks, report);
    let rates = rates::rates(&file.rates, report);
    let destinations = tls::destinations(file.tls.destination, report);
    let admin = admin::admin(file.admin, report);
    let level = report.parsed("log.level", &file.log.level);
    let format = report.parsed("log.format", &file.log.format);
    if let (Some(queue), Some(verify)) = (&queue, &verify)
        && queue.give_up_after + GIVE_UP_MARGIN > verify.max_message_age
    {
        let key = report.written("queue.give_up_after", "verify.max_message_age");
        let (than, other) = match key {
            "queue.give_up_after" => ("shorter", "verify.max_message_age"),
            _ => ("longer", "queue.give_up_after"),
        };
        let remedy = format!("must be at least 24h {than} than {other}, so that no late attempt is new");
        report.tell(key, remedy);
    }
    let for_all = DomainSettings {
        certificate: None,
        registration: registration.flatten(),
        refuse_neutral: file.verify.refuse_neutral,
        max_message_bytes: server.as_ref().map_or(usize::MAX, |server| server.max_message_bytes),
        mailbox: mailbox.unwrap_or(NO_LIMITS),
        max_waiting_per_sender: file.queue.max_waiting_per_sender,
        sending: rates::sending(&file.rates, report),
    };
    let of_domains = domain::settings(&file.domain, domains.is_some().then_some(named), &for_all, report);
    let (first_domain, domains) = domains?;
    let config = Config {
        first_domain,
        domains,
        of_domains,
        server: server?,
        registration: registration?,
        dns: dns?,
        verify: verify?,
        queue: queue?,
        mailbox: mailbox?,
        guard: guard?,
        webhooks: webhooks?,
        rates: rates?,
        extra_roots: file.tls.extra_roots,
        destinations: destinations?,
        acme: acme?,
        admin: admin?,
        log: Log { level: level?, format: format? },
    };
    one_listener_an_address(&config, report);
    Some(config)
}

/// The operator's listener and the public one cannot have one address.
fn one_listener_an_address(config: &Config, report: &Report<'_>) {
    let Some(listen) = config.admin.listen else { return };
    let public = config.listen_host();
    let same_host = public.is_unspecified() || listen.ip().is_unspecified() || public == listen.ip();
    if listen.port() == config.server.port && listen.port() != 0 && same_host {
        report.tell("admin.listen", "is where messages are taken in (server.port); give another port");
    }
}

#[cfg(test)]
mod tests;
