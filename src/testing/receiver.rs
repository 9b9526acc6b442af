//! A webhook's receiver that does what a test has written down, reached without any network.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::sleep;

use crate::env::BoxFuture;
use crate::env::clock::Clock;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::proto::time::UnixMillis;

/// Bytes a connection holds back.
const PIPE_BYTES: usize = 64 * 1024;
/// Far more than a client waits or reads.
const ENDLESS: usize = 1_000_000;

/// What the receiver does with the next push.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Answers with this status.
    Say(u16),
    /// Answers with this status and these lines of the head.
    SayWith(u16, &'static str),
    /// Answers 422 to what holds this text, and 200 to all else.
    Dislike(&'static str),
    /// Answers after this time.
    SayAfter(Duration, u16),
    /// Answers with these bytes, and closes.
    Write(&'static [u8]),
    /// Answers with a head of one byte each so often.
    Dribble(Duration),
    /// Answers with a head that does not end.
    EndlessHead,
    /// Answers 200 with a body that does not end.
    EndlessBody,
    /// Reads the push and never answers.
    Silence,
    /// Reads nothing.
    Deaf,
    /// Closes the connection before the answer.
    Close,
    /// Is not to be reached.
    Refuse,
    /// Shows a certificate that is not accepted.
    BadCertificate,
}

/// A push as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// When.
    pub at: UnixMillis,
    /// The lines before the body.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Arrived {
    /// A header's value. `None`: it is not there.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A receiver, and what it has been sent so far.
pub struct ScriptedReceiver {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

struct Inner {
    script: VecDeque<Deed>,
    otherwise: Deed,
    arrived: Vec<Arrived>,
    dialled: Vec<Endpoint>,
    open: usize,
    most_open: usize,
}

impl ScriptedReceiver {
    /// A receiver that answers 204.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<ScriptedReceiver> {
        let inner = Inner {
            script: VecDeque::new(),
            otherwise: Deed::Say(204),
            arrived: Vec::new(),
            dialled: Vec::new(),
            open: 0,
            most_open: 0,
        };
        Arc::new(ScriptedReceiver { clock, inner: Mutex::new(inner) })
    }

    /// Adds to the script.
    pub fn will(&self, deeds: impl IntoIterator<Item = Deed>) {
        self.lock().script.extend(deeds);
    }

    /// What it does when its script has ended.
    pub fn otherwise(&self, deed: Deed) {
        self.lock().otherwise = deed;
    }

    /// Every push that it has read.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.lock().arrived.clone()
    }

    /// Where it was dialled, each time.
    pub fn dialled(&self) -> Vec<SocketAddr> {
        self.lock().dialled.iter().map(|endpoint| endpoint.address).collect()
    }

    /// The names it was dialled under, each time.
    pub fn names(&self) -> Vec<String> {
        self.lock().dialled.iter().map(|endpoint| endpoint.name.clone()).collect()
    }

    /// Most pushes that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.lock().most_open
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: DuplexStream, deed: Deed) -> Option<()> {
        if matches!(deed, Deed::Deaf) {
            std::future::pending::<()>().await;
        }
        let arrived = self.read(&mut stream).await?;
        let deed = match deed {
            Deed::Dislike(text) if String::from_utf8_lossy(&arrived.body).contains(text) => Deed::Say(422),
            Deed::Dislike(_) => Deed::Say(200),
            deed => deed,
        };
        self.lock().arrived.push(arrived);
        let answer =
            |status: u16, lines: &str| format!("HTTP/1.1 {status} X\r\n{lines}content-length: 0\r\n\r\n");
        match deed {
            Deed::Say(status) => stream.write_all(answer(status, "").as_bytes()).await.ok()?,
            Deed::SayWith(status, lines) => stream.write_all(answer(status, lines).as_bytes()).await.ok()?,
            Deed::SayAfter(wait, status) => {
                sleep(wait).await;
                stream.write_all(answer(status, "").as_bytes()).await.ok()?;
            }
            Deed::Write(bytes) => {
                stream.write_all(bytes).await.ok()?;
                return Some(());
            }
            Deed::Dribble(pause) => {
                for byte in b"HTTP/1.1 200 OK\r\nx: ".iter().chain(std::iter::repeat_n(&b'x', ENDLESS)) {
                    sleep(pause).await;
                    stream.write_all(&[*byte]).await.ok()?;
                }
            }
            Deed::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.ok()?;
                for _ in 0..ENDLESS {
                    stream.write_all(&[b'x'; 1024]).await.ok()?;
                }
            }
            Deed::EndlessBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.ok()?;
                for _ in 0..ENDLESS {
                    stream.write_all(b"10\r\n0123456789abcdef\r\n").await.ok()?;
                }
            }
            Deed::Close => return Some(()),
            Deed::Silence | Deed::Deaf | Deed::Refuse | Deed::BadCertificate | Deed::Dislike(_) => {}
        }
        // Until the other side closes.
        while stream.read(&mut [0; 1024]).await.ok()? > 0 {}
        Some(())
    }

    async fn read(&self, stream: &mut DuplexStream) -> Option<Arrived> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let mut arrived = Arrived { at: self.clock.now(), head, body: bytes[end..].to_vec() };
        let length: usize = arrived.header("content-length")?.parse().ok()?;
        while arrived.body.len() < length {
            if stream.read_buf(&mut arrived.body).await.ok()? == 0 {
                return None;
            }
        }
        Some(arrived)
    }
}

/// Dials the receiver, whatever the address.
pub struct DialReceiver(pub Arc<ScriptedReceiver>);

impl Dial for DialReceiver {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let receiver = Arc::clone(&self.0);
        let deed = {
            let mut inner = receiver.lock();
            inner.dialled.push(endpoint.clone());
            inner.script.pop_front().unwrap_or_else(|| inner.otherwise.clone())
        };
        let failed = match deed {
            Deed::Refuse => Some(DialError::Connect("refused".into())),
            Deed::BadCertificate => Some(DialError::Tls("of an issuer we do not trust".into())),
            _ => None,
        };
        if let Some(error) = failed {
            return Box::pin(std::future::ready(Err(error)));
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            {
                let mut inner = receiver.lock();
                inner.open += 1;
                inner.most_open = inner.most_open.max(inner.open);
            }
            let _ = receiver.serve(theirs, deed).await;
            receiver.lock().open -= 1;
        });
        Box::pin(std::future::ready(Ok(Connection {
            io: Box::new(ours),
            alpn: Some(b"http/1.1".to_vec()),
            certificate_sha256: None,
            certificate_ends: None,
        })))
    }
}
