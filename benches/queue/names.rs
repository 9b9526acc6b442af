//! DNS for every destination there could be: `<kind><number>.example` is served at a port of its kind.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;

/// Seconds an answer may be kept.
const TTL: u32 = 300;
const TYPE_A: u16 = 1;
const TYPE_SVCB: u16 = 64;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
/// The kind whose questions are answered with SERVFAIL.
pub const SERVFAIL_KIND: &str = "servfail";

/// The ports of a kind of destination; the number in its name chooses among them.
pub type Ports = HashMap<&'static str, Vec<u16>>;

/// Answers in the background. Where to ask.
pub async fn serve(ports: Ports) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket for DNS");
    let address = socket.local_addr().expect("its address");
    let ports = Arc::new(ports);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..length], &ports) {
                // Whoever asked asks again.
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    address
}

/// A message of RFC 1035 §4 for one; `None`: it is none.
fn answer(question: &[u8], ports: &Ports) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = u16::from_be_bytes(*question.get(end..)?.first_chunk()?);
    let labels: Vec<&str> = name.split('.').collect();
    let found = match labels.as_slice() {
        [.., destination, "example"] if destination.starts_with(SERVFAIL_KIND) => Err(SERVFAIL),
        ["_atp", destination, "example"] => port(destination, ports)
            .map(|port| (kind == TYPE_SVCB).then(|| service(destination, port)))
            .ok_or(NXDOMAIN),
        [_, "mx", "example"] => Ok((kind == TYPE_A).then(|| vec![127, 0, 0, 1])),
        _ => Err(NXDOMAIN),
    };
    let (code, data) = found.map_or_else(|code| (code, None), |data| (0, data));
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend(question.get(12..end + 4)?);
    if let Some(data) = data {
        // The name asked for, by reference.
        answer.extend([0xC0, 0x0C]);
        answer.extend(kind.to_be_bytes());
        answer.extend(1u16.to_be_bytes());
        answer.extend(TTL.to_be_bytes());
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// The name asked for, in lower case, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

fn port(destination: &str, ports: &Ports) -> Option<u16> {
    let kind = destination.trim_end_matches(|c: char| c.is_ascii_digit());
    let number: usize = destination[kind.len()..].parse().ok()?;
    let ports = ports.get(kind)?;
    ports.get(number % ports.len()).copied()
}

/// `1 <destination>.mx.example. alpn=h2,http/1.1 port=<port>` (RFC 9460 §2.2).
fn service(destination: &str, port: u16) -> Vec<u8> {
    let mut data = 1u16.to_be_bytes().to_vec();
    for label in [destination, "mx", "example", ""] {
        data.push(u8::try_from(label.len()).unwrap_or_default());
        data.extend(label.as_bytes());
    }
    let protocols = b"\x02h2\x08http/1.1";
    data.extend([0, 1, 0, 12]);
    data.extend(protocols);
    data.extend([0, 3, 0, 2]);
    data.extend(port.to_be_bytes());
    data
}
