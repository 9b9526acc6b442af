//! `[acme]`

use std::net::SocketAddr;
use std::time::Duration;

use super::Origin;
use crate::config::checked::{Acme, Challenge, Publisher, resolver_address};
use crate::config::{ConfigError, file};
use crate::proto::address::Domain;

/// Most host names in a certificate: what authorities commonly allow.
const MAX_NAMES: usize = 100;
/// Shortest and longest `renew_before`.
const RENEW_BEFORE: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(90 * 24 * 3600));

/// `None`: no certificates are asked for.
pub(super) fn acme(
    file: file::Acme,
    domains: &[Domain],
    origin: &Origin,
) -> Result<Option<Acme>, ConfigError> {
    let challenge = match file.challenge.as_str() {
        "off" => return Ok(None),
        "dns-01" => Challenge::Dns(publisher(&file, origin)?),
        "http-01" => Challenge::Http(http_listen(&file, origin)?),
        other => {
            let remedy = format!("{other:?} is unknown; write \"off\", \"dns-01\" or \"http-01\"");
            return Err(origin.wrong("acme.challenge", remedy));
        }
    };
    if !file.agree_to_terms {
        let remedy =
            "must be true: certificates are given only to who agrees to the authority's terms of service";
        return Err(origin.wrong("acme.agree_to_terms", remedy));
    }
    if !file.directory.starts_with("https://") {
        return Err(origin.wrong("acme.directory", "must be an https:// URL"));
    }
    let renew_before = origin.time("acme.renew_before", &file.renew_before)?;
    if !(RENEW_BEFORE.0..=RENEW_BEFORE.1).contains(&renew_before) {
        return Err(origin.wrong("acme.renew_before", "must be 1h to 90d"));
    }
    Ok(Some(Acme {
        names: names(&file.names, domains, origin)?,
        directory: file.directory,
        ca: file.ca,
        email: file.email,
        challenge,
        renew_before,
    }))
}

fn names(texts: &[String], domains: &[Domain], origin: &Origin) -> Result<Vec<Domain>, ConfigError> {
    let given = texts.iter().map(|text| {
        Domain::parse(text).map_err(|error| origin.wrong("acme.names", format!("{text:?}: {error}")))
    });
    let names: Vec<Domain> = match texts {
        [] => domains.iter().filter_map(Domain::default_target).collect(),
        _ => given.collect::<Result<_, _>>()?,
    };
    if !(1..=MAX_NAMES).contains(&names.len()) {
        return Err(origin.wrong("acme.names", format!("must be 1 to {MAX_NAMES} host names")));
    }
    Ok(names)
}

fn publisher(file: &file::Acme, origin: &Origin) -> Result<Publisher, ConfigError> {
    match (&file.hook, &file.nsupdate_server) {
        (Some(hook), None) => Ok(Publisher::Hook(hook.clone())),
        (None, Some(text)) => {
            let wrong = || origin.wrong("acme.nsupdate_server", format!("{text:?} is not IP or IP:PORT"));
            let server = resolver_address(text).ok_or_else(wrong)?;
            Ok(Publisher::Update { server, key: file.nsupdate_key.clone() })
        }
        (None, None) => {
            Err(origin.wrong("acme.hook", "dns-01 needs a hook or an nsupdate_server to publish its record"))
        }
        (Some(_), Some(_)) => Err(origin.wrong("acme.hook", "give a hook or an nsupdate_server, not both")),
    }
}

fn http_listen(file: &file::Acme, origin: &Origin) -> Result<Option<SocketAddr>, ConfigError> {
    let parse = |text: &String| {
        let wrong =
            || origin.wrong("acme.http_listen", format!("{text:?} is not IP:PORT; write \"[::]:80\""));
        text.parse().map_err(|_| wrong())
    };
    file.http_listen.as_ref().map(parse).transpose()
}
