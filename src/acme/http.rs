//! What is said to an authority and by it: HTTPS through [`Dial`](crate::env::dial::Dial), bounded in time and size.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap};
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::env::Env;
use crate::env::dial::{Connection, Endpoint, Trust};
use crate::env::dns::{Kind, Record};
use crate::proto::time::UnixMillis;

/// Longest time a request may take, connecting included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Largest body of an answer, in bytes: a chain of certificates is far smaller.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Addresses of a host that are tried.
const MAX_TRIED: usize = 4;
const HTTPS_PORT: u16 = 443;

type Body = BodyWrapper<Bytes>;
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Talks to one authority. Each request has a connection of its own; redirects are not followed.
#[derive(Clone)]
pub(super) struct Http {
    env: Env,
    trust: Trust,
    told: Told,
}

/// When the authority wants to be asked again, as its last refusal said.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Option<UnixMillis>>>);

impl Told {
    /// What the last answer said, if it was a refusal with `Retry-After`.
    pub fn get(&self) -> Option<UnixMillis> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, at: Option<UnixMillis>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

/// Carries the bytes of a connection; dropping it cuts the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http {
    /// A client that checks the authority's own certificate in this way.
    pub fn new(env: Env, trust: Trust) -> Http {
        Http { env, trust, told: Told::default() }
    }

    /// When to come back.
    pub fn told(&self) -> Told {
        self.told.clone()
    }

    async fn exchange(&self, request: Request<Body>) -> Result<BytesResponse, Failed> {
        let uri = request.uri().clone();
        let connection = self.connect(&uri).await?;
        let (response, driver) = send(connection, request, &uri).await?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await?.to_bytes();
        drop(driver);
        let refused = parts.status.is_client_error() || parts.status.is_server_error();
        self.told.set(refused.then(|| retry_after(&parts.headers, self.env.clock.now())).flatten());
        Ok(BytesResponse { parts, body: Box::new(body) })
    }

    async fn connect(&self, uri: &Uri) -> Result<Connection, Failed> {
        if uri.scheme_str() != Some("https") {
            return Err("the authority names an address that is not https".into());
        }
        let host = uri.host().ok_or("the authority names an address without a host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(HTTPS_PORT);
        let mut last: Failed = format!("{host} has no address").into();
        for ip in self.addresses(host).await?.into_iter().take(MAX_TRIED) {
            let address = SocketAddr::new(ip, port);
            let endpoint = Endpoint { address, name: host.to_owned(), trust: self.trust.clone() };
            match self.env.dial.dial(&endpoint).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = format!("{host} ({address}): {error}").into(),
            }
        }
        Err(last)
    }

    async fn addresses(&self, host: &str) -> Result<Vec<std::net::IpAddr>, Failed> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let (v6, v4) =
            tokio::join!(self.env.dns.lookup(host, Kind::Aaaa), self.env.dns.lookup(host, Kind::A));
        let records = match (v6, v4) {
            (Err(error), Err(_)) => return Err(format!("{host}: {error}").into()),
            (v6, v4) => v6.into_iter().chain(v4).flat_map(|answer| answer.records),
        };
        let ips = records.filter_map(|record| match record {
            Record::A(ip) => Some(ip.into()),
            Record::Aaaa(ip) => Some(ip.into()),
            _ => None,
        });
        Ok(ips.collect())
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<Body>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            match timeout(REQUEST_TIMEOUT, http.exchange(request)).await {
                Ok(answer) => answer.map_err(Error::Other),
                Err(_) => Err(Error::Other("the authority did not answer in time".into())),
            }
        })
    }
}

async fn send(
    connection: Connection,
    mut request: Request<Body>,
    uri: &Uri,
) -> Result<(Response<Incoming>, Driver), Failed> {
    let is_http2 = connection.alpn.as_deref() == Some(b"h2");
    let io = TokioIo::new(connection.io);
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(MAX_HEAD_BYTES as u32);
        let (mut sender, driver) = builder.handshake(io).await?;
        let driver = Driver(tokio::spawn(async move { driver.await.unwrap_or_default() }));
        return Ok((sender.send_request(request).await?, driver));
    }
    // HTTP/1.1 names the origin in Host, and only the rest in the request line.
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    request.headers_mut().insert(header::HOST, authority.parse()?);
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD_BYTES);
    let (mut sender, driver) = builder.handshake(io).await?;
    let driver = Driver(tokio::spawn(async move { driver.await.unwrap_or_default() }));
    Ok((sender.send_request(request).await?, driver))
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). `None`: absent or unreadable.
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<UnixMillis> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(now.plus(Duration::from_secs(seconds)));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixMillis(u64::try_from(date.as_millis()).ok()?))
}
