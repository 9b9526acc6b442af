//! Reaching servers on this machine as their operator.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::error::CliError;
use super::http::{Client, Request};
use super::names;
use crate::config::home::{Home, HomeError, NodeDir};
use crate::config::runtime::{self, RuntimeDir};
use crate::config::service;
use crate::proto::address::{Address, Domain};

/// Most servers of a machine that are asked whether a domain is theirs.
const MAX_ASKED: usize = 8;
/// Longest time each may take to say so.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// A client of the control socket of the server of a domain. One whose state we may not see is found by its socket in
/// the runtime directory.
pub(super) fn client(home: &Home, domain: &Domain) -> Result<Client, CliError> {
    let runtime = runtime::likely();
    match home.node_of(domain) {
        Ok(node) => Ok(Client::control(node.control_socket())),
        Err(error) => shared(&runtime, domain).map(Client::control).ok_or_else(|| hidden(&runtime, error)),
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
        [] if runtime.is_closed() => Err(not_yours(runtime)),
        [] => Err(node.err().unwrap_or_else(|| none(home))),
        _ => Err(which()),
    }
}

/// Why no server of a domain is found: because its socket is where we may not look, if that can be.
fn hidden(runtime: &RuntimeDir, error: HomeError) -> CliError {
    match error {
        HomeError::NoNode { .. } if runtime.is_closed() => not_yours(runtime),
        other => other.into(),
    }
}

fn not_yours(runtime: &RuntimeDir) -> CliError {
    HomeError::NotYours { home: runtime.root().into() }.into()
}

/// Whether a key that is made in `home` is of use to the server of `domain`, as far as can be seen from here: not if that
/// server runs on this machine with another state directory, or is our service with its own.
///
/// # Errors
/// Which state directory is meant instead.
pub(super) async fn served_here(home: &Home, domain: &Domain) -> Result<(), CliError> {
    if home.node_of(domain).is_ok() {
        return Ok(());
    }
    let (root, service) = (home.root().display(), service::STATE);
    let of_service = Home::locate(Some(service.into()))?;
    let refused = |remedy: String| {
        Err(CliError::failed(format!(
            "{domain} is served on this machine with another state directory than {root}, so no server would sign \
             with a key made there; {remedy}"
        )))
    };
    let given = || refused(format!("give --state-dir {service}, as root"));
    if of_service != *home && of_service.node_of(domain).is_ok() {
        return given();
    }
    let runtime = runtime::likely();
    for socket in runtime.sockets().into_iter().take(MAX_ASKED) {
        if !serves(&socket, domain).await {
            continue;
        }
        return match runtime.is_of_the_service() {
            // Its own first key is its own to make.
            true if of_service == *home => Ok(()),
            true => given(),
            false => refused(format!(
                "give the --state-dir of the server at {}, which its log says at the start",
                socket.display()
            )),
        };
    }
    Ok(())
}

/// Whether the server at a socket says that it serves a domain.
async fn serves(socket: &Path, domain: &Domain) -> bool {
    let request = Request::get("health").query("domain", domain.as_str());
    let asked = timeout(ASK_TIMEOUT, async { Client::control(socket.into()).call(request).await?.success() });
    let Ok(Ok(said)) = asked.await else { return false };
    said.get("domain").and_then(Value::as_str) == Some(domain.as_str())
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
