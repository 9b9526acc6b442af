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

use super::all::all;
use super::hosts::listed;
use super::policy::{Outcome, outcome};
use super::{Finding, State};
use crate::env::dial::{Connection, Dial, DialError, Endpoint, Family, Trust};
use crate::proto::address::Domain;
use crate::proto::ats::{Policy, Verdict};

/// Longest time one server may take: connection, TLS and both answers.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// Days before a certificate's end from which it is spoken of.
const WARN_DAYS: i64 = 14;
const SECONDS_PER_DAY: i64 = 86_400;
/// Largest answer read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Most addresses connected to.
const MAX_SERVERS: usize = 16;
/// The calls every server answers (`docs/protocol.md` §7).
const CALLS: [&str; 2] = ["health", "capabilities"];

/// How to connect.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// As everybody does.
    pub dial: &'a dyn Dial,
    /// Whom to trust.
    pub trust: &'a Trust,
    /// As those do who trust the operator's own authorities as well. `None`: there are none.
    pub insider: Option<&'a dyn Dial>,
    /// Unix seconds, against which the end of a certificate is judged.
    pub now: i64,
}

/// Connects to each server as a peer would, to all at once: one finding each.
pub async fn check(way: Way<'_>, domain: &Domain, servers: &[(String, IpAddr, u16)]) -> Vec<Finding> {
    let met = servers.iter().take(MAX_SERVERS).map(|(host, ip, port)| async move {
        let address = SocketAddr::new(*ip, *port);
        let endpoint = Endpoint { address, name: host.clone(), trust: way.trust.clone() };
        let reached = tokio::time::timeout(REACH_TIMEOUT, reach(way, &endpoint, domain)).await;
        let (state, text) = reached.unwrap_or((State::Unknown, "no answer in time".to_owned()));
        let text = match state {
            State::Unknown => format!("{text}; is it running, and is the port open? If so, try again"),
            _ => text,
        };
        Finding { at: vec![address.to_string()], ..Finding::new(host, "server", state, text) }
    });
    let mut findings = all(met).await;
    let unmet = servers.len().saturating_sub(MAX_SERVERS);
    if unmet > 0 {
        let text = format!("{unmet} more addresses are not connected to");
        findings.push(Finding::new(domain.as_str(), "server", State::Note, text));
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

/// The public addresses this machine sends from, one of each family at most.
pub fn own_addresses(dial: &dyn Dial) -> Vec<IpAddr> {
    let sources = [Family::V4, Family::V6].into_iter().filter_map(|family| dial.source(family));
    sources.filter(|ip| is_public(*ip)).collect()
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

async fn reach(way: Way<'_>, endpoint: &Endpoint, domain: &Domain) -> (State, String) {
    let (connection, by_all) = match connect(way, endpoint).await {
        Ok(connected) => connected,
        Err(why) => return why,
    };
    let certificate = match certificate(connection.certificate_ends, way.now, by_all) {
        (State::Wrong, text) => return (State::Wrong, text),
        certificate => certificate,
    };
    match serves(connection, domain).await {
        Ok(()) => (certificate.0, format!("{}, and it serves the domain", certificate.1)),
        Err(why) => (State::Wrong, why),
    }
}

/// The connection, and whether everybody would have accepted its certificate.
async fn connect(way: Way<'_>, endpoint: &Endpoint) -> Result<(Connection, bool), (State, String)> {
    let refused = match way.dial.dial(endpoint).await {
        Ok(connection) => return Ok((connection, true)),
        Err(DialError::Tls(reason)) => {
            return Err((State::Wrong, format!("TLS: {reason}; peers cannot reach it")));
        }
        Err(DialError::Certificate(reason)) => reason.text,
        Err(error) => return Err((State::Unknown, error.to_string())),
    };
    if let Some(insider) = way.insider
        && let Ok(connection) = insider.dial(endpoint).await
    {
        return Ok((connection, false));
    }
    let text = format!("TLS: {refused}; peers refuse it: give it a valid certificate for {}", endpoint.name);
    Err((State::Wrong, text))
}

/// What a certificate that was accepted is worth; `ends` in Unix seconds.
fn certificate(ends: Option<i64>, now: i64, by_all: bool) -> (State, String) {
    let days = ends.map(|ends| (ends - now).div_euclid(SECONDS_PER_DAY));
    let renew = "renew it; atp certificate show says what stands in the way";
    let (state, text) = match days {
        None => (State::Good, "certificate valid".to_owned()),
        Some(days) if days < 0 => {
            return (State::Wrong, format!("the certificate has expired; peers refuse it: {renew}"));
        }
        Some(days) if days < WARN_DAYS => {
            (State::Note, format!("certificate valid for {days} days only: {renew}"))
        }
        Some(days) => (State::Good, format!("certificate valid for {days} days")),
    };
    match by_all {
        true => (state, text),
        false => (
            State::Note,
            format!(
                "{text}, but only for servers that trust its authority, as this one does (tls.extra_roots)"
            ),
        ),
    }
}

async fn serves(connection: Connection, domain: &Domain) -> Result<(), String> {
    let mut sender = match Sender::over(connection).await {
        Ok(sender) => sender,
        Err(why) => return Err(format!("it does not speak HTTP ({why}): no ATP server")),
    };
    for call in CALLS {
        let said = match sender.get(call, domain).await {
            Ok(said) => said,
            Err(why) => return Err(format!("{call}: {why}: no ATP server")),
        };
        match said.get("domain").and_then(Value::as_str) {
            Some(answered) if answered == domain.as_str() => {}
            answered => {
                let answered = answered.unwrap_or("none").escape_debug().to_string();
                return Err(format!("{call}: it is the server of {answered}, not of {domain}"));
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_good_for_two_weeks_then_spoken_of_then_wrong() {
        const NOW: i64 = 1_800_000_000;
        for (days, by_all, state, text) in [
            (90, true, State::Good, "certificate valid for 90 days"),
            (14, true, State::Good, "certificate valid for 14 days"),
            (13, true, State::Note, "certificate valid for 13 days only: renew it"),
            (0, true, State::Note, "certificate valid for 0 days only: renew it"),
            (-1, true, State::Wrong, "the certificate has expired"),
            (90, false, State::Note, "certificate valid for 90 days, but only for servers that trust"),
            (-1, false, State::Wrong, "the certificate has expired"),
        ] {
            let (found, said) = certificate(Some(NOW + days * SECONDS_PER_DAY), NOW, by_all);
            assert!(found == state && said.starts_with(text), "{days}: {found:?} {said}");
        }
        assert_eq!(certificate(None, NOW, true), (State::Good, "certificate valid".to_owned()));
    }
}
