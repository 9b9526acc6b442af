//! Reaching servers on this machine as their operator.

use super::error::CliError;
use super::http::Client;
use super::names;
use crate::config::home::Home;
use crate::proto::address::{Address, Domain};

/// A client of the control socket of the server of a domain.
pub(super) fn client(home: &Home, domain: &Domain) -> Result<Client, CliError> {
    Ok(Client::control(home.node_of(domain)?.control_socket()))
}

/// An address; a name without `@` is one of the only domain served from this home.
pub(super) fn address(home: &Home, name: &str) -> Result<Address, CliError> {
    if name.contains('@') {
        return names::parse(name);
    }
    let several = || CliError::usage(format!("which domain? write {name}@DOMAIN"));
    let domain = home.only_domain().ok_or_else(several)?;
    Address::new(name, domain).map_err(|error| CliError::usage(format!("{name:?}: {error}")))
}
