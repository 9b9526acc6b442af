//! `GET ready`: whether messages are taken in and all is well otherwise, and why not (`docs/protocol.md` §7).

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::answer::{json_answer, retry_later};
use super::state::App;
use crate::counters::{Counters, Gauges};
use crate::env::ballast::Ballast;
use crate::env::clock::Clock;
use crate::error::Fault;
use crate::guard::Shortage;
use crate::proto::status::Reason;
use crate::spool::contract::StoreError;

/// Questions in a row that the resolver leaves without an answer before DNS is said to be unusable.
const DNS_PATIENCE: u64 = 10;

/// What decides whether messages are taken in, and whether all is well otherwise.
pub struct Readiness {
    /// Why nothing can be stored at present. `None`: the store works.
    pub store: watch::Receiver<Option<StoreError>>,
    /// What there is too little of at present.
    pub shortage: watch::Receiver<Option<Shortage>>,
    /// Given up the moment the disk is full, before anybody has looked.
    pub ballast: Arc<Ballast>,
    /// True once the daemon takes no new work.
    pub stopping: watch::Receiver<bool>,
    /// How DNS has answered.
    pub counters: Arc<Counters>,
    /// How long the certificates last.
    pub gauges: Arc<Gauges>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether there is a resolver to ask, as the settings in force want it. `None`: none is needed.
    pub has_resolver: ArcSwap<Option<bool>>,
}

/// Why a server is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The daemon is told to stop.
    Stopping,
    /// The disk fails.
    StoreFailed,
    /// Too little disk is free.
    Disk,
    /// Too much memory is used.
    Memory,
    /// No name can be looked up.
    Dns,
    /// A certificate that peers should trust has expired.
    Certificate,
}

impl Trouble {
    /// Each, those that refuse messages first.
    pub const ALL: [Trouble; 6] = [
        Trouble::Stopping,
        Trouble::StoreFailed,
        Trouble::Disk,
        Trouble::Memory,
        Trouble::Dns,
        Trouble::Certificate,
    ];

    /// In a few fixed words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Trouble::Stopping => "stopping",
            Trouble::StoreFailed => "store failed",
            Trouble::Disk => "disk guard",
            Trouble::Memory => "memory guard",
            Trouble::Dns => "dns unusable",
            Trouble::Certificate => "certificate expired",
        }
    }

    /// As a refusal. Nobody is refused for the last two: what can be done without is done.
    fn fault(self) -> Fault {
        match self {
            Trouble::Stopping => {
                Fault::new(Reason::ShuttingDown, "The server is shutting down; please try again.")
            }
            Trouble::StoreFailed => StoreError::Failed(String::new()).into(),
            Trouble::Disk => Shortage::Disk.into(),
            Trouble::Memory => Shortage::Memory.into(),
            Trouble::Dns => Fault::new(Reason::DnsTrouble, "The server cannot look up names at present."),
            Trouble::Certificate => Fault::new(Reason::TlsTrouble, "The server's certificate has expired."),
        }
    }
}

impl Readiness {
    /// Refuses a message for reasons that have nothing to do with it. A server that stops still takes what comes on the
    /// connections that are open: the store is there until they are closed.
    ///
    /// # Errors
    /// [`Reason::NoSpace`] while the store has failed or a guard says so.
    pub fn check(&self) -> Result<(), Fault> {
        if let Some(error) = &*self.store.borrow() {
            return Err(error.clone().into());
        }
        self.shortage().map_or(Ok(()), |shortage| Err(shortage.into()))
    }

    /// Everything that is wrong now, in the order of [`Trouble::ALL`].
    pub fn troubles(&self) -> Vec<Trouble> {
        let shortage = self.shortage();
        let is = |trouble: &Trouble| match trouble {
            Trouble::Stopping => *self.stopping.borrow(),
            Trouble::StoreFailed => self.store.borrow().is_some(),
            Trouble::Disk => shortage == Some(Shortage::Disk),
            Trouble::Memory => shortage == Some(Shortage::Memory),
            Trouble::Dns => self.has_resolver.load().is_some_and(|has| !has || self.dns_is_silent()),
            Trouble::Certificate => self.has_expired_certificate(),
        };
        Trouble::ALL.into_iter().filter(is).collect()
    }

    /// Why no messages are taken in, as one sentence, whether or not the server stops. `None`: they are.
    pub fn trouble_for_people(&self) -> Option<String> {
        self.check().err().map(|fault| fault.public.to_string())
    }

    fn shortage(&self) -> Option<Shortage> {
        self.ballast.is_given_up().then_some(Shortage::Disk).or(*self.shortage.borrow())
    }

    fn dns_is_silent(&self) -> bool {
        self.counters.dns_unanswered() >= DNS_PATIENCE
    }

    fn has_expired_certificate(&self) -> bool {
        let now = self.clock.now();
        self.gauges.certificates().iter().any(|certificate| !certificate.is_own && certificate.expires <= now)
    }
}

/// That messages are taken in.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, written by ready()")]
struct Ready {
    #[schema(example = "ready")]
    status: String,
}

/// That no messages are taken in, and why.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, written by ready()")]
struct NotReady {
    #[schema(example = "not_ready")]
    status: String,
    /// The first of the reasons, in a few fixed words.
    reason: String,
    /// All of them.
    reasons: Vec<String>,
    /// One sentence for people.
    error: String,
    /// A basic and an enhanced code (RFC 3463).
    error_code: String,
}

/// Whether messages are taken in and all is well otherwise.
#[utoipa::path(get, path = "/ready", tag = "server",
    responses((status = 200, body = Ready), (status = 503, description = "They are not.", body = NotReady)))]
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let troubles = app.readiness.troubles();
    let Some(first) = troubles.first() else {
        return json_answer(StatusCode::OK, json!({ "status": "ready" })).into_response();
    };
    let fault = first.fault();
    let body = json!({
        "status": "not_ready",
        "reason": first.as_str(),
        "reasons": troubles.iter().map(|trouble| trouble.as_str()).collect::<Vec<_>>(),
        "error": fault.public,
        "error_code": fault.reason.code(),
    });
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    retry_later(&mut response, &fault);
    response
}
