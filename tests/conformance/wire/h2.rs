//! HTTP/2, in the regular way.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::http::{PREFIX, Reply, connect};

/// A connection.
pub struct H2 {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl H2 {
    /// Connects, offering `protocols` in ALPN, and speaks HTTP/2 whatever is agreed.
    pub async fn connect(address: SocketAddr, host: &str, protocols: &[&str]) -> Result<H2, String> {
        let io = connect(address, host, Ipv4Addr::LOCALHOST, protocols).await?;
        let opened = handshake(TokioExecutor::new(), TokioIo::new(io)).await;
        let (sender, driver) = opened.map_err(|e| format!("no HTTP/2: {e}"))?;
        tokio::spawn(driver);
        Ok(H2 { sender, host: host.to_owned() })
    }

    /// One request; several may be under way.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply, String> {
        let mut request =
            Request::builder().method(method).uri(format!("https://{}{PREFIX}{path}", self.host));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let answer =
            self.sender.clone().send_request(request).await.map_err(|e| format!("no answer: {e}"))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|e| format!("half an answer: {e}"))?.to_bytes().to_vec();
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Reply { status: parts.status.as_u16(), headers, body })
    }
}
