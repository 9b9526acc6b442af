//! `[domain."example.com"]`

use std::collections::BTreeMap;

use super::{Origin, max_message_bytes, pair, registration};
use crate::config::checked::{Config, DomainSettings, Mailbox};
use crate::config::{ConfigError, file, limits};
use crate::proto::address::Domain;

/// What holds for each of our domains: the sections laid over what `config` says for all.
pub(super) fn settings(
    sections: &BTreeMap<String, file::Domain>,
    config: &Config,
    origin: &Origin,
) -> Result<BTreeMap<Domain, DomainSettings>, ConfigError> {
    let mut settings: BTreeMap<_, _> =
        config.domains.iter().map(|domain| (domain.clone(), for_all(config))).collect();
    for (name, section) in sections {
        let key = format!("domain.{name:?}");
        let domain = Domain::parse(name).map_err(|error| origin.wrong(key.clone(), error.to_string()))?;
        let Some(own) = settings.get_mut(&domain) else {
            return Err(
                origin.wrong(key, "is not one of `domains`; name it there too, or remove the section")
            );
        };
        overlay(own, section, &key, config, origin)?;
    }
    Ok(settings)
}

fn for_all(config: &Config) -> DomainSettings {
    DomainSettings {
        certificate: None,
        registration: config.registration,
        refuse_neutral: config.verify.refuse_neutral,
        max_message_bytes: config.server.max_message_bytes,
        mailbox: config.mailbox,
        max_waiting_per_sender: config.queue.max_waiting_per_sender,
    }
}

fn overlay(
    own: &mut DomainSettings,
    section: &file::Domain,
    key: &str,
    config: &Config,
    origin: &Origin,
) -> Result<(), ConfigError> {
    own.certificate = pair(key, section.cert.as_ref(), section.key.as_ref(), origin)?;
    if let Some(mode) = &section.registration {
        own.registration = registration(&format!("{key}.registration"), Some(mode), origin)?;
    }
    own.refuse_neutral = section.refuse_neutral.unwrap_or(own.refuse_neutral);
    if let Some(text) = &section.max_message_size {
        let most = u64::try_from(config.server.max_message_bytes).unwrap_or(u64::MAX);
        own.max_message_bytes = max_message_bytes(&format!("{key}.max_message_size"), text, most, origin)?;
    }
    own.mailbox = mailbox(own.mailbox, section, key, origin)?;
    if section.max_waiting_per_sender == Some(0) {
        return Err(origin.wrong(format!("{key}.max_waiting_per_sender"), "must be at least 1"));
    }
    own.max_waiting_per_sender = section.max_waiting_per_sender.unwrap_or(own.max_waiting_per_sender);
    Ok(())
}

fn mailbox(
    mut own: Mailbox,
    section: &file::Domain,
    key: &str,
    origin: &Origin,
) -> Result<Mailbox, ConfigError> {
    let wrong = |name: &str, remedy| origin.wrong(format!("{key}.{name}"), remedy);
    if let Some(text) = &section.keep_acknowledged {
        own.keep_acknowledged = limits::keep(text).map_err(|remedy| wrong("keep_acknowledged", remedy))?;
    }
    if let Some(text) = &section.keep_unread {
        own.keep_unread = limits::keep(text).map_err(|remedy| wrong("keep_unread", remedy))?;
    }
    if let Some(text) = &section.quota {
        own.quota_bytes = limits::quota(text).map_err(|remedy| wrong("quota", remedy))?;
    }
    Ok(own)
}
