//! Reaching servers on this machine as their operator.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::error::CliError;
use super::http::Client;
use super::names;
use crate::config::home::{Home, NodeDir};
use crate::config::runtime::{self, RuntimeDir};
use crate::proto::address::{Address, Domain};

/// A client of the control socket of the server of a domain. One whose state we may not see is found by its socket in
/// the runtime directory.
pub(super) fn client(home: &Home, domain: &Domain) -> Result<Client, CliError> {
    let runtime = runtime::likely();
    match home.node_of(domain) {
        Ok(node) => Ok(Client::control(node.control_socket())),
        Err(error) => shared(&runtime, domain).map(Client::control).ok_or_else(|| error.into()),
    }
}

/// A client of the control socket of a server on this machine: of `domain`, or of the only one there is.
pub(super) fn client_of(home: &Home, domain: Option<&Domain>) -> Result<Client, CliError> {
    match domain {
        Some(domain) => client(home, domain),
        None => client_of_only(home, &runtime::likely()),
    }
}

/// The server that is meant where none is named: the only one that has run here, or of several the only one that runs.
/// `None`: none has run here.
pub(super) fn only_node(home: &Home) -> Result<Option<NodeDir>, CliError> {
    let nodes = home.all_nodes()?;
    let runs = |node: &&NodeDir| UnixStream::connect(node.control_socket()).is_ok();
    let mut running = nodes.iter().filter(runs);
    match nodes.as_slice() {
        [] => Ok(None),
        [node] => Ok(Some(node.clone())),
        _ => match (running.next(), running.next()) {
            (Some(node), None) => Ok(Some(node.clone())),
            _ => Err(which()),
        },
    }
}

fn client_of_only(home: &Home, runtime: &RuntimeDir) -> Result<Client, CliError> {
    let node = only_node(home);
    if let Ok(Some(node)) = &node {
        return Ok(Client::control(node.control_socket()));
    }
    match runtime.sockets().as_slice() {
        [socket] => Ok(Client::control(socket.clone())),
        [] => Err(node.err().unwrap_or_else(|| none(home))),
        _ => Err(which()),
    }
}

/// That no server has run with a state directory.
pub(super) fn none(home: &Home) -> CliError {
    let root = home.root().display();
    CliError::failed(format!("no server has run with the state directory {root}; give its --state-dir"))
}

fn which() -> CliError {
    CliError::usage("which server? give the first of its domains as --domain")
}

/// The socket in the runtime directory of the server of a domain: the one named after it, or the only one, which
/// refuses what is not its.
fn shared(runtime: &RuntimeDir, domain: &Domain) -> Option<PathBuf> {
    let named = runtime.socket(domain);
    if named.exists() {
        return Some(named);
    }
    match runtime.sockets().as_slice() {
        [only] => Some(only.clone()),
        _ => None,
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
