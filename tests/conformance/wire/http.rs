//! HTTP/1.1 by the byte, over TLS: requests as they should be and as they should not, and answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tls;
use crate::suite::Outcome;

/// What every path begins with.
pub const PREFIX: &str = "/.well-known/atp/v1/";
/// Longest wait for an answer; the longest a server may take for a body, and some.
const ANSWER_LIMIT: Duration = Duration::from_secs(40);
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// A request.
#[derive(Clone)]
pub struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    source: Ipv4Addr,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Call {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{PREFIX}{path}") };
        Call { method: method.to_owned(), path, headers: Vec::new(), body: None, source: Ipv4Addr::LOCALHOST }
    }

    pub fn get(path: &str) -> Call {
        Call::new("GET", path)
    }

    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Call {
        Call::new("POST", path).body(body)
    }

    /// With a body of JSON, and its content type.
    pub fn json(method: &str, path: &str, body: &Value) -> Call {
        Call::new(method, path).header("Content-Type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.body = Some(body.into());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn basic(self, name: &str, password: &str) -> Call {
        let credential = BASE64_STANDARD.encode(format!("{name}:{password}"));
        self.header("Authorization", &format!("Basic {credential}"))
    }

    pub fn bearer(self, token: &str) -> Call {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// From this address of this machine.
    pub fn from(mut self, source: Ipv4Addr) -> Call {
        self.source = source;
        self
    }

    /// As it goes over the wire.
    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), self.body.as_deref().unwrap_or_default()].concat()
    }

    /// Sends it to `address`, whose name is `host`, and reads the answer.
    pub async fn send(&self, address: SocketAddr, host: &str) -> Result<Reply, String> {
        let mut io = connect(address, host, self.source, &["http/1.1"]).await?;
        // A server may refuse, and close, before it has read everything.
        let _ = io.write_all(&self.bytes(host)).await;
        let _ = io.flush().await;
        read_reply(&mut io).await
    }
}

/// A TLS connection from `source`.
pub async fn connect(
    address: SocketAddr,
    host: &str,
    source: Ipv4Addr,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, String> {
    let connector = TlsConnector::from(tls::client(protocols)?);
    let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
    let tcp = tcp(address, source).await?;
    connector.connect(name, tcp).await.map_err(|e| format!("no TLS with {address}: {e}"))
}

/// A connection without TLS.
pub async fn tcp(address: SocketAddr, source: Ipv4Addr) -> Result<TcpStream, String> {
    let said = |error: std::io::Error| format!("no connection to {address}: {error}");
    if address.is_ipv6() {
        return TcpStream::connect(address).await.map_err(said);
    }
    let socket = TcpSocket::new_v4().map_err(said)?;
    if source != Ipv4Addr::LOCALHOST {
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0)).map_err(said)?;
    }
    let stream = socket.connect(address).await.map_err(said)?;
    stream.set_nodelay(true).map_err(said)?;
    Ok(stream)
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What came, in one line.
    pub fn shown(&self) -> String {
        const MAX_CHARS: usize = 300;
        let body: String = String::from_utf8_lossy(&self.body).chars().take(MAX_CHARS).collect();
        format!("{} {body}", self.status)
    }

    /// That this is the answer to a message taken in.
    pub fn accepted(&self) -> Outcome {
        self.says("accepted")
    }

    /// That this is the answer to a message taken in before.
    pub fn accepted_before(&self) -> Outcome {
        self.says("already_accepted")
    }

    fn says(&self, status: &str) -> Outcome {
        if self.status == 202 && self.json()["status"] == status {
            return Ok(());
        }
        Err(format!("wanted 202 {status:?}, got {}", self.shown()))
    }

    /// That it is a refusal with this status and this code, in the form of docs/protocol.md §9.
    pub fn refused(&self, status: u16, code: &str) -> Outcome {
        let json = self.json();
        if self.status == status && json["error_code"] == code && json["error"].is_string() {
            return Ok(());
        }
        Err(format!("wanted {status} with \"error\" and \"{code}\", got {}", self.shown()))
    }

    /// That it has this status.
    pub fn has_status(&self, status: u16) -> Outcome {
        if self.status == status { Ok(()) } else { Err(format!("wanted {status}, got {}", self.shown())) }
    }
}

/// The final answer on a connection; interim ones are passed over.
pub async fn read_reply(io: &mut (impl AsyncRead + Unpin)) -> Result<Reply, String> {
    let mut reader = Reader::new(io);
    loop {
        let reply = reader.next().await?;
        if reply.status >= 200 {
            return Ok(reply);
        }
    }
}

/// Reads one answer after the other.
pub struct Reader<'a, I> {
    io: &'a mut I,
    buffer: Vec<u8>,
}

impl<'a, I: AsyncRead + Unpin> Reader<'a, I> {
    pub fn new(io: &'a mut I) -> Reader<'a, I> {
        Reader { io, buffer: Vec::new() }
    }

    /// The next answer, be it interim.
    pub async fn next(&mut self) -> Result<Reply, String> {
        tokio::time::timeout(ANSWER_LIMIT, self.read()).await.map_err(|_| "no answer in time".to_owned())?
    }

    async fn read(&mut self) -> Result<Reply, String> {
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            self.more("an answer")?.await?;
        };
        let (status, headers) = read_head(&String::from_utf8_lossy(&head))?;
        let mut reply = Reply { status, headers, body: Vec::new() };
        if status < 200 || status == 204 {
            return Ok(reply);
        }
        let length = reply.header("content-length").and_then(|text| text.parse::<usize>().ok());
        let is_chunked = reply.header("transfer-encoding").is_some_and(|text| text.contains("chunked"));
        if is_chunked {
            reply.body = self.chunks().await?;
        } else if let Some(length) = length {
            while self.buffer.len() < length {
                self.more("the rest of an answer")?.await?;
            }
            reply.body = self.buffer.drain(..length).collect();
        } else {
            while self.read_some().await? > 0 {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        Ok(reply)
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.buffer, b"\r\n") {
                    Some(end) => break end,
                    None => self.more("a chunk")?.await?,
                }
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let text = String::from_utf8_lossy(&line);
            let size =
                usize::from_str_radix(text.trim(), 16).map_err(|_| format!("a chunk of size {text:?}"))?;
            while self.buffer.len() < size + 2 {
                self.more("a chunk's data")?.await?;
            }
            body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Reads on; that there is nothing more is an error.
    fn more(
        &mut self,
        wanted: &'static str,
    ) -> Result<impl Future<Output = Outcome> + use<'_, 'a, I>, String> {
        if self.buffer.len() > MAX_ANSWER_BYTES {
            return Err("an answer without end".to_owned());
        }
        Ok(async move {
            match self.read_some().await? {
                0 => Err(format!("the connection ended before {wanted}")),
                _ => Ok(()),
            }
        })
    }

    async fn read_some(&mut self) -> Result<usize, String> {
        let mut bytes = [0; 16 * 1024];
        let count = match self.io.read(&mut bytes).await {
            Ok(count) => count,
            // An end without the TLS alert that should announce it.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(format!("the connection broke: {error}")),
        };
        self.buffer.extend(bytes.iter().take(count));
        Ok(count)
    }
}

fn read_head(text: &str) -> Result<(u16, Vec<(String, String)>), String> {
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status line: {first:?}"))?;
    Ok((status, read_headers(lines)))
}

/// Header lines, up to the empty one.
pub fn read_headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let header =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    lines.filter_map(header).collect()
}

/// Where `wanted` begins in `bytes`.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
