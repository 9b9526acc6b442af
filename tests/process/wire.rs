//! A connection to a server whose every byte and moment the test decides.

use std::net::SocketAddr;

use atp::env::clock::{Clock as _, SystemClock};
use atp::env::dial::{Dial as _, DialError, Endpoint, Io, Trust};
use atp::env::tls::TlsDial;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::place::PASSWORD;
use crate::waiting::PATIENCE;

/// HTTP/1.1 over TLS, by hand.
pub struct Wire {
    runtime: Runtime,
    io: Box<dyn Io>,
    unread: Vec<u8>,
    /// SHA-256 of the certificate that was shown.
    pub certificate: Option<[u8; 32]>,
}

impl Wire {
    /// Connects, whatever certificate is shown; `None` if the server takes no connection.
    pub fn connect(address: SocketAddr) -> Option<Wire> {
        let endpoint = Endpoint { address, name: "localhost".into(), trust: Trust::Unverified };
        Wire::reach(&TlsDial::new(Vec::new()), &endpoint).ok()
    }

    /// Connects; the certificate has to be as the endpoint wants it.
    pub fn reach(dial: &TlsDial, endpoint: &Endpoint) -> Result<Wire, DialError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connection = runtime.block_on(dial.dial(endpoint))?;
        let certificate = connection.certificate_sha256;
        Ok(Wire { runtime, io: connection.io, unread: Vec::new(), certificate })
    }

    /// Writes bytes. `false`: the connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        let io = &mut self.io;
        self.runtime.block_on(async { io.write_all(bytes).await.is_ok() && io.flush().await.is_ok() })
    }

    /// Reads an answer: its status and JSON (null for none). `None`: the connection ended before it.
    pub fn answer(&mut self) -> Option<(u16, Value)> {
        let head = self.read_until(|bytes| find(bytes, b"\r\n\r\n"))?;
        let head = String::from_utf8(head).expect("a header");
        let status = head.split(' ').nth(1)?.parse().expect("a status");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().expect("a length"))
        });
        let length: usize = length.unwrap_or(0);
        let body = self.read_until(|bytes| (bytes.len() >= length).then_some(length))?;
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Writes a request and reads the answer.
    pub fn exchange(&mut self, request: &[u8]) -> Option<(u16, Value)> {
        if self.write(request) { self.answer() } else { None }
    }

    /// The bytes up to where `end` says, once they are there.
    fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = end(&self.unread) {
                let rest = self.unread.split_off(end);
                return Some(std::mem::replace(&mut self.unread, rest));
            }
            let (io, unread) = (&mut self.io, &mut self.unread);
            let read = async { timeout(PATIENCE, io.read_buf(unread)).await.expect("an answer in time") };
            match self.runtime.block_on(read) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

/// A submission, with the password every agent of these tests has: its header and its body.
pub fn submission(from: &str, to: &str, nonce: &str, more_header: &str) -> (String, String) {
    let message = json!({
        "from": from, "to": to, "nonce": nonce, "type": "message",
        "timestamp": SystemClock.now().seconds(), "payload": { "body": "x".repeat(200) },
    });
    let body = message.to_string();
    let credential = BASE64_STANDARD.encode(format!("{from}:{PASSWORD}"));
    let header = format!(
        "POST /.well-known/atp/v1/message HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/atp+json\r\nAuthorization: Basic {credential}\r\n\
         Content-Length: {}\r\n{more_header}\r\n",
        body.len()
    );
    (header, body)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted).map(|at| at + wanted.len())
}
