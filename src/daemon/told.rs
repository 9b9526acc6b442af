//! What the operator is told once a server listens, and of each domain that it serves.

use std::net::SocketAddr;

use crate::config::Config;
use crate::config::home::{Home, NodeDir};
use crate::proto::address::Domain;

/// Tells the operator where things are and what to publish.
pub(super) fn announce(config: &Config, home: &Home, node: &NodeDir, address: SocketAddr) {
    let domains: Vec<&str> = config.domains().iter().map(Domain::as_str).collect();
    tracing::info!(domains = domains.join(","), %address, state = %home.root().display(), "listening");
    tracing::info!(path = %node.admin_token().display(), "the operator's token is kept there");
    if config.server.certificate.is_none() && !node.issued_certificate().exists() {
        let path = home.domain(config.first_domain()).tls();
        tracing::info!(path = %path.display(), "a certificate of our own making is kept there; peers trust it only on this machine");
    }
    for domain in config.domains() {
        served(domain, home);
    }
}

/// Where a domain's keys are, and what to publish for it.
pub(super) fn served(domain: &Domain, home: &Home) {
    tracing::info!(%domain, path = %home.domain(domain).keys().display(), "the signing keys are kept there");
    if !domain.is_special_use() {
        let state = home.root().display();
        tracing::info!(
            %domain,
            "DNS records: `atp dns generate --state-dir {state} --domain {domain} --ip <public address>` prints them, \
             `atp dns check --state-dir {state} --domain {domain}` says whether they are there"
        );
    }
}
