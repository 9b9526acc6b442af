//! The admin listener: metrics, health and the operator's calls over plain HTTP, for monitoring and for other machines.
//!
//! It is off unless `admin.listen` is set. Whoever calls from this machine gets `/metrics`, `/health` and `/ready`
//! without a token; everything else, and everything from elsewhere, needs the operator's token or, to look only, the
//! read token.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tower::Service;
use tracing::Instrument;

use super::answer::Refusal;
use super::life::Life;
use super::state::{App, Ends, Operator, OperatorToken};
use crate::agents::register::is_proxied;
use crate::error::Fault;
use crate::proto::status::Reason;

/// Connections open at once; for one more, one goes that has shown no token, or it waits in the kernel.
const MAX_CONNECTIONS: usize = 32;
/// How long after it was accepted a connection may bring its first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's header may take, how long an answer may be left unread, and how long an idle connection is kept: longer than most intervals of scraping.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a connection is kept altogether.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3600);
/// Bytes of header a request may have.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long to wait after the system would not give us a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What this machine may see without a token.
pub(super) const OPEN_PATHS: [&str; 3] = ["/metrics", "/health", "/ready"];

/// Serves `router` over plain HTTP/1.1 until `stop` turns true; calls in flight are finished by then or abandoned.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let mut guests = Guests::default();
    let mut connections = JoinSet::new();
    while !*stop.borrow() {
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if guests.have_room() => match accepted {
                Ok((stream, peer)) => {
                    let known = Known::default();
                    let requests = requests(stream, peer, router.clone(), known.clone());
                    let served = timeout(CONNECTION_TIMEOUT, requests);
                    let guest = connections.spawn(async move { drop(served.await) }.in_current_span());
                    guests.welcome(guest, known);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the admin listener");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Goes with a connection's requests: whether one of them has shown a token.
#[derive(Debug, Clone, Default)]
struct Known(Arc<AtomicBool>);

/// Open connections, oldest first. Where there are too many, the oldest of which no token is known goes, so that whoever
/// only connects keeps out neither the operator nor, for long, monitoring.
#[derive(Default)]
struct Guests(VecDeque<(AbortHandle, Known)>);

impl Guests {
    fn have_room(&mut self) -> bool {
        self.0.retain(|(guest, _)| !guest.is_finished());
        self.0.len() < MAX_CONNECTIONS || self.stranger().is_some()
    }

    fn welcome(&mut self, guest: AbortHandle, known: Known) {
        if self.0.len() >= MAX_CONNECTIONS
            && let Some((stranger, _)) = self.stranger().and_then(|place| self.0.remove(place))
        {
            stranger.abort();
        }
        self.0.push_back((guest, known));
    }

    fn stranger(&self) -> Option<usize> {
        self.0.iter().position(|(_, Known(known))| !known.load(Ordering::Relaxed))
    }
}

async fn requests(stream: TcpStream, peer: SocketAddr, router: Router, known: Known) {
    let Ok(local) = stream.local_addr() else { return };
    let ends = Ends { peer, local };
    let life = Arc::new(Life::default());
    let idle = Arc::clone(&life).idle(FIRST_REQUEST_TIMEOUT, HEADER_TIMEOUT);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ends);
        request.extensions_mut().insert(known.clone());
        life.answering(router.clone().call(request))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    tokio::select! {
        ended = builder.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection to the admin listener broke off");
            }
        }
        () = idle => tracing::debug!(%peer, "a connection to the admin listener was of no use any more"),
    }
}

/// Lets those through who may, marked as the operator where they have a token.
pub async fn let_in(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let ends = request.extensions().get::<Ends>().copied();
    match admit(&app, ends, &request) {
        Ok(Some(operator)) => {
            if let Some(Known(known)) = request.extensions().get() {
                known.store(true, Ordering::Relaxed);
            }
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(fault) => {
            app.counters.operator_refused.add();
            let mut response = Refusal(fault).into_response();
            // A browser that is asked for a password would have its user type the token for nothing.
            if let Some(challenge) = response.headers_mut().get_mut(header::WWW_AUTHENTICATE) {
                *challenge = HeaderValue::from_static("Bearer realm=\"atp\"");
            }
            response
        }
    }
}

/// `None`: it needs nobody's leave.
fn admit(app: &App, ends: Option<Ends>, request: &Request) -> Result<Option<Operator>, Fault> {
    let headers = request.headers();
    let is_looking = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_looking && OPEN_PATHS.contains(&request.uri().path()) && is_near(ends, headers) {
        return Ok(None);
    }
    let unknown = std::net::Ipv4Addr::UNSPECIFIED.into();
    let peer = ends.map_or(unknown, |ends| ends.peer.ip().to_canonical());
    let token = app.operator_token(headers, Ends::origin(ends.as_ref()))?;
    if token == Some(OperatorToken::Everything) {
        return Ok(Some(Operator::Token { peer, is_read_only: false }));
    }
    if token == Some(OperatorToken::Looking) {
        if is_looking {
            return Ok(Some(Operator::Token { peer, is_read_only: true }));
        }
        return Err(Fault::new(Reason::Forbidden, "This token may look at everything, but change nothing."));
    }
    Err(Fault::new(Reason::BadCredential, "This call needs the operator's token."))
}

/// Whether it comes from this machine, not passed on for somebody else, and not by a web page that some browser here
/// has been led to send it by: that would name a host of its own.
fn is_near(ends: Option<Ends>, headers: &HeaderMap) -> bool {
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    let both = ends.is_some_and(|ends| is_loopback(ends.peer) && is_loopback(ends.local));
    let own_host = headers.get_all(header::HOST).iter().all(is_own);
    both && own_host && !is_proxied(headers.keys().map(header::HeaderName::as_str))
}

/// Whether it names a host as nobody else's name can be made to: by its address, or as localhost.
fn is_own(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let address = host.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| host.parse::<IpAddr>());
    address.is_ok() || host.split(':').next().is_some_and(|name| name.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn only_this_machine_is_near() {
        let ends = |peer: &str, local: &str| {
            Some(Ends { peer: peer.parse().unwrap(), local: local.parse().unwrap() })
        };
        let near = |ends, pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append::<HeaderName>(name, value);
            }
            is_near(ends, &headers)
        };
        let here = || ends("127.0.0.1:5000", "127.0.0.1:7480");
        assert!(near(here(), &[]));
        for host in ["127.0.0.1:7480", "[::1]:7480", "localhost:7480", "localhost"] {
            assert!(near(here(), &[("host", host)]), "{host}");
        }
        assert!(near(ends("[::1]:5000", "[::1]:7480"), &[]));
        assert!(near(ends("[::ffff:127.0.0.1]:5000", "[::ffff:127.0.0.1]:7480"), &[]));
        for host in ["evil.example:7480", "evil.example", "localhost.evil.example", "", "b\u{fc}cher:7480"] {
            assert!(!near(here(), &[("host", host)]), "{host}");
        }
        let twice = [("host", "127.0.0.1:7480"), ("host", "evil.example:7480")];
        assert!(!near(here(), &twice), "one for each who looks");
        assert!(!near(here(), &[("x-forwarded-for", "192.0.2.1")]));
        assert!(!near(ends("192.0.2.1:5000", "192.0.2.2:7480"), &[]));
        assert!(!near(ends("127.0.0.1:5000", "192.0.2.2:7480"), &[]));
        assert!(!near(None, &[]));
    }
}
