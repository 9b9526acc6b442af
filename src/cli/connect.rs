//! Connections to a server: over TLS, unencrypted when the user agrees, or to the control socket.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::error::CliError;
use super::options::ServerOptions;
use super::prompt::Prompt;
use super::target::Target;
use crate::env::dial::{Connection, Dial as _, DialError, Endpoint, Trust};
use crate::env::tls::{CONNECT_TIMEOUT, TlsDial, read_roots};

/// Longest time the host's addresses may take to be found.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The other end, and how to judge that it is the one meant.
pub(super) enum Peer {
    /// Over TLS.
    Tls { target: Target, trust: Trust, dial: Box<TlsDial>, prompt: Prompt },
    /// Unencrypted: the user has agreed.
    Plain { target: Target },
    /// The operator's socket of a server on this machine.
    Control { socket: PathBuf },
}

impl Peer {
    /// The server of the options. Asks before an unencrypted connection.
    pub fn new(options: &ServerOptions, prompt: Prompt) -> Result<Peer, CliError> {
        let target = Target::parse(options.server()?)?;
        if !target.tls {
            agree_to_plaintext(&target, options.no_verify, prompt)?;
            return Ok(Peer::Plain { target });
        }
        let trust = match &options.ca {
            _ if options.no_verify => Trust::Unverified,
            Some(file) => Trust::CaFile(readable(file)?),
            None => Trust::Roots,
        };
        Ok(Peer::Tls { target, trust, dial: Box::new(TlsDial::new(Vec::new())), prompt })
    }

    /// What goes into `Host`.
    pub fn authority(&self) -> String {
        match self {
            Peer::Tls { target, .. } | Peer::Plain { target } => target.to_string(),
            Peer::Control { .. } => "localhost".into(),
        }
    }

    /// Whether without TLS, by the user's own wish.
    pub fn is_plain(&self) -> bool {
        matches!(self, Peer::Plain { .. })
    }

    /// Connects. May ask whether to trust a certificate; a yes holds for later connections too.
    pub async fn connect(&mut self) -> Result<Connection, CliError> {
        match self {
            Peer::Tls { target, trust, dial, prompt } => tls(target, trust, dial, *prompt).await,
            Peer::Plain { target } => plain(target).await,
            Peer::Control { socket } => control(socket).await,
        }
    }
}

fn agree_to_plaintext(target: &Target, no_verify: bool, prompt: Prompt) -> Result<(), CliError> {
    let question =
        format!("the connection to {target} is not encrypted: anyone on the way can read the password.");
    let agreed = no_verify
        || match prompt.confirm(&format!("Warning: {question} Go on?")) {
            Some(answer) => answer,
            None => {
                return Err(CliError::failed(format!("{question} Use https://, or --no-verify to go on")));
            }
        };
    if agreed { Ok(()) } else { Err(CliError::failed("stopped: not sent unencrypted")) }
}

fn readable(file: &Path) -> Result<PathBuf, CliError> {
    read_roots(file).map(|_| file.to_owned()).map_err(|error| CliError::failed(format!("--ca: {error}")))
}

async fn tls(
    target: &Target,
    trust: &mut Trust,
    dial: &TlsDial,
    prompt: Prompt,
) -> Result<Connection, CliError> {
    let mut last = CliError::failed(format!("{} has no address", target.host));
    for address in addresses(target).await? {
        let endpoint = |trust: &Trust| Endpoint { address, name: target.host.clone(), trust: trust.clone() };
        match dial.dial(&endpoint(trust)).await {
            Ok(connection) => return Ok(connection),
            Err(DialError::Tls(reason)) => {
                // If it works without judging the certificate, the certificate is what is wrong.
                let unverified = dial.dial(&endpoint(&Trust::Unverified)).await;
                let connection = unverified.map_err(|_| refused(target, &reason))?;
                accept_certificate(&reason, prompt)?;
                *trust = Trust::Unverified;
                return Ok(connection);
            }
            Err(error) => last = refused(target, &error),
        }
    }
    Err(last)
}

fn accept_certificate(reason: &str, prompt: Prompt) -> Result<(), CliError> {
    match prompt.confirm(&format!("Warning: {reason}. Go on all the same?")) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::failed("stopped: the certificate was not accepted")),
        None => Err(CliError::failed(format!(
            "{reason}; trust its authority with --ca FILE, or skip verification with --no-verify"
        ))),
    }
}

async fn plain(target: &Target) -> Result<Connection, CliError> {
    let mut last = CliError::failed(format!("{} has no address", target.host));
    for address in addresses(target).await? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(Connection { io: Box::new(stream), alpn: None }),
            Ok(Err(error)) => last = refused(target, &DialError::Connect(error.to_string())),
            Err(_) => last = refused(target, &DialError::TimedOut("connecting")),
        }
    }
    Err(last)
}

async fn control(socket: &Path) -> Result<Connection, CliError> {
    let connected = timeout(CONNECT_TIMEOUT, UnixStream::connect(socket)).await;
    let failed = |reason: String| {
        CliError::failed(format!("cannot reach the server at {}: {reason}; is it running?", socket.display()))
    };
    let stream =
        connected.map_err(|_| failed("no answer".into()))?.map_err(|error| failed(error.to_string()))?;
    Ok(Connection { io: Box::new(stream), alpn: None })
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, CliError> {
    let found = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((target.host.as_str(), target.port))).await;
    let unknown =
        |reason: String| CliError::failed(format!("cannot find the host {}: {reason}", target.host));
    let found = found.map_err(|_| unknown("no answer from DNS".into()))?;
    Ok(found.map_err(|error| unknown(error.to_string()))?.collect())
}

fn refused(target: &Target, reason: &impl std::fmt::Display) -> CliError {
    CliError::failed(format!("no connection to {target}: {reason}"))
}
