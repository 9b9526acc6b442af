//! Connections to a server: over TLS, unencrypted when the user agrees, or to the control socket.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::error::CliError;
use super::options::ServerOptions;
use super::prompt::Prompt;
use super::target::Target;
use crate::env::dial::{Connection, Dial, DialError, Endpoint, Mistrust, Trust};
use crate::env::tls::{Authorities, CONNECT_TIMEOUT, TlsDial};
use crate::proto::limits::DEFAULT_PORT;

/// Longest time the host's addresses may take to be found.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The other end, and how to judge that it is the one meant.
pub(super) enum Peer {
    /// Over TLS.
    Tls { target: Target, trust: Trust, accepted: Option<Accepted>, dial: Box<TlsDial>, prompt: Prompt },
    /// Unencrypted: the user has agreed.
    Plain { target: Target },
    /// The operator's socket of a server on this machine.
    Control { socket: PathBuf },
}

impl Peer {
    /// The server of the options. Asks before an unencrypted connection.
    pub fn new(options: &ServerOptions, prompt: Prompt) -> Result<Peer, CliError> {
        let target = Target::parse(options.server()?)?;
        let prompt = if options.is_found { Prompt::nobody() } else { prompt };
        if !target.tls {
            agree_to_plaintext(&target, options.no_verify, prompt)?;
            return Ok(Peer::Plain { target });
        }
        let trust = match &options.ca {
            _ if options.no_verify => Trust::Unverified,
            Some(file) => Trust::Authorities(
                Authorities::read(file).map_err(|error| CliError::failed(format!("--ca: {error}")))?,
            ),
            None => Trust::Roots,
        };
        Ok(Peer::Tls { target, trust, accepted: None, dial: Box::new(TlsDial::new(Vec::new())), prompt })
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

    /// Connects. May ask whether to trust a certificate; a yes holds for later connections on which that very
    /// certificate is shown.
    pub async fn connect(&mut self) -> Result<Connection, CliError> {
        match self {
            Peer::Tls { target, trust, accepted, dial, prompt } => {
                tls(target, trust, accepted, &**dial, |question| prompt.confirm(question)).await
            }
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

async fn tls(
    target: &Target,
    trust: &Trust,
    accepted: &mut Option<Accepted>,
    dial: &dyn Dial,
    ask: impl Fn(&str) -> Option<bool>,
) -> Result<Connection, CliError> {
    let mut last = CliError::failed(format!("{} has no address", target.host));
    for address in addresses(target).await? {
        let endpoint = |trust: &Trust| Endpoint { address, name: target.host.clone(), trust: trust.clone() };
        match dial.dial(&endpoint(trust)).await {
            Ok(connection) => return Ok(connection),
            Err(DialError::Certificate(reason)) => {
                let unverified = dial.dial(&endpoint(&Trust::Unverified)).await;
                let connection = unverified.map_err(|_| refused(target, &reason))?;
                let Some(shown) = connection.certificate_sha256 else { return Err(refused(target, &reason)) };
                if *accepted != Some(Accepted(shown)) {
                    accept_certificate(&reason, target, &shown, &ask)?;
                    *accepted = Some(Accepted(shown));
                }
                return Ok(connection);
            }
            Err(error) => last = refused(target, &error),
        }
    }
    Err(last)
}

/// SHA-256 of the certificate that the user accepted although nobody vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted([u8; 32]);

fn accept_certificate(
    reason: &Mistrust,
    target: &Target,
    shown: &[u8; 32],
    ask: impl Fn(&str) -> Option<bool>,
) -> Result<(), CliError> {
    let sha256: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    match ask(&format!("Warning: {reason}. Its SHA-256 is {sha256}. Go on all the same?")) {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::failed("stopped: the certificate was not accepted")),
        None => Err(CliError::failed(format!(
            "{reason}; {}, or skip verification with --no-verify",
            remedy(reason, target)
        ))),
    }
}

/// What makes the certificate a good one: to call the server by its name, if that is what is wrong.
fn remedy(reason: &Mistrust, target: &Target) -> String {
    match reason.names.first() {
        Some(name) => {
            let named = Target { host: name.to_string(), ..target.clone() };
            let given = if target.port == DEFAULT_PORT { named.host } else { named.to_string() };
            format!("give --server {given}")
        }
        None => "trust its authority with --ca FILE".into(),
    }
}

async fn plain(target: &Target) -> Result<Connection, CliError> {
    let mut last = CliError::failed(format!("{} has no address", target.host));
    for address in addresses(target).await? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                return Ok(Connection {
                    io: Box::new(stream),
                    alpn: None,
                    certificate_sha256: None,
                    certificate_ends: None,
                });
            }
            Ok(Err(error)) => last = refused(target, &DialError::Connect(error.to_string())),
            Err(_) => last = refused(target, &DialError::TimedOut("connecting")),
        }
    }
    Err(last)
}

