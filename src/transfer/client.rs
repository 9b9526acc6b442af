//! One request to one target, and what came back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::time::Instant;

use super::outcome::Failure;
use super::pool::{Pool, SendError};
use super::profile::{Profile, Profiles, Speaker};
use super::reply::{self, Meaning, Reply};
use crate::discover::Target;
use crate::env::clock::{Clock, micros_since};
use crate::env::dial::{Dial, DialError, Endpoint, Trust};
use crate::proto::status::Reason;
use crate::sign::Signed;

/// How long one request may take from its first byte to the last of its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

const BASE: &str = "/.well-known/atp/v1";
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/atp+json");

/// Speaks to peers' servers.
pub struct Client {
    pool: Pool,
    profiles: Profiles,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client without connections yet.
    pub fn new(dial: Arc<dyn Dial>, clock: Arc<dyn Clock>) -> Client {
        Client { pool: Pool::new(dial), profiles: Profiles::default(), clock }
    }

    /// What the target speaks, asked if it is not known.
    ///
    /// # Errors
    /// A temporary [`Failure`]; nothing of the message has been written.
    pub async fn profile(&self, target: &Target) -> Result<Profile, Failure> {
        let speaker = speaker(target);
        if let Some(profile) = self.profiles.get(&speaker) {
            return Ok(profile);
        }
        let started = Instant::now();
        let reply = match self.exchange(target, Method::GET, "capabilities", Bytes::new()).await {
            Ok(reply) => reply,
            Err(SendError::NotWritten(error)) => return Err(Failure::from(error).before(target)),
            Err(SendError::Broken(error)) => return Err(no_answer().because(error).at(target)),
        };
        let profile = Profile::read(&reply).map_err(|failure| failure.at(target))?;
        self.profiles.keep(&speaker, profile);
        let speaks = if profile.reference { "reference" } else { "atp" };
        let (max_payload_bytes, micros) = (profile.max_payload_bytes, micros_since(started));
        tracing::debug!(target = %target, speaks, max_payload_bytes, micros, "profile");
        Ok(profile)
    }

    /// Transfers a signed message.
    ///
    /// # Errors
    /// A temporary [`Failure`] if there is no answer; its `unanswered` says whether the request was written.
    pub async fn transfer(&self, target: &Target, message: &Signed) -> Result<Meaning, Failure> {
        let started = Instant::now();
        match self.exchange(target, Method::POST, "message", message.bytes().clone()).await {
            Ok(reply) => {
                let (status, micros) = (reply.status, micros_since(started));
                tracing::debug!(target = %target, status, micros, "answered");
                Ok(self.understand(target, &reply))
            }
            Err(SendError::NotWritten(error)) => Err(Failure::from(error).before(target)),
            Err(SendError::Broken(error)) => {
                Err(Failure { unanswered: true, ..no_answer().because(error) }.at(target))
            }
        }
    }

    /// Closes connections nobody has used for a while. To be called now and then.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    fn understand(&self, target: &Target, reply: &Reply) -> Meaning {
        let meaning = match reply::read(reply, self.clock.now().seconds()) {
            Meaning::Failed(failure) => Meaning::Failed(failure.at(target)),
            Meaning::Stumbled { failure, clocks_agree } => {
                Meaning::Stumbled { failure: failure.at(target), clocks_agree }
            }
            meaning => meaning,
        };
        match (reply.status, &meaning) {
            // It speaks of the recipient, not of the path.
            (404, Meaning::Failed(failure)) if failure.code == Reason::UnknownAgent.code() => {}
            // Another program may have taken the peer's place, or it takes less than it did.
            (404 | 413, _) => self.profiles.forget(&speaker(target)),
            _ => {}
        }
        meaning
    }

    /// Sends a request to the first of the target's addresses that can be reached.
    async fn exchange(
        &self,
        target: &Target,
        method: Method,
        call: &str,
        body: Bytes,
    ) -> Result<Reply, SendError> {
        if target.trust == Trust::Unverified {
            tracing::warn!(target = %target, call, "the certificate is not checked, as the configuration wants it");
        }
        let mut last = SendError::NotWritten(DialError::Connect("the target has no address".into()));
        for address in &target.addresses {
            let endpoint =
                Endpoint { address: *address, name: target.host.clone(), trust: target.trust.clone() };
            let request = request(target, method.clone(), call, body.clone())?;
            let exchange = async {
                let response = self.pool.send(&endpoint, request).await?;
                read(response).await
            };
            match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
                Ok(Err(error @ SendError::NotWritten(_))) => last = error,
                Ok(result) => return result,
                Err(_) => return Err(SendError::Broken("no answer in time".into())),
            }
        }
        Err(last)
    }
}

fn speaker(target: &Target) -> Speaker {
    (target.to_string(), target.trust.clone())
}

fn no_answer() -> Failure {
    Failure::temporary(Reason::NoAnswer, "The recipient's server did not answer.")
}

fn request(
    target: &Target,
    method: Method,
    call: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, SendError> {
    let authority = target.to_string();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("https://{authority}{BASE}/{call}"))
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("atp/", env!("CARGO_PKG_VERSION")));
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, CONTENT_TYPE);
    }
    request.body(Full::new(body)).map_err(|error| {
        SendError::NotWritten(DialError::Connect(format!("no request can be made: {error}")))
    })
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Reply, SendError> {
    let (parts, body) = response.into_parts();
    let body = match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        // The status has been read: a cut or endless body does not take that back.
        Err(_) => Vec::new(),
    };
    Ok(Reply {
        status: parts.status.as_u16(),
        retry_after: text(&parts.headers, &header::RETRY_AFTER).and_then(|text| text.trim().parse().ok()),
        date: text(&parts.headers, &header::DATE).and_then(http_date),
        body,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An HTTP date as Unix seconds (RFC 9110 §5.6.7).
fn http_date(text: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
