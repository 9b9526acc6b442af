//! Reaching servers on this machine as their operator.

use super::error::CliError;
use super::http::Client;
use super::names;
use crate::config::home::Home;
use crate::config::runtime::{self, RuntimeDir};
use crate::proto::address::{Address, Domain};

/// A client of the control socket of the server of a domain.
pub(super) fn client(home: &Home, domain: &Domain) -> Result<Client, CliError> {
    Ok(Client::control(home.node_of(domain)?.control_socket()))
}

/// A client of the control socket of a server on this machine: of `domain`, or of the only one there is. A server
/// whose state we may not see is found by its socket in the runtime directory.
pub(super) fn client_of(home: &Home, domain: Option<&Domain>) -> Result<Client, CliError> {
    let runtime = runtime::likely();
    let Some(domain) = domain else { return client_of_only(home, &runtime) };
    let shared = runtime.socket(domain);
    match home.node_of(domain) {
        Ok(node) => Ok(Client::control(node.control_socket())),
        Err(_) if shared.exists() => Ok(Client::control(shared)),
        Err(error) => Err(error.into()),
    }
}

fn client_of_only(home: &Home, runtime: &RuntimeDir) -> Result<Client, CliError> {
    if let Some(node) = home.only_node()? {
        return Ok(Client::control(node.control_socket()));
    }
    let several = || CliError::usage("which server? give the first of its domains as --domain");
    match runtime.sockets().as_slice() {
        _ if home.has_nodes()? => Err(several()),
        [socket] => Ok(Client::control(socket.clone())),
        [] => {
            let root = home.root().display();
            Err(CliError::failed(format!(
                "no server has run with the state directory {root}; give its --state-dir"
            )))
        }
        _ => Err(several()),
    }
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
