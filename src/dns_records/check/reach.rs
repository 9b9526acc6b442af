//! The servers that the records lead to, and the way this machine sends.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::HOST;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use super::hosts::listed;
use super::policy::{Outcome, outcome};
use super::{Finding, State};
use crate::env::dial::{Connection, Dial, DialError, Endpoint, Family, Trust};
use crate::proto::address::Domain;
use crate::proto::ats::{Policy, Verdict};

/// Longest time one server may take: connection, TLS and both answers.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Most addresses connected to.
const MAX_SERVERS: usize = 16;
/// The calls every server answers (`docs/protocol.md` §7).
const CALLS: [&str; 2] = ["health", "capabilities"];

/// Connects to each server as a peer would: one finding each.
pub async fn check(
    dial: &dyn Dial,
    trust: &Trust,
    domain: &Domain,
    servers: &[(String, IpAddr, u16)],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (host, ip, port) in servers.iter().take(MAX_SERVERS) {
        let address = SocketAddr::new(*ip, *port);
        let endpoint = Endpoint { address, name: host.clone(), trust: trust.clone() };
        let reached = tokio::time::timeout(REACH_TIMEOUT, reach(dial, &endpoint, domain)).await;
        let (state, text) = reached.unwrap_or((State::Unknown, "no answer in time".to_owned()));
        let text = match state {
            State::Unknown => format!("{text}; is it running, and is the port open? If so, try again"),
            _ => text,
        };
        findings.push(Finding { at: vec![address.to_string()], ..Finding::new(host, "server", state, text) });
    }
    findings
}

/// Whether the policy lets through what this machine sends.
pub fn check_source(dial: &dyn Dial, domain: &Domain, policy: Option<&Policy>) -> Vec<Finding> {
    let sources: Vec<IpAddr> =
        [Family::V4, Family::V6].into_iter().filter_map(|family| dial.source(family)).collect();
    let Some(policy) = policy else { return Vec::new() };
    let name = crate::dns_records::ats_name(domain);
    let finding = |ip: &IpAddr| {
        let (state, text) = match outcome(policy, *ip) {
            _ if !is_public(*ip) => (
                State::Note,
                format!(
                    "this machine sends from {ip}, which others do not see: whether the policy allows the address \
                         they see cannot be told from here"
                ),
            ),
            Outcome::Says(Verdict::Allow) => {
                (State::Good, format!("this machine sends from {}", listed(&[*ip])))
            }
            Outcome::Elsewhere => (State::Note, format!("whether {ip} may send depends on other names")),
            Outcome::Says(Verdict::Deny) | Outcome::Silent => (
                State::Wrong,
                format!(
                    "this machine sends from {ip}, which the policy does not allow: add allow=ip:{ip} before \
                         deny=all, if the server runs on this machine"
                ),
            ),
        };
        Finding::new(&name, "source", state, text)
    };
    sources.iter().map(finding).collect()
}

/// Whether other networks can reach an address.
pub fn is_public(ip: IpAddr) -> bool {
    !ip.is_unspecified()
        && !ip.is_loopback()
        && !ip.is_multicast()
        && match ip {
            IpAddr::V4(ip) => !ip.is_private() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unique_local() && !ip.is_unicast_link_local(),
        }
}

async fn reach(dial: &dyn Dial, endpoint: &Endpoint, domain: &Domain) -> (State, String) {
    let connection = match dial.dial(endpoint).await {
        Ok(connection) => connection,
        Err(DialError::Tls(reason)) => {
            return (State::Wrong, format!("TLS: {reason}; peers cannot reach it"));
        }
        Err(DialError::Certificate(reason)) => {
            let host = &endpoint.name;
            return (
                State::Wrong,
                format!("TLS: {reason}; peers refuse it: give it a certificate for {host}"),
            );
        }
        Err(error) => return (State::Unknown, error.to_string()),
    };
    let mut sender = match Sender::over(connection).await {
        Ok(sender) => sender,
        Err(why) => return (State::Wrong, format!("it does not speak HTTP ({why}): no ATP server")),
    };
    for call in CALLS {
        let said = match sender.get(call, domain).await {
            Ok(said) => said,
            Err(why) => return (State::Wrong, format!("{call}: {why}: no ATP server")),
        };
        match said.get("domain").and_then(Value::as_str) {
            Some(answered) if answered == domain.as_str() => {}
            answered => {
                let answered = answered.unwrap_or("none").escape_debug().to_string();
                return (State::Wrong, format!("{call}: it is the server of {answered}, not of {domain}"));
            }
        }
    }
    (State::Good, "certificate valid, and it serves the domain".to_owned())
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    async fn over(connection: Connection) -> Result<Sender, String> {
        let io = TokioIo::new(connection.io);
        if connection.alpn.as_deref() == Some(b"h2") {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(text)?;
            tokio::spawn(driver);
            Ok(Sender::Http2(sender))
        } else {
            let (sender, driver) = http1::handshake(io).await.map_err(text)?;
            tokio::spawn(driver);
            Ok(Sender::Http1(sender))
        }
    }

    async fn get(&mut self, call: &str, domain: &Domain) -> Result<Value, String> {
        let path = format!("/.well-known/atp/v1/{call}?domain={domain}");
        let response: Response<Incoming> = match self {
            Sender::Http1(sender) => {
                let request =
                    Request::get(path).header(HOST, domain.as_str()).body(Empty::new()).map_err(text)?;
                sender.ready().await.map_err(text)?;
                sender.send_request(request).await.map_err(text)?
            }
            Sender::Http2(sender) => {
                let request =
                    Request::get(format!("https://{domain}{path}")).body(Empty::new()).map_err(text)?;
                sender.ready().await.map_err(text)?;
                sender.send_request(request).await.map_err(text)?
            }
        };
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(text)?;
        match status {
            200 => serde_json::from_slice(&body.to_bytes()).map_err(text),
            other => Err(format!("HTTP status {other}")),
        }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}
