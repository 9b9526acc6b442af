use super::configuration;
use super::probes::{About, Found, Health};
use super::service;
use super::site::Site;
use crate::cli::output;
use crate::config::Config;
use crate::config::checked::Challenge;

/// What is left to do, in order.
pub(super) fn list(site: &Site, found: &[Found]) -> Vec<String> {
    let is = |about, state| found.iter().any(|found| found.about == about && found.state == state);
    let bad = |about| is(about, Health::Bad);
    let details = |about| {
        found
            .iter()
            .filter(move |found| found.about == about && found.state == Health::Bad)
            .map(|found| &found.detail)
    };
    let mut left = Vec::new();
    left.extend(details(About::Clock).cloned());
    left.extend(details(About::Resolver).cloned());
    left.extend(details(About::Port).cloned());
    left.extend(details(About::Address).cloned());
    left.extend(details(About::File).cloned());
    if bad(About::Dns) || bad(About::Resolver) {
        left.push(format!("Publish the records above in the zone of {}.", site.domain));
    }
    if bad(About::Certificate) {
        left.extend(details(About::Certificate).cloned());
    }
    let config = configuration::load(&site.config).ok();
    for name in config.as_ref().map(|config| configuration::other_names(site, config)).unwrap_or_default() {
        left.push(format!(
            "Certificates are asked for {name} as well as {}; if no record leads there, take it out of acme.names in {}.",
            site.target,
            site.config.display()
        ));
    }
    let http = config.as_ref().is_some_and(asks_over_http);
    if !site.domain.is_special_use() {
        let also = if http { " and port 80" } else { "" };
        left.push(format!(
            "Let connections to port {}{also} in, directly and not through a proxy.",
            site.port
        ));
    }
    left.push(if config.is_some_and(|config| runs(site, &config)) {
        take_up(site, http)
    } else {
        start(site, http)
    });
    if !site.domain.is_special_use() {
        left.push(format!("See that all is well: atp dns check{} --domain {}", home(site), site.domain));
    }
    left.push(format!("Give an agent an address: atp agent register NAME@{}{}", site.domain, home(site)));
    left
}

/// Whether the server that is set up runs at the moment, as far as can be seen.
pub(super) fn runs(site: &Site, config: &Config) -> bool {
    site.home.node(config.first_domain()).control_socket().exists()
}

pub(super) fn asks_over_http(config: &Config) -> bool {
    config.acme.as_ref().is_some_and(|acme| matches!(acme.challenge, Challenge::Http(_)))
}

/// For a server that runs already.
fn take_up(site: &Site, http: bool) -> String {
    let how = if service::is_there(site) && http && !service::holds_http() {
        // Nothing can open a socket for a service that runs.
        "systemctl enable atp-acme.socket && systemctl restart atp".into()
    } else if service::is_there(site) {
        "systemctl reload atp".into()
    } else {
        format!("atp reload{}", home(site))
    };
    format!("Have the running server read its configuration again: {how}")
}

fn start(site: &Site, http: bool) -> String {
    if service::is_there(site) {
        let also = if http { "atp-acme.socket " } else { "" };
        format!("Start it, now and at each boot: systemctl enable --now atp.socket {also}atp.service")
    } else {
        format!("Start it: atp server start --config {}{}", site.config.display(), home(site))
    }
}

/// The flag by which other commands find the state.
fn home(site: &Site) -> String {
    format!(" --state-dir {}", site.home.root().display())
}

/// Numbered.
pub(super) fn lines(left: &[String]) -> String {
    let mut text = String::from("\nWhat is left to do:\n\n");
    for (number, line) in left.iter().enumerate() {
        text += &format!("{:>2}. {}\n", number + 1, output::one_line(line));
    }
    text
}
