//! Authors: they submit over TLS, on connections that are kept.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use atp::env::dial::{Dial as _, Endpoint, Io, Trust};
use atp::env::tls::TlsDial;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::message;
use crate::place::DOMAIN;

/// Authors at the server.
pub const AUTHORS: usize = 8;
const PASSWORD: &str = "correct horse";
const BASE: &str = "/.well-known/atp/v1";
/// Connections shared by those who submit at a given rate.
const SHARED_CONNECTIONS: usize = 4;

/// Authors who share connections and do not wait for one another.
#[derive(Clone)]
pub struct Authors {
    connections: Arc<Vec<http2::SendRequest<Full<Bytes>>>>,
}

/// One connection, used by one author.
pub struct Author {
    number: usize,
    connection: http1::SendRequest<Full<Bytes>>,
}

/// The address of an author.
pub fn author(number: usize) -> String {
    format!("author{}@{DOMAIN}", number % AUTHORS)
}

/// Registers the authors, unless they are, and has each log in: a first login is dear, and remembered.
pub async fn register(server: SocketAddr) {
    let mut connection = over_http1(server).await;
    for number in 0..AUTHORS {
        let body = format!(r#"{{"agent_id":"author{number}","password":"{PASSWORD}"}}"#);
        let request = Request::post(format!("{BASE}/register"))
            .header("host", DOMAIN)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        connection.ready().await.expect("a connection");
        let (status, said) = over(connection.send_request(request)).await;
        assert!(matches!(status, 201 | 409), "registration: {status} {said}");
    }
    let mut first = Author { number: 0, connection };
    for number in 0..AUTHORS {
        first.number = number;
        first.submit(&author(number), &format!("login-{}-{number}", std::process::id())).await;
    }
}

impl Authors {
    pub async fn connect(server: SocketAddr) -> Authors {
        let mut connections = Vec::new();
        for _ in 0..SHARED_CONNECTIONS {
            let io = TokioIo::new(dial(server).await);
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
            tokio::spawn(driver);
            connections.push(sender);
        }
        Authors { connections: Arc::new(connections) }
    }

    /// Submits a message.
    pub async fn submit(&self, author: usize, to: &str, nonce: &str) {
        let mut connection = self.connections[author % self.connections.len()].clone();
        connection.ready().await.expect("a connection");
        let uri = format!("https://{DOMAIN}{BASE}/message");
        let (status, said) = over(connection.send_request(submission(&uri, author, to, nonce))).await;
        assert_eq!(status, 202, "{said}");
    }
}

impl Author {
    pub async fn connect(server: SocketAddr, number: usize) -> Author {
        Author { number, connection: over_http1(server).await }
    }

    /// Submits a message.
    pub async fn submit(&mut self, to: &str, nonce: &str) {
        self.connection.ready().await.expect("a connection");
        let request = submission(&format!("{BASE}/message"), self.number, to, nonce);
        let (status, said) = over(self.connection.send_request(request)).await;
        assert_eq!(status, 202, "{said}");
    }
}

fn submission(uri: &str, number: usize, to: &str, nonce: &str) -> Request<Full<Bytes>> {
    let from = author(number);
    let credential = BASE64_STANDARD.encode(format!("{from}:{PASSWORD}"));
    Request::post(uri)
        .header("host", DOMAIN)
        .header("content-type", "application/atp+json")
        .header("authorization", format!("Basic {credential}"))
        .body(Full::new(Bytes::from(message::text(&from, to, nonce))))
        .expect("a request")
}

async fn over<F>(sending: F) -> (u16, String)
where
    F: Future<Output = hyper::Result<hyper::Response<hyper::body::Incoming>>>,
{
    let response = sending.await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("the whole answer").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

async fn over_http1(server: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(dial(server).await);
    let (sender, driver) = http1::handshake(io).await.expect("HTTP/1.1");
    tokio::spawn(driver);
    sender
}

/// The server's certificate is its own, so nobody looks at it.
async fn dial(server: SocketAddr) -> Box<dyn Io> {
    static DIAL: LazyLock<TlsDial> = LazyLock::new(|| TlsDial::new(Vec::new()));
    let endpoint = Endpoint { address: server, name: DOMAIN.into(), trust: Trust::Unverified };
    DIAL.dial(&endpoint).await.expect("a connection").io
}
