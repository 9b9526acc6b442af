//! What every call may use.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, header};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ready::Readiness;
use super::tls::Certificates;
use crate::acme;
use crate::agents::{Accounts, Authenticated, Credential, Need};
use crate::config::checked::RegistrationMode;
use crate::counters::Counters;
use crate::env::clock::micros_since;
use crate::error::Fault;
use crate::mailbox::seats::Seats;
use crate::mailbox::webhook::Webhooks;
use crate::pipeline::Pipeline;
use crate::proto::address::Domain;
use crate::proto::status::Reason;
use crate::secret::Secret;

/// All state shared by the calls. It lives as long as the daemon.
pub struct App {
    /// The way of a message.
    pub pipeline: Arc<Pipeline>,
    /// The agents of this daemon.
    pub accounts: Accounts,
    /// Where their messages are pushed to.
    pub webhooks: Webhooks,
    /// What has happened.
    pub counters: Arc<Counters>,
    /// The operator's token.
    pub admin_token: Secret,
    /// Who may register. `None`: the rule of `docs/protocol.md` §8.
    pub registration: Option<RegistrationMode>,
    /// Largest transfer body, in bytes.
    pub max_transfer_bytes: usize,
    /// When the daemon started.
    pub started: Instant,
    /// Whether messages are taken in.
    pub readiness: Readiness,
    /// Who waits for messages.
    pub seats: Seats,
    /// What the public listener shows.
    pub certificates: Arc<Certificates>,
    /// Who asks an authority for them. Empty: nobody does.
    pub acme: OnceLock<acme::Handle>,
}

/// Both ends of the connection a request came by. `None` in its place: the control socket.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The caller.
    pub peer: SocketAddr,
    /// Where it arrived.
    pub local: SocketAddr,
}

/// Goes with requests that came over a connection which can be closed at once, whatever else goes over it.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<Notify>);

impl Cut {
    /// Has the connection closed.
    pub fn now(&self) {
        self.0.notify_one();
    }

    /// Returns once it is to be closed.
    pub async fn wanted(&self) {
        self.0.notified().await;
    }
}

/// Goes with requests of the control socket, whose caller the kernel has proved to be the operator, or one of them.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The caller's user id.
    pub uid: u32,
    /// The user's name. `None`: the machine knows none.
    pub name: Option<Arc<str>>,
}

/// As rows' stories say it: `uid 0, root`.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ", {name}"))
    }
}

/// Which domain a request means.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by App::domain")]
pub struct DomainMeant {
    /// The domain meant. Without it: the one in Host, or the server's first.
    domain: Option<String>,
}

/// Query parameters.
pub type Parameters = HashMap<String, String>;

impl App {
    /// The domain a request means: `?domain=` or Host if it is one of ours, else the first
    /// (`docs/protocol.md` §7).
    pub fn domain(&self, headers: &HeaderMap, parameters: &Parameters) -> &Domain {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
        let named = parameters.get("domain").map(String::as_str).into_iter().chain(host);
        let domains = &self.pipeline.domains;
        named
            .filter_map(|name| Domain::parse(name).ok())
            .find_map(|name| domains.iter().find(|domain| **domain == name))
            .unwrap_or(&domains[0])
    }

    /// Which agent of ours a request comes from, if its credential allows what is needed.
    ///
    /// # Errors
    /// [`Reason::BadCredential`] without a valid credential, [`Reason::Forbidden`] if it is a token that is not good
    /// for this.
    pub async fn agent(
        &self,
        headers: &HeaderMap,
        short_names_in: &Domain,
        need: Need,
    ) -> Result<Authenticated, Fault> {
        let started = Instant::now();
        let result = match headers.get(header::AUTHORIZATION) {
            None => Err(Fault::new(Reason::BadCredential, "This call needs an agent's credential.")),
            Some(value) => match Credential::parse(value.as_bytes(), short_names_in) {
                Ok(credential) => self.accounts.authenticate(&credential).await,
                Err(fault) => Err(fault),
            },
        };
        match &result {
            Ok(Authenticated { agent, token, .. }) => {
                let token = token.as_ref().map(|token| token.name.as_str());
                tracing::debug!(%agent, token, micros = micros_since(started), "authenticated");
                self.counters.credentials_accepted.add();
            }
            Err(_) => self.counters.credentials_refused.add(),
        }
        let authenticated = result?;
        authenticated.may(need)?;
        Ok(authenticated)
    }

    /// Whether a request carries the operator's token.
    pub fn has_admin_token(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        match value.map(|value| Credential::parse(value, &self.pipeline.domains[0])) {
            Some(Ok(Credential::Token { token, agent: None })) => token.matches(&self.admin_token),
            _ => false,
        }
    }

    /// Lets only the operator through.
    ///
    /// # Errors
    /// [`Reason::BadCredential`] for everybody else.
    pub fn operator(&self, operator: Option<Operator>, headers: &HeaderMap) -> Result<(), Fault> {
        if operator.is_some() || self.has_admin_token(headers) {
            Ok(())
        } else {
            Err(Fault::new(Reason::BadCredential, "This call needs the operator's token."))
        }
    }
}