async fn control(socket: &Path) -> Result<Connection, CliError> {
    let connected = timeout(CONNECT_TIMEOUT, UnixStream::connect(socket)).await;
    let failed = |reason: String| {
        CliError::failed(format!("cannot reach the server at {}: {reason}", socket.display()))
    };
    let stream = connected.map_err(|_| failed("no answer; is it running?".into()))?;
    let stream = stream.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => {
            failed(format!("{error}; use sudo, or become a member of the group atp"))
        }
        _ => failed(format!("{error}; is it running?")),
    })?;
    Ok(Connection { io: Box::new(stream), alpn: None, certificate_sha256: None, certificate_ends: None })
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::env::BoxFuture;

    /// A server whose certificate nobody vouches for.
    struct Shady {
        certificate: AtomicU8,
    }

    impl Dial for Shady {
        fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
            Box::pin(async move {
                if endpoint.trust != Trust::Unverified {
                    return Err(DialError::Certificate(
                        "the certificate is from an issuer we do not trust".to_owned().into(),
                    ));
                }
                let (io, _) = tokio::io::duplex(1);
                let certificate_sha256 = Some([self.certificate.load(Ordering::SeqCst); 32]);
                Ok(Connection { io: Box::new(io), alpn: None, certificate_sha256, certificate_ends: None })
            })
        }
    }

    #[tokio::test]
    async fn a_yes_holds_for_the_certificate_that_was_shown_and_no_other() {
        let target = Target::parse("127.0.0.1").unwrap();
        let server = Shady { certificate: AtomicU8::new(1) };
        let (questions, answer) = (Cell::new(0), Cell::new(true));
        let ask = |question: &str| {
            questions.set(questions.get() + 1);
            assert!(question.contains("do not trust. Its SHA-256 is 0"), "{question}");
            Some(answer.get())
        };
        let mut accepted = None;
        for _ in 0..3 {
            tls(&target, &Trust::Roots, &mut accepted, &server, ask).await.unwrap();
        }
        assert_eq!(questions.get(), 1);
        // Somebody else answers now.
        server.certificate.store(2, Ordering::SeqCst);
        answer.set(false);
        let error = tls(&target, &Trust::Roots, &mut accepted, &server, ask).await.unwrap_err();
        assert!(error.message.contains("not accepted"), "{error:?}");
        assert_eq!(questions.get(), 2);
        let unasked = tls(&target, &Trust::Roots, &mut accepted, &server, |_| None).await.unwrap_err();
        assert!(unasked.message.contains("--ca FILE"), "{unasked:?}");
    }

    /// It once advised to trust the authority, which was trusted.
    #[test]
    fn a_certificate_for_another_name_says_which_server_to_give() {
        let names = vec!["atp.alpha.example".parse().unwrap(), "atp.beta.example".parse().unwrap()];
        let reason = Mistrust { text: "the certificate is not for 127.0.0.1".into(), names };
        let advice = |server: &str| {
            accept_certificate(&reason, &Target::parse(server).unwrap(), &[0; 32], |_| None)
                .unwrap_err()
                .message
        };
        let wanted = "not for 127.0.0.1; give --server atp.alpha.example, or skip";
        assert!(advice("127.0.0.1").contains(wanted), "{}", advice("127.0.0.1"));
        assert!(advice("127.0.0.1:8443").contains("--server atp.alpha.example:8443,"));
    }
}
